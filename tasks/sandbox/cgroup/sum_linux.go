package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Quotas are counted in microseconds of processor time in each period.
const (
	period   = 100_000
	minQuota = 1_000 // the least that the kernel takes
)

// Limit sets the ceilings of all groups together, at once also for what runs. A limit of memory below what is in use that
// the kernel cannot free is an error of version 1, and ends processes with version 2. It is safe for concurrent use.
func (t *Tree) Limit(s Sum) error {
	if !(s.Memory >= 0) || !(s.CPU >= 0) || math.IsInf(s.CPU, 0) {
		return fmt.Errorf("control groups: ceilings must not be negative: %+v", s)
	}
	return errors.Join(t.limitMemory(s.Memory), t.limitCPU(s.CPU))
}

func (t *Tree) limitMemory(most int64) error {
	dir := t.of["memory"]
	if !t.v2["memory"] {
		if most == 0 {
			most = -1
		}
		return memoryV1(dir, most)
	}
	text := "max"
	if most > 0 {
		text = strconv.FormatInt(most, 10)
	}
	return errors.Join(write(filepath.Join(dir, "memory.max"), text), ifThere(put(filepath.Join(dir, "memory.swap.max"), 0)))
}

// memoryV1 sets the limit of memory and that of memory with swap, which must never be the smaller. Negative: none.
func memoryV1(dir string, most int64) error {
	memory, both := filepath.Join(dir, "memory.limit_in_bytes"), filepath.Join(dir, "memory.memsw.limit_in_bytes")
	first := put(memory, most)
	second := ifThere(put(both, most))
	if first != nil { // it was to rise above the other
		first = put(memory, most)
	}
	return errors.Join(first, second)
}

// limitCPU sets the quota of the tree. With version 1 a group must never have more than the tree: the groups shrink
// before it and grow after it.
func (t *Tree) limitCPU(cpu float64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	quota := int64(0)
	if cpu > 0 {
		quota = max(minQuota, int64(math.Round(min(cpu, 1<<20)*period)))
	}
	grows := quota == 0 || t.quota != 0 && quota > t.quota
	t.quota = quota
	var errs []error
	if grows {
		errs = append(errs, t.write("", quota))
	}
	for g := range t.groups {
		errs = append(errs, ifThere(t.write(g.name, t.within(g.quota))))
	}
	if !grows {
		errs = append(errs, t.write("", quota))
	}
	return errors.Join(errs...)
}

// share sets the quota of one group, within that of the tree.
func (t *Tree) share(g *Group, quota int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.groups == nil {
		t.groups = map[*Group]bool{}
	}
	t.groups[g], g.quota = true, quota
	return t.write(g.name, t.within(quota))
}

// within is the quota of a group below that of the tree: none where the tree's holds it anyway, so that the kernel counts
// in one place who had to wait for the ceiling of all.
func (t *Tree) within(quota int64) int64 {
	if t.quota > 0 && t.quota <= quota {
		return 0
	}
	return quota
}

// Throttled is how long processes of the tree have waited in all because its ceiling of processor time was used up: the
// sum over processors, as of the kernel's last look, which is a tenth of a second old at most. It is safe for concurrent
// use.
func (t *Tree) Throttled() (time.Duration, error) {
	b, err := os.ReadFile(filepath.Join(t.of["cpu"], "cpu.stat"))
	if err != nil {
		return 0, err
	}
	name, unit := "throttled_time ", time.Nanosecond
	if t.v2["cpu"] {
		name, unit = "throttled_usec ", time.Microsecond
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
			n, err := strconv.ParseInt(text, 10, 64)
			return time.Duration(n) * unit, err
		}
	}
	return 0, fmt.Errorf("control group: cpu.stat has no %q", strings.TrimSpace(name))
}

// write sets a quota of a group, or of the tree itself where name is empty; 0: none.
func (t *Tree) write(name string, quota int64) error {
	dir := filepath.Join(t.of["cpu"], name)
	if t.v2["cpu"] {
		text := "max"
		if quota > 0 {
			text = strconv.FormatInt(quota, 10)
		}
		return write(filepath.Join(dir, "cpu.max"), text+" "+strconv.Itoa(period))
	}
	if quota == 0 {
		quota = -1
	}
	return errors.Join(put(filepath.Join(dir, "cpu.cfs_period_us"), period), put(filepath.Join(dir, "cpu.cfs_quota_us"), quota))
}
