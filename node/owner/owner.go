// Package owner is what the owner of this machine allows right now. It answers for every task, before it runs, whether
// it may: under the switch (working, paused, killed), the caps on slots, memory and scratch space, the kinds that are
// off and the fill of the disk. A pause never ends by itself, and neither it nor a kill is forgotten over a restart.
package owner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/node/atomicfile"
	"kith/node/strict"
	"kith/tasks"
)

// State is the position of the owner's switch.
type State string

// The positions.
const (
	Working State = "working" // tasks run
	Paused  State = "paused"  // tasks stand still and are soon handed back, nothing new begins
	Killed  State = "killed"  // everything was ended at once, nothing begins
)

// FileName is where the switch is kept in the data folder.
const FileName = "owner.json"

// ErrState: there is no such position of the switch.
var ErrState = errors.New("no such state: want working, paused or killed")

// ErrDamaged: the file of the switch cannot be read. The node is paused, because nobody knows what its owner wanted.
var ErrDamaged = errors.New("the file that remembers pause and kill is damaged")

// Limits are what the owner has set.
type Limits struct {
	Donate         bool
	Slots          int   // tasks at once
	Memory         int64 // bytes, all tasks together
	MemoryPerTask  int64
	Scratch        int64 // bytes, all tasks together
	ScratchPerTask int64
	TaskSeconds    int
	KindsOff       []string      // names; a trailing * matches any ending
	DiskStop       int           // percent of the disk at which no new work is taken
	Quota          int64         // bytes of the data folder at which no new work is taken; 0: none
	Refuse         *tasks.Reason // why the drive or the space of the data folder allows no new work; nil: they do

	Caps       Caps          // of all tasks together; Memory is the one above
	InUse      Caps          // while somebody uses the computer; never more than Caps
	Rules      Rules         // when to give way
	HandBack   time.Duration // how long tasks stand still before they are handed back
	Processors int           // of this machine; 0: one
}

// Disk is how full the disk of the data folder is, in bytes, and how much of it the folder itself uses.
type Disk struct{ Free, Total, Own int64 }

// UsedPercent is the share that is used, 0 if the size is not known.
func (d Disk) UsedPercent() int {
	if d.Total <= 0 {
		return 0
	}
	return int((d.Total - d.Free) * 100 / d.Total)
}

// Owner answers for the owner. It is safe for concurrent use.
type Owner struct {
	path   string
	kept   string // where comfort is
	limits func() Limits
	disk   func() Disk

	mu       sync.Mutex
	state    record
	snoozed  time.Time // until when, by the steady clock; zero: not
	latches  Latches
	extra    map[Cause]Why
	comfort  Comfort
	why      []Why // that hold
	halted   time.Time
	memory   int64
	scratch  int64
	vram     int64
	admitted []*admission // oldest first
}

// admission is one task that was let in.
type admission struct {
	memory, scratch, vram int64
	stop                  func(tasks.Reason)
	stopped               bool
}

// record is the file.
type record struct {
	State  State   `json:"state"`
	Since  int64   `json:"since"`          // Unix milliseconds
	By     Cause   `json:"by,omitempty"`   // who else than the owner moved the switch
	Text   string  `json:"text,omitempty"` // what they said
	Snooze *snooze `json:"snooze,omitempty"`
}

// snooze is a pause for a chosen time.
type snooze struct {
	Since int64 `json:"since"` // Unix milliseconds
	Until int64 `json:"until"`
}

// MaxSnooze is the longest snooze.
const MaxSnooze = 30 * 24 * time.Hour

// ErrSnooze: nobody can snooze for so long.
var ErrSnooze = errors.New("a snooze is from 1 s to 30 days long, like 30m or 8h")

