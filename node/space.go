package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kith/node/api"
	"kith/node/atomicfile"
	"kith/node/config"
	"kith/node/logfile"
	"kith/node/strict"
	"kith/storage/gc"
	"kith/storage/quota"
	"kith/tasks"
)

// spaceFile is where it is kept until when the disk guard is off.
const spaceFile = "space.json"

// maxOverride is how long the disk guard may be switched off at once.
const maxOverride = 30 * 24 * time.Hour

// space is the owner's word over the disk guard. It is safe for concurrent use.
type space struct {
	path string

	mu    sync.Mutex
	until time.Time // the guard is off until then
}

// override is the file.
type override struct {
	Until int64 `json:"until"` // Unix milliseconds
}

// openSpace reads the owner's word. A damaged file counts as none: the guard is on.
func openSpace(home string) (*space, error) {
	s := &space{path: filepath.Join(home, spaceFile)}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the owner said of the disk guard: %w", err)
	}
	var o override
	if strict.Decode(data, &o) == nil && time.Until(time.UnixMilli(o.Until)) <= maxOverride {
		s.until = time.UnixMilli(o.Until)
	}
	return s, nil
}

// off reports until when the guard is off; the zero time if it is on.
func (s *space) off() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.until) {
		return s.until
	}
	return time.Time{}
}

