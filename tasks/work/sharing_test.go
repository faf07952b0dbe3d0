package work_test

import (
	"context"
	"testing"
	"testing/synctest"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// What came for a public input goes on to anybody while the lease lasts; what was here before, and what came for an
// input that is not public, goes to nobody.
func TestWhatIsPassedOn(t *testing.T) {
	for _, c := range []struct {
		name   string
		public bool
	}{{"public", true}, {"sealed", false}} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t)
				own, err := dag.AddFiles(t.Context(), r.blobs, map[string][]byte{"diary": []byte("mine alone")})
				if err != nil {
					t.Fatal(err)
				}
				input, err := dag.AddFiles(t.Context(), r.blobs, map[string][]byte{"x": []byte("y")})
				if err != nil {
					t.Fatal(err)
				}
				whole := dag.Sum(dag.DagCBOR, dag.SHA256, []byte("whole"))
				var asked []work.Input
				r.fetch = func(_ context.Context, in work.Input, arrived func([]dag.CID)) error {
					asked = append(asked, in)
					if in.Root == input.Root {
						arrived([]dag.CID{input.Root})
					}
					return nil
				}
				b := r.session()
				l := b.lease(1, func(l *tasks.Lease) {
					l.Do.Inputs = []dag.CID{own.Root, input.Root, input.Root} // the first is here already: a submitter's word makes it no less private
					if c.public {
						l.Do.Public = whole
					}
				})
				b.say(&wire.Leases{Leases: []tasks.Lease{l}})
				hear[*wire.Commits](b)
				if len(asked) != 2 || asked[0].Public.Defined() != c.public || asked[1].Public.Defined() != c.public {
					t.Errorf("asked %+v", asked)
				}
				stranger := tasks.NodeID{7}
				if got := r.MayServe(stranger, input.Root); got != c.public {
					t.Errorf("the input is passed on: %t", got)
				}
				if r.MayServe(stranger, own.Root) {
					t.Error("something of this node's own is passed on")
				}
				if got := len(r.Shared()) == 1; got != c.public {
					t.Errorf("announced: %v", r.Shared())
				}
				b.say(&wire.Verdicts{Verdicts: []tasks.Verdict{{Lease: l.ID, Outcome: tasks.Outvoted}}})
				synctest.Wait()
				if r.MayServe(stranger, input.Root) || len(r.Shared()) != 0 {
					t.Error("passed on after the lease's end")
				}
			})
		})
	}
}
