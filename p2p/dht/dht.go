// Package dht is the directory without an owner: a Kademlia table over the nodes of one network, in which each node
// keeps one signed record about itself under its identity, and says under which keys it can be found. What a record
// says is the caller's business; this package only sees to it that nothing invalid or older is stored or returned.
package dht

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	dssync "github.com/ipfs/go-datastore/sync"
	kad "github.com/libp2p/go-libp2p-kad-dht"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/routing"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multihash"

	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/internal/lp"
)

// Errors of this package. Match them with errors.Is.
var (
	// ErrNotFound: no record, or no address, of that node could be found.
	ErrNotFound = errors.New("not found in the directory")
	// ErrNoPeers: this node knows nobody who serves the directory.
	ErrNoPeers = errors.New("no peer serves the directory")
	// ErrRecord: the record is too large, invalid, or older than what is known.
	ErrRecord = errors.New("directory record refused")
)

// MaxRecord is the largest record in bytes.
const MaxRecord = 1 << 10

// MaxProviders is the most providers that one search returns.
const MaxProviders = 20

// Mode says whether a node serves the directory to others.
type Mode string

// The modes.
const (
	Client Mode = "client" // never serves
	Auto   Mode = "auto"   // serves while strangers can reach it
	Server Mode = "server" // always serves: the LAN, bootstrap nodes
)

// Options configure the directory. Validate and Newer are required.
type Options struct {
	Mode Mode // default Server in profile LAN, Auto in profile WAN
	// Validate says whether record is a valid, current record of the node. It is called from several goroutines.
	Validate func(id p2p.ID, record []byte) error
	// Newer compares two valid records of one node: positive when a is to be preferred, negative when b is, else 0.
	Newer func(a, b []byte) int
	// Bootstrap, if set, names peers to begin with when the table has run empty.
	Bootstrap func() []string
	// Small tunes the table for simulations of many nodes in one process.
	Small bool
}

// Defaults, in one table.
const (
	namespace     = "kithcap"
	storedEntries = 65536            // records and provider entries kept for others; more are dropped and counted
	recordAge     = 2 * time.Hour    // a record of another node is kept for so long, whatever it says
	sweepEvery    = 30 * time.Minute // to drop old records
	refreshEvery  = time.Hour        // of the whole table, in profile WAN
	lookEvery     = 10 * time.Minute // between two looks around, which keep neighbours known; with jitter
	lookSoon      = 2 * time.Second  // between looks while nobody is known
	lookTime      = 30 * time.Second // for one look
	queryTime     = 10 * time.Second // for one query of a refresh
	quorum        = 4                // answers that a record look-up compares
	lookupChecks  = 16               // newcomers probed at once
	perGroup      = 2                // table entries from one IP group in one bucket, profile WAN
	perTable      = 3                // and in the whole table
)

// DHT is a node's part in the directory. All methods are safe for concurrent use. New starts kad-dht's goroutines; Close
// ends them.
type DHT struct {
	h     *host.Host
	d     *kad.IpfsDHT
	log   *slog.Logger
	store *bounded
	looks atomic.Uint64
}

