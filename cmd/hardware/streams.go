package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"kith/bench"
	"kith/bench/cpu"
	"kith/bench/memory"
)

//go:embed tools/stream.c
var streamC []byte

// streams holds our four kernels against STREAM's, compiled here, with the same arrays and threads.
func streams(ctx context.Context, dir string, d time.Duration) ([]row, error) {
	source := filepath.Join(dir, "stream.c")
	if err := os.WriteFile(source, streamC, 0o600); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		return []row{{What: "triad", Tool: "STREAM", Miss: "no gcc"}}, nil
	}
	cache := cpu.Read().L3
	each := max(32<<20, 4*cache)
	threads := runtime.GOMAXPROCS(0)
	theirs := func(past bool) (map[string]float64, error) {
		out := filepath.Join(dir, fmt.Sprint("stream", past))
		args := []string{"-O3", "-march=native", "-fopenmp", "-fno-builtin", "-fno-tree-loop-distribute-patterns", "-o", out, source}
		if past {
			args = append(args, "-DPAST")
		}
		if _, err := tool(ctx, nil, "gcc", args...); err != nil {
			return nil, err
		}
		text, err := tool(ctx, []string{fmt.Sprintf("OMP_NUM_THREADS=%d", threads)}, out, fmt.Sprint(each/8), fmt.Sprint(d.Seconds()))
		if err != nil {
			return nil, err
		}
		rates := map[string]float64{}
		for line := range strings.Lines(text) {
			var name string
			var rate float64
			if n, _ := fmt.Sscan(line, &name, &rate); n == 2 {
				rates[name] = rate
			}
		}
		return rates, nil
	}
	var rows []row
	first := map[bool]map[string]float64{}
	for _, past := range []bool{false, true} {
		r, err := theirs(past)
		if err != nil {
			return nil, err
		}
		first[past] = r
	}
	info := memory.Read()
	ours := bench.Device{Measurements: memory.Measure(ctx, info, memory.Options{Threads: threads, Time: d / 2, Cache: cache})}
	for _, past := range []bool{false, true} {
		again, err := theirs(past)
		if err != nil {
			return nil, err
		}
		prefix, how := "stream.", "plain stores"
		if past {
			prefix, how = "stream.past.", "stores past the caches"
		}
		for _, name := range []string{"copy", "scale", "add", "triad"} {
			m, ok := ours.Get(prefix + name)
			r := row{What: name + ", " + how, Unit: "B/s", Ours: m.Value, Theirs: max(first[past][name], again[name]), Tool: "STREAM, gcc -O3 -march=native", Within: 0.10, Miss: m.Ungraded}
			if !ok {
				r.Miss = "this processor has no kernel for it"
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}
