package submit_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/submit"
	"kith/tasks/work"
)

// fault is a place at which a process is killed: as it writes record at of its log, which is lost, or is the last thing
// that reaches the disk (kept) while nobody hears that it did.
type fault struct {
	at   int
	kept bool
}

func (f fault) String() string {
	if f.kept {
		return fmt.Sprintf("record %d is written", f.at)
	}
	return fmt.Sprintf("record %d is lost", f.at)
}

// arm makes the first of some logs that gets to a fault die there, and closes hit.
func arm(logs []*memLog, f fault, hit chan struct{}) {
	var once sync.Once
	for _, l := range logs {
		l.mu.Lock()
		l.fault = f
		l.hit = func() (first bool) {
			once.Do(func() { first = true; close(hit) })
			return first
		}
		l.mu.Unlock()
	}
}

// died reports whether the log has come to its fault.
func (l *memLog) died() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lossy
}

// faulty is a small job with everything a job has: parts, a reduce, a gather, merges.
func faulty(w *world, input dag.CID) tasks.Spec {
	if _, err := w.kinds.Kind(kindtest.StepsName); err == nil { // each task is ended once, and moves with what it left
		spec := walk(1)
		spec.Ops[0].Params = []byte(`{"tasks":6}`)
		return spec
	}
	if w.machine != nil { // each task waits for a result of every machine, since only then it is known which is the smallest
		return tasks.Spec{
			Ops: []tasks.Op{{Kind: "etl.vector", Params: []byte(`{"dimensions":16}`)}}, Input: input, Sensitivity: tasks.Public,
			PartBytes: 1 << 10, Policy: tasks.Policy{K: 3, N: 4},
		}
	}
	if input.Defined() {
		return tasks.Spec{Ops: []tasks.Op{{Kind: "etl.dedup"}}, Input: input, Sensitivity: tasks.Public, PartBytes: 1 << 10}
	}
	return noop(20)
}

// outcome runs one job to its end, with a process that is killed at a fault, and returns its result and how many records
// the log of that process has.
func outcome(t *testing.T, corpus map[string][]byte, machine func(*donor), moves bool, side string, f fault) (result dag.CID, records int) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, corpora())
		switch {
		case moves:
			p := newPath(t, 5, func(index int, dir string) {
				if index%2 == 1 {
					large(index, dir)
				}
			})
			w = p.world
			go func() {
				for {
					select {
					case index := <-p.reached:
						p.move(index)
					case <-t.Context().Done():
						return
					}
				}
			}()
		case corpus == nil:
			w = newWorld(t, nil)
		}
		w.machine = machine
		blobs := memstore.NewBlobs()
		var input dag.CID
		if corpus != nil {
			dir, err := dag.AddFiles(t.Context(), blobs, corpus)
			if err != nil {
				t.Fatal(err)
			}
			input = dir.Root
		}
		w.startSubmitter(newMemLog(t), newMemLog(t), blobs)
		for range 3 {
			w.newDonor()
		}
		victims := []*memLog{w.submitter.log}
		if side == "worker" { // the first of them that gets so far
			victims = nil
			for _, d := range w.donors {
				victims = append(victims, d.log.(*memLog))
			}
		}
		hit := make(chan struct{})
		if f.at > 0 {
			arm(victims, f, hit)
		}
		spec := faulty(w, input)
		spec.Nonce = tasks.Nonce{1}
		ctx, cancel := context.WithCancel(t.Context())
		id, err := submitted(ctx, w, spec, hit)
		cancel()
		for again := false; ; again = true {
			if err == nil {
				w.announce(id)
			}
			over := make(chan submit.Status, 1)
			fctx, stop := context.WithTimeout(t.Context(), 4*time.Hour)
			if err == nil {
				s := w.submitter
				go func() {
					var last submit.Status
					for st, err := range s.Follow(fctx, id) {
						if err != nil {
							break
						}
						last = st
					}
					over <- last
				}()
			}
			killed := false
			var last submit.Status
			select {
			case last = <-over:
			case <-hit:
				killed = true
			}
			if !killed || again {
				stop()
				if last.Phase != job.Finished {
					e, _ := w.submitter.Explain(t.Context(), id)
					t.Fatalf("%s, %s: the job is %s: %+v", side, f, last.Phase, e)
				}
				result = last.Result
				break
			}
			hit = nil
			if side == "worker" {
				for i, l := range victims {
					if l.died() {
						w.donors[i].crash(true)
					}
				}
			} else {
				w.crashSubmitter()
			}
			stop()
			if err == nil {
				<-over
			}
			if _, gone := w.submitter.Job(t.Context(), id); err != nil || gone != nil { // it was never accepted: its owner asks again
				id, err = w.submitter.Submit(t.Context(), spec)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.submitter.noneMergedTwice(t)
		if side == "worker" {
			w.accounted(t, f)
		}
		if left, carried := w.submitter.moves(t); moves && f.at == 0 && (left < 6 || carried == 0) {
			t.Errorf("%d checkpoints were left, %d went on elsewhere", left, carried)
		}
		for _, l := range victims {
			records = max(records, l.Len())
		}
	})
	return result, records
}

