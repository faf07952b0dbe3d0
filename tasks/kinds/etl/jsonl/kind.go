package jsonl

import (
	"context"
	"fmt"

	"kith/tasks"
	"kith/tasks/kinds/etl"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/params"
)

// Kind is etl.jsonl.
type Kind struct{}

var _ tasks.Kind = Kind{}

// Describe implements tasks.Kind.
func (Kind) Describe() tasks.Description {
	d := etl.Describe("etl.jsonl", "Validate and repair JSON Lines or JSON, with a list of changes and a quarantine", 2, paramsSchema)
	d.Phases[0].Name = "repair"
	d.Limits.CPUMillis, d.Limits.OutputBytes, d.Limits.Processes = 60_000, 512<<20, 64
	return d
}

// Check implements tasks.Kind. Parameters are described by Params.
func (Kind) Check(given []byte) ([]byte, error) {
	p, err := check(given)
	if err != nil {
		return nil, err
	}
	return params.Canonical(p)
}

// Run implements tasks.Kind: each document becomes one record a good line, with its field "line", beside RepairsFile
// and QuarantineFile. A record of a line ends in a line feed, so data is a JSON Lines file by itself.
func (Kind) Run(ctx context.Context, c *tasks.Call) error {
	p, err := check(c.Params)
	if err != nil {
		return err
	}
	if len(c.In) != 1 {
		return fmt.Errorf("etl.jsonl reads one input, not %d", len(c.In))
	}
	return process(ctx, c, p)
}

// Merge implements tasks.Kind.
func (Kind) Merge(ctx context.Context, c *tasks.Call) error { return corpus.Merge(ctx, c) }
