package node

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"kith/node/api"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/submit"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// Kinds describes every kind of a registry.
func Kinds(registry tasks.Registry, allowed func(string) bool) []api.Kind {
	var out []api.Kind
	for _, name := range registry.Names() {
		kind, err := registry.Kind(name)
		if err != nil {
			continue
		}
		d := kind.Describe()
		k := api.Kind{
			Name: d.Name, Title: d.Title, Version: d.Version, Class: string(d.Needs.Class), Memory: d.Limits.MemoryBytes, Input: d.Needs.Input,
			Allowed: allowed(name), Phases: []string{}, Schema: map[string]any{},
		}
		for _, p := range d.Phases {
			k.Phases = append(k.Phases, p.Name)
		}
		if d.Schema != "" {
			_ = json.Unmarshal([]byte(d.Schema), &k.Schema) // a test of the kinds holds it valid
		}
		out = append(out, k)
	}
	return out
}

// Kinds implements api.Records.
func (n *Node) Kinds() []api.Kind { return Kinds(n.kinds, n.owner.Allowed) }

// jobID reads the id of a job that may be another node's; then all of it must be given. "" is no job.
func (n *Node) jobID(ctx context.Context, text string) (id tasks.JobID, err error) {
	if text == "" || id.UnmarshalText([]byte(text)) == nil {
		return id, nil
	}
	st, err := n.live.Load().submits.find(ctx, text)
	return st.ID, err
}

// batches visits every batch of receipts this node has a side in, of one job or of all, each side's oldest first.
func (n *Node) batches(ctx context.Context, id tasks.JobID, visit func(role string, b wire.Batch)) error {
	l, self := n.live.Load(), n.self.Node()
	err := l.works.driver.Receipts(ctx, tasks.NodeID{}, func(r *work.Receipts) {
		visit("worker", wire.Batch{Submitter: r.Submitter, Worker: self, Receipts: r.Batch.Receipts, Root: r.Batch.Root, Signed: r.Batch.Sig, Countered: r.Ack})
	})
	if err != nil {
		return err
	}
	return refusalOf(l.submits.driver.Receipts(ctx, id, func(r *submit.Receipts) {
		visit("submitter", wire.Batch{Submitter: self, Worker: r.Worker, Receipts: r.Batch.Receipts, Root: r.Batch.Root, Signed: r.Batch.Sig, Countered: r.Ack})
	}))
}

// Receipts implements api.Records.
func (n *Node) Receipts(ctx context.Context, job string, limit int) ([]api.Receipt, error) {
	id, err := n.jobID(ctx, job)
	if err != nil {
		return nil, err
	}
	byRole := map[string][]api.Receipt{}
	err = n.batches(ctx, id, func(role string, b wire.Batch) {
		list := byRole[role]
		for _, r := range b.Receipts {
			if id == (tasks.JobID{}) || r.Job == id {
				list = append(list, api.Receipt{
					Receipt: r, Role: role, Batch: base64.RawURLEncoding.EncodeToString(b.Root[:8]), Countered: b.Countered != wire.Signature{},
				})
			}
		}
		if len(list) > 4*limit { // only the newest count, and they come last
			list = append(list[:0], list[len(list)-limit:]...)
		}
		byRole[role] = list
	})
	if err != nil {
		return nil, err
	}
	claims, err := n.claims(ctx, id)
	if err != nil {
		return nil, err
	}
	for i := range claims {
		byRole["worker"] = append(byRole["worker"], claimLines(&claims[i])...)
	}
	out := append(byRole["worker"], byRole["submitter"]...)
	slices.SortStableFunc(out, func(a, b api.Receipt) int { return cmp.Compare(b.At, a.At) })
	return out[:min(limit, len(out))], nil
}

// claims are the results that others had of this node and signed no receipt for, of one job or of all.
func (n *Node) claims(ctx context.Context, id tasks.JobID) ([]wire.Claims, error) {
	list, err := n.live.Load().works.driver.Claims(ctx)
	if err != nil || id == (tasks.JobID{}) {
		return list, refusalOf(err)
	}
	return slices.DeleteFunc(list, func(c wire.Claims) bool {
		return !slices.ContainsFunc(c.Leases, func(l wire.Claim) bool { return l.Job == id })
	}), nil
}

