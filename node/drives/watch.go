package drives

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"kith/node/atomicfile"
	"kith/node/strict"
	"kith/storage/governor"
)

const maxFile = 16 << 20 // bytes

func read(path string) (file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return file{}, err
	}
	if info.Size() > maxFile {
		return file{}, fmt.Errorf("%s has %d bytes", path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return file{}, err
	}
	return parse(data)
}

func parse(data []byte) (file, error) {
	var f file
	if err := strict.Decode(data, &f); err != nil {
		return file{}, err
	}
	if f.Version != fileVersion {
		return file{}, fmt.Errorf("version %d, want %d", f.Version, fileVersion)
	}
	for id, r := range f.Drives {
		if r == nil || id == "" || r.Drive.ID != id {
			return file{}, fmt.Errorf("a drive without a name: %.40q", id)
		}
		if l := r.State.Base; l.ReadBytes < 0 || l.WriteBytes < 0 || l.ReadOps < 0 || l.WriteOps < 0 || l.Queue < 0 || l.Files < 0 || l.Burst < 0 || l.SyncEvery < 0 || l.SyncEvery > time.Minute || r.State.Level < 0 || r.State.Level > 16 {
			return file{}, fmt.Errorf("drive %s: limits that cannot be", id)
		}
	}
	return f, nil
}

// save writes the file.
func (k *Keeper) save() error {
	k.mu.Lock()
	k.dirty = false
	k.file.Seen = k.o.Now()
	k.file.Drives = map[string]*record{}
	for id, d := range k.drives {
		r := d.record
		k.file.Drives[id] = &r
	}
	data, err := json.MarshalIndent(k.file, "", " ")
	k.mu.Unlock()
	if err != nil {
		return fmt.Errorf("encode the drives: %w", err)
	}
	return atomicfile.Write(k.path, append(data, '\n'), 0o600)
}

// Close notes that the run ended in order.
func (k *Keeper) Close() error {
	k.mu.Lock()
	k.file.Clean = true
	k.mu.Unlock()
	return k.save()
}

// Serve watches until ctx ends.
func (k *Keeper) Serve(ctx context.Context) error {
	heard := make(chan error, 1)
	records := make(chan string, 64)
	go func() {
		heard <- k.o.Kernel(ctx, func(record string) {
			select {
			case records <- record:
			case <-ctx.Done():
			}
		})
	}()
	decide, save := time.NewTicker(decideEvery), time.NewTicker(saveEvery)
	defer decide.Stop()
	defer save.Stop()
	ask := time.NewTimer(askFirst)
	defer ask.Stop()
	answers := make(chan struct{}, 1)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-heard:
			heard = nil
			if err != nil && ctx.Err() == nil {
				k.deaf(err)
			}
		case record := <-records:
			k.hear(record)
		case <-decide.C:
			k.Decide()
		case <-ask.C:
			go func() { k.AskAll(ctx); answers <- struct{}{} }()
		case <-answers:
			ask.Reset(k.nextAsk())
		case <-save.C:
			k.saved(k.save())
		}
	}
}

// nextAsk is when to ask for health again: sooner while a drive is hot.
func (k *Keeper) nextAsk() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range k.drives {
		if d.SMART.Hot != "" {
			return askHot
		}
	}
	return askEvery
}

func (k *Keeper) deaf(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.blind = err.Error()
	k.log.Info("The kernel's log is not heard; errors of drives are known by our own reads and writes alone", slog.Any("error", err))
}

func (k *Keeper) saved(err error) {
	if (err != nil) != k.failed {
		k.failed = err != nil
		if err != nil {
			k.log.Warn("What is known of the drives was not written", slog.Any("error", err))
		}
	}
}

// hear takes in one record of the kernel's log.
func (k *Keeper) hear(record string) {
	e, ok := governor.ParseKernel(record)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.Micros <= k.file.Kernel { // heard by the run before
		return
	}
	k.file.Kernel = e.Micros
	at := k.o.Now()
	if _, boot, err := k.o.Boot(); err == nil {
		at = boot.Add(time.Duration(e.Micros) * time.Microsecond)
	}
	for _, d := range k.drives {
		if d.Drive.Names(e.Device, e.Port) {
			k.signalLocked(d, k.o.Now(), governor.Signal{Cause: e.Cause, Detail: "kernel: " + e.Text, At: at})
		}
	}
}

// Decide takes in what the devices noticed and the passing of time. Serve calls it every ten seconds.
func (k *Keeper) Decide() {
	k.mu.Lock()
	now := k.o.Now()
	for path, id := range k.paths {
		d := k.drives[id]
		// Asking does not touch the drive: it reads what the system has mounted.
		if found, err := k.o.Of(path); err == nil && found.ID != id {
			k.signalLocked(d, now, governor.Signal{Cause: governor.Vanished, Detail: fmt.Sprintf("%s is on another drive now: %s", path, found.Title()), At: now})
			k.movedLocked(path, found.ID)
		} else if err == nil && found.ReadOnly && !d.Drive.ReadOnly {
			d.Drive.ReadOnly = true
			k.signalLocked(d, now, governor.Signal{Cause: governor.ReadOnly, Detail: "its file system can only be read now", At: now})
		} else if err == nil && !found.ReadOnly {
			d.Drive.ReadOnly = false
		}
	}
	for _, id := range slices.Sorted(maps.Keys(k.drives)) {
		d := k.drives[id]
		k.signalLocked(d, now, d.device.Signals()...)
	}
	dirty := k.dirty
	k.mu.Unlock()
	if dirty {
		k.saved(k.save())
	}
}

// movedLocked notes that a path is on another drive now. Who has the device of the old one keeps it: its limits have been
// lowered, and a node whose data folder moved away under it has other worries.
func (k *Keeper) movedLocked(path, id string) {
	if _, known := k.drives[id]; known {
		k.paths[path] = id
		return
	}
	delete(k.paths, path)
}

// AskAll asks every drive in use for its health.
func (k *Keeper) AskAll(ctx context.Context) {
	k.mu.Lock()
	var list []*drive
	for _, id := range slices.Sorted(maps.Keys(k.drives)) {
		for _, of := range k.paths {
			if of == id {
				list = append(list, k.drives[id])
				break
			}
		}
	}
	k.mu.Unlock()
	for _, d := range list {
		k.mu.Lock()
		what := d.Drive
		k.mu.Unlock()
		s := k.o.Ask(ctx, what)
		if ctx.Err() != nil {
			return
		}
		k.mu.Lock()
		k.healthLocked(d, s)
		k.gradeLocked(d, k.o.Now())
		k.mu.Unlock()
	}
}
