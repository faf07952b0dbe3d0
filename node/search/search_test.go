package search

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/p2p"
	"kith/p2p/fabric"
	"kith/p2p/host"
	"kith/p2p/rpc"
	"kith/tasks"
	"kith/tasks/match"
	"kith/tasks/submit"
	"kith/tasks/wire"
)

// underRace is set when the race detector watches, which crashes on timers of a bubble (golang.org/issue/78156) unless
// one processor runs it.
var underRace bool

const network = "test"

// node is one of a network that answers questions.
type node struct {
	key  ed25519.PrivateKey
	id   tasks.NodeID
	host *host.Host
	rpc  *rpc.Service
	book *Book

	mu     sync.Mutex
	heard  []wire.Offer
	refuse *tasks.Reason
}

// say is a node's record; change may be nil.
func (n *node) say(t *testing.T, change func(*wire.Capability)) []byte {
	t.Helper()
	c := wire.Capability{
		Seq: 1, Time: time.Now().UnixMilli(), Expiry: time.Now().Add(time.Hour).UnixMilli(), Addresses: n.host.Addrs(), Class: tasks.CPU,
		Sandbox: tasks.GradeProcess, Region: "DE", Slots: 2, Memory: 1 << 30,
	}
	if change != nil {
		change(&c)
	}
	b, err := wire.SignCapability(network, n.key, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (n *node) finder(d Directory) *Finder {
	return NewFinder(Options{
		Network: network, Self: n.id, Book: n.book, Host: n.host, RPC: n.rpc, Directory: d, Areas: []string{"DE", "EU", "world"}, Logger: slog.New(slog.DiscardHandler),
	})
}

func (n *node) invited() []wire.Offer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.heard)
}

// wanted is a search for as many workers as are missing.
func (n *node) wanted(t *testing.T, missing int, known ...tasks.NodeID) submit.Wanted {
	t.Helper()
	now := time.Now().UnixMilli()
	o := wire.Offer{Kinds: []string{"test.noop"}, Want: max(1, min(missing, wire.MaxSlots)), Class: tasks.CPU, Addresses: n.host.Addrs(), Time: now, Expiry: now + 60_000}
	b, err := wire.SignOffer(network, n.key, o)
	if err != nil {
		t.Fatal(err)
	}
	return submit.Wanted{Offer: b, Missing: missing, Class: tasks.CPU, Sandbox: tasks.GradeProcess, Kinds: o.Kinds, Known: known}
}

