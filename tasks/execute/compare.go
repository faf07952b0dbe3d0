package execute

import (
	"context"
	"errors"
	"fmt"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/sandbox"
)

// Compare says, for each pair of outputs of a stage, whether they agree as the kind of its last step demands. The outputs
// must be in the store. They are read in the sandbox: one that cannot be read there within the limits agrees with none.
func (e *Executor) Compare(ctx context.Context, job tasks.Job, stage tasks.Stage, pairs [][2]dag.CID) ([]bool, error) {
	if len(stage.Steps) == 0 {
		return nil, errors.New("execute: a stage without steps")
	}
	var roots []dag.CID
	number := map[dag.CID]int{}
	for _, pair := range pairs {
		for _, root := range pair {
			if _, ok := number[root]; !ok {
				number[root] = len(roots)
				roots = append(roots, root)
			}
		}
	}
	table, err := e.agreement(ctx, job, stage, roots)
	agree := make([]bool, len(pairs))
	for k, pair := range pairs {
		i, j := number[pair[0]], number[pair[1]]
		switch {
		case err == nil:
			agree[k] = table[sandbox.Agreements(max(i, j))+min(i, j)] == '1'
		case !illegible(err):
			return nil, fmt.Errorf("compare: %w", err)
		case len(roots) == 2:
			return agree, nil
		default: // one of them was too much; it shall not stand in the way of the others
			one, err := e.agreement(ctx, job, stage, pair[:])
			if err != nil && !illegible(err) {
				return nil, fmt.Errorf("compare: %w", err)
			}
			agree[k] = err == nil && one[0] == '1'
		}
	}
	return agree, nil
}

// illegible reports whether a comparison failed because of what it was to read.
func illegible(err error) bool {
	var r tasks.Reason
	if errors.As(err, &r) {
		switch r.Code {
		case tasks.TaskFailed, tasks.TimeLimit, tasks.MemoryLimit, tasks.OutputLimit, tasks.ScratchLimit:
			return true
		}
	}
	return errors.Is(err, ErrInput) || errors.Is(err, dag.ErrMalformed)
}

// agreement is the content of sandbox.AgreementFile for some outputs.
func (e *Executor) agreement(ctx context.Context, job tasks.Job, stage tasks.Stage, roots []dag.CID) ([]byte, error) {
	steps := stage.Steps[len(stage.Steps)-1:]
	limits, err := e.limits(tasks.Limits{}, steps)
	if err != nil {
		return nil, err
	}
	limits.WallMillis *= int64(len(roots)) // reading a result takes no longer than making it
	limits.CPUMillis *= int64(len(roots))
	s, err := e.pool.acquire(ctx, job.ID)
	if err != nil {
		return nil, err
	}
	defer e.pool.put(s)
	w := sandbox.Work{
		Op: sandbox.OpCompare, Steps: steps, Seed: job.Spec.Seed, Stage: stage.Index, Parts: len(roots), Limits: limits,
		Inline: inlineOutput, OutDir: s.out(), Scratch: s.tmp(),
	}
	if w.In, err = e.materialise(ctx, s, roots, nil); err != nil {
		return nil, err
	}
	res, err := s.runner.Run(ctx, w)
	s.dirty = s.dirty || res.OnDisk || err != nil
	if err != nil {
		return nil, err
	}
	table := res.Inline[sandbox.AgreementFile]
	if len(table) != sandbox.Agreements(len(roots)) {
		return nil, tasks.Because(tasks.TaskFailed, "a comparison of %d outputs has %d answers", len(roots), len(table))
	}
	return table, nil
}
