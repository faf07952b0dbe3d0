package tasks

import (
	"context"
	"io"
	"io/fs"
)

// Mode is the shape of a stage.
type Mode string

// The modes of a stage.
const (
	Map    Mode = "map"    // task i reads output i of every stage it depends on, or part i of the job's input
	Reduce Mode = "reduce" // task r reads the files of key range r ("r/%04d") from every task of the stage before it
	Gather Mode = "gather" // one task, run by the submitter itself, reads all outputs of the stage before it and writes
	// one folder "%06d" for each map part
)

// Phase is one step a kind contributes to a job. A kind with one map phase is an ordinary map; etl.dedup, which must
// see the whole corpus, has four (sign: map, agree: reduce, resolve: gather, apply: map).
type Phase struct {
	Name string // what Call.Phase will hold
	Mode Mode
	// Also names earlier phases of the same kind whose output this phase reads too, after its natural input. A map
	// phase after a gather reads part i of the gather's output as In[0] and names in Also the map phase whose output i
	// it goes on from, as In[1].
	Also []string
}

// Comparison says when two results of a kind agree.
type Comparison string

// Comparisons.
const (
	Bitwise Comparison = "bitwise" // same root
	// Numeric results of one equivalence class must have the same root; between classes they may differ by the kind's
	// Tolerance.
	Numeric Comparison = "numeric"
	// Schema results agree if each of them is what the kind's schema of its output demands: for what has no one right
	// answer.
	Schema Comparison = "schema"
)

// Tolerance is by how much numeric results of a kind may differ between machines whose floats differ. The zero Tolerance
// allows nothing.
type Tolerance struct {
	Cosine      float64 // least cosine similarity of two rows of numbers; 0: not looked at
	MaxRelative float64 // largest relative error of any value; 0: not looked at
	Floor       float64 // a value smaller than this counts as this large, so that noise around zero is no error
}

// Description is what a kind says of itself.
type Description struct {
	Name       string     // "etl.dedup"
	Title      string     // one line for people
	Version    int        // changes whenever the output for the same input changes
	Schema     string     // JSON Schema of the parameters
	Phases     []Phase    // in order; at least one
	Needs      Needs      // least a node must have
	Limits     Limits     // defaults for one task with DefaultPartBytes of input
	Comparison Comparison // how replicas are compared
	Tolerance  Tolerance  // of Numeric
	Reusable   bool       // may one process run several tasks of one job
}

// Needs is the least a node must have for a kind.
type Needs struct {
	Class   DeviceClass
	Sandbox SandboxGrade
	Memory  int64 // bytes
	VRAM    int64 // bytes
	Input   bool  // the kind reads input; false for kinds like test.noop
}

// Kind is one kind of work. All methods are pure functions of their arguments and safe for concurrent use. Run and
// Merge are only ever called inside a sandbox, on inputs that may be hostile: they must bound what they allocate by
// what they were given, and return errors, never panic.
type Kind interface {
	Describe() Description
	// Check validates parameters (nil or empty: all defaults) and returns their canonical JSON, or an error that names
	// the field and what is allowed.
	Check(params []byte) ([]byte, error)
	// Run does one phase of one task. Its output must depend on nothing but the call: not on time, map order, number
	// of parts, processor or operating system.
	Run(ctx context.Context, c *Call) error
	// Merge joins the outputs c.In[0..] of neighbouring parts, in order, into one of the same form. It is associative:
	// any grouping gives the same bytes, and merging a single output gives that output.
	Merge(ctx context.Context, c *Call) error
}

// CheckpointDir is the folder of Call.Scratch in which a Checkpointer finds what an attempt before left there.
const CheckpointDir = "checkpoint"

// Checkpointer is a Kind whose Run can go on from where an earlier attempt at the same task was ended: by the owner of the
// machine, by its shutdown, by a kill. Whatever lies in CheckpointDir then is there again when the task is tried again, here
// or on another machine, and the output must be the same as if it had never been ended. Who made it may have lied: Run trusts
// it no more than its input. Run may be ended at any moment, and must keep the folder so
// that it can be gone on from at every moment: it writes a file under another name and renames it. Large folders
// (execute.MaxCheckpoint) are not kept.
type Checkpointer interface {
	// Checkpoints reports whether Run makes use of this under these parameters.
	Checkpoints(params []byte) bool
}

// Fingerprinter is a Kind with Comparison Numeric that computes with something that is not part of this program: the
// fingerprint names it and its version, so that results are compared only between machines that use the same.
type Fingerprinter interface {
	Fingerprint() string
}

// Numbered is a Kind with Comparison Numeric: it says what numbers stand in an output. Like Run, Numbers is only ever
// called inside a sandbox.
type Numbered interface {
	// Numbers decodes one output of the phase and parameters of c. An error means that it is no such output: then it agrees
	// with nothing but its own bytes.
	Numbers(ctx context.Context, c *Call, output fs.FS) (Numbers, error)
}

// Numbers is an output as a comparison looks at it: Exact must be the same in both, and the rows, as many in each, must
// agree within the kind's Tolerance one by one.
type Numbers struct {
	Exact [32]byte // a hash of everything else in the output, and of where its numbers stand
	Rows  [][]float64
}

// Validated is a Kind with Comparison Schema. Like Run, Validate is only ever called inside a sandbox.
type Validated interface {
	// Validate returns an error unless output is one that the phase and parameters of c may have.
	Validate(ctx context.Context, c *Call, output fs.FS) error
}

// Call is everything a running kind can see: never storage, network or clock.
type Call struct {
	Phase  string
	Params []byte   // canonical JSON
	Seed   [32]byte // of the job
	Stage  int
	Index  int // of the task in its stage: part number (map), key range (reduce)
	Parts  int // number of map parts of the job
	Ranges int // number of key ranges of the next reduce; a map phase before a reduce writes "r/%04d" for each
	// In holds one read-only file system for each input. A reduce gets one input per map part, in part order.
	In []fs.FS
	// Scratch is an empty folder of the task's own, wiped afterwards; but see Checkpointer.
	Scratch string
	// Prepared is a folder, to be read alone, with what the kind once made of the file that its inputs carry along, in a
	// process of its own: code compiled for this machine, for example. Empty: there is none, and the kind does without.
	Prepared string
	Out      Output
	Log      func(format string, args ...any) // capped and redacted
	// Progress reports work done of total, in bytes of input. Cheap; may be called often.
	Progress func(done, total int64)
}

// Output is where a call leaves its result: a folder of files.
type Output interface {
	// Create opens a new file. The name is slash-separated and valid by fs.ValidPath; folders appear by themselves.
	Create(name string) (io.WriteCloser, error)
	// Pass hands the file from of input in (a file system of Call.In) on as name without copying where possible.
	Pass(in fs.FS, from, name string) error
}

// Registry finds kinds by name.
type Registry interface {
	Kind(name string) (Kind, error) // ErrUnknownKind
	Names() []string                // sorted
}
