package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kith/tasks"
)

const (
	opProbe     Op = "probe"
	opExact     Op = "probe exact" // the same, but memory is not sampled
	probeFile      = "probe"
	probeLimit     = 5 * time.Second
	probeMemory    = 24 << 20
	probeWall      = 40 // milliseconds
	probeSecret    = "only the node may know"
)

// targets are what probes aim at: things of this process, made for them.
type targets struct {
	Secret string // a file
	TCP    string // a listener's address
	Unix   string // a listener's path
	PID    int    // this process
}

// SelfTest attacks a runner of the engine from inside, sets the engine's grade to what held, and reports. An engine whose
// limits do not hold gets tasks.GradeNone. It takes well under a second. On an error the grade is tasks.GradeNone too. Its
// files lie below scratch while it runs, where whoever wipes that folder finds what a killed process left of them.
func (e *Process) SelfTest(ctx context.Context, scratch string) (Report, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, probeLimit, errors.New("the sandbox's self-test took too long"))
	defer cancel()
	e.setGrade(tasks.GradeNone)
	var r Report
	err := e.attackItself(ctx, scratch, &r)
	r.Layers, r.Missing, r.Took = e.Layers(), e.missing(), time.Since(began)
	if err != nil {
		return r, fmt.Errorf("sandbox self-test: %w", err)
	}
	r.Grade = r.Layers.grade()
	for _, f := range r.Findings {
		if !f.Held {
			r.Grade = min(r.Grade, f.Grade)
		}
	}
	e.setGrade(r.Grade)
	return r, nil
}

func (e *Process) setGrade(g tasks.SandboxGrade) {
	e.mu.Lock()
	e.grade = g
	e.mu.Unlock()
}

// ProbePrefix is how the names of SelfTest's folders begin.
const ProbePrefix = "kith-sandbox-"

// maxSocket is the longest path at which every system lets a Unix socket be, in bytes.
const maxSocket = 100

func (e *Process) attackItself(ctx context.Context, scratch string, r *Report) (err error) {
	if len(scratch)+len("/"+ProbePrefix+"1234567890/socket") > maxSocket {
		scratch = "" // the system's folder for what is temporary
	}
	dir, err := os.MkdirTemp(scratch, ProbePrefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, Wipe(dir)) }()
	t, done, err := aim(dir)
	if err != nil {
		return err
	}
	defer done()
	own := filepath.Join(dir, "runner")
	for _, d := range []string{own, filepath.Join(own, InDir), filepath.Join(own, OutDir), filepath.Join(own, TmpDir)} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	run, err := e.Open(ctx, tasks.JobID{}, own)
	if err != nil {
		return err
	}
	defer run.Close()
	params, err := json.Marshal(t)
	if err != nil {
		return err
	}
	w := Work{
		Op: opProbe, Steps: []tasks.Step{{Params: params}}, Inline: 64 << 10, Scratch: filepath.Join(own, TmpDir),
		Limits: tasks.Limits{WallMillis: 3000, CPUMillis: 3000, MemoryBytes: 64 << 20, ScratchBytes: 1 << 20, OutputBytes: 64 << 10, LogBytes: 4 << 10, Processes: 64},
	}
	res, err := run.Run(ctx, w)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(res.Inline[probeFile], &r.Findings); err != nil {
		return fmt.Errorf("%w: %v", errFrame, err)
	}
	if b, err := os.ReadFile(t.Secret); err != nil || string(b) != probeSecret {
		r.Findings = append(r.Findings, Finding{Name: "change the node's files", Grade: tasks.GradeProcess})
	}
	// The limits, in the same runner and in one more: it must die of them.
	w.Steps = []tasks.Step{{Phase: "memory"}}
	w.Limits.MemoryBytes = probeMemory
	exact := false
	if e.Layers()&LayerCaps != 0 {
		if exact, err = e.mustBeExact(ctx, run, w, r); err != nil {
			return err
		}
	}
	if !exact {
		if !run.Alive() {
			if run, err = e.Open(ctx, tasks.JobID{}, own); err != nil {
				return err
			}
			defer run.Close()
		}
		if err := e.mustDie(ctx, run, w, tasks.MemoryLimit, r); err != nil {
			return err
		}
	}
	if run, err = e.Open(ctx, tasks.JobID{}, own); err != nil {
		return err
	}
	defer run.Close()
	w.Steps = []tasks.Step{{Phase: "spin"}}
	w.Limits.WallMillis = probeWall
	return e.mustDie(ctx, run, w, tasks.TimeLimit, r)
}

