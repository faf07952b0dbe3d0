//go:build !linux && !darwin && !windows

package sandbox

import "errors"

const canConfine = false

// enter has no walls to raise here: what holds the runner is around it (see tree).
func enter(string, Layers) (Layers, error) {
	return 0, errors.New("this system's runners are not confined from inside")
}

// entered: no runner here begins its life confined.
func entered() (Layers, bool) { return 0, false }
