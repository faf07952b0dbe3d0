package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"kith/bench"
	"kith/node/grading"
)

const probeArg = "internal-probe"

func child() int { return grading.Child(os.Args[2:], os.Stdout, os.Stderr) }

// again grades this machine several times in a row and holds the highest score against the lowest. For information it does
// so with each figure that the score reads, too.
func again(ctx context.Context, dir string, mode bench.Mode, times int) ([]row, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var scores []float64
	var classes []bench.Class
	type figure struct {
		name, unit string
		values     []float64
	}
	var figures []*figure
	missing := ""
	for i := range times {
		begun := time.Now()
		p, err := grading.Measure(ctx, grading.Options{Exe: exe, Args: []string{probeArg}, Dir: dir}, grading.Request{Mode: mode}, nil)
		if err != nil {
			return nil, err
		}
		g := bench.Judge(&p, bench.DefaultWeights())
		fmt.Fprintf(os.Stderr, "  %d of %d: score %.1f in %.0f s, load %s\n", i+1, times, g.Score, time.Since(begun).Seconds(), load())
		scores, classes = append(scores, g.Score), append(classes, g.Class)
		if g.Ungraded != "" {
			missing = g.Ungraded
		}
		for _, s := range bench.Scales() {
			for _, d := range p.Of(s.Part) {
				if m, ok := d.Get(s.Name); ok && m.Graded() {
					name := d.Name + " " + s.Name
					at := slices.IndexFunc(figures, func(f *figure) bool { return f.name == name })
					if at < 0 {
						at = len(figures)
						figures = append(figures, &figure{name: name, unit: string(s.Unit)})
					}
					figures[at].values = append(figures[at].values, m.Value)
				}
			}
		}
	}
	tool := fmt.Sprintf("the lowest of %d gradings", times)
	r := row{What: "score, highest", Ours: slices.Max(scores), Theirs: slices.Min(scores), Tool: tool, Within: 0.05, Miss: missing}
	if slices.Sort(classes); classes[0] != classes[times-1] {
		r.Within, r.Why = 0, fmt.Sprintf("the class changed between %s and %s", classes[0], classes[times-1])
	}
	rows := []row{r}
	for _, f := range figures {
		rows = append(rows, row{What: f.name + ", highest", Unit: f.unit, Ours: slices.Max(f.values), Theirs: slices.Min(f.values), Tool: tool, Why: "for information"})
	}
	return rows, nil
}