// New joins the directory of the host's network and makes the host look up unknown addresses in it.
func New(h *host.Host, o Options) (*DHT, error) {
	if o.Validate == nil || o.Newer == nil {
		return nil, errors.New("BUG: dht.Options without Validate or Newer")
	}
	if o.Mode == "" {
		o.Mode = Auto
		if h.Profile() == host.LAN {
			o.Mode = Server
		}
	}
	mode, ok := map[Mode]kad.ModeOpt{Client: kad.ModeClient, Auto: kad.ModeAuto, Server: kad.ModeServer}[o.Mode]
	if !ok {
		return nil, fmt.Errorf("directory mode %.20q: want client, auto or server", o.Mode)
	}
	store := newBounded(storedEntries)
	opts := []kad.Option{
		kad.ProtocolPrefix(protocol.ID("/kith/" + h.Network())),
		kad.Mode(mode),
		kad.Datastore(dssync.MutexWrap(store)),
		kad.NamespacedValidator(namespace, validator{o}),
		kad.MaxRecordAge(recordAge),
		kad.ValueGCInterval(sweepEvery),
		kad.RoutingTableRefreshQueryTimeout(queryTime),
		kad.LookupCheckConcurrency(lookupChecks),
		kad.AddressFilter(sensible),
	}
	if o.Bootstrap != nil {
		opts = append(opts, kad.BootstrapPeersFunc(func() []peer.AddrInfo {
			infos, err := lp.AddrInfos(o.Bootstrap())
			if err != nil {
				h.Logger().Warn("unreadable bootstrap address", "err", err)
			}
			return infos
		}))
	}
	if o.Small {
		opts = append(opts, kad.BucketSize(8), kad.Concurrency(3))
	}
	if h.Profile() == host.LAN {
		opts = append(opts, kad.DisableAutoRefresh())
	} else {
		opts = append(opts, kad.RoutingTableRefreshPeriod(refreshEvery),
			kad.RoutingTablePeerDiversityFilter(kad.NewRTPeerDiversityFilter(h.Unrouted(), perGroup, perTable)))
	}
	d, err := kad.New(h.Unrouted(), opts...)
	if err != nil {
		return nil, fmt.Errorf("start directory: %w", err)
	}
	t := &DHT{h: h, d: d, log: h.Logger(), store: store}
	h.SetFinder(t.FindPeer)
	return t, nil
}

// sensible drops the loopback and link-local addresses of others, unless they have no better ones: then both live on
// one machine.
func sensible(addrs []ma.Multiaddr) []ma.Multiaddr {
	out := ma.FilterAddrs(addrs, func(a ma.Multiaddr) bool { return !manet.IsIPLoopback(a) && !manet.IsIP6LinkLocal(a) })
	if len(out) == 0 {
		return addrs
	}
	return out
}

// Serve looks around now and then, so that this node knows its neighbours in the table and they know it, until ctx
// ends. A look costs a few kilobytes.
func (t *DHT) Serve(ctx context.Context) error {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C:
		}
		if t.d.RoutingTable().Size() == 0 {
			wait.Reset(lookSoon/2 + mrand.N(lookSoon))
			continue
		}
		t.look(ctx)
		wait.Reset(lookEvery/2 + mrand.N(lookEvery))
	}
}

// look searches for itself and for a random place.
func (t *DHT) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var elsewhere [32]byte
	_, _ = rand.Read(elsewhere[:]) // never fails
	for _, target := range []string{string(t.h.Unrouted().ID()), string(elsewhere[:])} {
		if _, err := t.d.GetClosestPeers(ctx, target); err != nil {
			t.log.Debug("looking around the directory failed", "err", err)
		}
	}
	t.looks.Add(1)
}

// PutRecord publishes this node's record, which must be valid and at least as new as the last.
func (t *DHT) PutRecord(ctx context.Context, record []byte) error {
	if err := t.d.PutValue(ctx, recordKey(t.h.ID()), record); err != nil {
		return explain("publish the record", err)
	}
	return nil
}

// Record returns the newest valid record of a node that can be found.
func (t *DHT) Record(ctx context.Context, id p2p.ID) ([]byte, error) {
	b, err := t.d.GetValue(ctx, recordKey(id), kad.Quorum(quorum))
	if errors.Is(err, routing.ErrNotFound) && t.d.RoutingTable().Size() == 0 {
		err = kb.ErrLookupFailure
	}
	if err != nil && (b == nil || ctx.Err() == nil) {
		return nil, explain("find the record of "+id.Short(), err)
	}
	return b, nil
}

// Provide says that this node can be found under key, for about two days.
func (t *DHT) Provide(ctx context.Context, key [32]byte) error {
	if err := t.d.Provide(ctx, keyCID(key), true); err != nil {
		return explain("announce a key", err)
	}
	return nil
}

