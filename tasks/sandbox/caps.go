package sandbox

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"kith/storage/governor"
	"kith/tasks"
	"kith/tasks/sandbox/cgroup"
)

// Caps are the owner's ceilings for everything that an engine runs, together. A zero field sets none.
//
// Where the engine has control groups, the kernel keeps CPU and Memory, exactly. Else the engine keeps them by sampling:
// it stops and continues the processes so that they get CPU on average, and ends the largest task when all of them hold
// more than Memory. IO is kept by sampling everywhere, since only the sampled count holds both kinds of writes, through
// the system's cache and past it: tasks may write faster for some milliseconds and are stopped until the average is right.
// Drives are the kernel's to keep, where it can: at no time is more asked of the drive, but with control groups of version 1
// what goes through the cache passes them by.
//
// What a task waits for because of CPU, IO or Halt does not count against its wall limit, in whichever way the ceiling is
// kept; a task that is held back for a day in all is given up with OverLimits, which is not its fault.
type Caps struct {
	CPU    float64 // processors' worth of time: 0.5 is half of one processor
	Memory int64   // bytes
	IO     int64   // bytes read from and written to disks, each second
	Drives []governor.Cap
	// Halt stops the tasks of leases (OpRun, OpPrepare) where they are, at once, until it is false again. They keep their memory, and
	// their clock stands still. Work for this machine's own jobs (OpMerge, OpSplit, OpCompare) goes on.
	Halt bool
}

// MinCapMemory is the least memory that Caps can leave: below it no runner could start.
const MinCapMemory = 64 << 20

// Timings of the caps.
const (
	paceEvery = 10 * time.Millisecond // while processor time or IO is kept by stopping
	haltEvery = 50 * time.Millisecond // while tasks are halted, or memory is kept by sampling
	credit    = 50 * time.Millisecond // of a rate that may be saved up
)

// Load is what an engine's processes have used since it was made.
type Load struct {
	CPU     time.Duration
	IO      int64 // bytes read from and written to disks
	Memory  int64 // bytes in use now
	Working int   // works in progress
	Lent    int   // of them, tasks of leases
	Halted  bool  // the tasks of leases stand still
	Exact   bool  // CPU and Memory are kept by the kernel
	Drives  bool  // and Drives
}

// SetCaps sets the ceilings, at once also for what runs. It is safe for concurrent use.
func (e *Process) SetCaps(c Caps) {
	if c.Memory > 0 {
		c.Memory = max(c.Memory, MinCapMemory)
	}
	e.caps.set(c)
}

// Load samples what the engine's processes use. It is safe for concurrent use.
func (e *Process) Load() Load { return e.caps.load() }

// capper keeps the caps of an engine. The zero value keeps none. It has a goroutine only while there is something to
// keep by sampling and something that runs.
type capper struct {
	log *slog.Logger

	apply sync.Mutex // held while groups are written: the last caps win
	mu    sync.Mutex
	caps  Caps
	tree  *cgroup.Tree        // nil: none
	works map[*child]struct{} // in progress
	last  time.Time           // of the last step
	cpu   allowance
	io    allowance
	used  Load // ended processes included
	loss  loss
	quota float64 // processors, the last that the kernel was given; 0: never one

	looked time.Time // at what the kernel counts of it
	loop   bool      // the goroutine runs
	shut   bool
	wg     sync.WaitGroup

	drives []governor.Cap // that the kernel knows; guarded by apply
}

// taken is what the capper knows of one runner.
type taken struct {
	lent bool      // its work is a task of a lease
	seen usage     // when last sampled
	at   time.Time // of that; zero: never
}

// set takes new caps.
func (k *capper) set(c Caps) {
	k.apply.Lock()
	defer k.apply.Unlock()
	k.mu.Lock()
	k.caps = c
	k.quotaLocked()
	tree := k.tree
	k.mu.Unlock()
	if tree != nil {
		k.limit(tree, c)
	}
	k.step()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.startLocked()
}

// join hands over the control groups, once they are there.
func (k *capper) join(tree *cgroup.Tree) {
	k.apply.Lock()
	defer k.apply.Unlock()
	k.mu.Lock()
	k.tree = tree
	c := k.caps
	k.quotaLocked()
	k.mu.Unlock()
	k.limit(tree, c)
}

// quotaLocked remembers the quota that what is waited from now on is owed to, and the time from which it is counted.
func (k *capper) quotaLocked() {
	if k.tree != nil && k.caps.CPU > 0 {
		if k.quota == 0 {
			k.loss.at = time.Now()
		}
		k.quota = k.caps.CPU
	}
}

// limit has the kernel keep what it can. Memory that is in use cannot be taken away by every kernel: what is over the
// limit then is ended by sampling.
func (k *capper) limit(tree *cgroup.Tree, c Caps) {
	err := tree.Limit(cgroup.Sum{CPU: c.CPU, Memory: c.Memory})
	for try := 0; err != nil && try < 20 && c.Memory > 0; try++ {
		if !k.endLargest(c.Memory) {
			break
		}
		time.Sleep(10 * time.Millisecond) // for the kernel to take the memory back
		err = tree.Limit(cgroup.Sum{CPU: c.CPU, Memory: c.Memory})
	}
	if err != nil {
		k.log.Warn("the kernel does not take the ceilings of all tasks", "error", err)
	}
	k.limitDrives(tree, c.Drives)
}

