package execute

import (
	"fmt"
	"slices"

	"kith/storage"
	"kith/storage/dag"
)

// Assemble names the blocks of an output, or a checkpoint, that came in a message. They come in the order of a depth-first
// walk from the root, each block once; every one must be what its link says, and none may be missing or left over.
func Assemble(root dag.CID, data [][]byte) ([]storage.Block, error) {
	blocks := make([]storage.Block, 0, len(data))
	stack := []dag.CID{root}
	for len(stack) > 0 {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if slices.ContainsFunc(blocks, func(b storage.Block) bool { return b.CID == c }) {
			continue
		}
		if len(blocks) == len(data) {
			return nil, fmt.Errorf("what came lacks block %s", c)
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
		return nil, fmt.Errorf("what came has %d blocks too many", len(data)-len(blocks))
	}
	return blocks, nil
}
