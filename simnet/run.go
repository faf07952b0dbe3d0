package simnet

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"kith/simnet/report"
	"kith/simnet/scenario"
)

// Run plays a scenario with several seeds, the first its own, the others those that follow, and gives one report, which
// says of every measure how it scatters. Worlds live side by side, one for each processor.
func Run(ctx context.Context, sc *scenario.Scenario, seeds int) (*report.Report, error) {
	runs := make([]*report.Report, max(1, seeds))
	errs := make([]error, len(runs))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan int)
	var players sync.WaitGroup
	for range min(len(runs), runtime.GOMAXPROCS(0)) {
		players.Go(func() {
			for i := range next {
				if runs[i], errs[i] = play(ctx, sc, i); errs[i] != nil {
					cancel() // the others are in vain
				}
			}
		})
	}
	for i := range runs {
		next <- i
	}
	close(next)
	players.Wait()
	if err := first(errs); err != nil {
		return nil, err
	}
	if len(runs) == 1 {
		return runs[0], nil
	}
	return report.Gather(sc, runs), nil
}

// play is one run, the n-th.
func play(ctx context.Context, sc *scenario.Scenario, n int) (*report.Report, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	one := *sc
	one.Seed += uint64(n)
	w, err := New(&one)
	if err != nil {
		return nil, err
	}
	return w.Run(ctx)
}

// first is the error that made the others end.
func first(errs []error) (err error) {
	for _, e := range errs {
		if e != nil && (err == nil || errors.Is(err, context.Canceled)) {
			err = e
		}
	}
	return err
}
