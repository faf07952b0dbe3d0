package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// sandboxed measures what confinement costs, by the benchmarks that stand beside it.
func sandboxed(ctx context.Context, b *bench) ([]row, error) {
	times := func(long, short string) string {
		if b.fast {
			return short
		}
		return long
	}
	var rows []row
	for _, group := range []struct {
		pkg, bench, time string
		rows             []figure
	}{
		{"./tasks/sandbox", "OpenCold$|OpenColdSampled|OpenSpare", times("200x", "20x"), []figure{
			{"OpenCold", "µs-open-p50", 1e-3, row{What: "start of a restricted process, p50", Reference: "raw namespaces 5.3, with Landlock and seccomp 6.9, bwrap 7–14, gVisor 120 ms", Want: 10, Most: true, Unit: "ms"}},
			{"OpenColdSampled", "µs-open-p50", 1e-3, row{What: "the same without control groups (grade B), p50", Reference: "as above", Want: 10, Most: true, Unit: "ms"}},
			{"OpenSpare", "µs-open-p50", 1e-3, row{What: "the same with a spare one ready, p50", Reference: "—", Unit: "ms"}},
		}},
		{"./tasks/sandbox", "Compute", times("30x", "8x"), []figure{
			{"Compute", "%-overhead", 1, row{What: "cost of the sandbox to a task that computes", Reference: "—", Want: 2, Most: true, Unit: "%"}},
		}},
		{"./tasks/sandbox", "Kill", times("50x", "3x"), []figure{
			{"Kill/namespaces", "ms-p99", 1, row{What: "kill 50 tasks of 500 small processes, p99", Reference: "the kernel alone, below", Want: 100, Most: true, Unit: "ms"}},
			{"KillKernel", "ms-p99", 1, row{What: "as many in as many namespaces, without Kith", Reference: "the kernel alone", Unit: "ms"}},
			{"Kill/Go_programs", "ms-p50", 1, row{What: "kill 50 tasks of 500 Go programs, p50", Reference: "the kernel alone 80–106 ms", Unit: "ms"}},
			{"Kill/plain", "ms-p99", 1, row{What: "small processes without namespaces, p99", Reference: "—", Unit: "ms"}},
			{"Kill/plain_sampled", "ms-p99", 1, row{What: "the same without control groups too, p99", Reference: "—", Unit: "ms"}},
		}},
		{"./tasks/sandbox", "^BenchmarkOvershoot$", times("50x", "10x"), []figure{
			{"Overshoot", "MB-p50", 1, row{What: "memory past its limit where that is sampled (grade B), p50", Reference: "0 by the kernel (grade A)", Unit: "MB"}},
			{"Overshoot", "MB-worst", 1, row{What: "the same, worst", Reference: "0 by the kernel (grade A)", Unit: "MB"}},
		}},
		{"./tasks/sandbox", "DiskOvershoot/bytes", times("20x", "5x"), []figure{
			{"DiskOvershoot/bytes", "MB-p50", 1, row{What: "scratch past its limit of 64 MiB by the fastest writer, p50", Reference: "230 when looked at every 250 ms", Unit: "MB"}},
			{"DiskOvershoot/bytes", "MB-worst", 1, row{What: "the same, worst", Reference: "300 when looked at every 250 ms", Unit: "MB"}},
		}},
		{"./tasks/kinds/wasm", "Instance", times("500x", "50x"), []figure{
			{"Instance/tiny", "ns/op", 1e-6, row{What: "start of a warm WASM module, smallest", Reference: "the library alone 0.017 ms", Want: 0.1, Most: true, Unit: "ms"}},
			{"Instance/go", "ns/op", 1e-6, row{What: "start of a warm WASM module of 3.9 MB, from Go", Reference: "the library alone 6 ms for 3.6 MB", Want: 10, Most: true, Unit: "ms"}},
		}},
		{"./tasks/kinds/wasm", "Start$", times("20x", "3x"), []figure{
			{"Start/compiled", "ms-first", 1, row{What: "first task of that module on a machine, compiled then, p50", Reference: "the library alone 84–3,483 ms", Unit: "ms"}},
			{"Start/prepared", "ms-first", 1, row{What: "first task of it in a new runner later, p50", Reference: "the library alone, from its folder, 43–150 ms", Unit: "ms"}},
		}},
	} {
		c := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", group.bench, "-benchtime", group.time, group.pkg)
		out, err := c.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		for _, f := range group.rows {
			v, ok := f.in(string(out))
			if !ok {
				return nil, fmt.Errorf("no benchmark %s reported %s:\n%s", f.bench, f.unit, out)
			}
			r := f.row
			r.Got = v * f.times
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// figure is one number that a benchmark reports.
type figure struct {
	bench string // its name, without Benchmark and the number of processors
	unit  string
	times float64 // of the row's unit
	row   row
}

// in finds the number in what go test printed.
func (f figure) in(out string) (float64, bool) {
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		name, _ := strings.CutPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		if name != f.bench {
			continue
		}
		for i := 1; i < len(fields); i++ {
			if fields[i] == f.unit {
				v, err := strconv.ParseFloat(fields[i-1], 64)
				return v, err == nil
			}
		}
	}
	return 0, false
}
