package sandbox

import (
	"errors"
	"testing"
	"time"

	"kith/tasks"
)

// play plays a task against a pace: what it holds after some time, what others on the same file system do meanwhile, and
// how long a walk takes. It returns by how much the task had passed its limits when that was seen, how many probes there
// were, and how much time went into walks.
func play(limit space, holds, others func(time.Duration) space, walk, until time.Duration) (over space, probes int, walking time.Duration) {
	began := time.Unix(1000, 0)
	free := func(d time.Duration) space {
		t, o := holds(d), others(d)
		return space{1<<40 - t.bytes - o.bytes, 1<<30 - t.entries - o.entries}
	}
	var p pace
	p.walked(began, began, free(0), limit)
	d := p.wait(began, free(0))
	for d < until {
		probes++
		now := began.Add(d)
		if !p.due(now, free(d)) {
			d += p.wait(now, free(d))
			continue
		}
		before, h := free(d), holds(d)
		if h.bytes > limit.bytes || h.entries > limit.entries {
			return space{max(0, h.bytes-limit.bytes), max(0, h.entries-limit.entries)}, probes, walking
		}
		d += walk
		walking += walk
		end := began.Add(d)
		p.walked(now, end, before, space{limit.bytes - h.bytes, limit.entries - h.entries})
		d += p.wait(end, free(d))
	}
	return space{-1, -1}, probes, walking
}

func TestPace(t *testing.T) {
	none := func(time.Duration) space { return space{} }
	rate := func(bytes, entries float64) func(time.Duration) space {
		return func(d time.Duration) space {
			return space{int64(bytes * d.Seconds()), int64(entries * d.Seconds())}
		}
	}
	after := func(idle time.Duration, bytes, entries float64) func(time.Duration) space {
		return func(d time.Duration) space { return rate(bytes, entries)(max(0, d-idle)) }
	}
	const ms = time.Millisecond
	limit := space{256 << 20, 10_000}
	for name, c := range map[string]struct {
		holds, others func(time.Duration) space
		walk, until   time.Duration
		passed        bool
		over          space
		probes        int
		walking       time.Duration
	}{
		// What has not shown how fast it is, and is at once: one probe late.
		"fast from the start":    {rate(2e9, 0), none, ms, time.Second, true, space{20e6, 0}, 20, 10 * ms},
		"fast after a rest":      {after(3*time.Second, 2e9, 0), none, ms, 10 * time.Second, true, space{100e6, 0}, 100, 20 * ms},
		"folders":                {rate(0, 1e6), none, ms, time.Second, true, space{0, 10_000}, 20, 10 * ms},
		"slow":                   {rate(50e6, 0), none, ms, 10 * time.Second, true, space{1e6, 0}, 600, 40 * ms},
		"idle":                   {none, none, ms, 10 * time.Second, false, space{}, 280, 45 * ms},
		"idle in a huge tree":    {none, none, 200 * ms, 10 * time.Second, false, space{}, 280, 2100 * ms},
		"others fill it":         {none, rate(2e9, 0), 20 * ms, 10 * time.Second, false, space{}, 1000, 5100 * ms},
		"others fill a huge one": {none, rate(2e9, 1e6), 200 * ms, 10 * time.Second, false, space{}, 1000, 5300 * ms},
		"others free more":       {rate(1e9, 0), rate(-2e9, 0), ms, 10 * time.Second, true, space{260e6, 0}, 100, 20 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			over, probes, walking := play(limit, c.holds, c.others, c.walk, c.until)
			if passed := over != (space{-1, -1}); passed != c.passed {
				t.Fatalf("passed %v", passed)
			}
			if c.passed && (over.bytes > c.over.bytes || over.entries > c.over.entries) {
				t.Errorf("%+v over the limits, want %+v at most", over, c.over)
			}
			if probes > c.probes || walking > c.walking {
				t.Errorf("%d probes and %v of walks, want %d and %v at most", probes, walking, c.probes, c.walking)
			}
		})
	}
}

// TestFilesBlind: a file system that tells nothing is walked as often as before.
func TestFilesBlind(t *testing.T) {
	dir := t.TempDir()
	w := Work{Scratch: dir, Limits: tasks.Limits{ScratchBytes: 10}}
	now := time.Unix(1000, 0)
	f := newFiles(&w, 10, now)
	f.free = func(string) (space, error) { return space{}, errors.New("not told") }
	f.pace = pace{}
	f.pace.walked(now, now, space{}, space{10, 10})
	held := int64(11)
	nameless := func() int64 { return held }
	if err := f.check(now.Add(walkEvery/2), nameless); err != nil || f.every > sampleEvery {
		t.Errorf("%v, next in %v", err, f.every)
	}
	var why tasks.Reason
	if err := f.check(now.Add(walkEvery), nameless); !errors.As(err, &why) || why.Code != tasks.ScratchLimit {
		t.Errorf("got %v", err)
	}
}

func TestFree(t *testing.T) {
	dir := t.TempDir()
	if s, err := free(dir); err != nil || s.bytes <= 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := free(dir + "/none/such"); err == nil {
		t.Error("no such folder, and yet it has room")
	}
}
