package submit_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/job"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/submit"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// carrier is a fetcher with a will of its own.
type carrier struct {
	fetcher
	do func(ctx context.Context, f fetcher, from tasks.NodeID, root dag.CID) error
}

func (c carrier) FetchCheckpoint(ctx context.Context, from tasks.NodeID, _ tasks.LeaseID, root dag.CID, _ int64) error {
	return c.do(ctx, c.fetcher, from, root)
}

// slow is a store that takes its time.
type slow struct{ storage.Blobs }

func (s slow) PutMany(ctx context.Context, blocks []storage.Block) error {
	time.Sleep(time.Second)
	return s.Blobs.PutMany(ctx, blocks)
}

// deaf is a fetcher to which nothing comes.
type deaf struct{}

func (deaf) FetchInput(context.Context, work.Input, func([]dag.CID)) error {
	return errors.New("nothing comes")
}

// A task that its worker hands back goes on at the next one from where it was; and from the beginning where that cannot be.
func TestTaskMovesWithItsCheckpoint(t *testing.T) {
	paused := tasks.Reason{Code: tasks.Paused}
	for _, c := range []struct {
		name    string
		why     tasks.Reason
		leave   func(int, string)
		submit  func(*world, *submit.Options)
		second  func(*work.Options)
		old     int // the first or the second node is of the version before
		fails   int // a run that begins there fails
		restart bool
		want    []int
		travels bool
	}{
		{name: "it comes in the message", want: []int{0, 6}, travels: true},
		{name: "its owner narrows the limits", why: tasks.Reason{Code: tasks.OverLimits}, want: []int{0, 6}, travels: true},
		{name: "it is fetched", leave: large, want: []int{0, 6}, travels: true},
		{name: "its node shuts down", restart: true, want: []int{0, 6}, travels: true},
		{name: "its node shuts down, and it is fetched", leave: large, restart: true, want: []int{0, 6}, travels: true},
		{name: "its node shuts down, and the disk is slow", restart: true, submit: func(_ *world, o *submit.Options) {
			o.Blobs = slow{o.Blobs}
		}, want: []int{0, 6}, travels: true},
		{name: "its node shuts down, and it takes a while to fetch", leave: large, restart: true, submit: func(w *world, o *submit.Options) {
			o.Carrier = carrier{fetcher{w}, func(ctx context.Context, f fetcher, from tasks.NodeID, root dag.CID) error {
				time.Sleep(time.Second)
				return f.FetchOutput(ctx, from, tasks.LeaseID{}, root)
			}}
		}, want: []int{0, 6}, travels: true},
		{name: "the kill switch", why: tasks.Reason{Code: tasks.Killed}, want: []int{0, 0}},
		{name: "it is too large", leave: large, submit: func(_ *world, o *submit.Options) { o.Checkpoints = 1 << 10 }, want: []int{0, 0}},
		{name: "its submitter wants none", submit: func(_ *world, o *submit.Options) { o.Checkpoints = -1 }, want: []int{0, 0}},
		{name: "it cannot be fetched", leave: large, submit: func(w *world, o *submit.Options) {
			o.Carrier = carrier{fetcher{w}, func(context.Context, fetcher, tasks.NodeID, dag.CID) error { return errors.New("no") }}
		}, want: []int{0, 0}},
		{name: "it does not come in time", leave: large, submit: func(w *world, o *submit.Options) {
			o.Carrier = carrier{fetcher{w}, func(ctx context.Context, _ fetcher, _ tasks.NodeID, _ dag.CID) error {
				<-ctx.Done()
				return ctx.Err()
			}}
		}, want: []int{0, 0}},
		{name: "only what fits a message comes", leave: large, submit: func(_ *world, o *submit.Options) { o.Carrier = nil }, want: []int{0, 0}},
		{name: "the first node is one from before", old: 1, want: []int{0, 0}},
		{name: "the second node is one from before", old: 2, want: []int{0, 0}},
		{name: "what the second node finds does not work", fails: 6, want: []int{0, 6, 0}, travels: true},
		{name: "what the second node finds is nothing it knows", leave: func(_ int, dir string) {
			_ = os.WriteFile(filepath.Join(dir, "step"), []byte("many"), 0o600)
		}, want: []int{0, 0}, travels: true},
		{name: "it comes with the lease", second: func(o *work.Options) { o.Fetcher = deaf{} }, want: []int{0, 6}, travels: true},
		{name: "the second node cannot fetch it", leave: large, second: func(o *work.Options) { o.Fetcher = deaf{} }, want: []int{0, 0}, travels: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.why.Code == "" {
					c.why = paused
				}
				p := newPath(t, 6, c.leave)
				p.kind.Fails = func(from int) error {
					if from > 0 && from == c.fails {
						return errors.New("what I find I do not understand")
					}
					return nil
				}
				p.submit(func(o *submit.Options) {
					if c.submit != nil {
						c.submit(p.world, o)
					}
				})
				made := 0
				p.machine = func(d *donor) {
					made++
					d.old = made == c.old
				}
				second := func(o *work.Options) {
					if c.second != nil {
						c.second(o)
					}
				}
				first := p.newDonor()
				id, err := p.submitter.Submit(t.Context(), walk(1))
				if err != nil {
					t.Fatal(err)
				}
				index := <-p.reached
				if c.restart {
					p.newDonor(second) // it is there already, and takes what is to be had
					p.announce(id)
					time.Sleep(5 * time.Second)
					first.stop()
				} else {
					if err := first.Pause(t.Context(), paused); err != nil { // it takes nothing any more
						t.Fatal(err)
					}
					synctest.Wait()
					p.end(index, c.why)
				}
				p.newDonor(second)
				p.announce(id)
				st := p.finish(id)
				p.mustFinish(st)
				if got := p.kind.Starts(); !slices.Equal(got, c.want) {
					t.Errorf("runs began at %v, want %v", got, c.want)
				}
				if got := p.output(st.Result); got != "ten" {
					t.Errorf("the result is %q", got)
				}
				if (st.Carried == 1) != c.travels {
					t.Errorf("%d leases went on elsewhere", st.Carried)
				}
			})
		})
	}
}

