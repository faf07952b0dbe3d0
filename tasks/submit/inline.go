package submit

import (
	"context"

	"kith/storage"
	"kith/tasks"
	"kith/tasks/execute"
)

// revealed is a reveal whose inline bytes, if any, were compared with its digest.
type revealed struct {
	*tasks.Reveal
	checked, good bool
	blocks        []storage.Block
}

// examine checks the bytes of a reveal that brings them, here in the session's own goroutine, so that sessions work in
// parallel.
func (s *session) examine(r *tasks.Reveal) revealed {
	out := revealed{Reveal: r}
	if len(r.Blocks) == 0 {
		return out
	}
	g := s.grants.get(r.Lease)
	if g == nil {
		return out
	}
	out.checked = true
	blocks, err := execute.Assemble(r.Root, r.Blocks)
	if err != nil {
		return out
	}
	ctx, cancel := context.WithTimeout(s.d.ctx, handshake)
	defer cancel()
	sums, err := s.d.o.Executor.Digest(ctx, [][32]byte{g.salt}, r.Root, blocks)
	out.good = err == nil && sums[0] == r.Digest
	out.blocks = blocks
	return out
}
