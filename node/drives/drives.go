// Package drives keeps watch over the drives a node uses: which they are, how hard each may be used, and what happened to
// it. It hears the kernel's log, asks for SMART, notices that the machine went down while the node ran, and brings what
// package governor decides into effect, into the log and into a file, so that a restart forgets nothing.
package drives

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/bench/disk"
	"kith/storage/governor"
)

// FileName is where all of it is kept in the data folder.
const FileName = "drives.json"

// Pace of the watch.
const (
	decideEvery = 10 * time.Second
	askEvery    = time.Hour // for SMART
	askHot      = 6 * time.Minute
	askFirst    = time.Minute      // after the start
	saveEvery   = 10 * time.Minute // though nothing changed: what was counted
	keptReasons = 200              // decisions of one drive
)

// Options are what a Keeper stands on. Only Logger is required; the rest is of this machine unless a test says otherwise.
type Options struct {
	Logger *slog.Logger
	// Of tells the drive that holds a path, and must not touch the drive; Ask its SMART.
	Of  func(path string) (disk.Drive, error)
	Ask func(ctx context.Context, d disk.Drive) disk.SMART
	// Kernel calls each with every record of the kernel's log, old and new, until ctx ends. An error says why there is none.
	Kernel func(ctx context.Context, each func(record string)) error
	// Boot is when the machine was started, and a name of that start.
	Boot func() (id string, at time.Time, err error)
	// Crashes lists the crash reports of the system that are newer than since.
	Crashes func(since time.Time) []string
	Now     func() time.Time
}

// Keeper keeps the drives of one node. It is safe for concurrent use.
type Keeper struct {
	o    Options
	log  *slog.Logger
	path string // of the file

	mu     sync.Mutex
	file   file
	drives map[string]*drive // by ID
	paths  map[string]string // asked before → ID
	blind  string            // why the kernel's log is not heard
	dirty  bool
	failed bool // the file could not be written
}

// drive is one drive at work.
type drive struct {
	record
	device *governor.Device
}

// file is what is kept on disk.
type file struct {
	Version int                `json:"version"`
	Boot    string             `json:"boot"`   // of the run that wrote it
	Clean   bool               `json:"clean"`  // that run ended in order
	Seen    time.Time          `json:"seen"`   // when it was last known to run
	Kernel  int64              `json:"kernel"` // microseconds since that boot up to which the kernel's log was read
	Drives  map[string]*record `json:"drives"`
}

// record is what is remembered of a drive.
type record struct {
	Drive     disk.Drive          `json:"drive"`
	State     governor.State      `json:"state"`
	SMART     disk.SMART          `json:"smart,omitzero"`
	Speed     *disk.Result        `json:"speed,omitempty"` // last measured
	Failed    string              `json:"failed,omitempty"`
	Decisions []governor.Decision `json:"decisions"` // newest last
}

const fileVersion = 1

// Open reads what is remembered. A damaged file is put aside and the drives are begun anew.
func Open(home string, o Options) (*Keeper, error) {
	o.fill()
	k := &Keeper{o: o, log: o.Logger, path: filepath.Join(home, FileName), drives: map[string]*drive{}, paths: map[string]string{}}
	before, err := read(k.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		before.Clean = true // there was no run before
	case err != nil:
		aside := k.path + ".damaged"
		k.log.Warn("What was known of the drives is damaged and begun anew", slog.String("kept", aside), slog.Any("error", err))
		if err := os.Rename(k.path, aside); err != nil {
			return nil, fmt.Errorf("put the damaged file of the drives aside: %w", err)
		}
		before = file{Clean: true}
	}
	boot, _, err := o.Boot()
	if err != nil {
		k.log.Info("This system does not tell when it was started; unclean shutdowns go unnoticed", slog.Any("error", err))
	}
	k.file = file{Version: fileVersion, Boot: boot, Drives: map[string]*record{}, Seen: o.Now(), Kernel: before.Kernel}
	if !sameBoot(boot, before.Boot) {
		k.file.Kernel = 0
	}
	now := o.Now()
	for id, r := range before.Drives {
		k.file.Drives[id] = r
		d := k.adopt(id, r)
		if !before.Clean && boot != "" && before.Boot != "" && !sameBoot(boot, before.Boot) {
			k.signalLocked(d, now, governor.Signal{Cause: governor.Unclean, Detail: fmt.Sprintf("the machine went down while the node ran, after %s", before.Seen.UTC().Format(time.RFC3339)), At: now})
		}
	}
	if !before.Seen.IsZero() {
		if reports := o.Crashes(before.Seen); len(reports) > 0 {
			for _, d := range k.drives {
				k.signalLocked(d, now, governor.Signal{Cause: governor.KernelCrash, Detail: "the system keeps a crash report: " + strings.Join(reports[:min(3, len(reports))], ", "), At: now})
			}
		}
	}
	if _, err := k.open(home); err != nil {
		k.log.Warn("The drive of the data folder is not known", slog.Any("error", err))
	}
	return k, k.save()
}