func (e *Process) mustDie(ctx context.Context, run Runner, w Work, want tasks.Code, r *Report) error {
	began := time.Now()
	res, err := run.Run(ctx, w)
	var why tasks.Reason
	f := Finding{Name: "pass the " + strings.ReplaceAll(string(want), "-", " "), Grade: tasks.GradeNone, Detail: fmt.Sprint(err)}
	f.Held = errors.As(err, &why) && why.Code == want && !run.Alive()
	r.Findings = append(r.Findings, f)
	switch {
	case want == tasks.TimeLimit:
		r.Overshoot.Wall = max(0, time.Since(began)-millis(w.Limits.WallMillis))
	case res.PeakMemory > w.Limits.MemoryBytes:
		r.Overshoot.Memory = res.PeakMemory - w.Limits.MemoryBytes
	default: // the kernel refused address space before a sample was taken
		r.Overshoot.Memory = memorySlack
	}
	return ctx.Err()
}

func (e *Process) missing() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.why, "; ")
}

// mustBeExact finds out whether the kernel itself ends a runner that passes its memory limit, while nobody else looks.
func (e *Process) mustBeExact(ctx context.Context, run Runner, w Work, r *Report) (bool, error) {
	w.Op = opExact
	_, err := run.Run(ctx, w)
	f := Finding{Name: "pass the memory limit between samples", Grade: tasks.GradeB, Detail: fmt.Sprint(err)}
	f.Held = err != nil && run.(*runner).child.oom
	r.Findings = append(r.Findings, f)
	return f.Held, ctx.Err()
}

// aim makes the targets, in dir and on loopback. done removes what is not in dir.
func aim(dir string) (t targets, done func(), err error) {
	t = targets{Secret: filepath.Join(dir, "secret"), Unix: filepath.Join(dir, "socket"), PID: os.Getpid()}
	if err := os.WriteFile(t.Secret, []byte(probeSecret), 0o600); err != nil {
		return t, nil, err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return t, nil, err
	}
	t.TCP = tcp.Addr().String()
	unix, err := net.Listen("unix", t.Unix)
	if err != nil {
		t.Unix = "" // a system without, or a path too long for one
		return t, func() { tcp.Close() }, nil
	}
	return t, func() { tcp.Close(); unix.Close() }, nil
}

// probe is the attacker: it runs in the runner.
func probe(c *tasks.Call) error {
	switch c.Phase {
	case "memory":
		var hold [][]byte
		for range 64 { // GiB would be another's memory if nothing stopped it
			b := make([]byte, 4<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			hold = append(hold, b)
		}
		time.Sleep(time.Second)
		_ = hold[len(hold)-1][0]
		return nil
	case "spin":
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
		}
		return nil
	}
	var t targets
	if err := json.Unmarshal(c.Params, &t); err != nil {
		return err
	}
	var list []Finding
	try := func(name string, grade tasks.SandboxGrade, attack func() error) {
		f := Finding{Name: name, Grade: grade, Detail: "done"}
		if err := attack(); err != nil {
			f.Held, f.Detail = true, cut(err.Error(), 200)
		}
		list = append(list, f)
	}
	try("read the node's files", tasks.GradeProcess, func() error {
		_, err := os.ReadFile(t.Secret)
		return err
	})
	try("write among the node's files", tasks.GradeProcess, func() error {
		return os.WriteFile(t.Secret, []byte("changed"), 0o600)
	})
	try("list the node's files", tasks.GradeProcess, func() error {
		_, err := os.ReadDir(filepath.Dir(t.Secret))
		return err
	})
	try("reach the network", tasks.GradeProcess, func() error {
		conn, err := net.DialTimeout("tcp", t.TCP, time.Second)
		if err != nil {
			return err
		}
		return errors.Join(conn.Close())
	})
	if t.Unix != "" {
		try("reach a local service", tasks.GradeProcess, func() error {
			conn, err := net.DialTimeout("unix", t.Unix, time.Second)
			if err != nil {
				return err
			}
			return errors.Join(conn.Close())
		})
	}
	probeSystem(&t, try)
	out, err := json.Marshal(list)
	if err != nil {
		return err
	}
	f, err := c.Out.Create(probeFile)
	if err != nil {
		return err
	}
	_, err = f.Write(out)
	return errors.Join(err, f.Close())
}
