//go:build !linux

package sandbox

import "kith/tasks"

// probeSystem has nothing to add to what every system offers an attacker.
func probeSystem(*targets, func(string, tasks.SandboxGrade, func() error)) {}
