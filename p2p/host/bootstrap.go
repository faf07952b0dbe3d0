package host

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"kith/p2p"
	"kith/p2p/internal/lp"
)

// BuiltIn are the bootstrap peers that a network's software knows from the start.
func BuiltIn(network string) []string {
	return builtIn[network]
}

// builtIn has no entry until a public network has peers that promise to stay.
var builtIn = map[string][]string{}

// BootstrapOptions say where a node finds its first peers.
type BootstrapOptions struct {
	Peers []string // dialable addresses, from the built-in list, files and flags
	Cache string   // file that remembers peers from run to run; "": none
	Want  int      // peers below which more are dialled; default 4
}

// Defaults, in one table.
const (
	defaultWant    = 4
	firstRetry     = time.Second
	lastRetry      = time.Minute      // between tries while peers are missing
	peerRetry      = 10 * time.Minute // for one cached peer that did not answer
	restEvery      = 30 * time.Second // between checks while there are enough
	saveEvery      = 5 * time.Minute
	saveSoon       = time.Second // after a new peer: a node that is killed young must find its way back
	dialsAtOnce    = 4
	cachedPerRound = 8
	roundTime      = 20 * time.Second
)

// Bootstrap keeps a node connected: it dials the listed and the remembered peers whenever too few are connected, with
// growing pauses, and writes down whom it met.
type Bootstrap struct {
	h   *Host
	o   BootstrapOptions
	log *slog.Logger

	mu    sync.Mutex
	state BootstrapState

	// Of Serve's goroutine alone:
	listed []candidate
	cached []candidate
}

// candidate is a peer to dial.
type candidate struct {
	id    p2p.ID
	addrs []string
	seen  time.Time
	next  time.Time // not to be dialled before
	fails int
}

// BootstrapState says how it goes.
type BootstrapState struct {
	Text    string    `json:"text"`    // a sentence for a person, with the remedy if there is one
	Peers   int       `json:"peers"`   // connected peers
	Known   int       `json:"known"`   // listed and remembered peers
	Tries   int       `json:"tries"`   // rounds since peers last were enough
	NextTry time.Time `json:"nextTry"` // zero while there are enough
	Err     string    `json:"err"`     // why the last dial failed
}

// NewBootstrap checks the addresses; it dials nobody yet.
func NewBootstrap(h *Host, o BootstrapOptions) (*Bootstrap, error) {
	infos, err := lp.AddrInfos(o.Peers)
	if err != nil {
		return nil, fmt.Errorf("bootstrap peers: %w", err)
	}
	o.Want = cmp.Or(o.Want, defaultWant)
	b := &Bootstrap{h: h, o: o, log: h.log}
	for _, ai := range infos {
		id, err := lp.ID(ai.ID)
		if err != nil {
			return nil, err
		}
		c := candidate{id: id}
		for _, a := range ai.Addrs {
			c.addrs = append(c.addrs, lp.Text(ai.ID, a))
		}
		if id != h.ID() {
			b.listed = append(b.listed, c)
		}
	}
	if o.Cache != "" {
		peers, err := readCache(o.Cache, h.network, time.Now())
		if err != nil {
			b.log.Warn("peer cache ignored; it will be written anew", "path", o.Cache, "err", err)
		}
		for _, p := range peers {
			if p.ID != h.ID() {
				b.cached = append(b.cached, candidate{id: p.ID, addrs: p.Addrs, seen: time.UnixMilli(p.Seen)})
			}
		}
	}
	b.state = BootstrapState{Text: "looking for peers", Known: len(b.listed) + len(b.cached)}
	return b, nil
}

// State returns how it goes.
func (b *Bootstrap) State() BootstrapState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// Peers returns the listed addresses, for a directory that has run empty.
func (b *Bootstrap) Peers() []string { return slices.Clone(b.o.Peers) }

