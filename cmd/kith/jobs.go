package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"kith/node/api"
)

// jobsCmd is "kith jobs".
type jobsCmd struct {
	All bool `short:"a" help:"Show finished jobs of any age, not only the newest 20."`
}

// Run lists the jobs.
func (c jobsCmd) Run(a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	jobs, err := cl.Jobs(a.ctx)
	if err != nil {
		return err
	}
	return a.show(jobs, func(w io.Writer) {
		if len(jobs) == 0 {
			a.note("no jobs yet; kith submit KIND PATH begins one")
			return
		}
		rows := [][]string{{"JOB", "STATE", "DONE", "TASKS", "INPUT", "AGREE", "AGE", "NAME"}}
		for i, j := range jobs {
			if i >= 20 && j.Finished > 0 && !c.All {
				continue
			}
			rows = append(rows, []string{
				short(j.ID), j.State, percent(j.Progress), fmt.Sprintf("%d/%d", j.Tasks.Done, j.Tasks.Total), bytesText(j.InputBytes),
				fmt.Sprintf("%d of %d", j.K, j.N), durationText(time.Since(time.UnixMilli(j.Created))), j.Name,
			})
		}
		table(w, rows)
		for _, j := range jobs {
			if j.Finished == 0 && j.Reason != nil {
				a.note("%s: %s", short(j.ID), reasonText(*j.Reason))
			}
		}
	})
}

func percent(x float64) string { return fmt.Sprintf("%d %%", int(x*100)) }

// job prints one job for people.
func (a *app) job(w io.Writer, j api.JobDetail) {
	state := j.State
	switch state {
	case "done":
		state = a.term.green(state)
	case "failed":
		state = a.term.red(state)
	}
	rows := [][]string{
		{"job", j.ID.String()},
		{"name", j.Name},
		{"state", fmt.Sprintf("%s, %s, %d of %d tasks", state, percent(j.Progress), j.Tasks.Done, j.Tasks.Total)},
		{"steps", strings.Join(j.Kinds, " → ")},
		{"agree", fmt.Sprintf("%d of at most %d, on at most %d nodes", j.K, j.N, j.Policy.NodeLimit)},
		{"input", fmt.Sprintf("%s in %d files, %s", bytesText(j.InputBytes), j.InputFiles, j.Sensitivity)},
		{"created", timeText(j.Created)},
	}
	if j.Finished > 0 {
		rows = append(rows, []string{"finished", timeText(j.Finished) + ", after " + durationText(millis(j.Finished-j.Created))})
	} else if j.ETAMillis > 0 {
		rows = append(rows, []string{"left", fmt.Sprintf("%s at %s/s", durationText(millis(j.ETAMillis)), bytesText(j.Rate))})
	}
	if j.Moves.Count > 0 {
		text := "1 task"
		if j.Moves.Count > 1 {
			text = fmt.Sprintf("%d tasks", j.Moves.Count)
		}
		text += " went on at other nodes from where the first were ended"
		if j.Moves.SparedMillis > 0 {
			text += "; " + durationText(millis(j.Moves.SparedMillis)) + " of computing were not done again"
		}
		rows = append(rows, []string{"moved", text})
	}
	for _, m := range j.Moves.Now {
		rows = append(rows, []string{"", m.Words})
	}
	if j.Result.Defined() {
		rows = append(rows, []string{"result", fmt.Sprintf("%s, %s", j.Result, bytesText(j.ResultBytes))})
	}
	if j.Reason != nil {
		rows = append(rows, []string{"reason", reasonText(*j.Reason)})
	}
	table(w, rows)
	if len(j.Stages) > 0 {
		fmt.Fprintln(w)
		rows := [][]string{{"STAGE", "STEPS", "DONE", "RUNNING", "WAITING"}}
		for _, s := range j.Stages {
			rows = append(rows, []string{
				fmt.Sprintf("%d %s", s.Index, s.Mode), strings.Join(s.Steps, " → "), fmt.Sprintf("%d/%d", s.Tasks.Done, s.Tasks.Total),
				fmt.Sprint(s.Tasks.Running), fmt.Sprint(s.Tasks.Waiting),
			})
		}
		table(w, rows)
	}
	if len(j.Workers) > 0 {
		fmt.Fprintln(w)
		rows := [][]string{{"WORKER", "RUNNING", "ACCEPTED", "OUTVOTED", "FORGED", "WITHHELD", "LAPSED", "RETURNED"}}
		for _, x := range j.Workers {
			rows = append(rows, []string{
				short(x.Node), fmt.Sprint(x.Running), fmt.Sprint(x.Accepted), fmt.Sprint(x.Outvoted), fmt.Sprint(x.Forged), fmt.Sprint(x.Withheld),
				fmt.Sprint(x.Lapsed), fmt.Sprint(x.Returned),
			})
		}
		table(w, rows)
	}
	for _, line := range j.Log {
		fmt.Fprintln(w, "  "+printable(line))
	}
}
