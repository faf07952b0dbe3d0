package work

import (
	"slices"
	"sync"

	"kith/storage/dag"
	"kith/tasks"
)

// sharing is what this node passes on of public inputs while it holds leases of them: the blocks that came to it from
// others as parts of those inputs. Whatever else it has, it does not serve because a submitter calls it public. It is
// safe for concurrent use.
type sharing struct {
	mu    sync.RWMutex
	roots map[dag.CID]*sharedInput
}

// sharedInput is one input of at least one lease.
type sharedInput struct {
	leases int
	public dag.CID // the announced root it belongs to
	blocks map[dag.CID]struct{}
}

// open begins to share the inputs of one more lease; close ends it.
func (s *sharing) open(do *tasks.Assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, root := range inputs(do) {
		in := s.roots[root]
		if in == nil {
			in = &sharedInput{public: do.Public, blocks: map[dag.CID]struct{}{}}
			s.roots[root] = in
		}
		in.leases++
	}
}

func (s *sharing) close(do *tasks.Assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, root := range inputs(do) {
		if in := s.roots[root]; in != nil {
			if in.leases--; in.leases == 0 {
				delete(s.roots, root)
			}
		}
	}
}

// inputs are the different inputs of an assignment.
func inputs(do *tasks.Assignment) []dag.CID {
	if len(do.Inputs) < 2 {
		return do.Inputs
	}
	list := slices.Clone(do.Inputs)
	slices.SortFunc(list, func(a, b dag.CID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(list)
}

// add notes blocks that came for an input; it is ignored if the input is not shared.
func (s *sharing) add(root dag.CID, blocks []dag.CID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.roots[root]; in != nil {
		for _, c := range blocks {
			in.blocks[c] = struct{}{}
		}
	}
}

func (s *sharing) has(c dag.CID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, in := range s.roots {
		if _, ok := in.blocks[c]; ok {
			return true
		}
	}
	return false
}

// Shared returns the announced roots of public data of which this node passes something on.
func (d *Driver) Shared() []dag.CID {
	d.shared.mu.RLock()
	defer d.shared.mu.RUnlock()
	var out []dag.CID
	for _, in := range d.shared.roots {
		if len(in.blocks) > 0 && !slices.Contains(out, in.public) {
			out = append(out, in.public)
		}
	}
	return out
}
