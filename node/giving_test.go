package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kith/bench/gpu"
	"kith/node/api"
	"kith/tasks"
	"kith/tasks/sandbox"
)

func TestGraphicsMemory(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		cards []gpu.Card
		want  int64
	}{
		"no card":           {nil, 0},
		"two cards":         {[]gpu.Card{{VRAM: 24 * gib}, {VRAM: 6 * gib}}, 30 * gib},
		"a silent driver":   {[]gpu.Card{{VRAM: 24 * gib}, {VRAM: -1}, {VRAM: 6 * gib, Problem: "the driver does not answer for it"}}, 24 * gib},
		"the machine's own": {[]gpu.Card{{VRAM: 8 * gib, Shared: true}}, 0},
		"a card in two":     {[]gpu.Card{{VRAM: 80 * gib, Split: true}, {VRAM: 40 * gib, Instance: true}, {VRAM: 20 * gib, Instance: true}}, 60 * gib},
		"less than nothing": {[]gpu.Card{{VRAM: -5}}, 0},
	} {
		if got := graphicsMemory(c.cards); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestWeakSandbox: a job that wants more than a node's sandbox is refused by name, and goes to one that has it.
func TestWeakSandbox(t *testing.T) {
	first := start(t, t.TempDir(), map[string]string{"work.donate": "off"})
	if g := first.live.Load().runners.report.Grade; g < tasks.GradeB {
		t.Skipf("this machine confines tasks with grade %d alone", g)
	}
	with := map[string]string{"peers.bootstrap": first.addr(t)}
	weak := startWithout(t, t.TempDir(), with, sandbox.LayerSyscalls)
	if s, err := weak.api.Status(t.Context()); err != nil || s.Sandbox.Grade != tasks.GradeProcess {
		t.Fatalf("grade %d, %v", s.Sandbox.Grade, err)
	}
	eventually(t, "they are connected", func() bool { p, err := first.api.Peers(t.Context()); return err == nil && len(p) == 1 })
	job := api.Submit{K: 1, Ops: []api.Op{{Kind: "test.noop"}}, Sensitivity: tasks.Public}
	if j := first.finished(t, first.submit(t, job).ID); j.State != "done" { // the node does work
		t.Fatalf("%+v", j)
	}
	job.MinSandbox = tasks.GradeB
	j := first.submit(t, job)
	weakly := func(list []api.Reason) bool {
		return slices.ContainsFunc(list, func(r api.Reason) bool { return r.Code == tasks.WeakSandbox })
	}
	eventually(t, "the job tells that the sandbox is too weak", func() bool {
		e, err := first.api.Explain(t.Context(), j.ID.String())
		var list []api.Reason
		for _, r := range e.Reasons {
			list = append(list, r.Reason)
		}
		return err == nil && weakly(list)
	})
	if d, err := first.api.Job(t.Context(), j.ID.String()); err != nil || d.Finished > 0 {
		t.Fatalf("it was done on a weak sandbox: %+v, %v", d, err)
	}
	start(t, t.TempDir(), with)
	first.finished(t, j.ID)
}

// TestKillEmptiesScratch: the kill switch leaves nothing of tasks that ran, or waited for their job's next, on the disk.
func TestKillEmptiesScratch(t *testing.T) {
	first, donors := meet(t, 1)
	scratch := filepath.Join(donors[0].home, scratchDir)
	files := func() (n int) {
		list, err := os.ReadDir(scratch)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	done := first.submit(t, api.Submit{K: 1, Ops: []api.Op{{Kind: "test.disk", Params: map[string]any{"bytes": 1 << 20}}}, Sensitivity: tasks.Public})
	first.finished(t, done.ID)
	j := first.submit(t, api.Submit{K: 1, Ops: []api.Op{{Kind: "test.sleep", Params: map[string]any{"millis": 60000}}}, Sensitivity: tasks.Public})
	eventually(t, "the task runs", func() bool {
		s, err := donors[0].api.Status(t.Context())
		return err == nil && len(s.Work.Running) == 1 && s.Work.Running[0].State == "running" && files() > 0
	})
	tmp, err := filepath.Glob(filepath.Join(scratch, "*", sandbox.TmpDir))
	left := 0
	for _, dir := range tmp { // what a task would leave; the folders of the first job may go meanwhile
		if os.WriteFile(filepath.Join(dir, "left"), []byte("x"), 0o600) == nil {
			left++
		}
	}
	if err != nil || left == 0 {
		t.Fatalf("no scratch folder of a task: %q, %v", tmp, err)
	}
	if _, err := donors[0].api.Owner(t.Context(), "kill"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "scratch is empty", func() bool { return files() == 0 })
	if l := donors[0].live.Load().runners.engine.Load(); l.Working != 0 || l.Memory != 0 {
		t.Errorf("after the kill %+v", l)
	}
	if _, err := first.api.Cancel(t.Context(), j.ID.String()); err != nil {
		t.Fatal(err)
	}
}

// TestPriority: two submitters want more than a node can do. Whose tasks come first is the owner's choice; where he has none,
// one that comes late with little gets as much as one that floods the node.
func TestPriority(t *testing.T) {
	for _, mode := range []string{"mine-first", "community-first", "balanced"} {
		t.Run(mode, func(t *testing.T) {
			mine := start(t, t.TempDir(), map[string]string{"work.donate": "off"})
			with := map[string]string{"peers.bootstrap": mine.addr(t), "work.donate": "off"}
			other := start(t, t.TempDir(), with)
			with["work.donate"], with["work.priority"], with["work.mine"] = "on", mode, mine.self.Node().String()
			donor := start(t, t.TempDir(), with)
			eventually(t, "all are connected", func() bool { p, err := donor.api.Peers(t.Context()); return err == nil && len(p) == 2 })
			ahead, behind := mine, other
			if mode == "community-first" {
				ahead, behind = other, mine
			}
			job := func(n int) api.Submit {
				return api.Submit{K: 1, Ops: []api.Op{{Kind: "test.sleep", Params: map[string]any{"tasks": n, "millis": 20}}}, Sensitivity: tasks.Public}
			}
			done := func(r *running, id tasks.JobID) int {
				j, err := r.api.Job(t.Context(), id.String())
				if err != nil {
					t.Fatal(err)
				}
				return j.Tasks.Done
			}
			const few, many = 20, 2000
			long := behind.submit(t, job(many)).ID
			eventually(t, "the long job is under way", func() bool { return done(behind, long) > 0 })
			short := ahead.submit(t, job(few)).ID
			var before, after, first int
			eventually(t, "the short job is done", func() bool {
				after = done(behind, long)
				n := done(ahead, short)
				if first == 0 && n > 0 {
					first, before = n, after
				}
				return n == few
			})
			// What was begun, and what was told late.
			most := 8
			if mode == "balanced" { // it is as many, but where one task takes long by chance; a queue would be longer
				most = 4 * few
			}
			if of := after - before; after == many || of > most {
				t.Errorf("while %d tasks of the one that comes first were done, so were %d of the other", few-first, of)
			}
			t.Logf("%d of %d, meanwhile %d of %d", few-first, few, after-before, many)
			if _, err := behind.api.Cancel(t.Context(), long.String()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