// Open reads the switch of a data folder. limits and disk are asked at every admission; they must be quick and safe for
// concurrent use. If the file is damaged, the Owner is paused, and the error is ErrDamaged: the caller may go on with it.
func Open(home string, limits func() Limits, disk func() Disk) (*Owner, error) {
	o := &Owner{path: filepath.Join(home, FileName), kept: filepath.Join(home, ComfortFile), limits: limits, disk: disk, state: record{State: Working}, extra: map[Cause]Why{}}
	data, err := os.ReadFile(o.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the owner's switch: %w", err)
	}
	if err == nil {
		var r record
		if r, err = parse(data); err != nil {
			r, err = record{State: Paused}, fmt.Errorf("%w: %s: %w", ErrDamaged, o.path, err)
		}
		o.state = r
	} else {
		err = nil
	}
	o.comfort, _ = readComfort(o.kept) // measured anew, if it is damaged
	now := time.Now()
	if s := o.state.Snooze; s != nil {
		o.snoozed = now.Add(s.left(now))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.judgeLocked(now, Readings{}) // what needs no sensor holds from the first moment
	return o, err
}

// left is how long a snooze has to go. A clock that was set back cannot make it longer than it was meant.
func (s *snooze) left(now time.Time) time.Duration {
	left, whole := time.UnixMilli(s.Until).Sub(now), time.Duration(s.Until-s.Since)*time.Millisecond
	return max(0, min(left, whole))
}

func parse(data []byte) (record, error) {
	var r record
	if err := strict.Decode(data, &r); err != nil {
		return record{}, err
	}
	if r.State != Working && r.State != Paused && r.State != Killed {
		return record{}, fmt.Errorf("%w, got %.20q", ErrState, r.State)
	}
	if s := r.Snooze; s != nil && (s.Since < 0 || s.Until <= s.Since || s.Until-s.Since > MaxSnooze.Milliseconds()) {
		return record{}, ErrSnooze
	}
	return r, nil
}

// State returns the position of the switch and since when, in Unix milliseconds (0: always).
func (o *Owner) State() (State, int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state.State, o.state.Since
}

// Set moves the switch, as the owner's own word. Stopping takes effect at once, even if it cannot be written; starting
// only once it is. Starting also ends a snooze.
func (o *Owner) Set(s State) error {
	if s != Working && s != Paused && s != Killed {
		return fmt.Errorf("%w, got %.20q", ErrState, s)
	}
	return o.move(func(r record) record {
		if r.State != s || r.By != "" {
			r = record{State: s, Since: time.Now().UnixMilli(), Snooze: r.Snooze}
		}
		if s == Working {
			r.Snooze = nil
		}
		return r
	})
}

// Kill moves the switch to killed on somebody else's word, until the owner says otherwise.
func (o *Owner) Kill(by Cause, text string) error {
	return o.move(func(r record) record {
		if r.State == Killed {
			return r
		}
		return record{State: Killed, Since: time.Now().UnixMilli(), By: by, Text: text, Snooze: r.Snooze}
	})
}

// Snooze pauses for a time that goes on over restarts, from now on; 0 ends a snooze. The switch stays where it is.
func (o *Owner) Snooze(d time.Duration) error {
	if d != 0 && d < time.Second || d > MaxSnooze {
		return ErrSnooze
	}
	return o.move(func(r record) record {
		r.Snooze = nil
		if d > 0 {
			now := time.Now()
			r.Snooze = &snooze{Since: now.UnixMilli(), Until: now.Add(d).UnixMilli()}
		}
		return r
	})
}

// move writes the record that change makes of the present one. What stops more than before holds even if it cannot be
// written.
func (o *Owner) move(change func(record) record) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := change(o.state)
	if next == o.state {
		return nil
	}
	become := func() {
		o.state, o.snoozed = next, time.Time{}
		now := time.Now()
		if next.Snooze != nil {
			o.snoozed = now.Add(next.Snooze.left(now))
		}
		o.orderLocked(now)
	}
	stops := next.State != Working && next.State != o.state.State || next.Snooze != nil
	if stops {
		become()
	}
	data, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode the owner's switch: %w", err)
	}
	if err := atomicfile.Write(o.path, append(data, '\n'), 0o600); err != nil {
		return err
	}
	if !stops {
		become()
	}
	return nil
}

// Allowed reports whether the owner lets a kind of work run.
func (o *Owner) Allowed(kind string) bool { return o.limits().allows(kind) }

func (l Limits) allows(kind string) bool {
	return l.Donate && !slices.ContainsFunc(l.KindsOff, func(off string) bool {
		prefix, wild := strings.CutSuffix(off, "*")
		return kind == off || (wild && strings.HasPrefix(kind, prefix))
	})
}

// Blocked says why nothing new may run right now, whatever it is, or nil. It does not count the slots.
func (o *Owner) Blocked() *tasks.Reason {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.blockedLocked(o.limits())
}

func (o *Owner) blockedLocked(l Limits) *tasks.Reason {
	for _, w := range o.why {
		if w.Level < Drained || w.Cause == ByDisk { // the disk is asked below, as it is now
			continue
		}
		r := w.Reason()
		return &r
	}
	if !l.Donate {
		return because(tasks.KindOff, "work.donate is off")
	}
	switch d := o.disk(); {
	case l.Refuse != nil:
		return l.Refuse
	case d.Total > 0 && d.UsedPercent() >= l.DiskStop:
		return because(tasks.DiskFull, "%d %% used, no new work from %d %%", d.UsedPercent(), l.DiskStop)
	case l.Quota > 0 && d.Own >= l.Quota:
		return because(tasks.DiskFull, "the data folder has %d MB, storage.quota is %d MB", d.Own/1e6, l.Quota/1e6)
	}
	return nil
}

