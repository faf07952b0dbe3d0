package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// Depot holds DAGs for others, each until a time that its depositor named. What is kept is recorded in KV and survives a
// restart. It is safe for concurrent use.
type Depot struct {
	o DepotOptions

	mu    sync.Mutex
	kept  map[key]deposit
	begun map[key]*begun
	bytes int64                  // of kept and begun
	by    map[tasks.NodeID]int64 // the same, of one depositor
}

// DepotOptions are the parts a Depot is made of.
type DepotOptions struct {
	Network string
	Self    tasks.NodeID
	Blobs   storage.Blobs
	KV      storage.KV
	// Quota is how many bytes the owner gives at this moment; 0 takes nothing. What is there already stays its time.
	Quota func() int64
	// Room may refuse new deposits, say because the disk is full; it may be nil.
	Room   func() *tasks.Reason
	Logger *slog.Logger
}

// Bounds of what one depositor may have.
const (
	depositorShare = 4                // of the quota: no one may have more than this part of it
	depositorMost  = 1024             // deposits
	begunKept      = 10 * time.Minute // a deposit that broke off may be gone on with for so long
	sweepEvery     = 30 * time.Second
)

// key is what a deposit is known by: two depositors of the same DAG know nothing of each other.
type key struct {
	by   tasks.NodeID
	root dag.CID
}

var keyPrefix = []byte("depot/")

func (k key) record() []byte { return append(append(bytes.Clone(keyPrefix), k.by[:]...), k.root[:]...) }

// deposit is something kept.
type deposit struct {
	Bytes int64 `json:"bytes"` // as ordered
	Until int64 `json:"until"` // Unix milliseconds
}

// begun is a deposit that is not whole yet.
type begun struct {
	bytes int64 // reserved
	sent  map[dag.CID]struct{}
	busy  bool
	until time.Time // when it is forgotten, if nobody goes on with it
}

// NewDepot reads what was kept before the last stop.
func NewDepot(ctx context.Context, o DepotOptions) (*Depot, error) {
	d := &Depot{o: o, kept: map[key]deposit{}, begun: map[key]*begun{}, by: map[tasks.NodeID]int64{}}
	for rec, err := range o.KV.Scan(ctx, keyPrefix) {
		if err != nil {
			return nil, fmt.Errorf("read the depot's records: %w", err)
		}
		var k key
		var dep deposit
		id := rec.Key[len(keyPrefix):]
		if len(id) != len(k.by)+len(k.root) || json.Unmarshal(rec.Value, &dep) != nil {
			o.Logger.Warn("A record of the depot cannot be read and is left alone", slog.Int("bytes", len(rec.Value)))
			continue
		}
		copy(k.by[:], id)
		copy(k.root[:], id[len(k.by):])
		d.kept[k] = dep
		d.reserveLocked(k.by, dep.Bytes)
	}
	return d, nil
}

func (d *Depot) reserveLocked(by tasks.NodeID, n int64) {
	d.bytes += n
	if d.by[by] += n; d.by[by] == 0 {
		delete(d.by, by)
	}
}

