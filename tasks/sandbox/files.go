package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"kith/tasks"
)

// Timings of the look at a task's files. All of them are added up, a walk over the whole tree; what the file system has
// less of since the last walk, which costs next to nothing to ask, tells when that cannot wait.
const (
	walkEvery  = 250 * time.Millisecond // at the latest
	probeEvery = 10 * time.Millisecond  // at the soonest
	walkPart   = 5                      // regular walks take no more than one part in so many of one processor's time

	// What a task is taken to write and make in a second before it has shown how fast it is.
	quickBytes   = 1 << 30
	quickEntries = 1 << 20
)

// space is what a file system has free. Some do not count their entries: 0.
type space struct{ bytes, entries int64 }

// files watches over what a task writes. It is used by one goroutine at a time.
type files struct {
	dirs    []string
	limits  *tasks.Limits
	entries int                             // that each folder may hold
	free    func(dir string) (space, error) // replaced in tests

	every time.Duration // until the next check
	pace  pace
}

// newFiles watches the folders of a work that is about to begin.
func newFiles(w *Work, entries int, now time.Time) *files {
	f := &files{limits: &w.Limits, entries: entries, free: free, every: sampleEvery}
	for _, dir := range [...]string{w.Scratch, w.OutDir} {
		if dir != "" {
			f.dirs = append(f.dirs, dir)
		}
	}
	s, err := f.free(f.dirs[0])
	if err != nil {
		s = space{} // nothing is known: no sooner than the next walk
	}
	f.pace.walked(now, now, s, space{w.Limits.ScratchBytes, int64(entries)})
	f.every = f.pace.wait(now, s)
	return f
}

// check looks at the files if it is time to. nameless is the size of those that are open and have no name any more.
func (f *files) check(now time.Time, nameless func() int64) error {
	s, err := f.free(f.dirs[0]) // both lie in one folder
	if err != nil {
		s = f.pace.since
	}
	if !f.pace.due(now, s) {
		f.every = f.pace.wait(now, s)
		return nil
	}
	left, err := f.walk(nameless)
	end := time.Now()
	f.pace.walked(now, end, s, left)
	f.every = f.pace.wait(end, s)
	return err
}

// walk adds up the files and returns what is left of the limits.
func (f *files) walk(nameless func() int64) (space, error) {
	left := space{f.limits.ScratchBytes, int64(f.entries)}
	for _, dir := range f.dirs {
		n, entries, err := measure(dir, left.bytes, f.entries, tasks.ScratchLimit, false)
		if err != nil {
			return left, err
		}
		left.bytes -= n
		left.entries = min(left.entries, int64(entries))
	}
	if left.bytes -= nameless(); left.bytes < 0 {
		return left, tasks.Because(tasks.ScratchLimit, "more than %d bytes, some in deleted files", f.limits.ScratchBytes)
	}
	return left, nil
}

// pace says when a task's files must be looked at. It only does arithmetic.
type pace struct {
	since space // what was free just before the last walk
	left  space // what that walk has left of the limits
	next  time.Time
	soon  time.Time // no walk before, so that they take half of one processor at most if others fill the file system

	at    time.Time // of the last probe
	seen  space     // by it
	speed [2]float64
	every time.Duration
}

// walked takes what a walk from began to end has found, with so much free before it.
func (p *pace) walked(began, end time.Time, free, left space) {
	took := end.Sub(began)
	p.since, p.left = free, left
	p.soon = end.Add(took)
	p.next = end.Add(max(walkEvery, (walkPart-1)*took))
	if p.at.IsZero() {
		p.at, p.seen, p.every = end, free, probeEvery
		p.speed = [2]float64{quickBytes, quickEntries}
	}
}

// gone is what is missing since then, at least nothing.
func gone(then, now space) space {
	return space{max(0, then.bytes-now.bytes), max(0, then.entries-now.entries)}
}

// due takes what is free now and reports whether the limits may have been passed since the last walk. That others write to
// the same file system makes it due too soon, and that they free some, not before the next regular walk.
func (p *pace) due(now time.Time, free space) bool {
	grown := gone(p.seen, free)
	if d := now.Sub(p.at).Seconds(); d >= probeEvery.Seconds()/2 {
		p.speed[0] = max(p.speed[0], float64(grown.bytes)/d)
		p.speed[1] = max(p.speed[1], float64(grown.entries)/d)
		p.at, p.seen = now, free
		if p.every = min(2*p.every, sampleEvery); grown != (space{}) {
			p.every = probeEvery
		}
	}
	all := gone(p.since, free)
	return !now.Before(p.next) || !now.Before(p.soon) && (all.bytes > p.left.bytes || all.entries > p.left.entries)
}

// wait is how long to the next probe: half of what the task needs to its limits at the fastest it was seen to grow, longer
// while it does not grow.
func (p *pace) wait(now time.Time, free space) time.Duration {
	all := gone(p.since, free)
	room := min(float64(p.left.bytes-all.bytes)/p.speed[0], float64(p.left.entries-all.entries)/p.speed[1])
	wait := max(time.Duration(min(room/2, 1)*float64(time.Second)), p.every, probeEvery)
	if over := p.soon.Sub(now); over > wait { // nothing would come of it
		wait = over
	}
	return max(min(wait, p.next.Sub(now), sampleEvery), time.Millisecond)
}

// measure adds up the files below dir and returns a reason with code if they pass most bytes or entries, of which left are
// left. With strict set it refuses everything but files and folders, as befits an output; else it overlooks what vanishes
// while it looks.
func measure(dir string, most int64, entries int, code tasks.Code, strict bool) (total int64, left int, err error) {
	limit := entries
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if strict || path == dir {
				return err
			}
			if !errors.Is(err, os.ErrNotExist) { // closed, or too deep to be named
				return tasks.Because(code, "a folder that cannot be measured: %v", errors.Unwrap(err))
			}
			return nil
		}
		if entries--; entries < 0 {
			return tasks.Because(code, "more than %d files", limit)
		}
		if d.IsDir() {
			return nil
		}
		if strict && !d.Type().IsRegular() {
			return tasks.Because(tasks.TaskFailed, "output holds something that is not a file")
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) && !strict {
			return nil
		}
		if err != nil {
			return err
		}
		if total += info.Size(); total > most {
			return tasks.Because(code, "more than %d bytes", most)
		}
		return nil
	})
	return total, entries, err
}