// sameBoot reports whether two names are of one start of the machine. Where a system has no name for it the name is a
// time, which may be off by a little.
func sameBoot(a, b string) bool {
	if a == b {
		return a != ""
	}
	x, errX := time.Parse(bootLayout, a)
	y, errY := time.Parse(bootLayout, b)
	return errX == nil && errY == nil && x.Sub(y).Abs() <= 2*time.Minute
}

// bootLayout is the form of a name that is a time.
const bootLayout = "2006-01-02T15:04Z"

func (o *Options) fill() {
	if o.Of == nil {
		o.Of = disk.Of
	}
	if o.Ask == nil {
		o.Ask = disk.Ask
	}
	if o.Kernel == nil {
		o.Kernel = kernelLog
	}
	if o.Boot == nil {
		o.Boot = boot
	}
	if o.Crashes == nil {
		o.Crashes = crashReports
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Logger = cmp.Or(o.Logger, slog.Default())
}

// adopt brings a remembered drive to work.
func (k *Keeper) adopt(id string, r *record) *drive {
	d := &drive{record: *r, device: governor.NewDevice(r.Drive.Title(), r.State.Limits(), k.o.Now)}
	k.drives[id] = d
	return d
}

// open returns the drive that holds a path, and remembers that it does.
func (k *Keeper) open(path string) (*drive, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id, ok := k.paths[path]; ok {
		return k.drives[id], nil
	}
	d, err := k.findLocked(path)
	if err == nil {
		k.paths[path] = d.Drive.ID
	}
	return d, err
}

func (k *Keeper) findLocked(path string) (*drive, error) {
	found, err := k.o.Of(path)
	if err != nil {
		return nil, err
	}
	d, ok := k.drives[found.ID]
	if !ok {
		d = k.adopt(found.ID, &record{Drive: found})
		// Its make and plug count before anybody has measured it.
		k.gradeLocked(d, k.o.Now())
		k.log.Info("A drive is in use", slog.String("drive", found.Title()), slog.String("kind", string(found.Kind)), slog.String("holds", path), slog.String("grade", string(d.State.Grade)))
	}
	d.Drive = found
	return d, nil
}

// Device returns what holds readers and writers of a path to the limits of its drive. It is nil, which holds nobody, where
// the drive cannot be told.
func (k *Keeper) Device(path string) *governor.Device {
	d, err := k.open(path)
	if err != nil {
		k.log.Warn("A drive cannot be told; its use is not limited", slog.String("path", path), slog.Any("error", err))
		return nil
	}
	return d.device
}

// Passing is Device for a path of the moment: an input or a result somewhere, which nobody watches.
func (k *Keeper) Passing(path string) *governor.Device {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, err := k.findLocked(path)
	if err != nil {
		return nil
	}
	return d.device
}

// report is what is known of a drive, as package disk puts it.
func (d *drive) report() disk.Report {
	r := disk.Report{Drive: d.Drive, SMART: d.SMART, Failed: d.Failed}
	if d.Speed != nil {
		r.Speed = *d.Speed
	}
	if m, ok := disk.KnownMake(d.Drive); ok {
		r.Make = &m
	}
	return r
}

// gradeLocked sets grade and limits by what is known.
func (k *Keeper) gradeLocked(d *drive, now time.Time) {
	known := d.report().Governed()
	known.Hot = "" // that passes: a signal lowers the limits while it lasts
	state, out := governor.Regrade(d.State, now, known)
	k.applyLocked(d, state, out)
}

// signalLocked tells one thing that happened to a drive.
func (k *Keeper) signalLocked(d *drive, now time.Time, signals ...governor.Signal) {
	state, out := governor.Decide(d.State, now, signals)
	k.applyLocked(d, state, out)
}

// applyLocked brings decisions into effect, into the log and into memory.
func (k *Keeper) applyLocked(d *drive, state governor.State, out []governor.Decision) {
	d.State = state
	if len(out) == 0 {
		return
	}
	k.dirty = true
	d.device.Allow(state.Limits())
	for _, x := range out {
		level := slog.LevelWarn
		if x.Level == 0 || x.Cause == governor.Calm {
			level = slog.LevelInfo
		}
		k.log.Log(context.Background(), level, "Limits of a drive changed", slog.String("drive", d.Drive.Title()), slog.String("cause", string(x.Cause)),
			slog.String("text", x.Text), slog.String("grade", string(x.Grade)), slog.Int("level", x.Level),
			slog.Int64("write_before", x.Before.WriteBytes), slog.Int64("write_after", x.After.WriteBytes), slog.Int("queue_after", x.After.Queue))
	}
	d.Decisions = append(d.Decisions, out...)
	if n := len(d.Decisions) - keptReasons; n > 0 {
		d.Decisions = slices.Delete(d.Decisions, 0, n)
	}
}

// Measured takes in a new measurement. Its drive need not be in use.
func (k *Keeper) Measured(r disk.Report) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, ok := k.drives[r.Drive.ID]
	if !ok {
		d = k.adopt(r.Drive.ID, &record{Drive: r.Drive})
	}
	d.Drive, d.Failed = r.Drive, r.Failed
	if r.Speed.Took > 0 && (r.Failed == "" || len(r.Speed.Wrong) > 0) {
		speed := r.Speed
		d.Speed = &speed
	}
	k.healthLocked(d, r.SMART)
	k.gradeLocked(d, k.o.Now())
	k.dirty = true
}