// bubble makes a network of nodes in virtual time, and ends it after f.
func bubble(t *testing.T, count int, f func(t *testing.T, nodes []*node)) {
	t.Helper()
	if underRace {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, func(t *testing.T) {
		net, err := fabric.NewMemory(fabric.Conditions{Network: network, Between: func(netip.Addr, netip.Addr) time.Duration { return 20 * time.Millisecond }})
		if err != nil {
			t.Fatal(err)
		}
		var nodes []*node
		for i := range count {
			seed := sha256.Sum256(fmt.Append(nil, "search ", i))
			n := &node{key: ed25519.NewKeyFromSeed(seed[:]), book: NewBook(network)}
			n.id = tasks.NodeID(n.key.Public().(ed25519.PublicKey))
			if n.host, err = net.Host(n.key, netip.AddrFrom4([4]byte{11, 0, byte(i), 1})); err != nil {
				t.Fatal(err)
			}
			n.rpc = rpc.New(n.host)
			server := &Server{Network: network, Book: n.book, Hear: func(_ context.Context, o wire.Offer) *tasks.Reason {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.heard = append(n.heard, o)
				return n.refuse
			}}
			if err := server.Serve(n.rpc); err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, n)
		}
		if err := net.Ready(); err != nil {
			t.Fatal(err)
		}
		f(t, nodes)
		for _, n := range nodes {
			if err := n.rpc.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, n := range nodes {
			for _, c := range n.host.Unrouted().Network().Conns() {
				for _, s := range c.GetStreams() {
					_ = s.Reset()
				}
			}
		}
		time.Sleep(time.Second)
		for _, n := range nodes {
			if err := n.host.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
}

// acquaint lets a node know others, by their records, and connects it to the first of them.
func (n *node) acquaint(t *testing.T, others ...*node) {
	t.Helper()
	for i, o := range others {
		if err := n.book.Learn(o.say(t, nil)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := n.host.ConnectAny(t.Context(), o.host.Addrs()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// From the few nodes it is connected to, a node finds nearly all of a network whose nodes each know some others; and what
// it finds comes, as far as it is missing, and no more.
func TestSearch(t *testing.T) {
	const count, met = 100, 24
	for _, c := range []struct {
		name            string
		missing, coming int
	}{{"many missing", 90, match.MaxInvited}, {"few missing", 5, 5}, {"none missing", 0, 0}} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.missing != 5 {
				t.Skip("short")
			}
			bubble(t, count, func(t *testing.T, nodes []*node) {
				r := rand.New(rand.NewPCG(3, 4))
				for i, n := range nodes {
					k := met
					if i == 0 {
						k = 3
					}
					var others []*node
					for range k {
						others = append(others, nodes[(i+1+r.IntN(count-1))%count])
					}
					n.acquaint(t, others...)
				}
				s := nodes[0].finder(nil).Search(t.Context(), nodes[0].wanted(t, c.missing))
				if s.Found < (count-1)*9/10 || s.Found > count-1 {
					t.Errorf("found %d of %d", s.Found, count-1)
				}
				if s.Messages > match.SearchMessages || s.Asked == 0 || s.Messages > 2*s.Asked {
					t.Errorf("%d messages to %d nodes", s.Messages, s.Asked)
				}
				if s.Coming < c.coming || s.Invited > c.coming+atOnce || s.Invited > match.MaxInvited || c.missing == 0 && s.Invited > 0 {
					t.Errorf("%d missing, %d invited, %d coming", c.missing, s.Invited, s.Coming)
				}
				heard := 0
				for _, n := range nodes {
					for _, o := range n.invited() {
						if o.Submitter != nodes[0].id || n == nodes[0] {
							t.Errorf("%s was handed an offer of %s", n.id, o.Submitter)
						}
						heard++
					}
				}
				if heard != s.Invited {
					t.Errorf("%d heard, %d invited", heard, s.Invited)
				}
			})
		})
	}
}

// Nodes that are known are not named, those that refuse are left alone for a while, and the reasons are counted.
func TestSearchAgain(t *testing.T) {
	bubble(t, 6, func(t *testing.T, nodes []*node) {
		nodes[0].acquaint(t, nodes[1])
		nodes[1].acquaint(t, nodes...)
		nodes[2].refuse = &tasks.Reason{Code: tasks.KindOff}
		f := nodes[0].finder(nil)
		s := f.Search(t.Context(), nodes[0].wanted(t, 9, nodes[1].id, nodes[5].id))
		if s.Found != 3 || s.Coming != 2 || s.Refused[tasks.KindOff] != 1 {
			t.Errorf("%+v", s)
		}
		if len(nodes[5].invited())+len(nodes[1].invited()) != 0 {
			t.Error("a node that is known was invited")
		}
		nodes[3].refuse = &tasks.Reason{Code: tasks.Busy}
		s = f.Search(t.Context(), nodes[0].wanted(t, 9, nodes[1].id, nodes[5].id))
		if s.Found != 2 || s.Coming != 1 || s.Refused[tasks.Busy] != 1 || len(nodes[2].invited()) != 1 {
			t.Errorf("again: %+v", s)
		}
		time.Sleep(restRefused)
		if s = f.Search(t.Context(), nodes[0].wanted(t, 9)); s.Found != 5 {
			t.Errorf("later: %+v", s)
		}
	})
}

// A walker that is lied to, or not answered, believes nothing that is not signed by the node it is about.
func TestHostileAnswers(t *testing.T) {
	bubble(t, 4, func(t *testing.T, nodes []*node) {
		good, liar := nodes[1], nodes[2]
		nodes[0].acquaint(t, liar)
		for name, c := range map[string]struct {
			reply wire.SearchReply
			found int
		}{
			"garbage":          {wire.SearchReply{Version: wire.Version, Nodes: [][]byte{{1, 2, 3}}}, 0},
			"another network":  {wire.SearchReply{Version: wire.Version, Nodes: [][]byte{foreign(t, good)}}, 0},
			"spoilt":           {wire.SearchReply{Version: wire.Version, Nodes: [][]byte{spoilt(good.say(t, nil))}}, 0},
			"no address":       {wire.SearchReply{Version: wire.Version, Nodes: [][]byte{good.say(t, func(c *wire.Capability) { c.Addresses = nil })}}, 0},
			"would not do":     {wire.SearchReply{Version: wire.Version, Nodes: [][]byte{good.say(t, func(c *wire.Capability) { c.Kinds = []string{"etl.hash"} })}}, 0},
			"who asked":        {wire.SearchReply{Version: wire.Version, Nodes: [][]byte{nodes[0].say(t, nil)}}, 0},
			"a way is no find": {wire.SearchReply{Version: wire.Version, Ways: [][]byte{good.say(t, nil)}}, 0},
			"refusal":          {wire.SearchReply{Version: wire.Version, Reason: &tasks.Reason{Code: tasks.Busy}}, 0},
			"another version":  {wire.SearchReply{}, 0},
			"the truth":        {wire.SearchReply{Version: wire.Version, Nodes: [][]byte{good.say(t, nil), good.say(t, nil)}}, 1},
		} {
			t.Log(name)
			if err := liar.rpc.Handle(searchProto, func(_ context.Context, st p2p.Stream) {
				var q wire.Search
				if wire.ReadSingle(st, &q, time.Now().UnixMilli()) == nil && wire.WriteSingle(st, &c.reply, time.Now().UnixMilli()) == nil {
					_ = st.Close()
				}
			}); err != nil {
				t.Fatal(err)
			}
			f := nodes[0].finder(nil)
			if s := f.Search(t.Context(), nodes[0].wanted(t, 0, liar.id)); s.Found != c.found {
				t.Errorf("%s: %+v, want %d found", name, s, c.found)
			}
		}
		if err := liar.rpc.Handle(searchProto, func(ctx context.Context, _ p2p.Stream) { <-ctx.Done() }); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if s := nodes[0].finder(nil).Search(t.Context(), nodes[0].wanted(t, 0, liar.id)); s.Found != 0 || time.Since(began) != stepTime {
			t.Errorf("no answer: %+v after %s", s, time.Since(began))
		}
	})
}

func foreign(t *testing.T, n *node) []byte {
	t.Helper()
	now := time.Now().UnixMilli()
	b, err := wire.SignCapability("elsewhere", n.key, wire.Capability{Time: now, Expiry: now + 1000, Class: tasks.CPU, Addresses: n.host.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func spoilt(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)-1] ^= 1
	return b
}

// Whoever asks badly, too often, or with another's offer is told so.
func TestRefusals(t *testing.T) {
	bubble(t, 3, func(t *testing.T, nodes []*node) {
		asker, asked := nodes[0], nodes[1]
		asker.acquaint(t, asked)
		q := &quest{f: asker.finder(nil), addrs: map[tasks.NodeID][]string{}}
		search := func(change func(*wire.Search)) tasks.Code {
			t.Helper()
			m := wire.Search{Version: wire.Version, Network: network, Class: tasks.CPU}
			change(&m)
			var reply wire.SearchReply
			if err := q.talk(t.Context(), asked.id, searchProto, &m, &reply); err != nil {
				t.Fatal(err)
			}
			if reply.Reason == nil {
				return ""
			}
			return reply.Reason.Code
		}
		invite := func(network string, offer []byte) tasks.Code {
			t.Helper()
			var reply wire.InviteReply
			if err := q.talk(t.Context(), asked.id, inviteProto, &wire.Invite{Version: wire.Version, Network: network, Offer: offer}, &reply); err != nil {
				t.Fatal(err)
			}
			if reply.Reason == nil {
				return ""
			}
			return reply.Reason.Code
		}
		if got := search(func(m *wire.Search) { m.Network = "elsewhere" }); got != tasks.WrongNetwork {
			t.Errorf("another network: %q", got)
		}
		for i := range int(searchRate.Burst) {
			if got := search(func(*wire.Search) {}); got != "" {
				t.Errorf("question %d: %q", i+1, got)
			}
		}
		if got := search(func(*wire.Search) {}); got != tasks.Busy {
			t.Errorf("too often: %q", got)
		}
		time.Sleep(searchRate.Every)
		if got := search(func(*wire.Search) {}); got != "" {
			t.Errorf("a while later: %q", got)
		}
		offer := asker.wanted(t, 1).Offer
		if got := invite("elsewhere", offer); got != tasks.WrongNetwork {
			t.Errorf("another network: %q", got)
		}
		if got := invite(network, nodes[2].wanted(t, 1).Offer); got != tasks.BadMessage {
			t.Errorf("another's offer: %q", got)
		}
		if got := invite(network, []byte("x")); got != tasks.BadMessage {
			t.Errorf("no offer: %q", got)
		}
		for i := range int(inviteRate.Burst) {
			if got := invite(network, offer); got != "" {
				t.Errorf("invitation %d: %q", i+1, got)
			}
		}
		if got := invite(network, offer); got != tasks.Busy || len(asked.invited()) != int(inviteRate.Burst) {
			t.Errorf("too often: %q", got)
		}
	})
}

// directory is one in memory.
type directory struct {
	keys    map[[32]byte][]p2p.ID
	records map[p2p.ID][]byte
	mu      sync.Mutex
	asked   int
}

func (d *directory) FindProviders(_ context.Context, key [32]byte, limit int, found func(p2p.ID, []string) bool) error {
	d.mu.Lock()
	d.asked++
	list := d.keys[key]
	d.mu.Unlock()
	for _, id := range list[:min(len(list), limit)] {
		if !found(id, nil) {
			break
		}
	}
	return nil
}

var errNone = errors.New("no record")

func (d *directory) Record(_ context.Context, id p2p.ID) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r, ok := d.records[id]; ok {
		return r, nil
	}
	return nil, errNone
}

// A node that knows nobody finds workers in the directory: those whose records verify, under the keys of the job's
// regions, no more than it may ask for.
func TestDirectory(t *testing.T) {
	bubble(t, 30, func(t *testing.T, nodes []*node) {
		d := &directory{keys: map[[32]byte][]p2p.ID{}, records: map[p2p.ID][]byte{}}
		put := func(n *node, area string, record []byte) {
			key := wire.ProviderKey(network, tasks.CPU, wire.AnyBand, area, wire.Bucket(n.id))
			d.keys[key] = append(d.keys[key], p2p.ID(n.id))
			d.records[p2p.ID(n.id)] = record
		}
		put(nodes[1], "DE", nodes[1].say(t, nil))
		put(nodes[2], "DE", spoilt(nodes[2].say(t, nil)))
		put(nodes[3], "world", nodes[3].say(t, nil))
		put(nodes[4], "FR", nodes[4].say(t, func(c *wire.Capability) { c.Region = "FR" }))
		s := nodes[0].finder(d).Search(t.Context(), nodes[0].wanted(t, 5))
		if s.Hints != 3 || s.Found != 2 || s.Coming != 2 || len(nodes[4].invited()) != 0 {
			t.Errorf("%+v", s)
		}
		w := nodes[0].wanted(t, 5)
		w.Regions = []string{"FR"}
		if s = nodes[0].finder(d).Search(t.Context(), w); s.Found != 1 || len(nodes[4].invited()) != 1 {
			t.Errorf("in one country: %+v", s)
		}
		for _, n := range nodes[5:] {
			put(n, "DE", n.say(t, nil))
		}
		d.asked = 0
		if s = nodes[0].finder(d).Search(t.Context(), nodes[0].wanted(t, 30)); s.Hints > hintsTried || s.Found > hintsTried || s.Found < hintsTried-3 || d.asked > lookups {
			t.Errorf("%d look-ups: %+v", d.asked, s)
		}
	})
}

// A book keeps the newest word of each node, until it expires, and no more than it has room for.
func TestBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBook(network)
		key := func(n int) ed25519.PrivateKey {
			seed := sha256.Sum256(fmt.Append(nil, n))
			return ed25519.NewKeyFromSeed(seed[:])
		}
		say := func(n int, seq uint64, life time.Duration, addrs ...string) []byte {
			r, err := wire.SignCapability(network, key(n), wire.Capability{
				Seq: seq, Time: time.Now().UnixMilli(), Expiry: time.Now().Add(life).UnixMilli(), Class: tasks.CPU, Addresses: addrs,
			})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		q := &wire.Search{Class: tasks.CPU}
		newest := say(1, 2, time.Hour, "/ip4/192.0.2.1/tcp/1")
		if err := errors.Join(b.Learn(newest), b.Learn(say(1, 1, time.Hour, "/ip4/192.0.2.2/tcp/1")), b.Learn(say(2, 1, time.Hour))); err != nil {
			t.Fatal(err)
		}
		if nodes, ways := b.Answer(q, tasks.NodeID{}); len(nodes) != 1 || !slices.Equal(nodes[0], newest) || len(ways) != 0 {
			t.Errorf("%d nodes, %d ways", len(nodes), len(ways))
		}
		if nodes, ways := b.Answer(&wire.Search{Class: tasks.HighGPU}, tasks.NodeID{}); len(nodes) != 0 || len(ways) != 1 {
			t.Errorf("who would not do: %d nodes, %d ways", len(nodes), len(ways))
		}
		if nodes, _ := b.Answer(q, tasks.NodeID(key(1).Public().(ed25519.PublicKey))); len(nodes) != 0 {
			t.Error("who asks was told of itself")
		}
		if b.Learn([]byte("x")) == nil {
			t.Error("garbage was learned")
		}
		b.room = 100
		for i := range b.room + 20 {
			if err := b.Learn(say(10+i, 1, 2*time.Hour, "/ip4/192.0.2.1/tcp/1")); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(b.Nodes()); n != b.room {
			t.Errorf("%d nodes", n)
		}
		if nodes, _ := b.Answer(q, tasks.NodeID{}); len(nodes) != wire.MaxFound {
			t.Errorf("an answer with %d", len(nodes))
		}
		time.Sleep(2 * time.Hour)
		if n := len(b.Nodes()); n != 0 {
			t.Errorf("%d nodes after their records have expired", n)
		}
		if err := b.Learn(say(5, 1, time.Hour)); err != nil || len(b.met) != 1 {
			t.Errorf("%d records, %v", len(b.met), err)
		}
	})
}
