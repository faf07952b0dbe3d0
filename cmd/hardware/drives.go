package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"kith/bench/disk"
)

const (
	driveRounds = 3
	driveSize   = 512 << 20
	driveWithin = 0.15
)

// driveJob is one comparison with fio.
type driveJob struct {
	what     string
	mode, bs string // as fio names them
	depth    int
	bytes    bool // of the two figures the one in bytes
	ours     func(disk.Result) []disk.Rate
}

// drives holds our rates against fio's, on the same file system, past the page cache, in turns, because the rest of the
// machine does not stand still. fio works as we do: so many threads, each with one request.
func drives(ctx context.Context, dir string, d time.Duration) ([]row, error) {
	var jobs []driveJob
	for _, depth := range []int{1, 8} {
		jobs = append(
			jobs,
			driveJob{"write in sequence", "write", "1m", depth, true, func(r disk.Result) []disk.Rate { return r.SeqWrite }},
			driveJob{"read in sequence", "read", "1m", depth, true, func(r disk.Result) []disk.Rate { return r.SeqRead }},
		)
	}
	for _, depth := range []int{1, 32} {
		jobs = append(
			jobs,
			driveJob{"read 4 KiB at random", "randread", "4k", depth, false, func(r disk.Result) []disk.Rate { return r.RandRead }},
			driveJob{"write 4 KiB at random", "randwrite", "4k", depth, false, func(r disk.Result) []disk.Rate { return r.RandWrite }},
		)
	}
	if _, err := exec.LookPath("fio"); err != nil {
		return []row{{What: "drive", Tool: "fio", Miss: "no fio; make bench-hardware installs it"}}, nil
	}
	on, err := disk.Of(dir)
	if err == nil && on.Bus == "memory" {
		return []row{{What: "drive", Tool: "fio", Miss: dir + " is in memory; name a folder on a drive with -dir"}}, nil
	}
	ours, theirs := make([][]float64, len(jobs)), make([][]float64, len(jobs))
	each := d / driveRounds
	for range driveRounds {
		r, err := disk.Measure(ctx, disk.Options{Dir: dir, Budget: 14 * each, Size: driveSize, Depths: []int{1, 32}})
		if err != nil {
			return nil, err
		}
		for i, j := range jobs {
			for _, x := range j.ours(r) {
				if x.Depth == j.depth {
					ours[i] = append(ours[i], j.figure(x.Bytes, x.Requests))
				}
			}
			bytes, requests, err := fio(ctx, dir, j, each)
			if err != nil {
				return nil, err
			}
			theirs[i] = append(theirs[i], j.figure(bytes, requests))
		}
	}
	var rows []row
	for i, j := range jobs {
		r := row{What: fmt.Sprintf("%s, depth %d", j.what, j.depth), Unit: "1/s", Ours: median(ours[i]), Theirs: median(theirs[i]), Tool: "fio", Within: driveWithin}
		if j.bytes {
			r.Unit = "B/s"
		}
		if s := spread(theirs[i]); s > driveWithin {
			r.Why = fmt.Sprintf("the drive itself is not steady: fio's own rounds differ by %.0f %%", 100*s)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (j driveJob) figure(bytes, requests float64) float64 {
	if j.bytes {
		return bytes
	}
	return requests
}

// fio runs one job and returns its bytes and requests a second. The file is laid out before the clock starts.
func fio(ctx context.Context, dir string, j driveJob, d time.Duration) (bytes, requests float64, err error) {
	out, err := tool(ctx, nil, "fio", "--name=kith", "--filename="+filepath.Join(dir, "fio.data"), "--size="+strconv.Itoa(driveSize), "--direct=1", "--overwrite=1",
		"--ioengine=psync", "--thread", "--numjobs="+strconv.Itoa(j.depth), "--group_reporting", "--bs="+j.bs, "--rw="+j.mode,
		"--time_based", "--runtime="+strconv.Itoa(max(1, int(math.Round(d.Seconds())))), "--randrepeat=0", "--output-format=json")
	if err != nil {
		return 0, 0, err
	}
	type side struct {
		Bytes    float64 `json:"bw_bytes"`
		Requests float64 `json:"iops"`
	}
	var answer struct {
		Jobs []struct {
			Read  side `json:"read"`
			Write side `json:"write"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.Jobs) != 1 {
		return 0, 0, fmt.Errorf("fio's answer is not understood: %w", err)
	}
	r, w := answer.Jobs[0].Read, answer.Jobs[0].Write
	return r.Bytes + w.Bytes, r.Requests + w.Requests, nil
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// spread is how far the largest is from the smallest, as a share of the middle.
func spread(list []float64) float64 {
	m := median(list)
	if m <= 0 {
		return 0
	}
	return (slices.Max(list) - slices.Min(list)) / m
}
