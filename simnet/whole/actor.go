package whole

import (
	"context"
	"time"

	"kith/simnet/scenario"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
)

// actor runs tasks as the host it belongs to behaves: honestly, slowly, wrongly or never.
type actor struct {
	*execute.Executor
	n *node
}

// factor is how many times as long as a plain host it takes.
func (x *actor) factor() float64 {
	switch h := x.n.hosts; {
	case h.Factor > 0:
		return h.Factor
	case h.Actor == scenario.Slow:
		return 4
	case h.Actor == scenario.Straggler:
		return 20
	}
	return 1
}

// Run implements work.Executor.
func (x *actor) Run(ctx context.Context, a tasks.Assignment, progress func(done, total int64)) (execute.Output, error) {
	return x.act(ctx, a, func(a tasks.Assignment) (execute.Output, error) { return x.Executor.Run(ctx, a, progress) })
}

// RunFrom implements work.Checkpointer.
func (x *actor) RunFrom(ctx context.Context, a tasks.Assignment, key [32]byte, from dag.CID, progress func(done, total int64)) (execute.Output, error) {
	return x.act(ctx, a, func(a tasks.Assignment) (execute.Output, error) {
		return x.Executor.RunFrom(ctx, a, key, from, progress)
	})
}

// act runs a task in the host's manner.
func (x *actor) act(ctx context.Context, a tasks.Assignment, run func(tasks.Assignment) (execute.Output, error)) (execute.Output, error) {
	h := x.n.hosts
	if h.Actor == scenario.Eclipse {
		<-ctx.Done()
		return execute.Output{}, context.Cause(ctx)
	}
	if h.Actor.Lies() && (h.Lie >= 1 || x.n.w.random() < h.Lie) {
		x.n.lies.Add(1)
		switch h.Actor {
		case scenario.Colluder, scenario.Sybil:
			a.Seed[0] ^= 0x5a // the same wrong result from every member
		case scenario.Constant, scenario.Copier:
			a.Index = 0
			a.Seed[0] ^= 0xa5
		default:
			copy(a.Seed[:], x.n.id[:])
			a.Seed[31] ^= byte(x.n.lies.Load())
		}
	}
	began := time.Now()
	out, err := run(a)
	if err == nil && h.Off > 0 && len(out.Blocks) > 0 && a.Steps[len(a.Steps)-1].Kind == vectorKind {
		out, err = rounded(ctx, out, h.Off)
	}
	if more := time.Duration(float64(time.Since(began)) * (x.factor() - 1)); err == nil && more > 0 {
		if err := pause(ctx, more); err != nil {
			return execute.Output{}, context.Cause(ctx)
		}
	}
	return out, err
}
