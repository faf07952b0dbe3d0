package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kith/node/api"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/submit"
)

// Jobs implements api.Jobs.
func (s *submitting) Jobs() []api.Job {
	list, err := s.driver.Jobs(context.Background())
	if err != nil {
		return nil
	}
	out := make([]api.Job, len(list))
	for i := range list {
		out[i] = s.row(&list[i])
	}
	return out
}

// row is one job in the list.
func (s *submitting) row(st *submit.Status) api.Job {
	f := s.factsOf(st)
	j := api.Job{
		ID: st.ID, Name: st.Name, Created: st.Created, Finished: f.Finished, Sensitivity: st.Spec.Sensitivity,
		K: st.Spec.Policy.K, N: st.Spec.Policy.N, InputBytes: f.Bytes, InputFiles: f.Files, Result: st.Result, ResultBytes: f.ResultBytes,
		ETAMillis: st.ETA.Milliseconds(), Kinds: []string{}, State: stateOf(&st.Summary),
	}
	for _, op := range st.Spec.Ops {
		j.Kinds = append(j.Kinds, op.Kind)
	}
	j.Tasks = tally(st)
	if total := st.Tasks + st.Merges; total > 0 {
		j.Progress = (float64(st.Done+st.Merged) + st.Partly) / float64(total)
	}
	switch {
	case st.Phase == job.Finished:
		j.Progress = 1
	case st.Phase.Over():
		r := api.NewReason(st.Reason)
		j.Reason = &r
	default:
		j.Progress = min(j.Progress, 0.99)
		if st.Tasks > 0 {
			j.Rate = int64(st.Throughput * float64(f.Bytes) / float64(st.Tasks))
		}
	}
	return j
}

// stateOf is a job's phase as people are told.
func stateOf(st *job.Summary) string {
	switch {
	case st.Phase == job.Planning:
		return "splitting"
	case st.Phase == job.Running && st.Tasks > 0 && st.Done == st.Tasks:
		return "merging"
	default:
		return st.Phase.String()
	}
}

// tallyOf counts the tasks of a stage. inFlight bounds how many of the open ones can be at work.
func tallyOf(st *job.StageSummary, inFlight int) api.Tally {
	running := min(st.Open, inFlight)
	return api.Tally{Total: st.Tasks, Done: st.Done, Running: running, Waiting: max(0, st.Tasks-st.Done-running)}
}

// tally counts the tasks of a job.
func tally(st *submit.Status) (sum api.Tally) {
	for i := range st.Stages {
		t := tallyOf(&st.Stages[i], st.InFlight)
		sum.Total += t.Total
		sum.Done += t.Done
		sum.Running += t.Running
		sum.Waiting += t.Waiting
	}
	return sum
}

// Job implements api.Jobs.
func (s *submitting) Job(id string) (api.JobDetail, error) {
	st, err := s.find(context.Background(), id)
	if err != nil {
		return api.JobDetail{}, err
	}
	return s.full(&st), nil
}

func (s *submitting) detail(ctx context.Context, id tasks.JobID) (api.JobDetail, error) {
	st, err := s.driver.Job(ctx, id)
	if err != nil {
		return api.JobDetail{}, refusalOf(err)
	}
	return s.full(&st), nil
}

func (s *submitting) full(st *submit.Status) api.JobDetail {
	d := api.JobDetail{
		Job: s.row(st), Submitter: s.self, SpecRoot: st.SpecRoot, Input: st.Spec.Input, PartBytes: st.Spec.PartBytes, Policy: st.Spec.Policy,
		Stages: []api.Stage{}, Workers: []api.Worker{}, Log: []string{}, Moves: moves(&st.Summary),
	}
	if d.PartBytes == 0 {
		d.PartBytes = tasks.DefaultPartBytes
	}
	if d.Policy.NodeLimit == 0 {
		d.Policy.NodeLimit = tasks.DefaultNodeLimit
	}
	for i := range st.Stages {
		d.Stages = append(d.Stages, api.Stage{Index: i, Mode: string(st.Stages[i].Mode), Steps: st.Stages[i].Steps, Tasks: tallyOf(&st.Stages[i], st.InFlight)})
	}
	for _, w := range st.Workers {
		c := api.Contributions{
			Running: w.InFlight, Accepted: w.Accepted, Outvoted: w.Outvoted, Forged: w.Forged, Withheld: w.Withheld, Lapsed: w.Lapsed, Returned: w.Returned,
		}
		d.Workers = append(d.Workers, api.Worker{Node: w.ID, Contributions: c})
		d.Totals.Running += c.Running
		d.Totals.Accepted += c.Accepted
		d.Totals.Outvoted += c.Outvoted
		d.Totals.Forged += c.Forged
		d.Totals.Withheld += c.Withheld
		d.Totals.Lapsed += c.Lapsed
		d.Totals.Returned += c.Returned
	}
	slices.SortStableFunc(d.Workers, func(a, b api.Worker) int { return b.Accepted + b.Running - a.Accepted - a.Running })
	if !st.Phase.Over() {
		if e, err := s.driver.Explain(context.Background(), st.ID); err == nil {
			d.Reason = held(e)
		}
	}
	return d
}

