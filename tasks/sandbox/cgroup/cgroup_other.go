//go:build !linux

package cgroup

import (
	"fmt"
	"time"

	"kith/storage/governor"
)

// Tree is where groups are made. There are none on this system.
type Tree struct{}

// Group is a group.
type Group struct{}

// Open returns ErrUnavailable.
func Open() (*Tree, error) { return nil, fmt.Errorf("%w on this system", ErrUnavailable) }

// New returns ErrUnavailable.
func (*Tree) New() (*Group, error) { return nil, ErrUnavailable }

// Close does nothing.
func (*Tree) Close() error { return nil }

// Limit returns ErrUnavailable.
func (*Tree) Limit(Sum) error { return ErrUnavailable }

// Throttled returns ErrUnavailable.
func (*Tree) Throttled() (time.Duration, error) { return 0, ErrUnavailable }

// HasDrives returns false.
func (*Tree) HasDrives() bool { return false }

// LimitDrives returns ErrUnavailable.
func (*Tree) LimitDrives([]governor.Cap) error { return ErrUnavailable }

// Add returns ErrUnavailable.
func (*Group) Add(int) error { return ErrUnavailable }

// Host returns ErrUnavailable.
func (*Group) Host() error { return ErrUnavailable }

// Set returns ErrUnavailable.
func (*Group) Set(Limits) error { return ErrUnavailable }

// OutOfMemory returns false.
func (*Group) OutOfMemory() bool { return false }

// OverProcesses returns false.
func (*Group) OverProcesses() bool { return false }

// Kill returns ErrUnavailable.
func (*Group) Kill() error { return ErrUnavailable }

// Empty returns true.
func (*Group) Empty() bool { return true }

// Close does nothing.
func (*Group) Close() error { return nil }
