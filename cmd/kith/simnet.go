package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"kith/simnet"
	"kith/simnet/report"
	"kith/simnet/scenario"
)

// simnetCmd is "kith simnet". It needs no running node and no network.
type simnetCmd struct {
	Run  simnetRunCmd  `cmd:"" help:"Play a scenario and say whether its outcome lies within its bands."`
	List simnetListCmd `cmd:"" help:"List the scenarios, and what expect can measure."`
	Show simnetShowCmd `cmd:"" help:"Print a scenario, to begin one's own with."`
}

type simnetRunCmd struct {
	Scenario []string `arg:"" help:"Names of scenarios, or files."`
	Nodes    int      `help:"Nodes in place of the scenario's; jobs shrink or grow with them."`
	Rung     string   `help:"How much of a node is real: core, mock or quic; in place of the scenario's."`
	Seed     uint64   `help:"Source of all chance, in place of the scenario's; one run, unless --seeds says otherwise."`
	Seeds    int      `help:"Runs, each with the next seed: the report gives mean, standard error, least and most, and bands on a mean are judged." placeholder:"N"`
	HTML     string   `help:"Also write a page with plots." placeholder:"FILE" type:"path"`
}

// Run plays the scenarios. A band that is missed is exit code 1.
func (c simnetRunCmd) Run(a *app) error {
	var reports []*report.Report
	for _, name := range c.Scenario {
		sc, err := simnet.Load(name)
		if err != nil {
			return err
		}
		if c.Rung != "" {
			sc.Rung = scenario.Rung(c.Rung)
		}
		if c.Nodes > 0 {
			simnet.Resize(sc, min(c.Nodes, scenario.MaxNodes))
		}
		runs := sc.Seeds
		if c.Seed != 0 {
			sc.Seed, runs = c.Seed, 1
		}
		if c.Seeds > 0 {
			runs = min(c.Seeds, scenario.MaxSeeds)
		}
		if _, err := simnet.New(sc); err != nil {
			return usageError{err}
		}
		r, err := simnet.Run(a.ctx, sc, runs)
		if err != nil {
			return err
		}
		reports = append(reports, r)
		if !a.cli.JSON {
			if len(reports) > 1 {
				fmt.Fprintln(a.stdout)
			}
			if err := r.Text(a.stdout); err != nil {
				return err
			}
		}
	}
	if a.cli.JSON {
		if err := a.printJSON(reports); err != nil {
			return err
		}
	}
	if c.HTML != "" {
		f, err := os.Create(c.HTML)
		if err != nil {
			return err
		}
		if err := errors.Join(report.HTML(f, reports...), f.Close()); err != nil {
			return err
		}
		a.note("The page is in %s", c.HTML)
	}
	for _, r := range reports {
		if !r.Passed {
			return silent(exitFailed)
		}
	}
	return nil
}

type simnetListCmd struct{}

// scenarioLine is one scenario in a list.
type scenarioLine struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Rung  string `json:"rung"`
	Nodes int    `json:"nodes"`
	Bands int    `json:"bands"`
}

// Run lists what there is.
func (simnetListCmd) Run(a *app) error {
	list := []scenarioLine{}
	for _, name := range simnet.List() {
		sc, err := simnet.Load(name)
		if err != nil {
			return err
		}
		list = append(list, scenarioLine{name, sc.Title, string(sc.Rung), sc.Nodes, len(sc.Expect)})
	}
	return a.show(list, func(w io.Writer) {
		rows := [][]string{{"SCENARIO", "RUNG", "NODES", "WHAT HAPPENS"}}
		for _, l := range list {
			rows = append(rows, []string{l.Name, l.Rung, fmt.Sprint(l.Nodes), l.Title})
		}
		table(w, rows)
		fmt.Fprintln(w, "\nexpect can measure:")
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		for _, m := range scenario.Measures {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", m.Name, m.Unit, m.What)
		}
		_ = t.Flush()
	})
}

type simnetShowCmd struct {
	Scenario string `arg:"" help:"Name of a scenario."`
}

// Run prints a scenario's text.
func (c simnetShowCmd) Run(a *app) error {
	text, err := simnet.Text(c.Scenario)
	if err != nil {
		return err
	}
	_, err = io.WriteString(a.stdout, text)
	return err
}
