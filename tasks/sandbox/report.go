package sandbox

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"kith/tasks"
)

// Report says what an engine's attacks on itself found.
type Report struct {
	Grade     tasks.SandboxGrade
	Layers    Layers
	Missing   string // why other layers are not there, in the system's words
	Findings  []Finding
	Overshoot Overshoot
	Took      time.Duration
}

// Finding is one attack.
type Finding struct {
	Name   string
	Held   bool
	Grade  tasks.SandboxGrade // what the engine can promise at most if it did not hold
	Detail string             // what the attacker met with
}

// Overshoot is by how much an attacker that takes all it can passed its limits before it was ended. Where caps are exact,
// its memory is 0.
type Overshoot struct {
	Memory int64 // bytes
	Wall   time.Duration
}

// Broken lists the attacks that were not stopped.
func (r *Report) Broken() []string {
	var names []string
	for _, f := range r.Findings {
		if !f.Held {
			names = append(names, f.Name)
		}
	}
	return names
}

// Remedy is what the owner can do for a better grade, in words, or "" where there is nothing to be done.
func (r *Report) Remedy() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	var do []string
	if r.Layers&LayerNamespaces == 0 {
		do = append(do, "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)")
	}
	if r.Layers&(LayerRoot|LayerLandlock) == 0 || r.Layers&LayerSyscalls == 0 {
		do = append(do, "use a kernel with Landlock and seccomp, 5.13 or newer")
	}
	if r.Layers&LayerCaps == 0 {
		do = append(do, "run the node in control groups of its own: kith service install; sudo kith service install --system, where users are not handed the processor's controller; the same with --user root, where control groups are of version 1")
	}
	return strings.Join(do, "; ")
}

// Promise is what the grade means here, in words.
func (r *Report) Promise() string {
	s := map[tasks.SandboxGrade]string{
		tasks.GradeNone:    "nothing may run",
		tasks.GradeProcess: "a child process with limits, killed with its whole tree",
		tasks.GradeB:       "a restricted process, caps by sampling",
		tasks.GradeA:       "a restricted process, exact caps",
	}[r.Grade]
	if r.Layers&LayerNamespaces != 0 {
		s += ", without network or view of other processes"
	} else if offered&LayerNamespaces != 0 && r.Grade > tasks.GradeNone {
		s += "; this system refuses it namespaces of its own"
	}
	if r.Layers&LayerContainer != 0 {
		s += ", in a container without network"
	}
	if r.Overshoot.Memory > 0 && r.Grade > tasks.GradeNone {
		s += fmt.Sprintf("; a task may pass its memory limit by %d MB before it is ended", (r.Overshoot.Memory+999_999)/1_000_000)
	}
	return s
}
