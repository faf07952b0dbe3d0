package job

import (
	"cmp"
	"fmt"
	"slices"

	"kith/storage/dag"
)

// snapSource is a source on disk.
type snapSource struct {
	_      struct{} `cbor:",toarray"`
	Worker int
	Place  Place
}

// snapFrom is what a replica went on from.
type snapFrom struct {
	Past  []snapSource `cbor:"past"`
	At    dag.CID      `cbor:"at"`
	Done  int64        `cbor:"done"`
	Total int64        `cbor:"total"`
}

type snapPoint struct {
	Task  Ref          `cbor:"task"`
	Root  dag.CID      `cbor:"root"`
	Bytes int64        `cbor:"bytes"`
	Done  int64        `cbor:"done"`
	Total int64        `cbor:"total"`
	CPU   int64        `cbor:"cpu"`
	By    []snapSource `cbor:"by"`
}

type snapPast struct {
	Task  Ref          `cbor:"task"`
	Voter int          `cbor:"voter"`
	Past  []snapSource `cbor:"past"`
}

func (s *State) encodeSources(list []source) (out []snapSource) {
	for _, o := range list {
		out = append(out, snapSource{Worker: int(o.worker), Place: s.places[o.place]})
	}
	return out
}

func (s *State) encodeFrom(c *carried) *snapFrom {
	if c == nil {
		return nil
	}
	return &snapFrom{s.encodeSources(c.past), c.at, c.done, c.total}
}

func (s *State) encodePoints() (out []snapPoint) {
	for ref, list := range s.points {
		for i := range list {
			p := &list[i]
			out = append(out, snapPoint{ref, p.root, p.bytes, p.done, p.total, p.cpu, s.encodeSources(p.by)})
		}
	}
	slices.SortStableFunc(out, func(a, b snapPoint) int { return cmp.Or(a.Task.Stage-b.Task.Stage, a.Task.Index-b.Task.Index) })
	return out
}

func (s *State) encodePasts() (out []snapPast) {
	for ref, list := range s.pasts {
		for _, l := range list {
			out = append(out, snapPast{ref, int(l.voter), s.encodeSources(l.past)})
		}
	}
	slices.SortStableFunc(out, func(a, b snapPast) int { return cmp.Or(a.Task.Stage-b.Task.Stage, a.Task.Index-b.Task.Index) })
	return out
}

func (s *State) restoreSources(list []snapSource) (out []source, err error) {
	if len(list) == 0 || len(list) > maxPast {
		return nil, fmt.Errorf("%w: the work of %d in one", ErrSnapshot, len(list))
	}
	for _, o := range list {
		if o.Worker < 0 || o.Worker >= len(s.workers) {
			return nil, fmt.Errorf("%w: work of nobody", ErrSnapshot)
		}
		out = append(out, source{uint32(o.Worker), s.internPlace(o.Place)})
	}
	return out, nil
}

func (s *State) restoreFrom(f *snapFrom, worker uint32) (*carried, error) {
	if f == nil {
		return nil, nil
	}
	past, err := s.restoreSources(f.Past)
	if err != nil {
		return nil, err
	}
	c := &carried{past: past, at: f.At, done: f.Done, total: f.Total}
	if c.has(worker) || f.Done < 0 || f.Total < 0 {
		return nil, fmt.Errorf("%w: what a replica went on from", ErrSnapshot)
	}
	return c, nil
}

func (s *State) restorePoints(points []snapPoint, pasts []snapPast) error {
	for i := range points {
		p := &points[i]
		by, err := s.restoreSources(p.By)
		if err != nil {
			return err
		}
		if t := s.at(p.Task); t == nil || t.phase.has() || len(s.points[p.Task]) == maxPoints || !p.Root.Defined() || p.Bytes < 0 || p.Done < 0 || p.Total < 0 || p.CPU < 0 {
			return fmt.Errorf("%w: checkpoint of task %s", ErrSnapshot, p.Task)
		}
		s.points[p.Task] = append(s.points[p.Task], point{p.Root, p.Bytes, p.Done, p.Total, p.CPU, by})
	}
	for i := range pasts {
		p := &pasts[i]
		past, err := s.restoreSources(p.Past)
		if err != nil {
			return err
		}
		if t := s.at(p.Task); t == nil || !t.phase.has() || p.Voter < 0 || p.Voter >= len(s.workers) || len(s.pasts[p.Task]) == s.k() {
			return fmt.Errorf("%w: past of task %s", ErrSnapshot, p.Task)
		}
		s.pasts[p.Task] = append(s.pasts[p.Task], lineage{uint32(p.Voter), past})
	}
	return nil
}
