package tasks

import "kith/storage/dag"

// Sensitivity says who may see a job's inputs. Untagged means private.
type Sensitivity string

// The four sensitivities. Private data is never offered, announced or served to another node.
const (
	Public    Sensitivity = "public"    // announced and served freely
	Synthetic Sensitivity = "synthetic" // made up; treated as public
	Approved  Sensitivity = "approved"  // its owner agreed to this job: sealed per task, the key travels in the lease
	Private   Sensitivity = "private"   // computed on the owner's machine alone
)

// DeviceClass is what a task needs or a node has.
type DeviceClass string

// Device classes, weakest first.
const (
	CPU     DeviceClass = "cpu"
	WeakGPU DeviceClass = "weak-gpu"
	HighGPU DeviceClass = "high-gpu"
)

// Rank puts device classes in order: who has a higher one can do the work of a lower. What is no class ranks as CPU.
func (d DeviceClass) Rank() int {
	switch d {
	case HighGPU:
		return 2
	case WeakGPU:
		return 1
	}
	return 0
}

// SandboxGrade says how strongly a node confines foreign work. Higher is stronger.
type SandboxGrade int

// Sandbox grades. What each promises is documented in tasks/sandbox.
const (
	GradeNone    SandboxGrade = 0 // nothing may run
	GradeProcess SandboxGrade = 1 // a child process with limits, killed with its tree
	GradeB       SandboxGrade = 2 // a restricted process, caps by sampling
	GradeA       SandboxGrade = 3 // a restricted process, exact caps
)

// Op is one step of the user's pipeline: a kind and its parameters.
type Op struct {
	Kind   string `cbor:"kind" json:"kind"`     // for example "etl.dedup"
	Params []byte `cbor:"params" json:"params"` // canonical JSON, as Kind.Check returned it
}

// Policy is what the submitter demands of those who do the work.
type Policy struct {
	K            int          `cbor:"k" json:"k"`                         // agreeing results needed for a verdict
	N            int          `cbor:"n" json:"n"`                         // executions of one task at most before it is given up
	DeviceClass  DeviceClass  `cbor:"class" json:"class"`                 // needed device class
	Regions      []string     `cbor:"regions" json:"regions,omitempty"`   // allowed regions (ISO country or wider area codes); empty: any
	Excluded     []string     `cbor:"excluded" json:"excluded,omitempty"` // refused regions
	NodeLimit    int          `cbor:"nodes" json:"nodes"`                 // distinct nodes this job may use; 0: DefaultNodeLimit
	MinSandbox   SandboxGrade `cbor:"sandbox" json:"sandbox"`
	Deadline     int64        `cbor:"deadline" json:"deadline"` // Unix milliseconds; 0: none
	SessionsWant int          `cbor:"want" json:"want"`         // sessions asked for in offers; 0: chosen from k and the number of tasks
	// Strict says that a node's own word on where it is counts for nothing: it must be seen in an allowed region, by the
	// address it connects from and by how far it is. Nodes of which nobody can see that are refused.
	Strict bool `cbor:"strict,omitempty" json:"strict,omitempty"`
	// MinGrade is the lowest grade band a node may have, in tenths of the scale; 0: any, ungraded ones too.
	MinGrade int `cbor:"grade,omitempty" json:"minGrade,omitempty"`
	// AimMillis is what one task should take, about: parts of an input whose size the spec does not name are cut by what
	// such work took before. 0: the usual.
	AimMillis int64 `cbor:"aim,omitempty" json:"aimMillis,omitempty"`
	// Replication says whether every task needs K agreeing results; "" is Fixed.
	Replication Replication `cbor:"rep,omitempty" json:"replication,omitempty"`
}

// Replication is how results are checked.
type Replication string

// The forms of replication.
const (
	// Fixed compares K results of every task. Its verdicts are final.
	Fixed Replication = "fixed"
	// Adaptive believes nodes that have earned it alone, audits them by late replicas, and takes their results back when
	// one of them is proven to have lied. Newcomers are compared as under Fixed.
	Adaptive Replication = "adaptive"
)

// DefaultNodeLimit bounds how many nodes one request uses unless its owner explicitly lifts it.
const DefaultNodeLimit = 64

// Limits are the ceilings of one task. Zero means the kind's default.
type Limits struct {
	WallMillis   int64 `cbor:"wall" json:"wallMillis"`   // running time
	CPUMillis    int64 `cbor:"cpu" json:"cpuMillis"`     // processor time
	MemoryBytes  int64 `cbor:"mem" json:"memoryBytes"`   // address space or group limit of the task's whole tree
	ScratchBytes int64 `cbor:"disk" json:"scratchBytes"` // scratch and output files together
	OutputBytes  int64 `cbor:"out" json:"outputBytes"`   // declared size of the result
	LogBytes     int64 `cbor:"log" json:"logBytes"`      // kept log lines
	VRAMBytes    int64 `cbor:"vram" json:"vramBytes"`    // GPU memory
	Processes    int64 `cbor:"procs" json:"processes"`   // processes and threads
}

// Spec is the whole of a request, stored as one DAG-CBOR block whose CID is the spec root.
type Spec struct {
	Version     int         `cbor:"v" json:"version"` // SpecVersion
	Network     string      `cbor:"net" json:"network"`
	Name        string      `cbor:"name" json:"name"` // a label for people, at most 200 bytes
	Ops         []Op        `cbor:"ops" json:"ops"`
	Input       dag.CID     `cbor:"input" json:"input"` // root directory of the input; undefined for kinds that need none
	Policy      Policy      `cbor:"policy" json:"policy"`
	Limits      Limits      `cbor:"limits" json:"limits"`
	Sensitivity Sensitivity `cbor:"sens" json:"sensitivity"`
	PartBytes   int64       `cbor:"part" json:"partBytes"` // wanted input bytes a task; 0: as Policy.AimMillis says, else DefaultPartBytes
	Seed        [32]byte    `cbor:"seed" json:"-"`         // source of every random choice inside the kinds
	Nonce       Nonce       `cbor:"nonce" json:"-"`
}

// SpecVersion is the version of Spec this program writes and reads.
const SpecVersion = 1

// DefaultPartBytes is the input a task gets unless the spec says otherwise.
const DefaultPartBytes = 4 << 20

// Job is an accepted request.
type Job struct {
	ID        JobID   `cbor:"id" json:"id"`
	Submitter NodeID  `cbor:"by" json:"submitter"`
	SpecRoot  dag.CID `cbor:"root" json:"specRoot"`
	Spec      Spec    `cbor:"spec" json:"spec"`
	Created   int64   `cbor:"at" json:"created"` // Unix milliseconds
}
