package main

import (
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"kith/bench"
	"kith/bench/cpu"
)

//go:embed tools/dgemm.py
var dgemm string

// processor holds the sustained rates against OpenBLAS multiplying matrices that do not fit a cache.
func processor(ctx context.Context, dir string, d time.Duration) ([]row, error) {
	python := filepath.Join("bin", "hardware-python", "bin", "python")
	if _, err := exec.LookPath(python); err != nil {
		return []row{{What: "FP64, one core", Tool: "OpenBLAS dgemm", Miss: "no numpy; make bench-hardware installs it"}}, nil
	}
	// OpenBLAS does not know every processor and then takes old kernels: it is also asked for those of AVX-512.
	cores := []string{""}
	if slices.Contains(cpu.Read().ISA, "AVX512F") {
		cores = append(cores, "SkylakeX")
	}
	theirs := func(kind string) (rate float64, config string, err error) {
		for _, core := range cores {
			env := []string{"OPENBLAS_NUM_THREADS=1"}
			if core != "" {
				env = append(env, "OPENBLAS_CORETYPE="+core)
			}
			out, err := tool(ctx, env, python, "-c", dgemm, kind, fmt.Sprint(d.Seconds()/2))
			if err != nil {
				return 0, "", err
			}
			var r float64
			var c string
			if _, err = fmt.Sscanf(out, "%g %s", &r, &c); err != nil {
				return 0, "", err
			}
			if r > rate {
				rate, config = r, c
			}
		}
		return rate, config, nil
	}
	var rows []row
	for _, c := range []struct{ what, kind, name string }{{"FP64, one core", "float64", bench.FP64Single}, {"FP32, one core", "float32", bench.FP32Single}} {
		blas, config, err := theirs(c.kind)
		if err != nil {
			return nil, err
		}
		// Theirs is the best of many runs of some milliseconds each, so ours is too.
		var m bench.Measurement
		for end := time.Now().Add(d); time.Now().Before(end); {
			for _, x := range cpu.Measure(ctx, cpu.Options{Threads: 1, Time: 8 * time.Millisecond}) {
				if x.Name == c.name && x.Value >= m.Value {
					m = x
				}
			}
		}
		again, _, err := theirs(c.kind)
		if err != nil {
			return nil, err
		}
		r := row{What: c.what, Unit: "FLOP/s", Ours: m.Value, Theirs: max(blas, again), Tool: "OpenBLAS gemm, " + config, Within: 0.25, Miss: m.Ungraded}
		if r.ratio() > 1.25 {
			r.Why = "ours (" + m.Method + ") multiplies panels that lie ready in the second cache; theirs also packs them and takes them from memory"
		}
		rows = append(rows, r)
	}
	return rows, nil
}
