package wasm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/tetratelabs/wazero"

	"kith/tasks"
	"kith/tasks/kinds/params"
)

// Params are the parameters of the kind. Module is required to run.
type Params struct {
	Module string   `json:"module"` // path in the job's input, or CID of a file
	Args   []string `json:"args"`   // of the module, after its name
	Memory int64    `json:"memory"` // most memory of an instance, in MiB
	// Checkpoint gives the module a folder /checkpoint that outlives an end of its task before its time.
	Checkpoint bool `json:"checkpoint,omitempty"`
}

// Bounds.
const (
	DefaultMemory = 256       // MiB
	MaxMemory     = 4096      // MiB: all that 32 bits address
	MaxModule     = 64 << 20  // bytes
	maxArgs       = 64        // and MaxArg bytes each
	maxArg        = 4 << 10   // bytes
	maxPath       = 4 << 10   // bytes of Params.Module
	slack         = 256 << 20 // bytes of memory that the compiler and its code may take beside the instance
)

// ModuleFile is the name of the module in every part.
const ModuleFile = "module.wasm"

const schema = `{
  "type": "object",
  "additionalProperties": false,
  "required": ["module"],
  "properties": {
    "module": {"type": "string", "maxLength": 4096, "description": "the module: its path in the input, or the CID of a file"},
    "args": {"type": "array", "items": {"type": "string", "maxLength": 4096}, "maxItems": 64, "default": [], "description": "arguments of the module"},
    "memory": {"type": "integer", "minimum": 1, "maximum": 4096, "default": 256, "description": "most memory of a running module, in MiB"},
    "checkpoint": {"type": "boolean", "default": false, "description": "the module keeps in /checkpoint how far it is, and goes on from there when its task was ended before its time"}
  }
}`

// Kind is wasm. Use New.
type Kind struct {
	modules *cache
}

// New returns the kind. Copies of it share the modules they have compiled.
func New() Kind { return Kind{modules: &cache{}} }

// Describe implements tasks.Kind.
func (Kind) Describe() tasks.Description {
	return tasks.Description{
		Name: "wasm", Title: "Run a WASI module over every part of the input", Version: 1, Schema: schema,
		Phases: []tasks.Phase{{Name: "run", Mode: tasks.Map}},
		Needs:  tasks.Needs{Class: tasks.CPU, Sandbox: tasks.GradeProcess, Memory: 768 << 20, Input: true},
		Limits: tasks.Limits{
			WallMillis: 300_000, CPUMillis: 300_000, MemoryBytes: DefaultMemory<<20 + slack + 256<<20, ScratchBytes: 512 << 20,
			OutputBytes: 256 << 20, LogBytes: 64 << 10, Processes: 256,
		},
		Comparison: tasks.Bitwise,
		Reusable:   true, // every task has an instance of its own
	}
}

// Check implements tasks.Kind. A missing module is refused when the job is laid out, see Carries.
func (Kind) Check(b []byte) ([]byte, error) {
	p, err := decode(b)
	if err != nil {
		return nil, err
	}
	return params.Canonical(p)
}

func decode(b []byte) (Params, error) {
	p := Params{Memory: DefaultMemory}
	if err := params.Decode(b, &p); err != nil {
		return p, err
	}
	if p.Args == nil {
		p.Args = []string{}
	}
	if len(p.Args) > maxArgs {
		return p, fmt.Errorf("%w: %d args, at most %d are allowed", tasks.ErrParams, len(p.Args), maxArgs)
	}
	for _, a := range p.Args {
		if len(a) > maxArg || strings.ContainsRune(a, 0) {
			return p, fmt.Errorf("%w: args holds one of more than %d bytes or with a zero byte", tasks.ErrParams, maxArg)
		}
	}
	if p.Module != "" && (len(p.Module) > maxPath || !fs.ValidPath(p.Module) || p.Module == ".") {
		return p, fmt.Errorf("%w: module is %.80q, want a path in the input such as %q, or a CID", tasks.ErrParams, p.Module, "tools/count.wasm")
	}
	return p, params.Range("memory", p.Memory, 1, MaxMemory)
}

// Carries says which file every part of the input carries along: under this name, the file at this path of the input or,
// if the path is a CID, that file.
func (Kind) Carries(b []byte) (name, path string, err error) {
	p, err := decode(b)
	if err != nil {
		return "", "", err
	}
	if p.Module == "" {
		return "", "", fmt.Errorf("%w: module is missing: name the module by its path in the input, or by its CID", tasks.ErrParams)
	}
	return ModuleFile, p.Module, nil
}

// WithFile names the module in the parameters, which must name none yet.
func (Kind) WithFile(b []byte, path string) ([]byte, error) {
	p, err := decode(b)
	if err != nil {
		return nil, err
	}
	if p.Module != "" {
		return nil, fmt.Errorf("%w: the module is named twice: %.80q and %.80q", tasks.ErrParams, p.Module, path)
	}
	p.Module = path
	return params.Canonical(p)
}

// Checkpoints implements tasks.Checkpointer.
func (Kind) Checkpoints(b []byte) bool {
	p, err := decode(b)
	return err == nil && p.Checkpoint
}

// Inspect finds out whether a module can be run at all, without making a program of it.
func (Kind) Inspect(ctx context.Context, b, module []byte) error {
	p, err := decode(b)
	if err != nil {
		return err
	}
	prog, err := compile(ctx, wazero.NewRuntimeConfigInterpreter(), module, p.Memory)
	if err != nil {
		return err
	}
	prog.close()
	return nil
}

// Errors of modules. The wrapped text says what is wrong with the module at hand.
var (
	ErrModule = errors.New("the module cannot be run")
	ErrExit   = errors.New("the module ended with an error")
)

// Run implements tasks.Kind.
func (k Kind) Run(ctx context.Context, c *tasks.Call) error {
	p, err := decode(c.Params)
	if err != nil {
		return err
	}
	return k.run(ctx, c, &p)
}
