package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"kith/tasks"
)

// TestSearchBounds breaks every bound of every message of a search, one at a time.
func TestSearchBounds(t *testing.T) {
	many := make([]string, MaxRegions+1)
	for i := range many {
		many[i] = "DE"
	}
	long := strings.Repeat("x", MaxName+1)
	search := func(spoil func(*Search)) Single { m := sampleSearch(); spoil(m); return m }
	reply := func(nodes, ways int, each int) Single {
		m := &SearchReply{Version: Version}
		for range nodes {
			m.Nodes = append(m.Nodes, make([]byte, each))
		}
		for range ways {
			m.Ways = append(m.Ways, make([]byte, each))
		}
		return m
	}
	for _, c := range []struct {
		name string
		m    Single
		want error
	}{
		{"search", sampleSearch(), nil},
		{"search of another version", search(func(m *Search) { m.Version++ }), ErrVersion},
		{"search of no network", search(func(m *Search) { m.Network = "" }), ErrBounds},
		{"search for no class", search(func(m *Search) { m.Class = "toaster" }), ErrBounds},
		{"search above the best band", search(func(m *Search) { m.Band = MaxBand + 1 }), ErrBounds},
		{"search for no sandbox", search(func(m *Search) { m.Sandbox = -1 }), ErrBounds},
		{"search for less than no memory", search(func(m *Search) { m.Memory = -1 }), ErrBounds},
		{"search for too many kinds", search(func(m *Search) { m.Kinds = many[:MaxKinds+1] }), ErrBounds},
		{"search in too many regions", search(func(m *Search) { m.Regions = many }), ErrBounds},
		{"search in a long region", search(func(m *Search) { m.Regions = []string{long} }), ErrBounds},
		{"search outside too many regions", search(func(m *Search) { m.Excluded = many }), ErrBounds},
		{"salt", search(func(m *Search) { m.Salt = maxSeq }), ErrBounds},
		{"the largest filter", search(func(m *Search) { m.Known = make([]byte, MaxFilter) }), nil},
		{"filter", search(func(m *Search) { m.Known = make([]byte, MaxFilter+1) }), ErrBounds},
		{"the largest answer", reply(MaxFound, MaxWays, MaxCapability), nil},
		{"too many found", reply(MaxFound+1, 0, 1), ErrBounds},
		{"too many ways", reply(0, MaxWays+1, 1), ErrBounds},
		{"an empty record", reply(1, 0, 0), ErrBounds},
		{"a long record", reply(0, 1, MaxCapability+1), ErrBounds},
		{"an answer without a code", &SearchReply{Version: Version, Reason: &tasks.Reason{}}, ErrBounds},
		{"the largest invitation", &Invite{Version: Version, Network: testNet, Offer: make([]byte, MaxOffer)}, nil},
		{"invitation to nothing", &Invite{Version: Version, Network: testNet}, ErrBounds},
		{"invitation to too much", &Invite{Version: Version, Network: testNet, Offer: make([]byte, MaxOffer+1)}, ErrBounds},
		{"invitation of another version", &Invite{Network: testNet, Offer: []byte{1}}, ErrVersion},
		{"invitation of no network", &Invite{Version: Version, Offer: []byte{1}}, ErrBounds},
		{"no answer to an invitation", &InviteReply{}, ErrVersion},
		{"a refusal without a code", &InviteReply{Version: Version, Reason: &tasks.Reason{}}, ErrBounds},
	} {
		if err := WriteSingle(io.Discard, c.m, testNow); (err == nil) != (c.want == nil) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestSuits(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Capability)
		want  bool
	}{
		{"as asked", func(r *Capability) {}, true},
		{"a better device", func(r *Capability) { r.Class = tasks.HighGPU }, true},
		{"all kinds", func(r *Capability) { r.Kinds = nil }, true},
		{"not this kind", func(r *Capability) { r.Kinds = []string{"etl.chunk"} }, false},
		{"a lower band", func(r *Capability) { r.Band = 1 }, false},
		{"a weaker sandbox", func(r *Capability) { r.Sandbox = tasks.GradeProcess }, false},
		{"less memory", func(r *Capability) { r.Memory = 1 << 20 }, false},
		{"elsewhere", func(r *Capability) { r.Region = "JP" }, false},
	} {
		r := sampleCapability()
		c.spoil(&r)
		if got := sampleSearch().Suits(&r); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	r := sampleCapability()
	if (&Search{Class: tasks.WeakGPU}).Suits(&r) || (&Search{Class: tasks.CPU, Excluded: []string{"DE"}}).Suits(&r) || !(&Search{Class: tasks.CPU}).Suits(&r) {
		t.Error("class or exclusion")
	}
}

// A filter never forgets a node, and takes few strangers for known ones: others with another salt.
func TestFilter(t *testing.T) {
	var nodes []tasks.NodeID
	for i := range 4000 {
		nodes = append(nodes, tasks.NodeID{byte(i), byte(i >> 8), 3})
	}
	for _, n := range []int{1, 100, 2000} {
		known := nodes[:n]
		a, b := Filter(1, known), Filter(2, known)
		if len(a) > MaxFilter || n > 1 && bytes.Equal(a, b) {
			t.Errorf("%d nodes: %d bytes", n, len(a))
		}
		wrong, both := 0, 0
		for i, x := range nodes {
			in := Filtered(1, a, x)
			if i < n && !in {
				t.Fatalf("%d nodes: one is forgotten", n)
			}
			if i >= n && in {
				wrong++
				if Filtered(2, b, x) {
					both++
				}
			}
		}
		if share := float64(wrong) / float64(len(nodes)-n); share > .06 || n > 1 && both*4 > wrong {
			t.Errorf("%d nodes: %.3f of the others look known, %d of %d with another salt too", n, share, both, wrong)
		}
	}
	if len(Filter(1, nodes)) < MaxFilter-1 || len(Filter(1, nodes)) > MaxFilter || Filtered(1, nil, nodes[0]) {
		t.Error("the largest, or the empty one")
	}
}