// limitDrives has the kernel keep what it can of the limits of drives.
func (k *capper) limitDrives(tree *cgroup.Tree, drives []governor.Cap) {
	if !tree.HasDrives() || slices.Equal(k.drives, drives) {
		return
	}
	k.drives = slices.Clone(drives)
	if err := tree.LimitDrives(drives); err != nil {
		k.log.Warn("the kernel does not take the limits of a drive", "error", err)
	}
}

// begin notes a work in progress, end its end. Neither samples where it need not, since a sample costs as much as a small
// task: between two works a runner uses nothing, and what is too little to look at now is counted with the next.
func (k *capper) begin(c *child, lent bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.works == nil {
		k.works = map[*child]struct{}{}
	}
	k.works[c] = struct{}{}
	if c.taken.lent = lent; c.taken.at.IsZero() {
		c.taken.seen = c.base
	}
	k.startLocked()
}

func (k *capper) end(c *child) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(c.taken.at) >= haltEvery {
		k.sampleLocked(c)
	}
	delete(k.works, c)
	c.hold(false)
}

// startLocked starts the goroutine if there is something for it to do.
func (k *capper) startLocked() {
	if !k.loop && !k.shut && k.everyLocked() > 0 {
		k.loop, k.last = true, time.Now()
		k.wg.Go(k.run)
	}
}

// close ends the goroutine.
func (k *capper) close() {
	k.mu.Lock()
	k.shut = true
	k.mu.Unlock()
	k.wg.Wait()
}

// everyLocked is the time between two samples; 0: none are needed.
func (k *capper) everyLocked() time.Duration {
	switch {
	case len(k.works) == 0:
		return 0
	case k.caps.IO > 0, k.tree == nil && k.caps.CPU > 0:
		return paceEvery
	case k.caps.Halt, k.tree == nil && k.caps.Memory > 0:
		return haltEvery
	default:
		return 0
	}
}

func (k *capper) run() {
	for {
		k.mu.Lock()
		every := k.everyLocked()
		if k.shut || every == 0 {
			k.loop = false
			for c := range k.works {
				c.hold(false)
			}
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		time.Sleep(every)
		k.step()
	}
}

// step samples and brings the caps into effect.
func (k *capper) step() {
	k.mu.Lock()
	now := time.Now()
	gone := now.Sub(k.last)
	k.last = now
	before := k.used
	var memory int64
	for c := range k.works {
		k.sampleLocked(c)
		memory += max(0, c.taken.seen.memory-c.base.memory)
	}
	over := false
	if k.tree == nil {
		over = k.cpu.spend(k.caps.CPU, (k.used.CPU - before.CPU).Seconds(), gone)
	}
	over = k.io.spend(float64(k.caps.IO), float64(k.used.IO-before.IO), gone) || over
	for c := range k.works {
		c.hold(over || k.caps.Halt && c.taken.lent)
	}
	most := k.caps.Memory
	full := k.tree == nil && most > 0 && memory > most
	k.mu.Unlock()
	if full {
		k.endLargest(most)
	}
}

// sampleLocked adds what a runner has used since the last sample.
func (k *capper) sampleLocked(c *child) {
	t := &c.taken
	t.at = time.Now()
	if u, ok := c.tree.usage(c.pid(), 1<<20); ok {
		k.used.CPU += max(0, u.cpu-t.seen.cpu)
		k.used.IO += max(0, u.io-t.seen.io)
		u.cpu, u.io = max(u.cpu, t.seen.cpu), max(u.io, t.seen.io)
		t.seen = u
	}
}

// endLargest ends the task that holds most memory, if together they hold more than most. It reports whether it did.
func (k *capper) endLargest(most int64) bool {
	k.mu.Lock()
	type holder struct {
		c    *child
		held int64
	}
	var list []holder
	var sum int64
	for c := range k.works {
		k.sampleLocked(c)
		list = append(list, holder{c, c.taken.seen.memory})
		sum += c.taken.seen.memory
	}
	k.mu.Unlock()
	if len(list) == 0 || sum <= most {
		return false
	}
	largest := slices.MaxFunc(list, func(a, b holder) int { return cmp.Compare(a.held, b.held) })
	largest.c.kill(tasks.Because(tasks.OverLimits, "the owner now gives %d MiB to all tasks together", most>>20))
	return largest.c.gone(killLimit)
}

func (k *capper) load() Load {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := Load{Working: len(k.works), Exact: k.tree != nil, Drives: k.tree != nil && k.tree.HasDrives()}
	for c := range k.works {
		k.sampleLocked(c)
		out.Memory += c.taken.seen.memory
		if c.taken.lent {
			out.Lent++
		}
	}
	out.CPU, out.IO = k.used.CPU, k.used.IO
	out.Halted = k.caps.Halt && out.Lent > 0
	return out
}

// allowance keeps a rate on average: what is spent beyond it is a debt, during which nothing may run.
type allowance struct{ left float64 }

// spend takes what was used in the time gone and reports whether there is a debt. A rate of 0 forgives everything.
func (a *allowance) spend(rate, used float64, gone time.Duration) bool {
	if !(rate > 0) {
		a.left = 0
		return false
	}
	gone = min(max(gone, 0), time.Second) // the machine may have slept
	a.left = min(a.left+rate*gone.Seconds(), rate*credit.Seconds()) - max(0, used)
	return a.left < 0
}
