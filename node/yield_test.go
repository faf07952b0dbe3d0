package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"kith/node/owner"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/sandbox"
)

// BenchmarkYield measures how long the whole node needs to get out of the way: real tasks in real sandboxes, a user who
// touches the keyboard, and the guard that looks, halts and measures. It prints the 99th of a hundred, in milliseconds.
func BenchmarkYield(b *testing.B) {
	home := b.TempDir()
	executor, engine, err := OpenRunners(execute.Options{Blobs: memstore.NewBlobs(), Kinds: kinds.All(), Scratch: filepath.Join(home, "scratch")}, -1)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{}, 8)
	for i := range 4 {
		go func() {
			defer func() { ended <- struct{}{} }()
			_, _ = executor.Run(ctx, tasks.Assignment{
				Job: tasks.JobID{byte(i)}, Steps: []tasks.Step{{Kind: "test.burn", Phase: "run", Params: []byte(`{"tasks":1}`)}},
				Parts: 1, Limits: tasks.Limits{WallMillis: 3600_000, CPUMillis: 3600_000, MemoryBytes: 256 << 20},
			}, nil)
		}()
	}
	defer func() {
		cancel()
		engine.Kill()
		for range 4 {
			<-ended
		}
		if err := errors.Join(executor.Close(), engine.Close()); err != nil && !errors.Is(err, os.ErrNotExist) {
			b.Error(err)
		}
	}()
	for engine.Load().Lent < 4 {
		time.Sleep(10 * time.Millisecond)
	}
	limits := owner.Limits{Donate: true, Slots: 4, Memory: 4 << 30, Rules: owner.Rules{Active: owner.Shrunk, IdleAfter: time.Second}, InUse: owner.Caps{CPU: 0.25}, Processors: 2, HandBack: time.Hour}
	o, err := owner.Open(home, func() owner.Limits { return limits }, func() owner.Disk { return owner.Disk{} })
	if err != nil {
		b.Fatal(err)
	}
	input := make(chan time.Time, 1)
	input <- time.Now().Add(-time.Hour)
	touch := func(at time.Time) { <-input; input <- at }
	looked := make(chan struct{})
	first := sync.OnceFunc(func() { close(looked) })
	g := (&owner.Guard{
		Owner: o, Processors: 2,
		Read: func(context.Context, bool) owner.Readings {
			at := <-input
			input <- at
			return owner.Readings{Idle: owner.Seen(time.Since(at).Seconds(), 1e9, "")}
		},
		Load: func() owner.Load {
			l := engine.Load()
			return owner.Load{CPU: l.CPU, Lent: l.Lent}
		},
		Apply: func(v owner.Verdict, halt bool) {
			engine.SetCaps(sandbox.Caps{CPU: v.Processors, Halt: halt})
			first()
		},
	}).Init()
	go func() { _ = g.Serve(ctx) }()
	<-looked // whoever is there already when the guard first looks has not come
	for b.Loop() {
		before := o.Verdict().Comfort.Yields()
		touch(time.Now())
		for o.Verdict().Comfort.Yields() == before {
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(1200 * time.Millisecond) // they go on with less, and the user goes
		touch(time.Now().Add(-time.Hour))
		for o.Verdict().Level != owner.Full {
			time.Sleep(5 * time.Millisecond)
		}
	}
	c := o.Verdict().Comfort
	b.ReportMetric(float64(c.Quantile(0.5).Milliseconds()), "ms-yield-p50")
	b.ReportMetric(float64(c.Quantile(0.99).Milliseconds()), "ms-yield-p99")
}
