package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/cpuid/v2"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"kith/tasks"
)

// program is a compiled module and what instances of it live in.
type program struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
	code    wazero.CompilationCache // its machine code, if that was loaded; else nil
}

// cache keeps the program that was last compiled: a runner serves one job, whose tasks all have the same module.
type cache struct {
	mu  sync.Mutex
	key cacheKey
	p   *program
	// users counts runs of p; a program that was replaced is closed by its last.
	users map[*program]int

	compiled, loaded int // so far
}

type cacheKey struct {
	sum      [32]byte
	memory   int64
	stopping bool
}

// get returns the program of the module code, loaded from the folder prepared if it is there, or compiled. done must be
// called when it is no longer used.
func (c *cache) get(ctx context.Context, code []byte, memory int64, prepared string) (p *program, done func(), err error) {
	// What can be cancelled is compiled with checks for that; what is ended by ending its process does without.
	key := cacheKey{sha256.Sum256(code), memory, ctx.Done() != nil}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.p == nil || c.key != key {
		config := wazero.NewRuntimeConfig().WithCloseOnContextDone(key.stopping)
		fresh := load(ctx, config, code, memory, prepared)
		if fresh != nil {
			c.loaded++
		} else if fresh, err = compile(ctx, config, code, memory); err != nil {
			return nil, nil, err
		} else {
			c.compiled++
		}
		old := c.p
		c.p, c.key = fresh, key
		if old != nil && c.users[old] == 0 {
			old.close()
		}
	}
	if c.users == nil {
		c.users = map[*program]int{}
	}
	p = c.p
	c.users[p]++
	return p, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.users[p]--; c.users[p] == 0 {
			delete(c.users, p)
			if p != c.p {
				p.close()
			}
		}
	}, nil
}

func (p *program) close() {
	_ = p.runtime.Close(context.Background())
	if p.code != nil {
		_ = p.code.Close(context.Background())
	}
}

// load returns a program whose machine code lies in a folder, or nil. The folder cannot be written to, so that code is
// never compiled into it.
func load(ctx context.Context, config wazero.RuntimeConfig, code []byte, memory int64, prepared string) *program {
	if prepared == "" {
		return nil
	}
	from, err := wazero.NewCompilationCacheWithDir(prepared)
	if err != nil {
		return nil
	}
	p, err := compile(ctx, config.WithCompilationCache(from), code, memory)
	if err != nil { // whatever is wrong with the module will be said when it is compiled
		_ = from.Close(ctx)
		return nil
	}
	p.code = from
	return p
}

// Prepared names the form of machine code that Prepare makes here.
func (Kind) Prepared() string {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/tetratelabs/wazero" {
				version = m.Version
			}
		}
	}
	return fmt.Sprintf("wazero %s %s/%s %s", version, runtime.GOOS, runtime.GOARCH, cpuid.CPU.FeatureSet())
}

// Prepare compiles the module and runs none of it. Nothing may have been run in this process before.
func (k Kind) Prepare(ctx context.Context, c *tasks.Call) error {
	p, err := decode(c.Params)
	if err != nil {
		return err
	}
	if len(c.In) == 0 || c.Scratch == "" {
		return errors.New("a module needs an input and a scratch folder")
	}
	code, err := moduleOf(c.In[0])
	if err != nil {
		return err
	}
	dir := filepath.Join(c.Scratch, "wasm-code")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	to, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return err
	}
	defer to.Close(ctx)
	prog, err := compile(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(ctx.Done() != nil).WithCompilationCache(to), code, p.Memory)
	if err != nil {
		return err
	}
	prog.close()
	return passAll(ctx, dir, c.Out)
}

// passAll hands on every file of a folder.
func passAll(ctx context.Context, dir string, out tasks.Output) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return out.Pass(root.FS(), name, name)
	})
}

const wasi = wasi_snapshot_preview1.ModuleName

// compile checks that the module is one that can be run here.
func compile(ctx context.Context, config wazero.RuntimeConfig, code []byte, memory int64) (_ *program, err error) {
	if !bytes.HasPrefix(code, []byte("\x00asm")) {
		return nil, fmt.Errorf("%w: it is not WebAssembly: it begins with %q", ErrModule, code[:min(len(code), 8)])
	}
	pages := uint32(min(memory<<4, 1<<16)) // of 64 KiB
	r := wazero.NewRuntimeWithConfig(ctx, config.WithMemoryLimitPages(pages).WithDebugInfoEnabled(false))
	p := &program{runtime: r}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.module, err = r.CompileModule(ctx, code); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrModule, firstLine(err))
	}
	start, ok := p.module.ExportedFunctions()["_start"]
	if !ok || len(start.ParamTypes()) > 0 || len(start.ResultTypes()) > 0 {
		return nil, fmt.Errorf("%w: it exports no function _start: build it as a WASI command (Go: GOOS=wasip1 GOARCH=wasm)", ErrModule)
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	if err := imports(p.module, r.Module(wasi)); err != nil {
		return nil, err
	}
	return p, nil
}

// imports refuses what is not given.
func imports(m wazero.CompiledModule, host api.Module) error {
	var missing []string
	given := host.ExportedFunctionDefinitions()
	for _, f := range m.ImportedFunctions() {
		if module, name, _ := f.Import(); module != wasi || given[name] == nil {
			missing = append(missing, fmt.Sprintf("%.40q.%.40q", module, name))
		}
	}
	for _, mem := range m.ImportedMemories() {
		module, name, _ := mem.Import()
		missing = append(missing, fmt.Sprintf("%.40q.%.40q", module, name))
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	more := ""
	if n := len(missing); n > 5 {
		missing, more = missing[:5], fmt.Sprintf(" and %d more", n-5)
	}
	return fmt.Errorf("%w: it imports %s%s; only %s is given", ErrModule, strings.Join(missing, ", "), more, wasi)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line[:min(len(line), 200)]
}
