package artifact

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/wire"
)

const network = "test"

func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func idOf(n byte) tasks.NodeID { return tasks.NodeID(keyOf(n).Public().(ed25519.PublicKey)) }

// The people of these tests.
const (
	submitter = 1
	worker    = 2
	keeper    = 3 // the depot
	stranger  = 4
)

type end struct {
	net.Conn
	remote tasks.NodeID
}

func (e end) Remote() tasks.NodeID { return e.remote }

// between returns both ends of a stream.
func between(t *testing.T, a, b byte) (atA, atB Stream) {
	x, y := net.Pipe()
	t.Cleanup(func() { x.Close(); y.Close() })
	return end{x, idOf(b)}, end{y, idOf(a)}
}

func file(t *testing.T, blobs storage.Blobs, n int) dag.CID {
	t.Helper()
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(data)
	f, err := dag.AddFile(t.Context(), blobs, bytes.NewReader(data), dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f.Root
}

func code(t *testing.T, err error) tasks.Code {
	t.Helper()
	if err == nil {
		return ""
	}
	var r tasks.Reason
	if !errors.As(err, &r) {
		t.Errorf("no reason: %v", err)
	}
	return r.Code
}

func token(t *testing.T, by, to byte, root dag.CID, expiry time.Time) []byte {
	t.Helper()
	b, err := wire.SignFetchToken(network, keyOf(by), wire.FetchToken{Holder: idOf(to), Root: root, Lease: tasks.LeaseID{9}, Expiry: expiry.UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fetch lets one node ask a server for a DAG, into a store.
func fetch(t *testing.T, v *Server, by byte, into storage.Blobs, w Want) error {
	t.Helper()
	here, there := between(t, by, submitter)
	done := make(chan error, 1)
	go func() { done <- v.HandleFetch(t.Context(), there); there.(end).Close() }()
	err := Fetch(t.Context(), here, into, w)
	here.(end).Close()
	<-done
	return err
}

func TestFetch(t *testing.T) {
	blobs := memstore.NewBlobs()
	root, other := file(t, blobs, 5<<20+9), file(t, blobs, 100)
	v := &Server{Network: network, Self: idOf(submitter), Blobs: blobs, May: func(p tasks.NodeID, c dag.CID) bool { return p == idOf(worker) && c == other }}
	soon := time.Now().Add(time.Hour)
	gone := dag.Sum(dag.Raw, dag.SHA256, []byte("gone"))
	for _, c := range []struct {
		name  string
		by    byte
		w     Want
		token []byte
		want  tasks.Code
	}{
		{"holder", worker, Want{Root: root}, token(t, submitter, worker, root, soon), ""},
		{"the lease alone", worker, Want{Root: other}, nil, ""},
		{"another holder", stranger, Want{Root: root}, token(t, submitter, worker, root, soon), tasks.NoRight},
		{"another root", worker, Want{Root: other}, token(t, submitter, worker, root, soon), tasks.NoRight},
		{"another lease", worker, Want{Root: root, Lease: tasks.LeaseID{8}}, token(t, submitter, worker, root, soon), tasks.NoRight},
		{"expired", worker, Want{Root: root}, token(t, submitter, worker, root, time.Now().Add(-time.Second)), tasks.TokenExpired},
		{"made by its holder", stranger, Want{Root: root}, token(t, stranger, stranger, root, soon), tasks.NoRight},
		{"forged", worker, Want{Root: root}, forge(token(t, submitter, worker, root, soon)), tasks.NoRight},
		{"garbage", worker, Want{Root: root}, []byte("token"), tasks.BadMessage},
		{"no token and no lease", stranger, Want{Root: other}, nil, tasks.NoRight},
		{"another network", worker, Want{Network: "elsewhere", Root: root}, token(t, submitter, worker, root, soon), tasks.WrongNetwork},
		{"not here", worker, Want{Root: gone}, token(t, submitter, worker, gone, soon), tasks.NotHere},
	} {
		t.Run(c.name, func(t *testing.T) {
			into := memstore.NewBlobs()
			c.w.Token = c.token
			if c.w.Network == "" {
				c.w.Network = network
			}
			if c.w.Lease == (tasks.LeaseID{}) {
				c.w.Lease = tasks.LeaseID{9}
			}
			err := fetch(t, v, c.by, into, c.w)
			if got := code(t, err); got != c.want {
				t.Fatalf("got %q (%v), want %q", got, err, c.want)
			}
			if err == nil {
				if err := complete(t.Context(), into, c.w.Root); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// forge changes the last byte of a signature.
func forge(token []byte) []byte {
	token[len(token)-1]++
	return token
}

// A message of another version is refused with that reason.
func TestVersion(t *testing.T) {
	here, there := between(t, worker, submitter)
	go func() {
		_ = (&Server{Network: network, Self: idOf(submitter), Blobs: memstore.NewBlobs()}).HandleFetch(t.Context(), there)
	}()
	b, err := dag.Marshal(&wire.FetchRequest{Version: wire.Version + 1, Network: network, Root: dag.Sum(dag.Raw, dag.SHA256, nil), Token: []byte{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := here.Write(append([]byte{0, 0, 0, byte(len(b))}, b...)); err != nil {
		t.Fatal(err)
	}
	var reply wire.FetchReply
	if err := read(here, &reply); err != nil || reply.Reason == nil || reply.Reason.Code != tasks.WrongVersion {
		t.Fatalf("%+v, %v", reply.Reason, err)
	}
}

// What came before a fetch broke off does not come again.
func TestFetchGoesOn(t *testing.T) {
	blobs, into := memstore.NewBlobs(), memstore.NewBlobs()
	root := file(t, blobs, 9<<20)
	v := &Server{Network: network, Self: idOf(submitter), Blobs: blobs}
	w := Want{Network: network, Root: root, Lease: tasks.LeaseID{9}, Token: token(t, submitter, worker, root, time.Now().Add(time.Hour))}
	came := 0
	ctx, cancel := context.WithCancel(t.Context())
	w.Arrived = func(list []dag.CID) {
		if came += len(list); came >= 4 {
			cancel()
		}
	}
	here, there := between(t, worker, submitter)
	go func() { _ = v.HandleFetch(t.Context(), there) }()
	if err := Fetch(ctx, here, into, w); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	here.(end).Close()
	total, again := 0, 0
	if err := dag.Reach(t.Context(), blobs, root, func(dag.CID) (bool, error) { total++; return true, nil }); err != nil {
		t.Fatal(err)
	}
	w.Arrived = func(list []dag.CID) { again += len(list) }
	if err := fetch(t, v, worker, into, w); err != nil || again == 0 || again >= total || again > total-came+1 {
		t.Fatalf("%v: %d of %d blocks came first, then %d", err, came, total, again)
	}
	if err := complete(t.Context(), into, root); err != nil {
		t.Fatal(err)
	}
}

// A server that sends too much, something else, or less than all stores nothing that was not asked for.
func TestHostileServer(t *testing.T) {
	blobs := memstore.NewBlobs()
	root := file(t, blobs, 3<<20)
	other := dag.Sum(dag.Raw, dag.SHA256, []byte("other"))
	for name, c := range map[string]struct {
		most  int64
		serve func(s Stream)
		want  func(error) bool
	}{
		"too large":     {1 << 20, func(s Stream) { _ = send(t.Context(), s, blobs, root, nil, true) }, func(err error) bool { return errors.Is(err, storage.ErrFull) }},
		"not asked for": {0, func(s Stream) { _ = wire.WriteBlock(s, other, []byte("other")) }, func(err error) bool { return code(t, err) == tasks.BadMessage }},
		"twice": {0, func(s Stream) {
			data, _ := blobs.Get(t.Context(), root)
			_ = wire.WriteBlock(s, root, data)
			_ = wire.WriteBlock(s, root, data)
		}, func(err error) bool { return code(t, err) == tasks.BadMessage }},
		"nothing": {0, func(s Stream) { _ = wire.EndBlocks(s) }, func(err error) bool { return errors.Is(err, ErrIncomplete) }},
		"silence": {0, func(s Stream) { s.(end).Close() }, func(err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) // the pipe's own word, if it closed first
		}},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := between(t, worker, submitter)
			go func() {
				var req wire.FetchRequest
				_ = read(there, &req)
				_ = write(there, &wire.FetchReply{Version: wire.Version})
				c.serve(there)
				_, _ = io.Copy(io.Discard, there)
			}()
			into := memstore.NewBlobs()
			err := Fetch(t.Context(), here, into, Want{Network: network, Root: root, Most: c.most})
			if err == nil || !c.want(err) {
				t.Errorf("got %v", err)
			}
			if has, _ := into.Has(t.Context(), other); has {
				t.Error("a foreign block was stored")
			}
		})
	}
}

func newDepot(t *testing.T, blobs storage.Blobs, kv storage.KV, quota int64) *Depot {
	t.Helper()
	d, err := NewDepot(t.Context(), DepotOptions{
		Network: network, Self: idOf(keeper), Blobs: blobs, KV: kv, Quota: func() int64 { return quota }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// bring lets a node deposit a DAG of a store.
func bring(t *testing.T, d *Depot, by byte, blobs storage.Blobs, root dag.CID, until time.Time) error {
	t.Helper()
	here, there := between(t, by, keeper)
	done := make(chan error, 1)
	go func() { done <- d.HandleDeposit(t.Context(), there); there.(end).Close() }()
	err := Deposit(t.Context(), here, blobs, Order{Network: network, Key: keyOf(by), Root: root, Until: until})
	here.(end).Close()
	<-done
	return err
}

func TestDepot(t *testing.T) {
	from, at, kv := memstore.NewBlobs(), memstore.NewBlobs(), memstore.NewKV()
	root := file(t, from, 5<<20)
	own := file(t, at, 2<<20) // of the depot's owner
	d := newDepot(t, at, kv, 64<<20)
	hour := time.Now().Add(time.Hour)
	if err := bring(t, d, submitter, from, root, hour); err != nil {
		t.Fatal(err)
	}
	if err := bring(t, d, submitter, from, root, hour); err != nil { // again: nothing travels
		t.Fatal(err)
	}
	if n, bytes := d.Holds(); n != 1 || bytes < 5<<20 || bytes > 6<<20 {
		t.Errorf("%d deposits of %d bytes", n, bytes)
	}
	get := func(d *Depot, by, to byte, root dag.CID) error {
		v := &Server{Network: network, Self: idOf(keeper), Blobs: at, Depot: d}
		return fetch(t, v, to, memstore.NewBlobs(), Want{Network: network, Root: root, Lease: tasks.LeaseID{9}, Token: token(t, by, to, root, hour)})
	}
	if err := get(d, submitter, worker, root); err != nil {
		t.Error(err)
	}
	if got := code(t, get(d, stranger, worker, root)); got != tasks.NotHere {
		t.Errorf("by the token of one who deposited nothing: %q", got)
	}
	// Naming something that the depot's owner has does not open it: the depositor must bring it.
	empty := memstore.NewBlobs()
	copied := copyRoot(t, at, empty, own)
	if err := bring(t, d, stranger, copied, own, hour); err == nil {
		t.Error("a deposit without its blocks was taken")
	}
	if got := code(t, get(d, stranger, stranger, own)); got != tasks.NotHere {
		t.Errorf("the owner's own data: %q", got)
	}
	pinned := 0
	if err := d.Pins(func(c dag.CID) error { pinned++; return nil }); err != nil || pinned != 1 {
		t.Errorf("%d roots pinned, %v", pinned, err)
	}
	// A restart forgets nothing, and time ends it.
	d = newDepot(t, at, kv, 64<<20)
	if err := get(d, submitter, worker, root); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := d.sweep(t.Context(), hour.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, bytes := d.Holds(); n != 0 || bytes != 0 || code(t, get(d, submitter, worker, root)) != tasks.NotHere {
		t.Errorf("%d deposits of %d bytes are left", n, bytes)
	}
	if n, _ := newDepot(t, at, kv, 0).Holds(); n != 0 {
		t.Error("a deposit came back after its time")
	}
}

// copyRoot copies one block: whoever holds it knows what is below, and does not have it.
func copyRoot(t *testing.T, from, to storage.Blobs, root dag.CID) storage.Blobs {
	t.Helper()
	data, err := from.Get(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Put(t.Context(), root, data); err != nil {
		t.Fatal(err)
	}
	links, err := dag.Links(root, data)
	if err != nil || len(links) == 0 {
		t.Fatal(err, len(links))
	}
	return sizes{to, from}
}

// sizes knows how large blocks are that it does not have.
type sizes struct {
	storage.Blobs
	all storage.Blobs
}

func (s sizes) Size(ctx context.Context, c dag.CID) (int, error) { return s.all.Size(ctx, c) }

func TestDepotRefuses(t *testing.T) {
	from := memstore.NewBlobs()
	small, large := file(t, from, 2<<20), file(t, from, 5<<20)
	hour := time.Now().Add(time.Hour)
	off := newDepot(t, memstore.NewBlobs(), memstore.NewKV(), 0)
	if got := code(t, bring(t, off, submitter, from, small, hour)); got != tasks.NoDepot {
		t.Errorf("without consent: %q", got)
	}
	full := newDepot(t, memstore.NewBlobs(), memstore.NewKV(), 16<<20)
	full.o.Room = func() *tasks.Reason { return &tasks.Reason{Code: tasks.DiskFull} }
	if got := code(t, bring(t, full, submitter, from, small, hour)); got != tasks.DiskFull {
		t.Errorf("on a full disk: %q", got)
	}
	d := newDepot(t, memstore.NewBlobs(), memstore.NewKV(), 10<<20) // 2.5 MB for each
	if got := code(t, bring(t, d, submitter, from, large, hour)); got != tasks.DepotFull {
		t.Errorf("more than one's share: %q", got)
	}
	for by := byte(10); ; by++ {
		err := bring(t, d, by, from, small, hour)
		if err == nil && by < 20 {
			continue
		}
		if got := code(t, err); got != tasks.DepotFull || by == 10 {
			t.Errorf("more than the quota, at %d: %q", by, got)
		}
		break
	}
	for name, c := range map[string]struct {
		spoil func(*wire.Deposit, *wire.DepositRequest)
		want  tasks.Code
	}{
		"another network": {func(_ *wire.Deposit, r *wire.DepositRequest) { r.Network = "elsewhere" }, tasks.WrongNetwork},
		"another depot":   {func(d *wire.Deposit, _ *wire.DepositRequest) { d.Depot = idOf(stranger) }, tasks.NoRight},
		"an old order":    {func(d *wire.Deposit, _ *wire.DepositRequest) { d.Time -= time.Hour.Milliseconds() }, tasks.ClockSkew},
	} {
		here, there := between(t, submitter, keeper)
		go func() { _ = d.HandleDeposit(t.Context(), there) }()
		now := time.Now()
		order := wire.Deposit{Depot: idOf(keeper), Root: small, Bytes: 1, Time: now.UnixMilli(), Until: now.Add(time.Minute).UnixMilli()}
		req := wire.DepositRequest{Version: wire.Version, Network: network}
		c.spoil(&order, &req)
		var err error
		if req.Order, err = wire.SignDeposit(network, keyOf(submitter), order); err != nil {
			t.Fatal(err)
		}
		var reply wire.DepositReply
		if err := errors.Join(write(here, &req), read(here, &reply)); err != nil || reply.Reason == nil || reply.Reason.Code != c.want {
			t.Errorf("%s: %+v, %v", name, reply.Reason, err)
		}
	}
}

// A deposit that brings more than was ordered is refused; one that breaks off can go on.
func TestDepositBreaksOff(t *testing.T) {
	from, at := memstore.NewBlobs(), memstore.NewBlobs()
	root := file(t, from, 9<<20)
	d := newDepot(t, at, memstore.NewKV(), 64<<20)
	hour := time.Now().Add(time.Hour)
	begin := func(bytes int64) Stream {
		here, there := between(t, submitter, keeper)
		done := make(chan struct{})
		go func() { defer close(done); _ = d.HandleDeposit(t.Context(), there) }()
		t.Cleanup(func() { here.(end).Close(); <-done })
		order, err := wire.SignDeposit(network, keyOf(submitter), wire.Deposit{Depot: idOf(keeper), Root: root, Bytes: bytes, Time: time.Now().UnixMilli(), Until: hour.UnixMilli()})
		if err != nil {
			t.Fatal(err)
		}
		var reply wire.DepositReply
		if err := errors.Join(write(here, &wire.DepositRequest{Version: wire.Version, Network: network, Order: order}), read(here, &reply)); err != nil || reply.Reason != nil {
			t.Fatal(err, reply.Reason)
		}
		return here
	}
	s := begin(10 << 20)
	sent := 0
	_ = dag.Walk(t.Context(), from, root, func(c dag.CID, data []byte) (bool, error) {
		if sent++; sent > 6 {
			return false, io.EOF
		}
		return true, wire.WriteBlock(s, c, data)
	})
	s.(end).Close()
	for { // the depot notices
		d.mu.Lock()
		busy := d.begun[key{idOf(submitter), root}].busy
		d.mu.Unlock()
		if !busy {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b := d.begun[key{idOf(submitter), root}]
	if len(b.sent) < 4 {
		t.Fatalf("%d blocks are remembered", len(b.sent))
	}
	counted := &counting{Blobs: at}
	d.o.Blobs = counted
	if err := bring(t, d, submitter, from, root, hour); err != nil {
		t.Fatal(err)
	}
	if counted.put > 10-5 {
		t.Errorf("%d blocks came again", counted.put)
	}
}

// counting counts blocks that are put.
type counting struct {
	storage.Blobs
	put int
}

func (c *counting) PutMany(ctx context.Context, list []storage.Block) error {
	c.put += len(list)
	return c.Blobs.PutMany(ctx, list)
}