// Serve keeps the node connected until ctx ends; then it writes the cache a last time.
func (b *Bootstrap) Serve(ctx context.Context) error {
	events, stop := b.h.Watch()
	defer stop()
	defer b.save()
	save := time.NewTimer(saveEvery)
	defer save.Stop()
	soon := false
	wait := time.NewTimer(0)
	defer wait.Stop()
	tries := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-save.C:
			b.save()
			soon = false
			save.Reset(saveEvery)
			continue
		case e, ok := <-events:
			if !ok {
				return p2p.ErrClosed
			}
			if e.Connected && !soon {
				soon = true
				save.Reset(saveSoon)
			}
			if e.Connected || tries > 0 || len(b.h.raw.Network().Peers()) > 0 {
				b.report(tries, time.Time{}, nil)
				continue
			}
			// the last peer left: look for others at once
		case <-wait.C:
		}
		if len(b.h.raw.Network().Peers()) >= b.o.Want {
			tries = 0
			b.report(0, time.Time{}, nil)
			wait.Reset(restEvery)
			continue
		}
		err := b.round(ctx)
		if len(b.h.raw.Network().Peers()) >= b.o.Want {
			tries = 0
		} else {
			tries++
		}
		pause := min(firstRetry<<min(tries, 6), lastRetry)
		pause = pause*3/4 + rand.N(pause/2)
		b.report(tries, time.Now().Add(pause), err)
		wait.Reset(pause)
	}
}

func (b *Bootstrap) report(tries int, next time.Time, err error) {
	n := len(b.h.raw.Network().Peers())
	s := BootstrapState{Peers: n, Known: len(b.listed) + len(b.cached), Tries: tries, NextTry: next}
	if err != nil {
		s.Err = err.Error()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if next.IsZero() {
		s.NextTry, s.Err = b.state.NextTry, b.state.Err
	}
	pause := time.Until(s.NextTry).Round(time.Second)
	switch {
	case n > 0:
		s.Text, s.Err = fmt.Sprintf("connected to %d peers", n), ""
		if n == 1 {
			s.Text = "connected to 1 peer"
		}
	case s.Known == 0:
		s.Text = "no bootstrap peer is known: name one in the settings, or wait for a neighbour on the local network"
	default:
		s.Text = fmt.Sprintf("no bootstrap peer answered; next try in %d s", max(1, int(pause/time.Second)))
	}
	if s.Text != b.state.Text && n == 0 {
		b.log.Info("no peers", "state", s.Text, "err", s.Err)
	}
	b.state = s
}

// round dials every listed peer and some remembered ones that are not connected, and returns the last failure.
func (b *Bootstrap) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	now := time.Now()
	var dial []*candidate
	for i := range b.listed {
		dial = append(dial, &b.listed[i])
	}
	rand.Shuffle(len(b.cached), func(i, j int) { b.cached[i], b.cached[j] = b.cached[j], b.cached[i] })
	n := 0
	for i := range b.cached {
		if c := &b.cached[i]; n < cachedPerRound && !now.Before(c.next) {
			dial = append(dial, c)
			n++
		}
	}
	var mu sync.Mutex
	var last error
	var wg sync.WaitGroup
	slots := make(chan struct{}, dialsAtOnce)
	for _, c := range dial {
		if direct, relayed := b.h.Connected(c.id); direct || relayed {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			_, err := b.h.ConnectAny(ctx, c.addrs)
			if err == nil {
				c.fails, c.seen, c.next = 0, now, time.Time{}
				return
			}
			c.fails++
			c.next = now.Add(min(firstRetry<<min(c.fails, 12), peerRetry))
			mu.Lock()
			defer mu.Unlock()
			last = err
		})
	}
	wg.Wait()
	return last
}

// save writes down the connected peers and those met earlier, newest first.
func (b *Bootstrap) save() {
	if b.o.Cache == "" {
		return
	}
	now := time.Now()
	var out []cachedPeer
	have := map[p2p.ID]bool{}
	for _, p := range b.h.Peers() {
		if !p.Relayed && len(p.Addrs) > 0 && len(out) < maxCachePeers {
			have[p.ID] = true
			out = append(out, cachedPeer{ID: p.ID, Addrs: p.Addrs, Seen: now.UnixMilli()})
		}
	}
	slices.SortStableFunc(b.cached, func(x, y candidate) int { return y.seen.Compare(x.seen) })
	for _, c := range b.cached {
		if !have[c.id] && len(out) < maxCachePeers {
			out = append(out, cachedPeer{ID: c.id, Addrs: c.addrs, Seen: c.seen.UnixMilli()})
		}
	}
	for _, p := range out {
		if !slices.ContainsFunc(b.cached, func(c candidate) bool { return c.id == p.ID }) && len(b.cached) < maxCachePeers {
			b.cached = append(b.cached, candidate{id: p.ID, addrs: p.Addrs, seen: now})
		}
	}
	if err := writeCache(b.o.Cache, b.h.network, out); err != nil {
		b.log.Warn("peer cache not written", "path", b.o.Cache, "err", err)
	}
}
