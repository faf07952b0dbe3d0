package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kith/node/api"
	"kith/tasks"
	"kith/tasks/submit"
	"kith/tasks/trust"
)

// Trust implements api.Judge.
func (n *Node) Trust(ctx context.Context) ([]api.Trust, error) {
	t, err := n.live.Load().submits.driver.Trust(ctx)
	if err != nil {
		return nil, refusalOf(err)
	}
	return judged(&t, time.Now().UnixMilli()), nil
}

// Appeal implements api.Judge.
func (n *Node) Appeal(ctx context.Context, prefix string) (api.Trust, error) {
	list, err := n.Trust(ctx)
	if err != nil {
		return api.Trust{}, err
	}
	var hits []api.Trust
	for _, t := range list {
		if strings.HasPrefix(t.Node.String(), prefix) {
			hits = append(hits, t)
		}
	}
	switch {
	case len(prefix) < minPrefix || len(hits) == 0:
		return api.Trust{}, api.Refuse(api.CodeNotFound, "kith trust lists them", "%.60q is no worker this node has met", prefix)
	case len(hits) > 1:
		return api.Trust{}, api.Refuse(api.CodeBadRequest, "give more letters", "%d workers begin with %.60q", len(hits), prefix)
	}
	id := hits[0].Node
	err = n.live.Load().submits.driver.Appeal(ctx, id)
	switch {
	case errors.Is(err, submit.ErrNoCase) && hits[0].Proof != "":
		return api.Trust{}, api.Refuse(api.CodeConflict, "kith evidence shows the proof", "node %s signed two things that contradict each other; no appeal lifts that", id.Short())
	case errors.Is(err, submit.ErrNoCase):
		return api.Trust{}, api.Refuse(api.CodeConflict, "nothing to do", "nothing is held against node %s that an appeal could lift", id.Short())
	case err != nil:
		return api.Trust{}, refusalOf(err)
	}
	if list, err = n.Trust(ctx); err != nil {
		return api.Trust{}, err
	}
	for _, t := range list {
		if t.Node == id {
			return t, nil
		}
	}
	return api.Trust{Node: id, Standing: "newcomer", Skills: []api.Skill{}, Words: []string{}, Cases: []api.TrustCase{}}, nil
}

const unit = 1_000_000.0 // counts of a record are in millionths of an outcome

// judged puts what a submitter thinks of workers into words, the most suspicious first.
func judged(t *submit.Trust, now int64) []api.Trust {
	at := map[tasks.NodeID]*api.Trust{}
	records := map[tasks.NodeID]trust.Record{}
	get := func(id tasks.NodeID) *api.Trust {
		if at[id] == nil {
			at[id] = &api.Trust{Node: id, Skills: []api.Skill{}, Words: []string{}, Cases: []api.TrustCase{}}
		}
		return at[id]
	}
	for _, e := range t.Records {
		records[e.Node] = e.Record
		get(e.Node)
	}
	for _, s := range t.Skills {
		x := get(s.Node)
		x.Skills = append(x.Skills, api.Skill{
			What: s.What, Agreed: s.Standing.Agreed, Passed: s.Standing.Passed, Alone: s.Standing.Sole() && t.Verdicts >= trust.WarmUp, OneIn: s.Standing.OneIn(),
		})
	}
	for i := range t.Cases {
		c := &t.Cases[i]
		for j := range c.Sides {
			me := &c.Sides[j]
			v := api.TrustCase{Task: c.Task, What: c.What, At: c.At, Won: me.Won, With: []tasks.NodeID{}, Against: []tasks.NodeID{}}
			for k := range c.Sides {
				if o := &c.Sides[k]; k == j {
					continue
				} else if bytes.Equal(o.Root, me.Root) {
					v.With = append(v.With, o.Node)
				} else {
					v.Against = append(v.Against, o.Node)
				}
			}
			x := get(me.Node)
			x.Cases = append(x.Cases, v)
		}
	}
	lies := map[tasks.NodeID]trust.Lie{}
	for _, l := range t.Lies {
		lies[l.Node] = l
		get(l.Node)
	}
	colluding := map[tasks.NodeID]trust.Collusion{}
	for _, c := range t.Collusions {
		if c.Chance < trust.Colluding {
			colluding[c.Node] = c
		}
	}
	out := make([]api.Trust, 0, len(at))
	for id, x := range at {
		r := records[id]
		x.Score, x.Reliability, x.Quota = r.Score(), r.Reliability(), r.Quota()
		x.Counts = api.TrustCounts{
			Accepted: float64(r.Accepted) / unit, Outvoted: float64(r.Outvoted) / unit, Forged: float64(r.Forged) / unit,
			Withheld: float64(r.Withheld) / unit, Lapsed: float64(r.Lapsed) / unit, Returned: float64(r.Returned) / unit,
		}
		x.Standing = "newcomer"
		if r.Proven() {
			x.Standing = "proven"
		}
		explainTrust(x, &r, lies, colluding, now)
		out = append(out, *x)
	}
	order := map[string]int{"banned": 0, "suspended": 1, "newcomer": 2, "proven": 3}
	slices.SortFunc(out, func(a, b api.Trust) int {
		return cmp.Or(order[a.Standing]-order[b.Standing], cmp.Compare(a.Reliability, b.Reliability), bytes.Compare(a.Node[:], b.Node[:]))
	})
	return out
}

// explainTrust says in sentences why a worker stands as it does.
func explainTrust(x *api.Trust, r *trust.Record, lies map[tasks.NodeID]trust.Lie, colluding map[tasks.NodeID]trust.Collusion, now int64) {
	say := func(format string, args ...any) { x.Words = append(x.Words, fmt.Sprintf(format, args...)) }
	switch l, lied := lies[x.Node]; {
	case r.Proof != [32]byte{}:
		x.Standing, x.Proof = "banned", hex.EncodeToString(r.Proof[:])
		say("banned for good: it signed two things that contradict each other")
	case lied && now < l.Until:
		x.Standing, x.Until = "suspended", l.Until
		say("suspended until %s: %d independent groups of nodes contradict it", time.UnixMilli(l.Until).UTC().Format(time.DateOnly), l.Accusers)
		say("kith trust appeal %s gives it another chance, as a newcomer", x.Node.Short())
	case r.Banned():
		x.Standing = "suspended"
		say("suspended until its forged results have faded (each halves in %d days)", trust.HalfLifeDays)
		say("kith trust appeal %s gives it another chance, as a newcomer", x.Node.Short())
	case r.Proven():
		say("proven: enough of its results were accepted lately, and few were bad")
	default:
		say("a newcomer: its results are compared with others', and it gets at most %d tasks at once while proven nodes are there", x.Quota)
	}
	if c, ok := colluding[x.Node]; ok {
		say("gave the same wrong result as %d others, %d times of %d: the chance of that by accident is %.2g", len(c.With), c.Same, c.Of, c.Chance)
	}
	for _, s := range x.Skills {
		switch {
		case s.Alone:
			say("%s: believed alone in adaptive jobs, one result in %d is audited", s.What, s.OneIn)
		case s.Agreed > 0:
			say("%s: %d of %d agreeing results in a row", s.What, s.Agreed, trust.SoleAfter)
		}
	}
}