// What a task left on its way is for its submitter and its next worker alone, though its job is public; and is let go of when
// the task has its verdict.
func TestCheckpointsAreForNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(t, 6, large)
		p.submit()
		first := p.newDonor()
		id, err := p.submitter.Submit(t.Context(), walk(1))
		if err != nil {
			t.Fatal(err)
		}
		index := <-p.reached
		if err := first.Pause(t.Context(), tasks.Reason{Code: tasks.Paused}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.end(index, tasks.Reason{Code: tasks.Paused})
		synctest.Wait()
		find := func() (found dag.CID) {
			if err := p.submitter.Pins(t.Context(), func(c dag.CID) error {
				if _, err := dag.Lookup(t.Context(), p.submitter.blobs, c, "more"); err == nil {
					found = c
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return found
		}
		root := find()
		if !root.Defined() {
			t.Fatal("no checkpoint is kept")
		}
		_, stranger := key(99)
		serves := func(what string, got, want bool) {
			t.Helper()
			if got != want {
				t.Errorf("%s is served the checkpoint: %v", what, got)
			}
		}
		serves("the submitter", first.MayServe(p.submitter.id, root), true)
		serves("a stranger, by the worker", first.MayServe(stranger, root), false)
		serves("a stranger", p.submitter.MayServe(stranger, root), false)
		serves("who left it", p.submitter.MayServe(first.id, root), false)
		if slices.Contains(first.Shared(), root) {
			t.Error("it is announced by the worker")
		}
		if list, err := p.submitter.PublicInputs(t.Context()); err != nil || slices.Contains(list, root) {
			t.Errorf("it is announced: %v", err)
		}
		time.Sleep(3 * time.Minute)
		serves("the submitter, late", first.MayServe(p.submitter.id, root), false)
		waits := make(chan struct{})
		p.kind.Before = func(ctx context.Context, _ *tasks.Call, step int, _ string) {
			if step == 8 {
				waits <- struct{}{}
				<-waits
			}
		}
		second := p.newDonor()
		p.announce(id)
		<-waits
		serves("the next worker", p.submitter.MayServe(second.id, root), true)
		serves("a stranger, meanwhile", p.submitter.MayServe(stranger, root), false)
		st, err := p.submitter.Job(t.Context(), id)
		if err != nil || len(st.Moved) != 1 || st.Moved[0].Worker != second.id || st.Moved[0].Done != 6 || st.Moved[0].Total != 10 || st.Partly < 0.6 {
			t.Errorf("moved: %+v, %v tasks: %v", st.Moved, st.Partly, err)
		}
		waits <- struct{}{}
		p.mustFinish(p.finish(id))
		synctest.Wait()
		serves("the next worker, afterwards", p.submitter.MayServe(second.id, root), false)
		if find().Defined() {
			t.Error("it is kept of what is done")
		}
		if got := p.kind.Starts(); !slices.Equal(got, []int{0, 6}) {
			t.Errorf("runs began at %v", got)
		}
	})
}

// A liar leaves a checkpoint that makes an honest node's result a lie. Its neighbour cannot make that a quorum, and the honest
// node is not blamed.
func TestPoisonedCheckpointIsNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(t, 99, nil)
		p.submit(func(o *submit.Options) { o.LAN = false })
		here := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, n}) }
		id, err := p.submitter.Submit(t.Context(), walk(2))
		if err != nil {
			t.Fatal(err)
		}
		knows := func(x *puppet) *wire.Hello {
			h := x.hello()
			h.Ask.Kinds = []string{kindtest.StepsName}
			return h
		}
		liar := p.puppetAt(t, 50, here(1))
		liar.send(knows(liar))
		hear[*wire.Leases](liar)
		lease := liar.leases[0]
		if lease.Travel == nil || lease.Travel.From != nil {
			t.Fatalf("travel: %+v", lease.Travel)
		}
		join := func() *donor {
			d := p.newDonor()
			p.announce(id)
			time.Sleep(5 * time.Second) // it comes, and does what there is for it
			return d
		}
		honest := join()
		poison := p.folder(map[string]string{"step": "9", "word": "lie"})
		liar.send(&wire.Returned{Lease: lease.ID, Reason: tasks.Reason{Code: tasks.Paused}, Log: []string{}, Point: poison})
		liar.deaf()
		deceived := join()
		if got := p.kind.Starts(); !slices.Equal(got, []int{0, 9}) {
			t.Fatalf("runs began at %v", got)
		}
		colluder := p.puppetAt(t, 51, here(2))
		colluder.send(knows(colluder))
		colluder.deaf()
		synctest.Wait()
		time.Sleep(time.Second)
		list, err := p.submitter.Sessions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if (s.Worker == colluder.id || s.Worker == liar.id) && s.InFlight > 0 {
				t.Errorf("%s may vote on what the liar left", s.Worker.Short())
			}
		}
		if e, err := p.submitter.Explain(t.Context(), id); err != nil || !slices.ContainsFunc(e.Waits, func(w job.Wait) bool { return w.Reason.Code == tasks.NoDiverseNode }) {
			t.Errorf("explanation: %+v, %v", e.Waits, err)
		}
		p.newDonor()
		p.announce(id)
		st := p.finish(id)
		p.mustFinish(st)
		if got := p.output(st.Result); got != "ten" {
			t.Errorf("the result is %q", got)
		}
		if len(st.Blame) != 0 {
			t.Errorf("blamed: %+v", st.Blame)
		}
		for _, w := range st.Workers {
			if want := map[tasks.NodeID]int{honest.id: 1, deceived.id: 0, liar.id: 0, colluder.id: 0}; w.ID != p.donors[2].id && w.Accepted != want[w.ID] {
				t.Errorf("%s has %d results accepted", w.ID.Short(), w.Accepted)
			}
		}
	})
}