// accounted checks that every donor has a receipt, or can show a claim, for each of its results that was accepted.
func (w *world) accounted(t *testing.T, f fault) {
	t.Helper()
	time.Sleep(3 * time.Minute) // what is not signed for by then is claimed
	have := map[tasks.LeaseID]bool{}
	for _, d := range w.donors {
		if err := d.Receipts(t.Context(), tasks.NodeID{}, func(r *work.Receipts) {
			for i := range r.Batch.Receipts {
				have[r.Batch.Receipts[i].Lease] = true
			}
		}); err != nil {
			t.Fatal(err)
		}
		claims, err := d.Claims(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range claims {
			if _, err := claims[i].Verify(network); err != nil {
				t.Errorf("%s: %v", f, err)
			}
			for j := range claims[i].Leases {
				have[claims[i].Leases[j].Lease(d.id)] = true
			}
		}
	}
	if err := w.submitter.Receipts(t.Context(), tasks.JobID{}, func(r *submit.Receipts) {
		for i := range r.Batch.Receipts {
			if x := &r.Batch.Receipts[i]; x.Outcome == tasks.Accepted && !have[x.Lease] {
				t.Errorf("%s: a donor has neither a receipt nor a claim for an accepted result", f)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// submitted submits a job; it gives up when the submitter is killed meanwhile.
func submitted(ctx context.Context, w *world, spec tasks.Spec, hit chan struct{}) (tasks.JobID, error) {
	type answer struct {
		id  tasks.JobID
		err error
	}
	done, s := make(chan answer, 1), w.submitter
	go func() {
		id, err := s.Submit(ctx, spec)
		done <- answer{id, err}
	}()
	select {
	case a := <-done:
		return a.id, a.err
	case <-hit:
		return tasks.JobID{}, work.ErrStopped
	}
}

// Either side is killed at every record it writes, once just before and once just after the record is on the disk. The
// job ends with the result of an undisturbed run, and nothing is merged twice.
func TestKilledAtEveryRecord(t *testing.T) {
	corpus := map[string][]byte{}
	for i := range 8 {
		corpus[fmt.Sprintf("%02d.txt", i)] = bytes.Repeat(fmt.Appendf(nil, "some text that is in two files: %d\n", i/2), 30)
	}
	for _, c := range []struct {
		name    string
		corpus  map[string][]byte
		machine func(*donor)
		moves   bool
	}{{"map", nil, nil, false}, {"pipeline", corpus, nil, false}, {"numeric", corpus, twoClasses, false}, {"moves", nil, nil, true}} {
		want, _ := outcome(t, c.corpus, c.machine, c.moves, "submitter", fault{})
		for _, side := range []string{"submitter", "worker"} {
			t.Run(c.name+"/"+side, func(t *testing.T) {
				_, records := outcome(t, c.corpus, c.machine, c.moves, side, fault{})
				if records < 5 {
					t.Fatalf("only %d records", records)
				}
				step := 1
				switch {
				case os.Getenv("KITH_LONG") != "": // make fleet
				case testing.Short():
					step = 9
				case c.name == "pipeline":
					step = 4
				case c.name == "numeric":
					step = 3
				case c.moves:
					step = 5
				}
				for at := 1; at <= records; at += step {
					for _, kept := range []bool{false, true} {
						if got, _ := outcome(t, c.corpus, c.machine, c.moves, side, fault{at, kept}); got != want {
							t.Errorf("%s: the result is %s, want %s", fault{at, kept}, got, want)
						}
					}
				}
			})
		}
	}
}