// held is the one thing to show of a job that does not advance; nil while workers are at work.
func held(e submit.Explanation) *api.Reason {
	for _, w := range e.Waits {
		switch w.Reason.Code {
		case tasks.WaitingForReply, tasks.WaitingForStage, tasks.Busy, tasks.WaitingForBlocks:
		default:
			r := api.NewReason(w.Reason)
			return &r
		}
	}
	return nil
}

// moves tells of the tasks that went on at other nodes.
func moves(st *job.Summary) api.Moves {
	out := api.Moves{Count: st.Carried, SparedMillis: st.Spared, Now: []api.Move{}}
	for i := range st.Moved {
		m := &st.Moved[i]
		v := api.Move{Stage: m.Task.Stage, Index: m.Task.Index, Node: m.Worker, From: m.From}
		where := "from where another node was ended"
		if m.Total > 0 {
			v.At = min(float64(m.Done)/float64(m.Total), 1)
			where = fmt.Sprintf("from %d %% on another node", int(v.At*100))
		}
		v.Words = fmt.Sprintf("stage %d task %d went on %s: %s, after %s", v.Stage, v.Index, where, v.Node.Short(), shortList(v.From))
		out.Now = append(out.Now, v)
	}
	return out
}

func shortList(ids []tasks.NodeID) string {
	list := make([]string, len(ids))
	for i := range ids {
		list[i] = ids[i].Short()
	}
	return strings.Join(list, ", ")
}

// movesText says that tasks went on at other nodes.
func movesText(m *api.Moves) string {
	switch {
	case m.Count == 0:
		return ""
	case len(m.Now) == 0:
		return fmt.Sprintf(" %s went on at other nodes from where the first were ended.", plural(m.Count, "task"))
	case len(m.Now) == 1:
		return " At present " + m.Now[0].Words + "."
	}
	return fmt.Sprintf(" At present %s and %d more.", m.Now[0].Words, len(m.Now)-1)
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// offersText says how widely workers were asked for, and when they are asked next.
func offersText(e *submit.Explanation) string {
	text := fmt.Sprintf(" Offers so far: %d; the last reached ring %d, where %d nodes listen.", e.Offers, e.Ring, e.Reached)
	if wait := time.Until(time.UnixMilli(e.NextOffer)); e.NextOffer > 0 && wait > 0 {
		text += fmt.Sprintf(" The next, to ring %d at least, goes out in %v.", e.Ring, wait.Round(time.Second))
	}
	return text + searchText(e)
}

// searchText says what came of looking for workers that offers do not reach.
func searchText(e *submit.Explanation) string {
	s := &e.Searched
	switch {
	case e.Searches == 0:
		return ""
	case e.Searches == 1 && e.Searching:
		return " Nodes nearby and the directory are being asked for more."
	case s.Found == 0:
		return fmt.Sprintf(" Asked %d nodes and the directory for more: none was found.", s.Asked)
	}
	return fmt.Sprintf(" Asked %d nodes and the directory for more: %d found, %d invited, %d said they come.", s.Asked, s.Found, s.Invited, s.Coming)
}

// Explain implements api.Jobs.
func (s *submitting) Explain(id string) (api.Explanation, error) {
	ctx := context.Background()
	st, err := s.find(ctx, id)
	if err != nil {
		return api.Explanation{}, err
	}
	e, err := s.driver.Explain(ctx, st.ID)
	if err != nil {
		return api.Explanation{}, refusalOf(err)
	}
	out := api.Explanation{Job: st.ID, State: stateOf(&st.Summary), Reasons: []api.Waiting{}}
	for _, w := range e.Waits {
		r := api.Waiting{Reason: api.NewReason(w.Reason), Tasks: w.Tasks, Examples: []string{}, Nodes: []string{}}
		if w.Tasks > 0 {
			r.Examples = append(r.Examples, fmt.Sprintf("stage %d task %d", w.First.Stage, w.First.Index))
		}
		out.Reasons = append(out.Reasons, r)
	}
	slices.SortStableFunc(out.Reasons, func(a, b api.Waiting) int { return b.Tasks - a.Tasks })
	for code, count := range e.Refused {
		out.Reasons = append(out.Reasons, api.Waiting{
			Reason:   api.NewReason(tasks.Because(code, "%d nodes got no task of this job for this reason", count)),
			Examples: []string{}, Nodes: []string{},
		})
	}
	slices.SortStableFunc(out.Reasons[len(e.Waits):], func(a, b api.Waiting) int { return strings.Compare(string(a.Code), string(b.Code)) })
	switch {
	case st.Phase == job.Finished:
		out.Summary = "The job is done."
	case st.Phase.Over():
		out.Summary = fmt.Sprintf("The job %s: %s.", out.State, st.Reason.Error())
	case len(out.Reasons) == 0:
		out.Summary = fmt.Sprintf("The job is %s; nothing stands in its way.", out.State)
	default:
		first := out.Reasons[0]
		t := tally(&st)
		out.Summary = fmt.Sprintf("The job is %s; %d of %d tasks are done. Mostly: %s.", out.State, t.Done, t.Total, first.Words)
		if e.Offers > 0 {
			out.Summary += offersText(&e)
		}
	}
	m := moves(&st.Summary)
	out.Summary += movesText(&m)
	return out, nil
}
