package submit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// These tests say in full what a submitter believes and whom. Every node is a whole driver, joined to the others by
// pipes; only the dishonest ones are played by the test.

// A donor that returns wrong bytes is outvoted. The result is what honest donors alone make, the job names the donor, and
// the account that donor countersigned itself shows every one of its results that did not count.
func TestWrongBytesAreOutvotedAndNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		honest := newWorld(t, nil)
		honest.submit()
		honest.newDonor()
		honest.newDonor()
		want := honest.run(noop(20))
		honest.mustFinish(want)

		w := newWorld(t, nil)
		w.submit()
		bad := w.newDonor(func(o *work.Options) { o.Executor = liar{o.Executor} })
		w.newDonor()
		w.newDonor()
		w.gather(3)
		st := w.run(noop(20))
		w.mustFinish(st)
		synctest.Wait()
		time.Sleep(time.Second) // for the last receipts

		if st.Result != want.Result {
			t.Errorf("the result is %s, honest donors alone make %s", st.Result, want.Result)
		}
		e, err := w.submitter.Evidence(t.Context(), st.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Blame) != 1 || e.Blame[0].Worker != bad.id || e.Blame[0].Outcome != tasks.Outvoted || e.Blame[0].Count == 0 {
			t.Fatalf("the job blames %+v, want %s for results that were outvoted", e.Blame, bad.id.Short())
		}
		shown := 0
		for _, r := range e.Receipts {
			batch := wire.Batch{Submitter: w.submitter.id, Worker: r.Worker, Receipts: r.Batch.Receipts, Root: r.Batch.Root, Signed: r.Batch.Sig, Countered: r.Ack}
			if both, err := batch.Verify(network); err != nil || !both {
				t.Errorf("a batch of receipts of %s: signed by both %v, %v", r.Worker.Short(), both, err)
			}
			for _, line := range r.Batch.Receipts {
				if line.Job == st.ID && line.Outcome == tasks.Outvoted {
					if r.Worker != bad.id {
						t.Errorf("an honest donor was outvoted")
					}
					shown++
				}
			}
		}
		if shown != e.Blame[0].Count {
			t.Errorf("%d results were outvoted, the signed account shows %d", e.Blame[0].Count, shown)
		}
	})
}