// A checkpoint that is not what its worker says costs that worker's successor time, and nobody anything else.
func TestBadCheckpointsAreLeftBehind(t *testing.T) {
	for name, spoil := range map[string]func(*tasks.Point){
		"more bytes than it says": func(p *tasks.Point) { p.Bytes = 0 },
		"other blocks":            func(p *tasks.Point) { p.Blocks[0] = append(bytes.Clone(p.Blocks[0]), 0) },
		"a block is missing":      func(p *tasks.Point) { p.Blocks = p.Blocks[1:] },
		"a block too many":        func(p *tasks.Point) { p.Blocks = append(p.Blocks, []byte("more")) },
		"nothing comes":           func(p *tasks.Point) { p.Blocks = nil },
		"a file, no folder": func(p *tasks.Point) {
			p.Root, p.Blocks = dag.Sum(dag.Raw, dag.SHA256, []byte("file")), [][]byte{[]byte("file")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPath(t, 99, nil)
				p.submit()
				id, err := p.submitter.Submit(t.Context(), walk(1))
				if err != nil {
					t.Fatal(err)
				}
				x := p.puppet(t, 50)
				h := x.hello()
				h.Ask = wire.Ask{Slots: 1, Kinds: []string{kindtest.StepsName}}
				x.send(h)
				hear[*wire.Leases](x)
				point := p.folder(map[string]string{"step": "9"})
				spoil(point)
				x.send(&wire.Ask{})
				x.send(&wire.Returned{Lease: x.leases[0].ID, Reason: tasks.Reason{Code: tasks.Paused}, Log: []string{}, Point: point})
				x.deaf()
				synctest.Wait()
				p.newDonor()
				p.announce(id)
				st := p.finish(id)
				p.mustFinish(st)
				if got := p.kind.Starts(); !slices.Equal(got, []int{0}) || st.Carried != 0 {
					t.Errorf("runs began at %v, %d carried", got, st.Carried)
				}
			})
		})
	}
}