// claimLines shows claims beside receipts.
func claimLines(c *wire.Claims) (out []api.Receipt) {
	claim, outcome := api.ClaimAccepted, tasks.Accepted
	switch c.Heard.Head.Type.Word() {
	case wire.Got:
		claim, outcome = api.ClaimDelivered, ""
	case wire.Asked:
		claim, outcome = api.ClaimAsked, ""
	}
	for i := range c.Leases {
		l := &c.Leases[i]
		out = append(out, api.Receipt{
			Receipt: tasks.Receipt{
				Job: l.Job, Task: l.Task, Lease: l.Lease(c.Worker()), Submitter: c.Submitter(), Worker: c.Worker(), Kinds: l.Kinds, Root: l.Root,
				Outcome: outcome, WallMillis: l.WallMillis, CPUMillis: l.CPUMillis, At: l.Expiry,
			},
			Role: "worker", Claim: claim,
		})
	}
	return out
}

// Bundle implements api.Records.
func (n *Node) Bundle(ctx context.Context, job string) (*wire.Bundle, error) {
	id, err := n.jobID(ctx, job)
	if err != nil {
		return nil, err
	}
	l := n.live.Load()
	out := &wire.Bundle{
		Version: wire.Version, Network: l.cfg.Network, Writer: n.self.Node(), At: time.Now().UnixMilli(), Batches: []wire.Batch{}, Conflicts: []wire.Evidence{}, Claims: []wire.Claims{},
	}
	err = n.batches(ctx, id, func(_ string, b wire.Batch) {
		if id == (tasks.JobID{}) || slices.ContainsFunc(b.Receipts, func(r tasks.Receipt) bool { return r.Job == id }) {
			out.Batches = append(out.Batches, b)
		}
	})
	if err != nil {
		return nil, err
	}
	if out.Claims, err = n.claims(ctx, id); err != nil {
		return nil, err
	}
	out.Conflicts, err = n.conflicts(ctx)
	return out, err
}

// conflicts are the proofs of equivocation this node holds, whatever the job.
func (n *Node) conflicts(ctx context.Context) ([]wire.Evidence, error) {
	l := n.live.Load()
	list, err := l.submits.driver.Jobs(ctx)
	if err != nil || len(list) == 0 {
		return []wire.Evidence{}, refusalOf(err)
	}
	e, err := l.submits.driver.Evidence(ctx, list[0].ID) // conflicts are of any job
	return append([]wire.Evidence{}, e.Conflicts...), refusalOf(err)
}

// Evidence implements api.Records.
func (n *Node) Evidence(ctx context.Context) ([]api.Evidence, error) {
	l := n.live.Load()
	list, err := l.submits.driver.Jobs(ctx)
	if err != nil {
		return nil, refusalOf(err)
	}
	var out []api.Evidence
	for i := range list {
		st := &list[i]
		for _, b := range st.Blame {
			words := map[tasks.Outcome]string{
				tasks.Outvoted: "returned results that a quorum disagrees with",
				tasks.Forged:   "claimed a result whose bytes it did not have, or not the one it had committed to",
				tasks.Withheld: "committed to results and did not deliver them",
			}
			out = append(out, api.Evidence{Node: b.Worker, Job: st.ID, What: string(b.Outcome), Text: words[b.Outcome] + times(b.Count), At: max(l.submits.factsOf(st).Finished, st.Created)})
		}
	}
	conflicts, err := n.conflicts(ctx)
	if err != nil {
		return nil, err
	}
	for i := range conflicts {
		proof, err := dag.Marshal(&conflicts[i])
		if err != nil {
			return nil, err
		}
		out = append(out, api.Evidence{
			Node: conflicts[i].Culprit(), What: "equivocation", Text: "signed two messages that cannot both be true", Proof: base64.StdEncoding.EncodeToString(proof),
		})
	}
	return out, nil
}

func times(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" (%d times)", n)
}
