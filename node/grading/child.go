package grading

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"kith/bench"
	"kith/bench/cpu"
	"kith/bench/disk"
	"kith/bench/gpu"
	"kith/bench/memory"
	"kith/bench/numeric"
	"kith/bench/probe"
)

// libraryPart is the part in which a child asks the cards' own library.
const libraryPart = "gpu-library"

const maxFigure = 10 * time.Second

// Cards lists the graphics cards, as a measurement would see them. exe and args are as in Options.
func Cards(ctx context.Context, exe string, args []string) ([]gpu.Card, error) {
	return gpu.List(ctx, gpu.Options{Exe: exe, Args: slices.Concat(args, []string{libraryPart})})
}

// Child is the whole life of a child process: it measures the part that args name and prints it. The result is the exit
// code.
func Child(args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == string(bench.Drive) {
		return disk.Main() // hears its orders on standard input
	}
	probe.Orphan()
	v, err := part(args)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(v)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func part(args []string) (any, error) {
	if len(args) == 1 && args[0] == libraryPart {
		cards, err := gpu.Library()
		return append([]gpu.Card{}, cards...), err
	}
	if len(args) != 3 {
		return nil, fmt.Errorf("BUG: a child that measures was started with %q", args)
	}
	figure, err := time.ParseDuration(args[1])
	if err != nil || figure <= 0 || figure > maxFigure {
		return nil, fmt.Errorf("BUG: a child that measures was given %.20q for each figure", args[1])
	}
	limit, err := time.ParseDuration(args[2])
	if err != nil || limit <= 0 {
		return nil, fmt.Errorf("BUG: a child that measures was given %.20q in all", args[2])
	}
	// What is measured in time is told, rather than all lost when the parent ends this process.
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit*8/10, fmt.Errorf("the %s for this part were over", limit))
	defer cancel()
	switch bench.Part(args[0]) {
	case bench.CPU:
		kernels, err := numeric.Hash()
		d := cpu.Device(cpu.Read(), cpu.Measure(ctx, cpu.Options{Time: figure}))
		if err != nil {
			d.Facts = append(d.Facts, bench.Fact{Name: "floats", Value: err.Error()})
		}
		return answer{Devices: []bench.Device{d}, Kernels: kernels}, nil
	case bench.Memory:
		info := memory.Read()
		return answer{Devices: []bench.Device{memory.Device(info, memory.Measure(ctx, info, memory.Options{Time: figure, Cache: cpu.Read().L3}))}}, nil
	}
	return nil, fmt.Errorf("BUG: no child measures %.20q", args[0])
}
