package submit

import (
	"context"
	"fmt"
	"slices"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
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
	blocks, err := assemble(r.Root, r.Blocks)
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

// assemble names the blocks of an inline output. They come in the order of a depth-first walk from the root, each
// block once; every one must be what its link says, and none may be missing or left over.
func assemble(root dag.CID, data [][]byte) ([]storage.Block, error) {
	blocks := make([]storage.Block, 0, len(data))
	stack := []dag.CID{root}
	for len(stack) > 0 {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if slices.ContainsFunc(blocks, func(b storage.Block) bool { return b.CID == c }) {
			continue
		}
		if len(blocks) == len(data) {
			return nil, fmt.Errorf("inline output lacks block %s", c)
		}
		b := data[len(blocks)]
		if err := dag.Verify(c, b); err != nil {
			return nil, err
		}
		blocks = append(blocks, storage.Block{CID: c, Data: b})
		below, err := dag.Links(c, b)
		if err != nil {
			return nil, err
		}
		slices.Reverse(below)
		stack = append(stack, below...)
	}
	if len(blocks) != len(data) {
		return nil, fmt.Errorf("inline output has %d blocks too many", len(data)-len(blocks))
	}
	return blocks, nil
}