// Fits says why a task can never run here, however long it waits, or nil. It is asked before anything is fetched.
func (o *Owner) Fits(a tasks.Assignment) *tasks.Reason {
	l := o.limits()
	for _, step := range a.Steps {
		if !l.allows(step.Kind) {
			return because(tasks.KindOff, "%s", step.Kind)
		}
	}
	memory, scratch, vram := l.wants(a)
	all := l.whole()
	switch {
	case memory > l.MemoryPerTask:
		return because(tasks.OverLimits, "%d MiB of memory, work.memoryPerTask is %d MiB", memory>>20, l.MemoryPerTask>>20)
	case scratch > l.ScratchPerTask:
		return because(tasks.OverLimits, "%d MiB of scratch space, work.scratchPerTask is %d MiB", scratch>>20, l.ScratchPerTask>>20)
	case a.Limits.WallMillis > int64(l.TaskSeconds)*1000:
		return because(tasks.OverLimits, "%d s, work.taskSeconds is %d", a.Limits.WallMillis/1000, l.TaskSeconds)
	case vram > 0 && vram > all.VRAM:
		return because(tasks.OverLimits, "%d MiB of graphics memory, work.vram leaves %d MiB", vram>>20, all.VRAM>>20)
	case all.Memory > 0 && memory > all.Memory:
		return because(tasks.OverLimits, "%d MiB of memory, work.memory is %d MiB", memory>>20, all.Memory>>20)
	}
	return nil
}

// wants is what a task asks for: a zero limit counts as the whole cap for one task, but for graphics memory.
func (l Limits) wants(a tasks.Assignment) (memory, scratch, vram int64) {
	if memory = a.Limits.MemoryBytes; memory <= 0 {
		memory = min(l.MemoryPerTask, lesser(l.Memory, l.MemoryPerTask))
	}
	if scratch = a.Limits.ScratchBytes; scratch <= 0 {
		scratch = l.ScratchPerTask
	}
	return memory, scratch, max(0, a.Limits.VRAMBytes)
}

// whole are the caps while nobody uses the computer.
func (l Limits) whole() Caps {
	c := l.Caps
	c.Memory = lesser(c.Memory, l.Memory)
	return c
}

// Admit asks for one task to run now. It returns a function to call once when the task has ended, or the reason why
// not. Until then the owner may call stop, from any goroutine, to have the task handed back with a reason: because the caps
// have shrunk, or a pause lasts.
func (o *Owner) Admit(a tasks.Assignment, stop func(tasks.Reason)) (release func(), refused *tasks.Reason) {
	if r := o.Fits(a); r != nil {
		return nil, r
	}
	l := o.limits()
	memory, scratch, vram := l.wants(a)
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.blockedLocked(l); r != nil {
		return nil, r
	}
	now := o.capsLocked(l)
	switch {
	case len(o.admitted) >= l.Slots:
		return nil, because(tasks.Busy, "%d of %d slots", len(o.admitted), l.Slots)
	case o.memory+memory > now.Memory:
		return nil, because(tasks.Busy, "%d MiB more than the %d MiB of memory for all tasks", (o.memory+memory-now.Memory)>>20, now.Memory>>20)
	case o.scratch+scratch > l.Scratch:
		return nil, because(tasks.Busy, "%d MiB more than the %d MiB of work.scratch", (o.scratch+scratch-l.Scratch)>>20, l.Scratch>>20)
	case vram > 0 && o.vram+vram > now.VRAM:
		return nil, because(tasks.Busy, "%d MiB more than the %d MiB of graphics memory for all tasks", (o.vram+vram-now.VRAM)>>20, now.VRAM>>20)
	}
	t := &admission{memory: memory, scratch: scratch, vram: vram, stop: stop}
	o.admitted = append(o.admitted, t)
	o.memory += memory
	o.scratch += scratch
	o.vram += vram
	var once sync.Once
	return func() {
		once.Do(func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.admitted = slices.DeleteFunc(o.admitted, func(x *admission) bool { return x == t })
			o.memory -= memory
			o.scratch -= scratch
			o.vram -= vram
		})
	}, nil
}

func because(code tasks.Code, format string, args ...any) *tasks.Reason {
	r := tasks.Because(code, format, args...)
	return &r
}
