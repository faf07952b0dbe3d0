package main

import (
	"context"
	"os"
	"time"

	"kith/bench"
	"kith/node/grading"
)

const probeArg = "internal-probe"

func child() int { return grading.Child(os.Args[2:], os.Stdout, os.Stderr) }

// twice grades this machine two times and holds the second against the first.
func twice(ctx context.Context, dir string, _ time.Duration) ([]row, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var grades [2]bench.Grade
	for i := range grades {
		p, err := grading.Measure(ctx, grading.Options{Exe: exe, Args: []string{probeArg}, Dir: dir}, grading.Request{Mode: bench.Full}, nil)
		if err != nil {
			return nil, err
		}
		grades[i] = bench.Judge(&p, bench.DefaultWeights())
	}
	r := row{What: "score, graded twice", Ours: grades[1].Score, Theirs: grades[0].Score, Tool: "the first grading", Within: 0.05, Miss: grades[0].Ungraded + grades[1].Ungraded}
	if grades[0].Class != grades[1].Class {
		r.Within, r.Why = 0, "the class changed from "+string(grades[0].Class)+" to "+string(grades[1].Class)
	}
	return []row{r}, nil
}
