// Package sandbox runs foreign and own work where it can do no harm. Engine is the face; the process engine runs a
// child of the same binary with time and memory limits and kills it with its whole tree. Stronger engines implement
// the same interface and pass the same conformance suite.
//
// What the grades promise:
//
//   - tasks.GradeNone: nothing; for simulations and tests (InProcess).
//   - tasks.GradeProcess: a process of its own with a clean environment; limits on wall time, processor time, memory,
//     files, output, log and processes, checked every 50 ms (files: see below) and, where the system can, by the
//     kernel; the whole tree ends together. No network where namespaces are available. Files that the node's user can
//     read are not hidden.
//   - tasks.GradeB: also reads, lists and changes no file but those in its folders, of which the inputs are read-only, by
//     a root of its own or by Landlock; reaches no network and no service, starts no process or program, and makes no
//     other system call than a Go program needs for files, memory, time and threads. Limits are as before: between two
//     samples a task may pass its memory limit by some 128 MiB, and its scratch limit by what it writes in 10 ms and in the
//     time of one walk over its files: some 20 MB to the system's cache. (Where the file system does not tell at once what
//     it has less of, in 250 ms.)
//   - tasks.GradeA: also memory (without swap), processes and threads, and processors in use are limited for the tree as a
//     whole by the kernel itself, through control groups: at no time is more in use. Disk space is still sampled.
//
// On macOS a runner confines itself by the system's own sandbox (LayerProfile), on Windows it has a restricted token of low
// integrity in a job object (LayerToken), which hides nothing that the user may read and does not cut the network, and, where
// the system has them, is in a container of its own that does both (LayerContainer). None of these is promised more than
// tasks.GradeProcess: no machine of ours has shown more. WebAssembly modules reach no file and no network by themselves, whatever the
// grade (see package kinds/wasm).
//
// Process.SelfTest finds the grade by attacks from inside. None of this defends against a flaw in the kernel or the
// processor that the calls left over can reach, or hides how fast the machine is.
package sandbox

import (
	"context"

	"kith/tasks"
)

// Engine opens runners. It is safe for concurrent use.
type Engine interface {
	Name() string
	Grade() tasks.SandboxGrade
	// Open starts, or takes from the warm spares, a runner for the tasks of one job. It must be closed. dir is an absolute
	// path to a folder that holds the folders InDir, OutDir and TmpDir, in which all files of the runner's work will lie:
	// the runner sees nothing else, and these must not be removed or replaced while it is open, only emptied. An empty
	// dir is for work without files.
	Open(ctx context.Context, job tasks.JobID, dir string) (Runner, error)
	// Kill ends every runner and its whole process tree at once and returns when they are gone. Open works afterwards.
	Kill()
	// Close kills everything and refuses further work.
	Close() error
}

// Runner runs tasks of one job, one after another. It is not safe for concurrent use, but Close may be called at any
// time and ends a Run in progress.
type Runner interface {
	// Run does the work. An error that is a tasks.Reason tells why the task failed (TimeLimit, MemoryLimit,
	// OutputLimit, ScratchLimit, TaskFailed); the runner may then be dead: Alive tells. Cancelling ctx kills the runner.
	Run(ctx context.Context, w Work) (Result, error)
	// Alive reports whether another Run may be tried.
	Alive() bool
	Close() error
}

// Op says which half of a kind runs.
type Op string

// The operations a runner knows.
const (
	OpRun   Op = "run"   // the steps of Work, one after another
	OpMerge Op = "merge" // Kind.Merge of the last step over all inputs
	// OpCompare says which of the inputs, outputs of the last step, agree as its kind demands (AgreementFile).
	OpCompare Op = "compare"
	OpSplit   Op = "split" // input listing → parts (see package tasks/execute)
	// OpPrepare has the kind of the first step make, of the file that its inputs carry along, what later goes into
	// Work.Prepared. It is done in a runner that does nothing else: what it makes is given to other jobs.
	OpPrepare Op = "prepare"
)

// Work is one thing to run.
type Work struct {
	Op     Op
	Steps  []tasks.Step
	Seed   [32]byte
	Stage  int
	Index  int
	Parts  int
	Ranges int
	// In holds the inputs of the first step: each a folder of files, either on disk, in InDir of the runner's folder, or,
	// when small, inline.
	In []Files
	// OutDir is an existing empty folder for output files that do not fit inline, Scratch one for everything else: OutDir
	// and TmpDir of the runner's folder.
	// Both may be empty strings if Inline is set: a task whose output fits needs no folder at all.
	OutDir, Scratch string
	// Prepared is a folder somewhere in InDir with what OpPrepare made; empty: none.
	Prepared string
	// Inline is the largest output, in bytes of all files together, to return in Result.Inline instead of in OutDir.
	Inline   int64
	Limits   tasks.Limits // no zero fields
	Progress func(done, total int64)
}

// Files is one input: the files of Dir, or Inline (slash-separated name → content) when Dir is empty.
type Files struct {
	Dir    string
	Inline map[string][]byte
}

// Result is what a run left behind.
type Result struct {
	Inline     map[string][]byte // set when the output fitted Work.Inline; else the files are in OutDir
	OnDisk     bool
	Log        []string
	WallMillis int64
	CPUMillis  int64 // of a run that was ended: as far as it was seen
	PeakMemory int64 // bytes, 0 if unknown
}
