package gpu

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"kith/bench"
	"kith/bench/probe"
)

// script measures one card; it is handed to whatever Python there is.
//
//go:embed probe.py
var script []byte

const bandwidth = "bandwidth"

// answer is what the script prints.
type answer struct {
	Runtime   string            `json:"runtime"`
	Device    string            `json:"device"`
	FP16      []float64         `json:"fp16"`
	INT8      []float64         `json:"int8"`
	Bandwidth []float64         `json:"bandwidth"`
	Errors    map[string]string `json:"errors"`
}

// errSplit: the whole card does not compute; its instances do.
var errSplit = errors.New("the card is split: its instances are measured")

// measure measures one card, the nth of its vendor, through whichever runtime is installed.
func measure(ctx context.Context, c Card, nth int, o Options) []bench.Measurement {
	begin := time.Now()
	a, err := ask(ctx, c, nth, o)
	return figures(a, err, begin)
}

func ask(ctx context.Context, c Card, nth int, o Options) (answer, error) {
	var a answer
	if c.Split {
		return a, errSplit
	}
	if c.Problem != "" {
		return a, fmt.Errorf("no working driver: %s", c.Problem)
	}
	kind, env := target(c, nth)
	if kind == "" {
		return a, errors.New("no runtime is known for this card")
	}
	python, err := interpreter(o.Python)
	if err != nil {
		return a, err
	}
	out, err := probe.Run(ctx, probe.Command{
		Path: python, Args: []string{"-", kind, strconv.FormatFloat(cmp.Or(o.Time, time.Second).Seconds(), 'f', 3, 64)},
		Env: append(env, "PYTHONDONTWRITEBYTECODE=1", "PYTHONNOUSERSITE="), Stdin: script, Limit: cmp.Or(o.Limit, 60*time.Second),
	})
	if err != nil {
		return a, err
	}
	return parseAnswer(out)
}

// target is the kind of device for the runtime and the environment that shows it this one card alone.
func target(c Card, nth int) (kind string, env []string) {
	switch c.Vendor {
	case bench.NVIDIA:
		id := c.UUID
		if id == "" {
			id = strconv.Itoa(max(0, c.Index))
		}
		return "cuda", []string{"CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=" + id}
	case bench.AMD:
		return "cuda", []string{"HIP_VISIBLE_DEVICES=" + strconv.Itoa(nth), "CUDA_VISIBLE_DEVICES=" + strconv.Itoa(nth)} // ROCm's PyTorch calls its cards cuda
	case bench.Intel:
		return "xpu", []string{"ZE_AFFINITY_MASK=" + strconv.Itoa(nth)}
	case bench.Apple:
		return "mps", nil
	}
	return "", nil
}

func interpreter(list []string) (string, error) {
	if list == nil {
		list = []string{"python3", "python"}
	}
	for _, p := range list {
		if path, err := exec.LookPath(p); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no runtime to measure with: Python %w", probe.ErrMissing)
}

// parseAnswer reads what the script printed. Runtimes may print lines of their own before it.
func parseAnswer(out []byte) (answer, error) {
	var a answer
	start := len(out)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i] == '{' && (i == 0 || out[i-1] == '\n') {
			start = i
			break
		}
	}
	if err := json.Unmarshal(out[start:], &a); err != nil {
		return answer{}, fmt.Errorf("the measuring script %w: %w", probe.ErrOutput, err)
	}
	return a, nil
}

// figures turns the answer, or its absence, into measurements.
func figures(a answer, err error, begun time.Time) []bench.Measurement {
	var out []bench.Measurement
	for _, f := range []struct {
		name    string
		unit    bench.Unit
		key     string
		samples []float64
	}{
		{bench.FP16Matmul, bench.FLOPS, "fp16", a.FP16}, {bench.INT8Matmul, bench.OPS, "int8", a.INT8}, {bandwidth, bench.ByteRate, "bandwidth", a.Bandwidth},
	} {
		w := bench.Begin(f.name, f.unit, "not measured")
		cause := err
		if words := cmp.Or(a.Errors["runtime"], a.Errors[f.key]); cause == nil && words != "" {
			cause = errors.New(clip(words))
		}
		for _, v := range f.samples {
			if cause == nil && !(v > 0 && v < 1e18) {
				cause = fmt.Errorf("the runtime returned %v, which cannot be", v)
			}
		}
		if cause != nil {
			m := w.Fail(cause)
			m.TookMillis = time.Since(begun).Milliseconds()
			out = append(out, m)
			continue
		}
		m := w.Name(clip(a.Runtime + " on " + a.Device)).Median(f.samples)
		m.TookMillis = time.Since(begun).Milliseconds()
		out = append(out, m)
	}
	return out
}
