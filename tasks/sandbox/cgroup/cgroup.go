// Package cgroup keeps the limits of process trees by Linux control groups, of version 1, of version 2, or of both at
// once, wherever this process may make groups below its own: as root, or where its group was delegated to it. It is the
// only place that writes files of control groups, and never touches a group that it did not make, but for those that a
// killed program of its kind left empty.
package cgroup

import "errors"

// ErrUnavailable: this system has no control groups, or does not let this process make any. The wrapped text says why.
var ErrUnavailable = errors.New("no control groups")

// Limits are the ceilings of a group; all processes in it count together.
type Limits struct {
	Memory    int64 // bytes, with what the kernel keeps for them and the files they have lately used; no swap beside it
	Processes int64 // and threads
	Cores     int64 // processors' worth of time, in every tenth of a second
}

// Sum are the ceilings of everything in a tree together. Zero sets none.
type Sum struct {
	Memory int64   // bytes, as in Limits
	CPU    float64 // processors' worth of time: 0.5 is half of one, in every tenth of a second
}
