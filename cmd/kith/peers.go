package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// peersCmd is "kith peers".
type peersCmd struct{}

// Run lists the connected nodes.
func (peersCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	peers, err := c.Peers(a.ctx)
	if err != nil {
		return err
	}
	return a.show(peers, func(w io.Writer) {
		if len(peers) == 0 {
			a.note("no other node is connected; give this one an address with kith run --bootstrap, or start a second node on this network")
			return
		}
		rows := [][]string{{"NODE", "PATH", "RTT", "REGION", "FOR", "ROLE", "ADDRESS"}}
		for _, p := range peers {
			path, rtt := p.Transport, "–"
			if !p.Direct {
				path = "relayed"
			}
			if p.Inbound {
				path += ", inbound"
			}
			if p.RTTMillis > 0 {
				rtt = fmt.Sprintf("%.1f ms", p.RTTMillis)
			}
			rows = append(rows, []string{short(p.Node), path, rtt, p.Region, durationText(time.Since(time.UnixMilli(p.Since))), strings.Join(p.Roles, ", "), p.Address})
		}
		table(w, rows)
	})
}
