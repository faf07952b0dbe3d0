package sandbox

import (
	"sync"
	"time"

	"kith/tasks"
)

// patience is the longest time for which the owner's ceilings may hold a work back before it is given up: as long as a
// lease may last, so that what goes on after it helps nobody. A work ends at the latest after its wall limit and this.
const patience = 24 * time.Hour

// countedAfter is how late the kernel may count what a quota has held back: its period.
const countedAfter = 100 * time.Millisecond

// hold stops the whole tree of a runner, or lets it go on. Stopping what is stopped finds processes that were started or
// continued meanwhile.
func (c *child) hold(stop bool) {
	c.held.mu.Lock()
	defer c.held.mu.Unlock()
	now := time.Now()
	switch {
	case stop:
		if c.dead() {
			return
		}
		c.tree.stop(c.cmd.Process)
		if c.held.since.IsZero() {
			c.held.since = now
		}
	case !c.held.since.IsZero():
		c.held.total += now.Sub(c.held.since)
		c.held.since = time.Time{}
		if !c.dead() {
			c.tree.cont(c.cmd.Process)
		}
	}
}

// holding is how long a runner has been stopped.
type holding struct {
	mu    sync.Mutex
	since time.Time // zero: it is not
	total time.Duration
}

// stood is how long the runner has been stopped so far.
func (c *child) stood() time.Duration {
	c.held.mu.Lock()
	defer c.held.mu.Unlock()
	if c.held.since.IsZero() {
		return c.held.total
	}
	return c.held.total + time.Since(c.held.since)
}

// clock is the wall clock of a work. It stands still while the owner's ceilings hold the work back.
type clock struct {
	at     time.Time     // of the last tick
	held   time.Duration // that the work's process was held back until then, since some moment
	owed   time.Duration // of that, not yet given
	ran    time.Duration
	waited time.Duration
}

// tick moves the clock on to now.
func (c *clock) tick(now time.Time, held time.Duration) {
	gone := max(0, now.Sub(c.at))
	c.owed += max(0, held-c.held)
	back := min(c.owed, gone)
	c.owed = min(c.owed-back, countedAfter) // more than is told late was told twice
	c.at, c.held = now, held
	c.ran += gone - back
	c.waited += back
}

// left is how much of a wall limit, in milliseconds, is left.
func (c *clock) left(limit int64) time.Duration {
	left := millis(limit) - c.ran
	if c.waited > 0 {
		left += countedAfter
	}
	return left
}

// over says why the work has to end, if it has to.
func (c *clock) over(limit int64) error {
	switch {
	case c.left(limit) <= 0:
		return tasks.Because(tasks.TimeLimit, "%d ms", limit)
	case c.waited >= patience:
		return tasks.Because(tasks.OverLimits, "the owner's ceilings have held the task back for %v", patience)
	}
	return nil
}

// loss is how much of the wall clock a quota of processor time has taken from those under it. The kernel counts what each
// processor had to wait, and only when the wait is over.
type loss struct {
	waited time.Duration // as last seen, all processors together
	at     time.Time     // when that was new
	total  time.Duration
}

// see takes the kernel's count, under a quota of so many processors. Of a time in which w was waited and quota·time was
// worked, the part w/(w+worked) was lost, however many processors took part in it; for who waits now and then it is no
// more than what was waited.
func (l *loss) see(now time.Time, waited time.Duration, quota float64) {
	w := waited - l.waited
	if l.waited = waited; w <= 0 {
		if l.at.IsZero() {
			l.at = now
		}
		return
	}
	gone := now.Sub(l.at)
	if l.at = now; gone <= 0 {
		return
	}
	part := w.Seconds() / (w.Seconds() + max(0, quota)*gone.Seconds())
	l.total += min(w, gone, time.Duration(part*float64(gone)))
}

// lost is how much of the wall clock the owner's ceiling of processor time has taken from all works so far, where the
// kernel keeps it. Where it is kept by stopping, child.stood tells.
func (k *capper) lost() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); k.tree != nil && k.quota > 0 && now.Sub(k.looked) >= sampleEvery/2 {
		k.looked = now
		if waited, err := k.tree.Throttled(); err == nil {
			k.loss.see(now, waited, k.quota)
		}
	}
	return k.loss.total
}
