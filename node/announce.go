package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"kith/p2p/dht"
	"kith/storage/dag"
)

// Pace of the announcer.
const (
	announceLook  = 2 * time.Second
	announceRenew = 12 * time.Hour // the directory forgets after two days, and its nodes come and go
	announceTime  = time.Minute    // for one word to the directory
	announceRetry = 20 * time.Second
)

// announcer tells the directory that this node holds public data: the input of its own public jobs, and that of others
// of which it passes something on. What is announced no longer is not renewed, and not served either.
type announcer struct {
	log     *slog.Logger
	roots   func(context.Context) ([]dag.CID, error)
	provide func(context.Context, dag.CID) error
	due     map[dag.CID]time.Time // when a root is to be announced again
}

func (n *Node) newAnnouncer(l *live) *announcer {
	return &announcer{log: n.log, provide: l.network.exchange.Provide, due: map[dag.CID]time.Time{}, roots: func(ctx context.Context) ([]dag.CID, error) {
		own, err := l.submits.driver.PublicInputs(ctx)
		return append(own, l.works.driver.Shared()...), err
	}}
}

// Serve announces until ctx ends.
func (a *announcer) Serve(ctx context.Context) error {
	tick := time.NewTicker(announceLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		roots, err := a.roots(ctx)
		if err != nil {
			continue // the drivers are stopping
		}
		a.look(ctx, roots)
	}
}

// look announces what is due.
func (a *announcer) look(ctx context.Context, roots []dag.CID) {
	now := map[dag.CID]time.Time{}
	for _, root := range roots {
		due := a.due[root]
		if _, twice := now[root]; !twice && !time.Now().Before(due) {
			pctx, cancel := context.WithTimeout(ctx, announceTime)
			err := a.provide(pctx, root)
			cancel()
			due = time.Now().Add(announceRenew)
			if err != nil {
				due = time.Now().Add(announceRetry)
				if !errors.Is(err, dht.ErrNoPeers) && ctx.Err() == nil {
					a.log.Debug("Public data was not announced", slog.String("root", root.String()), slog.Any("error", err))
				}
			}
		}
		now[root] = due
	}
	a.due = now
}