// A lazy copier cannot learn a result before it is bound to one: nobody shows it the root or the bytes.
func TestNobodyShowsACopierTheResult(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		spec := tasks.Spec{Ops: []tasks.Op{{Kind: "test.noop", Params: []byte(`{"tasks":1,"bytes":3000000}`)}}, Sensitivity: tasks.Public}
		id, err := w.submitter.Submit(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		copier := w.puppet(t, 50).join()
		lease := copier.leases[0]
		honest := w.newDonor()
		w.announce(id)
		time.Sleep(5 * time.Second)

		// The honest donor is done and has committed; the copier, which has the same task, asks everybody for the output.
		st, err := honest.Status(t.Context())
		if err != nil || len(st.Sessions) != 1 || st.Sessions[0].Pending != 1 {
			t.Fatalf("the honest donor has committed to nothing: %+v, %v", st, err)
		}
		out, err := w.submitter.exec.Run(t.Context(), lease.Do, func(int64, int64) {})
		if err != nil {
			t.Fatal(err)
		}
		refused := func(when string) {
			t.Helper()
			if err := dag.Walk(t.Context(), honest.blobs, out.Root, func(c dag.CID, _ []byte) (bool, error) {
				if honest.MayServe(copier.id, c) {
					t.Errorf("%s: the honest donor serves the copier a block of its output", when)
				}
				if w.submitter.MayServe(copier.id, c) {
					t.Errorf("%s: the submitter serves the copier a block of the output", when)
				}
				return true, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		refused("before the copier has committed")
		if honest.MayServe(w.submitter.id, out.Root) {
			t.Error("the output is shown to the submitter before it asks for it")
		}

		// The copier commits to anything, only now the honest donor is asked to reveal; and still shows the copier nothing.
		copier.send(&wire.Commits{Commits: []tasks.Commit{{Lease: lease.ID, Hash: [32]byte{1}}}})
		hear[*wire.RevealRequest](copier)
		refused("after the copier has committed")
		copier.send(&wire.Reveals{Reveals: []tasks.Reveal{{Lease: lease.ID, Root: out.Root, Bytes: out.Bytes}}})
		copier.deaf()
		w.newDonor()
		w.announce(id)
		w.mustFinish(w.finish(id))
		refused("after the verdict")
		if got := w.blame(t, id, copier.id); len(got) != 1 || got[0] != tasks.Forged {
			t.Errorf("the copier is blamed for %v", got)
		}
	})
}

// A copier that somehow got hold of what another worker says still cannot pass it off as its own work: a commit is bound
// to the lease and the worker, and the digest in it to a salt only that worker was told.
func TestCopiedWordsDoNotCount(t *testing.T) {
	for _, c := range []struct {
		name string
		// say is what the copier commits to and reveals, knowing all that the honest worker says.
		say func(copier, honest *puppet, r tasks.Reveal) (tasks.Commit, tasks.Reveal)
	}{
		{"replays the other's commit and reveal", func(copier, honest *puppet, r tasks.Reveal) (tasks.Commit, tasks.Reveal) {
			stolen := honest.commit(&r)
			stolen.Lease, r.Lease = copier.leases[0].ID, copier.leases[0].ID
			return stolen, r
		}},
		{"commits to the other's root and digest", func(copier, _ *puppet, r tasks.Reveal) (tasks.Commit, tasks.Reveal) {
			r.Lease = copier.leases[0].ID
			return copier.commit(&r), r
		}},
		{"commits to the other's root with a digest it made up", func(copier, _ *puppet, r tasks.Reveal) (tasks.Commit, tasks.Reveal) {
			r.Lease, r.Digest = copier.leases[0].ID, [32]byte{1, 2, 3}
			return copier.commit(&r), r
		}},
		{"the same, and leaves the bytes to the other", func(copier, _ *puppet, r tasks.Reveal) (tasks.Commit, tasks.Reveal) {
			r.Lease, r.Digest, r.Blocks = copier.leases[0].ID, [32]byte{1, 2, 3}, nil
			return copier.commit(&r), r
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				id := w.begin(t, 1)
				honest, copier := w.puppet(t, 50).join(), w.puppet(t, 51).join()
				r := honest.result(&honest.leases[0])
				commit, reveal := c.say(copier, honest, r)
				honest.send(&wire.Commits{Commits: []tasks.Commit{honest.commit(&r)}})
				copier.send(&wire.Commits{Commits: []tasks.Commit{commit}})
				hear[*wire.RevealRequest](honest)
				hear[*wire.RevealRequest](copier)
				honest.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
				honest.deaf()
				copier.send(&wire.Reveals{Reveals: []tasks.Reveal{reveal}})
				copier.deaf()
				synctest.Wait()
				if st, err := w.submitter.Job(t.Context(), id); err != nil || st.Done != 0 {
					t.Fatalf("a copy made a verdict: %+v, %v", st.Summary, err)
				}
				w.newDonor()
				w.announce(id)
				st := w.finish(id)
				w.mustFinish(st)
				if got := w.blame(t, id, honest.id); len(got) != 0 {
					t.Errorf("the honest worker is blamed: %v", got)
				}
				if got := w.blame(t, id, copier.id); len(got) != 1 || got[0] != tasks.Forged && got[0] != tasks.Withheld {
					t.Errorf("the copier is blamed for %v", got)
				}
			})
		})
	}
}

// With two results that differ and nobody else to ask, the job says so and accepts neither, for as long as it takes. When
// a third donor joins it decides, and the liar is named.
func TestDisagreementIsSaidUntilAThirdDecides(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bad := w.newDonor(func(o *work.Options) { o.Executor = liar{o.Executor} })
		w.newDonor()
		id := w.begin(t, 1)
		for range 6 {
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			st, err := w.submitter.Job(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if st.Phase != job.Running || st.Done != 0 || st.Result.Defined() || len(st.Blame) != 0 {
				t.Fatalf("with one against one the job is %s, %d tasks done, blame %+v", st.Phase, st.Done, st.Blame)
			}
			e, err := w.submitter.Explain(t.Context(), id)
			if err != nil || len(e.Waits) != 1 || e.Waits[0].Reason.Code != tasks.Disagreement {
				t.Fatalf("the job says %+v, %v", e.Waits, err)
			}
		}
		w.newDonor()
		w.announce(id)
		w.mustFinish(w.finish(id))
		if got := w.blame(t, id, bad.id); len(got) != 1 || got[0] != tasks.Outvoted {
			t.Errorf("the liar is blamed for %v", got)
		}
	})
}
