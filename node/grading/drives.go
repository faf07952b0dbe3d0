package grading

import (
	"context"
	"os/exec"
	"slices"
	"time"

	"kith/bench"
	"kith/bench/disk"
)

// drives measures the drive of the folder, in a child process.
func (m *measuring) drives(ctx context.Context, _ budget) []bench.Device {
	p := disk.Prober{Command: func() (*exec.Cmd, error) {
		return exec.Command(m.o.Exe, slices.Concat(m.o.Args, []string{string(bench.Drive)})...), nil
	}}
	r := disk.Study(ctx, p, m.o.Dir, m.r.Mode, nil)
	if m.o.Studied != nil && ctx.Err() == nil {
		m.o.Studied(r)
	}
	d := r.Device()
	for i := range d.Measurements {
		if d.Measurements[i].At <= 0 { // not measured
			d.Measurements[i].At = time.Now().UnixMilli()
		}
	}
	return []bench.Device{d}
}
