package merge

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"kith/storage/dag"
	"pgregory.net/rapid"
)

func cid(b ...byte) dag.CID { return dag.Sum(dag.Raw, dag.SHA256, b) }

func part(i int) dag.CID { return cid(binary.BigEndian.AppendUint32([]byte("part"), uint32(i))...) }

// joined is a stand-in for Kind.Merge that is associative: it remembers the parts behind a root in order.
type joined map[dag.CID][]int

func (j joined) merge(in []dag.CID) dag.CID {
	var all []int
	var b []byte
	for _, r := range in {
		all = append(all, j[r]...)
	}
	for _, p := range all {
		b = binary.BigEndian.AppendUint32(b, uint32(p))
	}
	root := cid(b...)
	j[root] = all
	return root
}

// TestAnyOrder accepts parts and finishes steps in any order, with repetitions and restarts, and looks at what comes
// out: every part once, in order, and every step issued once.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.OneOf(rapid.IntRange(1, 40), rapid.IntRange(250, 290)).Draw(t, "parts")
		tree, err := New(parts)
		if err != nil {
			t.Fatal(err)
		}
		j := joined{}
		todo := rapid.Permutation(indices(parts)).Draw(t, "order")
		var steps []Step
		issued := map[[2]int]bool{}
		issue := func(now []Step, err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range now {
				if issued[[2]int{s.Level, s.Index}] {
					t.Fatalf("step %d of level %d issued twice", s.Index, s.Level)
				}
				if len(s.Inputs) < 2 || len(s.Inputs) > FanIn {
					t.Fatalf("step with %d inputs", len(s.Inputs))
				}
				issued[[2]int{s.Level, s.Index}] = true
				steps = append(steps, s)
			}
		}
		random := rapid.IntRange(0, 1<<30)
		for len(todo)+len(steps) > 0 {
			if n := random.Draw(t, "pick"); n%16 == 0 { // restart
				again, err := Restore(tree.Snapshot())
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(again, tree) {
					t.Fatal("a restored tree differs")
				}
				if len(again.Pending()) != len(steps) {
					t.Fatalf("%d steps pending, want %d", len(again.Pending()), len(steps))
				}
				tree = again
			} else if len(steps) == 0 || len(todo) > 0 && n%2 == 0 {
				i := todo[0]
				todo = todo[1:]
				j[part(i)] = []int{i}
				issue(tree.Accept(i, part(i)))
				if n%3 == 0 {
					issue(tree.Accept(i, part(i)))
				}
			} else {
				k := n % len(steps)
				s := steps[k]
				steps = append(steps[:k], steps[k+1:]...)
				root := j.merge(s.Inputs)
				issue(tree.Done(s.Level, s.Index, root))
				if n%3 == 0 {
					issue(tree.Done(s.Level, s.Index, root))
				}
			}
		}
		root, ok := tree.Result()
		if !ok || !reflect.DeepEqual(j[root], indices(parts)) {
			t.Fatalf("result %v of parts %v", ok, j[root])
		}
	})
}

func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestRefusals(t *testing.T) {
	for _, n := range []int{0, -1, MaxParts + 1} {
		if _, err := New(n); !errors.Is(err, ErrRange) {
			t.Errorf("New(%d): %v", n, err)
		}
	}
	if _, err := New(MaxParts); err != nil {
		t.Error(err)
	}
	tree, _ := New(17)
	accept := func(i int, root dag.CID) error { _, err := tree.Accept(i, root); return err }
	done := func(l, i int) error { _, err := tree.Done(l, i, part(99)); return err }
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"part -1", accept(-1, part(0)), ErrRange},
		{"part 17", accept(17, part(0)), ErrRange},
		{"no root", accept(0, dag.CID{}), ErrRange},
		{"level 0", done(0, 0), ErrRange},
		{"level 3", done(3, 0), ErrRange},
		{"step 2", done(1, 2), ErrRange},
		{"early", done(1, 0), ErrEarly},
		{"first", accept(0, part(0)), nil},
		{"other root", accept(0, part(1)), ErrConflict},
		{"still early", done(1, 0), ErrEarly},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	s := tree.Snapshot()
	for name, spoil := range map[string]func(s *Snapshot){
		"parts":  func(s *Snapshot) { s.Parts = 300 },
		"levels": func(s *Snapshot) { s.Levels = s.Levels[:1] },
		"done":   func(s *Snapshot) { s.Levels[0].Done = nil },
		"index":  func(s *Snapshot) { s.Levels[0].Open[0].Index = 9 },
		"roots":  func(s *Snapshot) { s.Levels[0].Open[0].Roots = nil },
		"twice":  func(s *Snapshot) { s.Levels[0].Open = append(s.Levels[0].Open, s.Levels[0].Open[0]) },
	} {
		bad := tree.Snapshot()
		spoil(&bad)
		if _, err := Restore(bad); !errors.Is(err, ErrRange) {
			t.Errorf("snapshot with bad %s: %v", name, err)
		}
	}
	if _, err := Restore(s); err != nil {
		t.Error(err)
	}
}

func BenchmarkAccept(b *testing.B) {
	root := part(1)
	for b.Loop() {
		tree, _ := New(1 << 12)
		for i := range 1 << 12 {
			steps, _ := tree.Accept(i, root)
			for len(steps) > 0 {
				steps, _ = tree.Done(steps[0].Level, steps[0].Index, root)
			}
		}
		if _, ok := tree.Result(); !ok {
			b.Fatal("no result")
		}
	}
}
