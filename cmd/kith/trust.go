package main

import (
	"fmt"
	"io"
	"strings"

	"kith/node/api"
)

// trustCmd is "kith trust …".
type trustCmd struct {
	Show   trustShowCmd   `cmd:"" default:"withargs" help:"Show what this node thinks of the workers it has met, or of one."`
	Appeal trustAppealCmd `cmd:"" help:"Lift a suspension: the node begins again as a newcomer, whose every result is compared."`
}

type (
	trustShowCmd struct {
		Node string `arg:"" optional:"" help:"A node, or the first letters of its id: shows the reasons and the tasks."`
	}
	trustAppealCmd struct {
		Node string `arg:"" help:"The node, or the first letters of its id."`
	}
)

// Run shows trust.
func (c trustShowCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	all, err := cl.Trust(a.ctx)
	if err != nil {
		return err
	}
	if c.Node == "" {
		return a.show(all, func(w io.Writer) {
			if len(all) == 0 {
				a.note("this node has met no worker yet; kith submit finds some")
				return
			}
			rows := [][]string{{"NODE", "STANDING", "SCORE", "ACCEPTED", "BAD", "WHY"}}
			for _, t := range all {
				bad := t.Counts.Outvoted + t.Counts.Forged + t.Counts.Withheld + t.Counts.Lapsed
				why := ""
				if len(t.Words) > 0 {
					why = t.Words[0]
				}
				rows = append(rows, []string{short(t.Node), t.Standing, fmt.Sprint(t.Score), fmt.Sprintf("%.1f", t.Counts.Accepted), fmt.Sprintf("%.1f", bad), why})
			}
			table(w, rows)
		})
	}
	var hits []api.Trust
	for _, t := range all {
		if strings.HasPrefix(t.Node.String(), c.Node) {
			hits = append(hits, t)
		}
	}
	if len(hits) != 1 {
		return usage("%q begins the ids of %d workers this node has met; kith trust lists them", c.Node, len(hits))
	}
	t := hits[0]
	return a.show(t, func(w io.Writer) { showTrust(w, &t) })
}

func showTrust(w io.Writer, t *api.Trust) {
	fmt.Fprintf(w, "%s: %s, score %d of 1000\n", t.Node, t.Standing, t.Score)
	for _, s := range t.Words {
		fmt.Fprintf(w, "  %s\n", s)
	}
	if len(t.Cases) == 0 {
		return
	}
	fmt.Fprintln(w)
	rows := [][]string{{"TIME", "TASK", "WORK", "WITH IT", "AGAINST IT", "VERDICT"}}
	for _, c := range t.Cases {
		verdict := "lost"
		if c.Won {
			verdict = "won"
		}
		rows = append(rows, []string{timeText(c.At), short(c.Task), c.What, fmt.Sprint(len(c.With)), fmt.Sprint(len(c.Against)), verdict})
	}
	table(w, rows)
}

// Run grants an appeal.
func (c trustAppealCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	t, err := cl.Appeal(a.ctx, c.Node)
	if err != nil {
		return err
	}
	return a.show(t, func(w io.Writer) { showTrust(w, &t) })
}