// Serve lets go of what has had its time, until ctx ends. The blocks themselves go with the next collection.
func (d *Depot) Serve(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := d.sweep(ctx, time.Now()); err != nil {
			d.o.Logger.Warn("Deposits that have had their time cannot be let go", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (d *Depot) sweep(ctx context.Context, now time.Time) error {
	d.mu.Lock()
	var over []key
	for k, dep := range d.kept {
		if dep.Until < now.UnixMilli() {
			over = append(over, k)
		}
	}
	for k, b := range d.begun {
		if !b.busy && b.until.Before(now) {
			d.reserveLocked(k.by, -b.bytes)
			delete(d.begun, k)
		}
	}
	d.mu.Unlock()
	for _, k := range over {
		if err := d.o.KV.Delete(ctx, k.record()); err != nil {
			return err
		}
		d.mu.Lock()
		if dep, ok := d.kept[k]; ok {
			d.reserveLocked(k.by, -dep.Bytes)
			delete(d.kept, k)
		}
		d.mu.Unlock()
	}
	return nil
}

// Pins calls visit with every root that is kept.
func (d *Depot) Pins(visit func(dag.CID) error) error {
	d.mu.Lock()
	roots := make([]dag.CID, 0, len(d.kept))
	for k := range d.kept {
		roots = append(roots, k.root)
	}
	d.mu.Unlock()
	for _, c := range roots {
		if err := visit(c); err != nil {
			return err
		}
	}
	return nil
}

// Holds says how much is kept for others.
func (d *Depot) Holds() (deposits int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.kept), d.bytes
}

// lies reports that something is not kept for a depositor.
func (d *Depot) lies(by tasks.NodeID, root dag.CID) error {
	d.mu.Lock()
	dep, ok := d.kept[key{by, root}]
	d.mu.Unlock()
	if !ok || dep.Until < time.Now().UnixMilli() {
		return tasks.Because(tasks.NotHere, "")
	}
	return nil
}

// HandleDeposit serves one deposit. The error says why it was refused or broken off; the peer has been told, as far as
// that is possible.
func (d *Depot) HandleDeposit(ctx context.Context, s Stream) error {
	order, err := d.order(s)
	var b *begun
	if err == nil {
		b, err = d.begin(ctx, order)
	}
	if err != nil {
		_ = write(s, &wire.DepositReply{Version: wire.Version, Reason: refusal(err)})
		return fmt.Errorf("deposit: %w", err)
	}
	k := key{order.By, order.Root}
	if b == nil { // it is all here
		return write(s, &wire.DepositReply{Version: wire.Version, Until: order.Until})
	}
	err = d.take(ctx, s, b, order)
	if err == nil {
		err = d.keep(ctx, k, b, order)
	}
	d.mu.Lock()
	b.busy, b.until = false, time.Now().Add(begunKept)
	d.mu.Unlock()
	if err != nil {
		_ = write(s, &wire.DepositReply{Version: wire.Version, Reason: refusal(err)})
		return fmt.Errorf("deposit of %s by %s: %w", k.root, k.by.Short(), err)
	}
	return write(s, &wire.DepositReply{Version: wire.Version, Until: order.Until})
}

// order reads what is wanted.
func (d *Depot) order(s Stream) (wire.Deposit, error) {
	var req wire.DepositRequest
	if err := read(s, &req); err != nil {
		return wire.Deposit{}, err
	}
	if req.Network != d.o.Network {
		return wire.Deposit{}, tasks.Because(tasks.WrongNetwork, "%.64q, this is %.64q", req.Network, d.o.Network)
	}
	return wire.OpenDeposit(d.o.Network, time.Now().UnixMilli(), s.Remote(), d.o.Self, req.Order)
}

// begin reserves room, or finds the deposit whole (nil) and keeps it for longer.
func (d *Depot) begin(ctx context.Context, o wire.Deposit) (*begun, error) {
	quota := d.o.Quota()
	if quota <= 0 {
		return nil, tasks.Reason{Code: tasks.NoDepot}
	}
	if d.o.Room != nil {
		if r := d.o.Room(); r != nil {
			return nil, *r
		}
	}
	k := key{o.By, o.Root}
	d.mu.Lock()
	defer d.mu.Unlock()
	if dep, ok := d.kept[k]; ok {
		dep.Until = max(dep.Until, o.Until)
		if err := d.record(ctx, k, dep); err != nil {
			return nil, err
		}
		d.kept[k] = dep
		return nil, nil
	}
	b := d.begun[k]
	if b == nil {
		n := 0
		for other := range d.kept {
			if other.by == o.By {
				n++
			}
		}
		for other := range d.begun {
			if other.by == o.By {
				n++
			}
		}
		switch share := max(quota/depositorShare, 1); {
		case n >= depositorMost:
			return nil, tasks.Because(tasks.DepotFull, "%d deposits of one node, at most %d", n, depositorMost)
		case d.by[o.By]+o.Bytes > share:
			return nil, tasks.Because(tasks.DepotFull, "%d MB of one node, at most %d", (d.by[o.By]+o.Bytes)>>20, share>>20)
		case d.bytes+o.Bytes > quota:
			return nil, tasks.Because(tasks.DepotFull, "%d of %d MB are taken", d.bytes>>20, quota>>20)
		}
		b = &begun{bytes: o.Bytes, sent: map[dag.CID]struct{}{}}
		d.begun[k] = b
		d.reserveLocked(o.By, o.Bytes)
	} else if b.busy {
		return nil, tasks.Because(tasks.Busy, "this deposit is under way already")
	}
	b.busy = true
	return b, nil
}

// take receives the blocks. Only what this depositor sent counts as here: what else this node has is none of its
// business.
func (d *Depot) take(ctx context.Context, s Stream, b *begun, o wire.Deposit) error {
	r := newReceiver(d.o.Blobs, o.Root, b.bytes, func(list []dag.CID) {
		for _, c := range list {
			b.sent[c] = struct{}{}
		}
	})
	reply := wire.DepositReply{Version: wire.Version}
	for c := range b.sent {
		if len(reply.Have) == wire.MaxHave {
			break
		}
		data, err := d.o.Blobs.Get(ctx, c)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		links, err := dag.Links(c, data)
		if err != nil {
			return err
		}
		if err := r.skip(c, links, len(data)); err != nil {
			return err
		}
		reply.Have = append(reply.Have, c)
	}
	if err := write(s, &reply); err != nil {
		return err
	}
	return r.run(ctx, s)
}

// keep makes a whole deposit last.
func (d *Depot) keep(ctx context.Context, k key, b *begun, o wire.Deposit) error {
	dep := deposit{Bytes: b.bytes, Until: o.Until}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.record(ctx, k, dep); err != nil {
		return err
	}
	delete(d.begun, k)
	d.kept[k] = dep
	return nil
}

func (d *Depot) record(ctx context.Context, k key, dep deposit) error {
	value, err := json.Marshal(dep)
	if err != nil {
		return err
	}
	return d.o.KV.Set(ctx, k.record(), value)
}
