//go:build !linux

package sandbox_test

import (
	"testing"

	"kith/tasks/sandbox"
)

// benchDrive: no other system's kernel limits drives for tasks.
func benchDrive(*testing.B, *sandbox.Process) {}
