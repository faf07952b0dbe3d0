package main

import (
	"fmt"
	"io"
)

type (
	// pauseCmd is "kith pause".
	pauseCmd struct{}
	// resumeCmd is "kith resume".
	resumeCmd struct{}
	// killCmd is "kith kill".
	killCmd struct{}
)

// Run pauses.
func (pauseCmd) Run(a *app) error {
	return a.owner("pause", "paused: what runs may end, nothing new begins until kith resume")
}

// Run resumes.
func (resumeCmd) Run(a *app) error { return a.owner("resume", "working") }

// Run kills.
func (killCmd) Run(a *app) error {
	return a.owner("kill", "stopped: every task was ended; nothing runs until kith resume, not even after a restart")
}

func (a *app) owner(verb, words string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	o, err := c.Owner(a.ctx, verb)
	if err != nil {
		return err
	}
	return a.show(o, func(w io.Writer) { fmt.Fprintln(w, words) })
}
