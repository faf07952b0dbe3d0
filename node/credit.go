package node

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"kith/node/api"
	"kith/tasks"
	"kith/tasks/credit"
	"kith/tasks/work"
)

// statement is the last one, so that a page that is open takes no processor: every signature is checked for one.
type statement struct {
	mu   sync.Mutex
	last api.Credit
	at   time.Time
	took time.Duration
}

// A statement is computed anew when it is this old, and a good many times as old as it took.
const (
	accountAge   = 5 * time.Second
	accountShare = 50
)

// Credit implements api.Records.
func (n *Node) Credit(ctx context.Context) (api.Credit, error) {
	a := &n.account
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.at.IsZero() && time.Since(a.at) < max(accountAge, accountShare*a.took) {
		return a.last, nil
	}
	began := time.Now()
	c, err := n.credit(ctx)
	if err == nil {
		a.last, a.at, a.took = c, time.Now(), time.Since(began)
	}
	return c, err
}

func (n *Node) credit(ctx context.Context) (api.Credit, error) {
	bundle, err := n.Bundle(ctx, "")
	if err != nil {
		return api.Credit{}, err
	}
	s, err := credit.Compute(bundle)
	if err != nil {
		return api.Credit{}, err
	}
	payers, err := n.live.Load().works.driver.Payers(ctx)
	if err != nil {
		return api.Credit{}, refusalOf(err)
	}
	return accountOf(n.self.Node(), s, payers), nil
}

// accountOf is a statement as one of its nodes sees it, beside how others sign for what they accepted of it.
func accountOf(me tasks.NodeID, s *credit.Statement, payers []work.Payer) api.Credit {
	out := api.Credit{Balance: s.Balance(me), Digest: hex.EncodeToString(s.Digest[:8]), With: []api.CreditWith{}, Void: map[string]int{}, Asked: s.Asked, Delivered: s.Delivered}
	for why, count := range s.Void {
		out.Void[string(why)] = count
	}
	with := map[tasks.NodeID]*api.CreditWith{}
	at := func(id tasks.NodeID) *api.CreditWith {
		if with[id] == nil {
			with[id] = &api.CreditWith{Node: id}
		}
		return with[id]
	}
	for _, t := range s.Transfers {
		switch me {
		case t.Worker:
			w := at(t.Submitter)
			w.Net, w.Did, w.Got, w.Receipts, w.Unsigned, w.Claims = t.Net, t.Gained, t.Spent, t.Receipts, t.Unsigned, t.Claims
		case t.Submitter:
			w := at(t.Worker)
			w.Net, w.Did, w.Got, w.Receipts, w.Unsigned, w.Claims = -t.Net, t.Spent, t.Gained, t.Receipts, t.Unsigned, t.Claims
		}
	}
	for _, p := range payers {
		if p.Earned > 0 || p.Silent > 0 || p.Rest > 0 {
			w := at(p.Submitter)
			w.Earned, w.Signed, w.Last, w.Silent, w.Rest = p.Earned, p.Signed, p.Last, p.Silent, p.Rest
		}
	}
	for _, w := range with {
		out.With = append(out.With, *w)
	}
	slices.SortFunc(out.With, func(a, b api.CreditWith) int {
		return cmp.Or(cmp.Compare(b.Net, a.Net), cmp.Compare(a.Node.String(), b.Node.String()))
	})
	return out
}
