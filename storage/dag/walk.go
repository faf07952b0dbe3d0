package dag

import (
	"context"
	"fmt"
)

// Walk visits root and everything below it, depth first, children in the order their parent links to them. A block is
// visited once for each path that leads to it: whoever walks a DAG that strangers made keeps a set of what it has seen
// and returns descend = false for the rest. Deeper than 64 levels is ErrMalformed. An error of visit ends the walk and
// is returned as it is.
func Walk(ctx context.Context, get Getter, root CID, visit func(c CID, data []byte) (descend bool, err error)) error {
	return walk(ctx, get, root, 0, visit)
}

func walk(ctx context.Context, get Getter, c CID, depth int, visit func(CID, []byte) (bool, error)) error {
	if depth >= maxDepth {
		return fmt.Errorf("%w: %s is over %d levels deep", ErrMalformed, c, maxDepth)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	data, err := get.Get(ctx, c)
	if err != nil {
		return err
	}
	descend, err := visit(c, data)
	if err != nil || !descend {
		return err
	}
	children, err := Links(c, data)
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := walk(ctx, get, child, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

// Reach visits root and every block below it once, the root first, and reads only those that can have links: leaves may
// be missing from get. visit says whether to go on. It keeps a set of all it has seen.
func Reach(ctx context.Context, get Getter, root CID, visit func(CID) (on bool, err error)) error {
	stack, seen := []CID{root}, map[CID]struct{}{root: {}}
	for len(stack) > 0 {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		on, err := visit(c)
		if err != nil || !on {
			return err
		}
		if c.Codec() != DagCBOR {
			continue
		}
		data, err := get.Get(ctx, c)
		if err != nil {
			return err
		}
		below, err := Links(c, data)
		if err != nil {
			return err
		}
		for _, l := range below {
			if _, twice := seen[l]; !twice {
				seen[l] = struct{}{}
				stack = append(stack, l)
			}
		}
	}
	return nil
}
