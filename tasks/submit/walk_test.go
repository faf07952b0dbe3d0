package submit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/kinds"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/kinds/testkind"
	"kith/tasks/work"
)

// path is a world whose tasks take ten steps, and whose owners can end them.
type path struct {
	*world
	kind    *kindtest.Steps
	mu      sync.Mutex
	stops   map[int]func(tasks.Reason) // of the tasks at work, by their index
	where   map[int]*donor
	waits   map[int]bool // tasks that waited once
	reached chan int     // indices of tasks that wait to be ended
}

// newPath makes a world in which every task waits to be ended the first time it gets to a step, after leave, if not nil, was
// called with the folder of its checkpoint.
func newPath(t *testing.T, at int, leave func(index int, dir string)) *path {
	p := &path{kind: &kindtest.Steps{Kind: testkind.All()[0]}, stops: map[int]func(tasks.Reason){}, where: map[int]*donor{}, waits: map[int]bool{}, reached: make(chan int, 64)}
	p.world = newWorld(t, kinds.New(p.kind))
	p.donate = append(p.donate, func(d *donor, o *work.Options) {
		o.Admit = func(a tasks.Assignment, stop func(tasks.Reason)) (func(), *tasks.Reason) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.stops[a.Index], p.where[a.Index] = stop, d
			return nil, nil
		}
	})
	p.kind.Before = func(ctx context.Context, c *tasks.Call, step int, dir string) {
		if step != at {
			return
		}
		p.mu.Lock()
		twice := p.waits[c.Index]
		p.waits[c.Index] = true
		p.mu.Unlock()
		if twice {
			return
		}
		if leave != nil {
			leave(c.Index, dir)
		}
		p.reached <- c.Index
		<-ctx.Done()
	}
	return p
}

// end ends a task at work.
func (p *path) end(index int, why tasks.Reason) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stops[index](why)
}

// move has the owner of a donor that waits with a task end it, and want nothing for a second.
func (p *path) move(index int) {
	p.mu.Lock()
	at := p.where[index]
	p.mu.Unlock()
	for _, d := range p.running() {
		if d.donor == at {
			paused := tasks.Reason{Code: tasks.Paused}
			if d.driver.Pause(p.ctx, paused) == nil {
				p.end(index, paused)
				time.AfterFunc(time.Second, func() { _ = d.driver.Resume(p.ctx) })
			}
		}
	}
}

// large makes a checkpoint too large for a message.
func large(_ int, dir string) {
	_ = os.WriteFile(filepath.Join(dir, "more"), bytes.Repeat([]byte("0123456789abcdef"), 1<<14), 0o600)
}

// walk is a job of one task that k nodes decide.
func walk(k int) tasks.Spec {
	spec := noop(1)
	spec.Ops[0].Kind, spec.Policy = kindtest.StepsName, tasks.Policy{K: k, N: k + 2}
	return spec
}

// output is the word that a result holds.
func (p *path) output(root dag.CID) string {
	p.t.Helper()
	for f, err := range dag.Files(p.ctx, p.submitter.blobs, root) {
		if err != nil {
			p.t.Fatal(err)
		}
		r, err := dag.Open(p.ctx, p.submitter.blobs, f.Root)
		if err != nil {
			p.t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			p.t.Fatal(err)
		}
		return string(b)
	}
	return ""
}

// folder is a checkpoint that comes in a message.
func (p *path) folder(files map[string]string) *tasks.Point {
	p.t.Helper()
	content := map[string][]byte{}
	for name, text := range files {
		content[name] = []byte(text)
	}
	blobs := memstore.NewBlobs()
	dir, err := dag.AddFiles(p.ctx, blobs, content)
	if err != nil {
		p.t.Fatal(err)
	}
	point := &tasks.Point{Root: dir.Root, Bytes: dir.Size, Done: 9, Total: 10}
	seen := map[dag.CID]bool{}
	if err := dag.Walk(p.ctx, blobs, dir.Root, func(c dag.CID, data []byte) (bool, error) {
		if seen[c] {
			return false, nil
		}
		seen[c] = true
		point.Blocks = append(point.Blocks, data)
		return true, nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return point
}

// moves counts what the log says of checkpoints.
func (s *submitter) moves(t *testing.T) (left, carried int) {
	t.Helper()
	if err := s.log.Replay(0, func(_ uint64, rec []byte) error {
		if [32]byte(rec[:32]) == [32]byte{} {
			return nil // not about a job
		}
		ev, err := job.Decode(rec[40:])
		switch ev.(type) {
		case *job.Left:
			left++
		case *job.Carried:
			carried++
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return left, carried
}
