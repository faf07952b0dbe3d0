package whole

import (
	"slices"
	"strings"

	"kith/simnet/report"
	"kith/simnet/scenario"
	"kith/tasks"
	"kith/tasks/job"
)

// report works out the numbers.
func (w *world) report() *report.Report {
	v := map[string]float64{}
	var all, done, leases, wrong float64
	var first []float64
	by := map[scenario.Actor]*report.Actor{}
	var order []*report.Actor
	of := map[tasks.NodeID]*report.Actor{}
	for _, n := range w.nodes {
		a := by[n.hosts.Actor]
		if a == nil {
			a = &report.Actor{Name: string(n.hosts.Actor)}
			by[n.hosts.Actor] = a
			order = append(order, a)
		}
		a.Hosts++
		a.Lies += int(n.lies.Load())
		of[n.id] = a
	}
	for _, x := range w.jobs {
		all += float64(max(x.last.Tasks, x.spec.Tasks))
		done += float64(x.last.Done)
		leases += float64(x.last.Leases)
		switch x.last.Phase {
		case job.Finished:
			v["jobs.done"]++
		case job.Failed, job.Cancelled:
			v["jobs.failed"]++
		default:
			v["jobs.late"]++
		}
		if x.wrong {
			wrong++
		}
		if x.first > 0 {
			first = append(first, x.first.Seconds())
		}
		v["makespan"] = max(v["makespan"], x.over.Seconds())
		for _, s := range x.last.Workers {
			if a := of[s.ID]; a != nil {
				a.Accepted += s.Accepted
				a.Outvoted += s.Outvoted
				v["outvoted"] += float64(s.Outvoted)
				a.Forged += s.Forged
				a.Withheld += s.Withheld
				a.Lapsed += s.Lapsed
				a.Returned += s.Returned
				a.Cancelled += s.Cancelled
			}
		}
	}
	for _, k := range []string{"jobs.done", "jobs.failed", "jobs.late", "outvoted"} {
		v[k] += 0
	}
	v["wrong"] = wrong
	if all > 0 {
		v["done"] = 100 * done / all
	}
	if done > 0 {
		v["extra"] = 100 * (leases/done - 1)
	}
	if len(first) > 0 {
		v["lease.p50"], v["lease.p99"] = report.Quantile(first, .5), report.Quantile(first, .99)
	}
	if share, messages, any := w.sought(); any {
		v["found"], v["search.messages"] = share, float64(messages)
	}
	v["heap"] = float64(w.heap.Load()) / (1 << 20)
	r := &report.Report{Values: v, Curves: []report.Curve{}, Notes: []string{"a wrong result of a job counts as one, whatever of it is wrong"}}
	for _, a := range order {
		r.Actors = append(r.Actors, *a)
	}
	r.Traffic = w.traffic()
	return r
}

// traffic adds up what all hosts wrote, by protocol. A message is one write.
func (w *world) traffic() (list []report.Traffic) {
	sums := map[string]*report.Traffic{}
	var order []string
	for _, n := range w.all {
		_, by := n.host.Traffic()
		for name, t := range by {
			name = strings.TrimPrefix(name, "/kith/"+network+"/")
			if _, ok := sums[name]; !ok {
				order = append(order, name)
				sums[name] = &report.Traffic{Protocol: name}
			}
			sums[name].Bytes += t.Out
			sums[name].Messages += t.Writes
		}
	}
	slices.Sort(order)
	for _, name := range order {
		if name != "" {
			list = append(list, *sums[name])
		}
	}
	return list
}
