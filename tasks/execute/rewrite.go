package execute

import (
	"context"
	"fmt"
	"io"

	"kith/storage/dag"
)

// Rewritten is an output that came inline, with other files: change gets their contents by name. It is what those need who
// play machines that compute otherwise.
func Rewritten(ctx context.Context, out Output, change func(files map[string][]byte)) (Output, error) {
	blocks := make(given, len(out.Blocks))
	for _, b := range out.Blocks {
		blocks[b.CID] = b.Data
	}
	files := map[string][]byte{}
	for e, err := range dag.ReadDir(ctx, blocks, out.Root) {
		if err != nil {
			return out, fmt.Errorf("rewrite output: %w", err)
		}
		f, err := dag.Open(ctx, blocks, e.Root)
		if err != nil {
			return out, fmt.Errorf("rewrite output: %w", err)
		}
		files[e.Name], err = io.ReadAll(f)
		f.Close()
		if err != nil {
			return out, fmt.Errorf("rewrite output: %w", err)
		}
	}
	change(files)
	var c collector
	e, err := dag.AddFiles(ctx, &c, files)
	if err != nil {
		return out, fmt.Errorf("rewrite output: %w", err)
	}
	out.Root, out.Bytes, out.Blocks = e.Root, e.Size, c.blocks
	return out, nil
}
