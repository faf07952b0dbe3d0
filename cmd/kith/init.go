package main

import (
	"errors"
	"fmt"
	"io"

	"kith/node"
)

// initCmd is "kith init".
type initCmd struct{}

// Run makes the data folder.
func (initCmd) Run(a *app) error {
	id, fresh, err := node.Init(a.cli.Home)
	if err != nil {
		return err
	}
	v := map[string]any{"node": id, "home": a.cli.Home, "fresh": fresh}
	return a.show(v, func(w io.Writer) {
		if fresh {
			fmt.Fprintf(w, "made node %s in %s\n", id, a.cli.Home)
		} else {
			fmt.Fprintf(w, "node %s was there already, in %s\n", id, a.cli.Home)
		}
	})
}

// idCmd is "kith id".
type idCmd struct{}

// Run prints the identity, and the addresses if the node runs.
func (idCmd) Run(a *app) error {
	id, peer, err := node.ReadID(a.cli.Home)
	if err != nil {
		return err
	}
	v := struct {
		Node      any      `json:"node"`
		Peer      string   `json:"peer"`
		Addresses []string `json:"addresses"`
	}{id, peer, []string{}}
	if c, err := a.client(); err == nil {
		if s, err := c.Status(a.ctx); err == nil {
			v.Addresses = s.Addresses
		} else if errors.Is(err, a.ctx.Err()) {
			return err
		}
	}
	return a.show(v, func(w io.Writer) {
		table(w, [][]string{{"node", id.String()}, {"peer", peer}})
		for _, addr := range v.Addresses {
			fmt.Fprintln(w, addr)
		}
		if len(v.Addresses) == 0 {
			a.note("addresses are known while the node runs")
		}
	})
}