// set switches the guard off for a while; 0: on again.
func (s *space) set(d time.Duration) error {
	until := time.Time{}
	if d > 0 {
		until = time.Now().Add(d)
	}
	data, err := json.Marshal(override{until.UnixMilli()})
	if err == nil {
		err = atomicfile.Write(s.path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep what the owner said of the disk guard: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = until
	return nil
}

// diskStop is the fill of the disk, in percent, at which no new work is taken.
func (s *space) diskStop(c *config.Config) int {
	if !s.off().IsZero() {
		return 101
	}
	return c.Storage.DiskStop
}

// quota is how many bytes the data folder may have before no new work is taken; 0: any.
func (s *space) quota(c *config.Config) int64 {
	if !s.off().IsZero() {
		return 0
	}
	return int64(c.Storage.Quota)
}

// uses is what each kind has and may have.
func (n *Node) uses(c *config.Config) [5]quota.Use {
	have := n.meters.byKind()
	of := func(k quota.Kind, most int64) quota.Use { return quota.Use{Kind: k, Bytes: have[k], Most: most} }
	return [...]quota.Use{ // but for results, which lie among the blocks
		of(quota.Blocks, int64(c.Storage.Blocks)),
		of(quota.Logs, int64(c.Storage.Logs)),
		of(quota.Scratch, int64(c.Work.Scratch)),
		of(quota.Models, int64(c.Storage.Models)),
		of(quota.Other, 0),
	}
}

// diskAllows is how many tasks the drive bears at once, and why it or the space may bear no new one.
func (n *Node) diskAllows(c *config.Config) (slots int, refuse *tasks.Reason) {
	because := func(code tasks.Code, format string, args ...any) *tasks.Reason {
		r := tasks.Because(code, format, args...)
		return &r
	}
	slots, why := n.drives.Jobs(n.o.Home)
	if slots == 0 {
		return 0, because(tasks.DriveFailing, "%.200s", why)
	}
	if n.space.off().IsZero() {
		for _, u := range n.uses(c) {
			if u.Over() {
				return slots, because(tasks.DiskFull, "%s have %d MB, storage.%s is %d MB; see kith space", u.Kind, u.Bytes/1e6, u.Kind, u.Most/1e6)
			}
		}
	}
	return slots, nil
}

// watchSpace shows lasting problems of the space.
func (n *Node) watchSpace(c *config.Config) {
	off := n.space.off()
	n.health.When(!off.IsZero(), guardOff, off.Local().Format("2006-01-02 15:04"))
	var over []any
	for _, u := range n.uses(c) {
		if u.Over() && over == nil {
			over = []any{u.Kind, u.Bytes / 1e6, u.Most / 1e6}
		}
	}
	n.health.When(over != nil && off.IsZero(), overQuota, over...)
}

// Space implements api.Space. Looking at what could go reads the links of every block; it takes a while in a large store.
func (n *Node) Space(ctx context.Context) (api.SpaceReport, error) {
	l := n.live.Load()
	if l == nil {
		return api.SpaceReport{}, errNotOpen
	}
	c := n.settings.Get()
	n.meters.walk()
	r := SpaceOf(n.o.Home, c)
	r.Running = true
	if off := n.space.off(); !off.IsZero() {
		r.OffUntil = off.UnixMilli()
	}
	garbage, err := n.collectWith(ctx, gc.Options{DryRun: true}, n.settings.Get().Storage.KeepResults)
	if err != nil {
		return r, err
	}
	results, err := l.submits.resultItems(ctx)
	if err != nil {
		return r, err
	}
	for i := range r.Kinds {
		k := &r.Kinds[i]
		switch k.Kind {
		case quota.Blocks:
			k.Free, k.Things = garbage.FreedBytes, int(garbage.Freed)
			k.Goes = "blocks that no job of yours and none you work on needs; those of a running import stay"
		case quota.Results:
			for _, it := range results {
				k.Bytes += it.Bytes
			}
			k.Free, k.Things = k.Bytes, len(results)
			k.Goes = "the results of finished jobs, all of them: fetch what you need first (kith job get)"
		}
	}
	return r, nil
}

// SpaceOf says what a data folder holds, by kind, as far as its files tell.
func SpaceOf(home string, c config.Config) api.SpaceReport {
	have := usedByKind(home)
	disk := meterDisk(home)
	r := api.SpaceReport{
		Home: home, DiskTotal: disk.Total, DiskFree: disk.Free, UsedPercent: disk.UsedPercent(), Alert: c.Storage.DiskAlert, Stop: c.Storage.DiskStop,
		Quota: int64(c.Storage.Quota),
	}
	most := map[quota.Kind]int64{
		quota.Blocks: int64(c.Storage.Blocks), quota.Results: int64(c.Storage.Results), quota.Logs: int64(c.Storage.Logs), quota.Models: int64(c.Storage.Models), quota.Scratch: int64(c.Work.Scratch),
	}
	words := map[quota.Kind]string{
		quota.Scratch: "nothing while a node runs: it is wiped at every start",
		quota.Models:  "nothing by itself: delete a model's folder in models while no task uses it",
		quota.Other:   "nothing: settings, keys and lists",
		quota.Logs:    "log files of earlier days; what the node must not forget stays",
		quota.Blocks:  "what no job needs any more: a running node tells how much",
		quota.Results: "the results of finished jobs: a running node lists them",
	}
	for _, k := range quota.Kinds() {
		s := api.KindSpace{Kind: k, Bytes: have[k], Quota: most[k], Goes: words[k]}
		if k == quota.Logs {
			for _, it := range logfile.Finished(filepath.Join(home, filepath.FromSlash(logfile.Dir))) {
				s.Free += it.Bytes
				s.Things++
			}
		}
		r.Used += have[k]
		r.Kinds = append(r.Kinds, s)
	}
	return r
}

// FreeSpace implements api.Space.
func (n *Node) FreeSpace(ctx context.Context, kinds []quota.Kind) (api.Freed, error) {
	out := api.Freed{Kinds: []api.KindFreed{}}
	before := n.meters.walk()
	for _, k := range kinds {
		f := api.KindFreed{Kind: k}
		switch k {
		case quota.Logs:
			dir := filepath.Join(n.o.Home, filepath.FromSlash(logfile.Dir))
			for _, it := range logfile.Finished(dir) {
				if err := os.Remove(filepath.Join(dir, it.Name)); err != nil {
					return out, fmt.Errorf("remove a log file: %w", err)
				}
				f.Bytes += it.Bytes
				f.Things++
			}
		case quota.Blocks, quota.Results:
			keep := n.settings.Get().Storage.KeepResults
			if k == quota.Results {
				keep = 0
			}
			r, err := n.collectWith(ctx, gc.Options{}, keep)
			if err != nil {
				return out, err
			}
			f.Bytes, f.Things = r.FreedBytes, int(r.Freed)
		default:
			return out, api.Refuse(api.CodeBadRequest, "blocks, results and logs can be freed", "%q cannot be freed by itself", k)
		}
		out.Kinds = append(out.Kinds, f)
		n.log.Info("Space was freed", slog.String("kind", string(k)), slog.Int64("bytes", f.Bytes), slog.Int("things", f.Things))
	}
	out.Before, out.After = before, n.meters.walk()
	return out, nil
}

// Override implements api.Space.
func (n *Node) Override(_ context.Context, d time.Duration) error {
	if d < 0 || d > maxOverride {
		return api.Refuse(api.CodeBadRequest, fmt.Sprintf("at most %d days; 0 switches it on again", int(maxOverride.Hours()/24)), "the disk guard cannot be off for %v", d)
	}
	if err := n.space.set(d); err != nil {
		return err
	}
	n.log.Warn("The owner switched the disk guard", slog.Duration("off_for", d))
	c := n.settings.Get()
	n.watchSpace(&c)
	if l := n.live.Load(); l != nil {
		l.works.allow(n.limits().Slots)
	}
	return nil
}