// costly is an executor every run of which costs as much as it says, however it ends.
type costly struct {
	*execute.Executor
	millis int64
}

func (c costly) RunFrom(ctx context.Context, a tasks.Assignment, key [32]byte, from dag.CID, progress func(done, total int64)) (execute.Output, error) {
	out, err := c.Executor.RunFrom(ctx, a, key, from, progress)
	out.CPUMillis = c.millis
	return out, err
}

// Of a task that moved each node's receipt counts what it did itself; what was not done again is told apart.
func TestEachIsPaidForItsOwnPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(t, 6, nil)
		p.submit()
		costs := func(millis int64) func(*work.Options) {
			return func(o *work.Options) { o.Executor = costly{o.Executor.(*execute.Executor), millis} }
		}
		first := p.newDonor(costs(600))
		id, err := p.submitter.Submit(t.Context(), walk(1))
		if err != nil {
			t.Fatal(err)
		}
		index := <-p.reached
		if err := first.Pause(t.Context(), tasks.Reason{Code: tasks.Paused}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.end(index, tasks.Reason{Code: tasks.Paused})
		second := p.newDonor(costs(400))
		p.announce(id)
		st := p.finish(id)
		p.mustFinish(st)
		if st.Carried != 1 || st.Spared != 600 {
			t.Errorf("%d leases went on, %d ms were spared", st.Carried, st.Spared)
		}
		time.Sleep(time.Second)
		var lines []tasks.Receipt
		if err := p.submitter.Receipts(t.Context(), id, func(r *submit.Receipts) { lines = append(lines, r.Batch.Receipts...) }); err != nil {
			t.Fatal(err)
		}
		if len(lines) != 1 || lines[0].Worker != second.id || lines[0].Outcome != tasks.Accepted || lines[0].CPUMillis != 400 {
			t.Errorf("receipts: %+v", lines)
		}
	})
}

// A worker that hands task after task back, each with a large checkpoint, has but a few of them fetched at once.
func TestCheckpointsDoNotFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(t, 99, nil)
		var asked atomic.Int64
		p.submit(func(o *submit.Options) {
			o.Carrier = carrier{fetcher{p.world}, func(context.Context, fetcher, tasks.NodeID, dag.CID) error {
				asked.Add(1)
				return errors.New("there is none")
			}}
		})
		spec := walk(1)
		spec.Ops[0].Params = []byte(`{"tasks":20}`)
		id, err := p.submitter.Submit(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		x := p.puppet(t, 50)
		h := x.hello()
		h.Ask = wire.Ask{Slots: 20, Kinds: []string{kindtest.StepsName}}
		x.send(h)
		for len(x.leases) < 20 {
			hear[*wire.Leases](x)
		}
		x.send(&wire.Ask{})
		for i, l := range x.leases {
			x.send(&wire.Returned{Lease: l.ID, Reason: tasks.Reason{Code: tasks.Paused}, Log: []string{}, Point: &tasks.Point{
				Root: dag.Sum(dag.Raw, dag.SHA256, []byte{byte(i)}), Bytes: 1 << 20,
			}})
		}
		x.deaf()
		synctest.Wait()
		if n := asked.Load(); n != 8 {
			t.Errorf("%d were fetched at once, want 8", n)
		}
		p.newDonor()
		p.announce(id)
		p.mustFinish(p.finish(id))
	})
}