// FindProviders calls found for up to limit nodes that said they can be found under key, with addresses if any are
// known, as they turn up, until found returns false or ctx ends. A provider is a hint until it has proven itself. limit
// is at most MaxProviders; 0 means so many.
func (t *DHT) FindProviders(ctx context.Context, key [32]byte, limit int, found func(id p2p.ID, addrs []string) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit = min(cmp.Or(limit, MaxProviders), MaxProviders)
	n := 0
	for ai := range t.d.FindProvidersAsync(ctx, keyCID(key), limit) {
		id, err := lp.ID(ai.ID)
		if err != nil || id == t.h.ID() {
			continue
		}
		n++
		if !found(id, texts(ai)) {
			return nil
		}
	}
	if n == 0 && t.d.RoutingTable().Size() == 0 {
		return ErrNoPeers
	}
	return ctx.Err()
}

// FindPeer returns the dialable addresses of a node.
func (t *DHT) FindPeer(ctx context.Context, id p2p.ID) ([]string, error) {
	ai, err := t.d.FindPeer(ctx, lp.Peer(id))
	if err != nil {
		return nil, explain("find "+id.Short(), err)
	}
	return texts(ai), nil
}

func texts(ai peer.AddrInfo) []string {
	var out []string
	for _, a := range ai.Addrs {
		out = append(out, lp.Text(ai.ID, a))
	}
	return out
}

func explain(what string, err error) error {
	switch {
	case errors.Is(err, kb.ErrLookupFailure):
		return fmt.Errorf("%s: %w", what, ErrNoPeers)
	case errors.Is(err, routing.ErrNotFound):
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	case strings.Contains(err.Error(), "replace a newer value"):
		return fmt.Errorf("%s: %w: a newer one is known", what, ErrRecord)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// State describes this node's part in the directory.
type State struct {
	Known   int    `json:"known"`   // nodes in the table
	Serving bool   `json:"serving"` // whether this node answers others
	Stored  int    `json:"stored"`  // entries kept for others
	Dropped uint64 `json:"dropped"` // entries of others that found no room
	Looks   uint64 `json:"looks"`   // looks around since the start
}

// State returns the state.
func (t *DHT) State() State {
	return State{
		Known: t.d.RoutingTable().Size(), Serving: t.serving(), Stored: int(t.store.count.Load()), Dropped: t.store.dropped.Load(),
		Looks: t.looks.Load(),
	}
}

func (t *DHT) serving() bool {
	want := protocol.ID("/kith/" + t.h.Network() + "/kad/1.0.0")
	for _, p := range t.h.Unrouted().Mux().Protocols() {
		if p == want {
			return true
		}
	}
	return false
}

// Close leaves the directory.
func (t *DHT) Close() error {
	t.h.SetFinder(nil)
	return t.d.Close()
}

// keyCID dresses a key as the CID that kad-dht wants; only the digest counts.
func keyCID(key [32]byte) cid.Cid {
	mh, err := multihash.Encode(key[:], multihash.SHA2_256)
	if err != nil {
		panic("BUG: multihash of 32 bytes: " + err.Error())
	}
	return cid.NewCidV1(cid.Raw, mh)
}

func recordKey(id p2p.ID) string { return "/" + namespace + "/" + string(id[:]) }

// validator applies the caller's rules to the one kind of record.
type validator struct{ o Options }

// Validate implements record.Validator.
func (v validator) Validate(key string, value []byte) error {
	raw, ok := strings.CutPrefix(key, "/"+namespace+"/")
	if !ok || len(raw) != len(p2p.ID{}) {
		return fmt.Errorf("%w: key of %d bytes", ErrRecord, len(key))
	}
	if len(value) == 0 || len(value) > MaxRecord {
		return fmt.Errorf("%w: %d bytes, want 1 to %d", ErrRecord, len(value), MaxRecord)
	}
	if err := v.o.Validate(p2p.ID([]byte(raw)), value); err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return nil
}

// Select implements record.Validator: the first of the newest records wins.
func (v validator) Select(_ string, values [][]byte) (int, error) {
	if len(values) == 0 {
		return 0, fmt.Errorf("%w: nothing to select from", ErrRecord)
	}
	best := 0
	for i := range values {
		if v.o.Newer(values[i], values[best]) > 0 {
			best = i
		}
	}
	return best, nil
}
