package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"kith/storage/governor"
)

// io is where the limits of drives are written: the folder of the tree, so that they hold for all groups together. Version
// 2 counts what groups below do. Version 1 does not for this one controller, so there the groups have no folders below it,
// and all their processes are in the one of the tree.
type io struct {
	dir      string // empty: this system limits no drives
	together bool   // version 1
	hosted   atomic.Int64
}

// device is a block device by its numbers.
type device struct{ major, minor uint32 }

// openIO finds the place for the limits of drives. A tree does without, if there is none.
func (t *Tree) openIO(proc string, own map[string]own, name string) (dir string, together bool) {
	if g, ok := own["io"]; ok && g.v2 && slices.Contains(t.dirs, filepath.Join(g.dir, name)) {
		has, err := os.ReadFile(filepath.Join(g.dir, "cgroup.subtree_control"))
		if err != nil || handOn(g.dir, has, "io") != nil {
			return "", false
		}
		return filepath.Join(g.dir, name), false
	}
	g, ok := own["blkio"]
	dir = filepath.Join(g.dir, name)
	if !ok || g.v2 || slices.Contains(t.dirs, dir) { // mounted with another controller, it has folders for groups
		return "", false
	}
	sweep(proc, g.dir)
	if os.Mkdir(dir, 0o755) != nil {
		return "", false
	}
	return dir, true
}

// add moves a process to where its reads and writes are limited.
func (i *io) add(file string, id int) error {
	if !i.together {
		return nil
	}
	return put(filepath.Join(i.dir, file), int64(id))
}

// host is add for the calling thread, which stays there.
func (i *io) host(thread int) error {
	if i.hosted.Load() == int64(thread) {
		return nil
	}
	err := i.add("tasks", thread)
	if err == nil {
		i.hosted.Store(int64(thread))
	}
	return err
}

// HasDrives reports whether the kernel limits drives for the groups of this tree.
func (t *Tree) HasDrives() bool { return t.io.dir != "" }

// LimitDrives sets how hard all groups together may use these drives, at once also for what runs; drives that had a limit
// and are not among them lose it. It returns ErrUnavailable where the kernel does not do that. What goes through the
// system's cache is written by the kernel itself: version 2 counts it as its writer's, version 1 as nobody's. It is safe for
// concurrent use.
func (t *Tree) LimitDrives(caps []governor.Cap) error {
	if !t.HasDrives() {
		return fmt.Errorf("%w that limit drives", ErrUnavailable)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	next := map[device]bool{}
	for _, c := range caps {
		next[device{c.Major, c.Minor}] = true
		errs = append(errs, t.io.write(c))
	}
	for d := range t.drives {
		if !next[d] {
			_ = t.io.write(governor.Cap{Major: d.major, Minor: d.minor}) // a drive that was taken away has no limit
		}
	}
	t.drives = next
	return errors.Join(errs...)
}

func (i *io) write(c governor.Cap) error {
	if !i.together {
		return write(filepath.Join(i.dir, "io.max"), c.IOMax())
	}
	var errs []error
	for file, line := range c.BlkIO() {
		errs = append(errs, write(filepath.Join(i.dir, file), line))
	}
	return errors.Join(errs...)
}