// healthLocked compares what a drive says of itself with what it said before.
func (k *Keeper) healthLocked(d *drive, s disk.SMART) {
	now := k.o.Now()
	var signals []governor.Signal
	signal := func(holds bool, cause governor.Cause, text string) {
		if holds {
			signals = append(signals, governor.Signal{Cause: cause, Detail: text, At: now})
		}
	}
	if s.Verdict == "" || s.Verdict == disk.Silent && d.SMART.Verdict != "" && d.SMART.Verdict != disk.Silent {
		return // it sleeps, or smartctl failed: what it said before still holds
	}
	if s.Verdict == disk.Dying && d.SMART.Verdict != disk.Dying {
		signal(true, governor.SmartFailing, s.Why[0])
	} else if risen := s.Risen(d.SMART); risen != "" {
		signal(true, governor.SmartChanged, risen)
	}
	signal(s.Hot != "", governor.Hot, s.Hot)
	if d.SMART.Verdict != s.Verdict {
		k.dirty = true
	}
	d.SMART = s
	k.signalLocked(d, now, signals...)
}

// ErrUnknownDrive: there is no such drive.
var ErrUnknownDrive = errors.New("no such drive; kith drives lists them")

// Find returns the ID of a drive by its ID or an unambiguous beginning, its name, or a path on it.
func (k *Keeper) Find(text string) (string, error) {
	k.mu.Lock()
	var ids []string
	for id, d := range k.drives {
		if id == text || d.Drive.Name == text || d.Drive.Path == text {
			k.mu.Unlock()
			return id, nil
		}
		if len(text) >= 4 && strings.HasPrefix(id, text) {
			ids = append(ids, id)
		}
	}
	k.mu.Unlock()
	if len(ids) == 1 {
		return ids[0], nil
	}
	if filepath.IsAbs(text) {
		if d, err := k.o.Of(text); err == nil {
			return d.ID, nil
		}
	}
	return "", fmt.Errorf("%.80q: %w", text, ErrUnknownDrive)
}

// Tell says what was found out about a drive elsewhere: by a soak test, or by its owner.
func (k *Keeper) Tell(id string, cause governor.Cause, text string) error {
	k.mu.Lock()
	d, ok := k.drives[id]
	if !ok {
		k.mu.Unlock()
		return fmt.Errorf("%.80q: %w", id, ErrUnknownDrive)
	}
	k.signalLocked(d, k.o.Now(), governor.Signal{Cause: cause, Detail: text, At: k.o.Now()})
	k.mu.Unlock()
	return k.save()
}

// Jobs is how many tasks may work at once on the drive of a path, and if it is 0, why.
func (k *Keeper) Jobs(path string) (int, string) {
	d, err := k.open(path)
	if err != nil {
		return 1 << 10, ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := d.State.Limits().Jobs
	if n > 0 {
		return n, ""
	}
	why := d.State.Text
	if d.State.Grade == governor.Failing && len(d.State.Why) > 0 {
		why = d.State.Why[0]
	}
	return 0, fmt.Sprintf("the drive %s is failing: %s", d.Drive.Title(), why)
}

// Cap is the limits of the drive of a path for the control group of tasks; false where there is no block device.
func (k *Keeper) Cap(path string) (governor.Cap, bool) {
	d, err := k.open(path)
	if err != nil || d.Drive.Path == "" || d.Drive.Major == 0 {
		return governor.Cap{}, false
	}
	return governor.CapFor(d.Drive.Major, d.Drive.Minor, d.device.Limits()), true
}
