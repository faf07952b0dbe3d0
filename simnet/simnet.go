// Package simnet runs scenarios: fleets of volunteers, honest and not, over networks that are made up but measured, in
// simulated time. How much of a node is real is the scenario's rung; whatever the rung, a World is made from a scenario,
// runs once, and gives a report that says which of the scenario's bands hold.
package simnet

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"kith/simnet/bubble"
	"kith/simnet/core"
	"kith/simnet/report"
	"kith/simnet/scenario"
	"kith/simnet/whole"
)

// World is one simulated fleet.
type World interface {
	// Run plays the scenario until its jobs are over, its limit, or the end of ctx. It is called once.
	Run(ctx context.Context) (*report.Report, error)
}

// New makes the world of a scenario.
func New(sc *scenario.Scenario) (World, error) {
	if err := sc.Check(); err != nil {
		return nil, err
	}
	switch sc.Rung {
	case scenario.Core:
		return core.New(sc), nil
	case scenario.Mock, scenario.QUIC:
		return bubbled{sc}, nil
	}
	return nil, fmt.Errorf("there is no rung %q: use core, mock or quic", sc.Rung)
}

// bubbled is a world of whole nodes in virtual time, which only a child process of this program has: see package bubble.
type bubbled struct{ sc *scenario.Scenario }

// Run implements World.
func (b bubbled) Run(ctx context.Context) (*report.Report, error) {
	began := time.Now()
	r := &report.Report{}
	if err := bubble.Run(ctx, b.sc, r); err != nil {
		return nil, fmt.Errorf("rung %s: %w", b.sc.Rung, err)
	}
	r.Values["wall"] = time.Since(began).Seconds()
	r.Judge(b.sc)
	return r, nil
}

// Bubble is what a program that runs scenarios calls first thing: if the process is the child that a world of whole nodes
// lives in, it plays that world and does not return.
func Bubble() {
	if len(os.Args) == 2 && os.Args[1] == bubble.Arg {
		bubble.Main(whole.Play)
	}
}

//go:embed scenarios/*.sim
var files embed.FS

// ErrUnknown: there is no such scenario, neither built in nor as a file.
var ErrUnknown = errors.New("no such scenario")

// List returns the names of the scenarios that come with the program, in order.
func List() []string {
	list, err := fs.Glob(files, "scenarios/*.sim")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	for i, f := range list {
		list[i] = strings.TrimSuffix(path.Base(f), ".sim")
	}
	slices.Sort(list)
	return list
}

// Text returns a scenario as it is written, by the name of a built-in one or the path of a file.
func Text(name string) (string, error) {
	b, err := files.ReadFile("scenarios/" + name + ".sim")
	if err != nil {
		b, err = os.ReadFile(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %q is neither a file nor one of %s", ErrUnknown, name, strings.Join(List(), ", "))
	}
	return string(b), err
}

// Load reads a scenario by the name of a built-in one or the path of a file.
func Load(name string) (*scenario.Scenario, error) {
	text, err := Text(name)
	if err != nil {
		return nil, err
	}
	return scenario.Parse(name, text)
}

// Resize runs a scenario with another number of nodes: jobs keep their ratio of tasks to nodes, sessions and node limits
// that were meant for the whole fleet follow it.
func Resize(sc *scenario.Scenario, nodes int) {
	if nodes == sc.Nodes || sc.Nodes == 0 {
		sc.Nodes = nodes
		return
	}
	f := float64(nodes) / float64(sc.Nodes)
	scale := func(n int) int { return min(max(1, int(float64(n)*f+.5)), scenario.MaxTasks) }
	for i := range sc.Jobs {
		j := &sc.Jobs[i]
		if j.Want == sc.Nodes {
			j.Want = nodes
		}
		if j.Nodes == sc.Nodes {
			j.Nodes = nodes
		}
		j.Tasks = scale(j.Tasks)
	}
	sc.Nodes = nodes
}
