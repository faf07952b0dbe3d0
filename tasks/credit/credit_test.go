package credit

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
	"pgregory.net/rapid"
)

const network = "test"

func key(n byte) (ed25519.PrivateKey, tasks.NodeID) {
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32))
	return k, tasks.NodeID(k.Public().(ed25519.PublicKey))
}

func node(n byte) tasks.NodeID { _, id := key(n); return id }

// receipt is worker w's for a result of submitter s; lease names it.
func receipt(s, w byte, lease uint16, millis int64) tasks.Receipt {
	return tasks.Receipt{
		Submitter: node(s), Worker: node(w), Lease: tasks.LeaseID{byte(lease), byte(lease >> 8)}, Outcome: tasks.Accepted, CPUMillis: millis, At: 1000,
		Kinds: []string{"x/run"},
	}
}

// batch signs receipts as their submitter and, if both is true, as their worker.
func batch(t testing.TB, both bool, list ...tasks.Receipt) wire.Batch {
	root, err := wire.ReceiptRoot(list)
	if err != nil {
		t.Fatal(err)
	}
	b := wire.Batch{Submitter: list[0].Submitter, Worker: list[0].Worker, Receipts: list, Root: root}
	for n := range byte(20) {
		k, id := key(n)
		if id == b.Submitter {
			b.Signed = wire.SignBatch(network, k, b.Submitter, b.Worker, root, len(list))
		}
		if id == b.Worker && both {
			b.Countered = wire.SignBatch(network, k, b.Submitter, b.Worker, root, len(list))
		}
	}
	return b
}

func bundle(batches ...wire.Batch) *wire.Bundle {
	return &wire.Bundle{Version: wire.Version, Network: network, Batches: batches}
}

func compute(t *testing.T, bundles ...*wire.Bundle) *Statement {
	t.Helper()
	s, err := Compute(bundles...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNetting(t *testing.T) {
	s := compute(t, bundle(
		batch(t, true, receipt(1, 2, 1, 500), receipt(1, 2, 2, 300)),
		batch(t, false, receipt(2, 1, 3, 200)),
		batch(t, true, receipt(3, 2, 4, 50)),
	))
	if len(s.Transfers) != 2 {
		t.Fatalf("%+v", s.Transfers)
	}
	i := slices.IndexFunc(s.Transfers, func(x Transfer) bool { return x.Submitter == node(1) })
	if got, want := s.Transfers[i], (Transfer{Worker: node(2), Submitter: node(1), Net: 600, Gained: 800, Spent: 200, Claimed: 200, Receipts: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if a, b, c := s.Balance(node(1)), s.Balance(node(2)), s.Balance(node(3)); a != -600 || b != 650 || c != -50 || a+b+c != 0 {
		t.Errorf("balances %d %d %d", a, b, c)
	}
	if s.Worth(node(2), node(1)) != 600 || s.Worth(node(2), node(3)) != 50 || s.Worth(node(1), node(2)) != 0 {
		t.Error("worth to those who owe it")
	}
}

// What is forged, doubled, made for oneself or not earned is worth nothing; what strangers signed to one another is
// worth nothing to anybody else.
func TestWorthless(t *testing.T) {
	good := batch(t, true, receipt(1, 2, 1, 500))
	touch := func(change func(*wire.Batch)) wire.Batch {
		b := good
		b.Receipts = slices.Clone(b.Receipts)
		change(&b)
		return b
	}
	raised := touch(func(b *wire.Batch) {
		b.Receipts[0].CPUMillis = 5000
		b.Root, _ = wire.ReceiptRoot(b.Receipts)
	})
	unearned := receipt(1, 2, 9, 500)
	unearned.Outcome = tasks.Withheld
	for _, c := range []struct {
		name  string
		extra wire.Batch
		void  Void
	}{
		{"not signed", touch(func(b *wire.Batch) { b.Signed = wire.Signature{} }), Forged},
		{"more written in", touch(func(b *wire.Batch) { b.Receipts[0].CPUMillis = 5000 }), Forged},
		{"more written in, root made anew", raised, Forged},
		{"another's name", touch(func(b *wire.Batch) { b.Worker = node(3) }), Forged},
		{"countersigned by another", touch(func(b *wire.Batch) { b.Countered[0]++ }), Forged},
		{"the same lease again", batch(t, true, receipt(1, 2, 1, 500), receipt(1, 2, 1, 400)), Doubled},
		{"for itself", batch(t, true, receipt(2, 2, 5, 500)), Self},
		{"withheld", batch(t, true, unearned), Unearned},
	} {
		s := compute(t, bundle(good, c.extra))
		if s.Void[c.void] == 0 || s.Balance(node(2)) > 500 || s.Worth(node(2), node(1)) > 500 {
			t.Errorf("%s: void %v, balance %d", c.name, s.Void, s.Balance(node(2)))
		}
		if c.void == Forged && len(s.Faults) != 1 {
			t.Errorf("%s: faults %v", c.name, s.Faults)
		}
	}
	minted := compute(t, bundle(good, batch(t, true, receipt(5, 6, 7, 1e9))))
	if w := minted.Worth(node(6), node(1)); w != 0 {
		t.Errorf("credit minted between strangers buys %d", w)
	}
	if w := minted.Worth(node(6), node(1), node(5)); w != 1e9 {
		t.Errorf("through the hub that owes it: %d", w)
	}
}

func TestNetworksDoNotMix(t *testing.T) {
	other := bundle()
	other.Network = "other"
	if _, err := Compute(bundle(), other); !errors.Is(err, ErrNetwork) {
		t.Error(err)
	}
	foreign := bundle(batch(t, true, receipt(1, 2, 1, 500)))
	foreign.Network = "other"
	if s := compute(t, foreign); s.Void[Forged] != 1 || len(s.Transfers) != 0 {
		t.Errorf("receipts of another network: %+v", s)
	}
}

// What was said on one network is worth nothing on another, though the worker signs it anew.
func TestClaimsOfAnotherNetwork(t *testing.T) {
	wk, _ := key(2)
	for word := wire.Asked; word <= wire.Approved; word++ {
		c := claims(t, 1, 2, word, 100)
		c.Sign("other", wk)
		b := bundle()
		b.Network, b.Claims = "other", []wire.Claims{c}
		if s := compute(t, b); s.Void[Forged] != 1 || s.Asked+s.Delivered+len(s.Transfers) != 0 {
			t.Errorf("word %d: %+v", word, s)
		}
	}
}

// Anybody who has the receipts, in whatever order and from whichever side, comes to the same numbers, and they add up to
// nothing.
func TestSameForEverybody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var batches []wire.Batch
		for i := range rapid.IntRange(0, 12).Draw(t, "batches") {
			s, w := byte(rapid.IntRange(1, 5).Draw(t, "submitter")), byte(rapid.IntRange(1, 5).Draw(t, "worker"))
			var list []tasks.Receipt
			for range rapid.IntRange(1, 4).Draw(t, "receipts") {
				list = append(list, receipt(s, w, uint16(rapid.IntRange(0, 30).Draw(t, "lease"))<<4|uint16(i), rapid.Int64Range(0, 1000).Draw(t, "millis")))
			}
			root, err := wire.ReceiptRoot(list)
			if err != nil {
				t.Fatal(err)
			}
			ks, _ := key(s)
			kw, _ := key(w)
			b := wire.Batch{Submitter: node(s), Worker: node(w), Receipts: list, Root: root, Signed: wire.SignBatch(network, ks, node(s), node(w), root, len(list))}
			if rapid.Bool().Draw(t, "both") {
				b.Countered = wire.SignBatch(network, kw, node(s), node(w), root, len(list))
			}
			batches = append(batches, b)
		}
		a, err := Compute(bundle(batches...))
		if err != nil {
			t.Fatal(err)
		}
		mixed := rapid.Permutation(batches).Draw(t, "order")
		cut := rapid.IntRange(0, len(mixed)).Draw(t, "cut")
		b, err := Compute(bundle(mixed[:cut]...), bundle(mixed...))
		if err != nil || a.Digest != b.Digest || !slices.Equal(a.Transfers, b.Transfers) {
			t.Fatalf("%+v\n%+v %v", a.Transfers, b.Transfers, err)
		}
		sum := int64(0)
		for n := range byte(6) {
			sum += a.Balance(node(n))
		}
		if sum != 0 {
			t.Fatalf("balances add up to %d", sum)
		}
	})
}

// claims of worker w on submitter s, with the submitter's signed word.
func claims(t testing.TB, s, w byte, word wire.Word, millis ...int64) wire.Claims {
	t.Helper()
	sk, sid := key(s)
	wk, wid := key(w)
	session := wire.SessionID{s, w, byte(len(millis))}
	worker := wire.NewSession(network, wk, sid, session, wire.Worker)
	submitter := wire.NewSession(network, sk, wid, session, wire.Submitter)
	var c wire.Claims
	var verdicts []tasks.Verdict
	var asked []tasks.LeaseID
	got := &wire.Delivered{Time: 1000}
	root := dag.Sum(dag.Raw, dag.SHA256, []byte("out"))
	for i, ms := range millis {
		x := wire.Claim{Job: tasks.JobID{1}, Task: tasks.TaskID{byte(i)}, Expiry: 1000, Kinds: []string{"x/run"}, Root: root, CPUMillis: ms}
		c.Leases = append(c.Leases, x)
		verdicts = append(verdicts, tasks.Verdict{Lease: x.Lease(wid), Outcome: tasks.Accepted, Root: root})
		asked = append(asked, x.Lease(wid))
		got.Results = append(got.Results, wire.Delivery{Lease: x.Lease(wid), Root: root})
	}
	said := map[wire.Word]wire.Message{wire.Asked: &wire.RevealRequest{Leases: asked}, wire.Got: got, wire.Approved: &wire.Verdicts{Verdicts: verdicts}}
	for _, m := range []wire.Message{&wire.Welcome{Session: session, Time: 1000}, said[word]} {
		f, err := submitter.Seal(m, 1000)
		if err != nil {
			t.Fatal(err)
		}
		frame, err := wire.ReadFrame(bytes.NewReader(f), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := worker.Open(frame, 1000); err != nil {
			t.Fatal(err)
		}
		if c.Heard, err = worker.Spoken(frame); err != nil {
			t.Fatal(err)
		}
	}
	c.Sign(network, wk)
	return c
}

func TestClaims(t *testing.T) {
	good := claims(t, 1, 2, wire.Approved, 100, 200)
	paid := good.Leases[1]
	receipt := tasks.Receipt{
		Submitter: node(1), Worker: node(2), Lease: paid.Lease(node(2)), Outcome: tasks.Accepted, CPUMillis: 150, At: 1000, Kinds: []string{"x/run"},
	}
	forged := claims(t, 1, 2, wire.Approved, 100)
	forged.Leases[0].CPUMillis++ // and not signed anew
	truncated := claims(t, 1, 2, wire.Approved, 100)
	truncated.Heard.Body = truncated.Heard.Body[:len(truncated.Heard.Body)-1]
	inflated := claims(t, 1, 2, wire.Approved, 100, 200)
	inflated.Leases[0].CPUMillis = 1 << 30
	wk, _ := key(2)
	inflated.Sign(network, wk) // its time is its own word
	got := claims(t, 1, 2, wire.Got, 100, 200)
	minted := claims(t, 1, 2, wire.Got, 100) // the worker acknowledges it to itself
	minted.Heard.Head.From = wire.Worker
	minted.Sign(network, wk)
	lent := claims(t, 1, 2, wire.Got, 100, 200) // one lease's acknowledgement shown for another
	lent.Leases[0].Attempt++
	lent.Sign(network, wk)
	better := claims(t, 1, 2, wire.Got, 100)
	better.Leases[0].Root = dag.Sum(dag.Raw, dag.SHA256, []byte("better"))
	better.Sign(network, wk)
	twice := got
	twice.Leases = []wire.Claim{got.Leases[0], got.Leases[0]}
	twice.Sign(network, wk)
	stolen := claims(t, 1, 3, wire.Got, 100) // another worker's
	stolen.Heard.Head.Worker = node(2)
	stolen.Sign(network, wk)
	for _, c := range []struct {
		name      string
		batches   []wire.Batch
		claims    []wire.Claims
		unsigned  int64
		counted   int
		asked     int
		net       int64
		void      map[Void]int
		delivered int
	}{
		{"accepted, not signed for", nil, []wire.Claims{good}, 300, 2, 0, 0, nil, 0},
		{"the same from two files", nil, []wire.Claims{good, good}, 300, 2, 0, 0, nil, 0},
		{"one of them signed for since", []wire.Batch{batch(t, true, receipt)}, []wire.Claims{good}, 100, 1, 0, 150, nil, 0},
		{"only asked for", nil, []wire.Claims{claims(t, 1, 2, wire.Asked, 100)}, 0, 0, 1, 0, nil, 0},
		{"asked for, then accepted", nil, []wire.Claims{claims(t, 1, 2, wire.Asked, 100, 200), good}, 300, 2, 0, 0, map[Void]int{Doubled: 2}, 0},
		{"claimed again for more", nil, []wire.Claims{inflated, good}, 300, 2, 0, 0, map[Void]int{}, 0},
		{"forged", nil, []wire.Claims{forged}, 0, 0, 0, 0, map[Void]int{Forged: 1}, 0},
		{"truncated", nil, []wire.Claims{truncated}, 0, 0, 0, 0, map[Void]int{Forged: 1}, 0},
		{"self-minted", nil, []wire.Claims{claims(t, 2, 2, wire.Approved, 100)}, 0, 0, 0, 0, map[Void]int{Self: 1}, 0},
		{"acknowledged", nil, []wire.Claims{got}, 0, 0, 2, 0, nil, 2},
		{"acknowledged, from two files", nil, []wire.Claims{got, got}, 0, 0, 2, 0, nil, 2},
		{"asked for, then acknowledged", nil, []wire.Claims{claims(t, 1, 2, wire.Asked, 100, 200), got}, 0, 0, 2, 0, map[Void]int{Doubled: 2}, 2},
		{"acknowledged, then accepted", nil, []wire.Claims{got, good}, 300, 2, 0, 0, map[Void]int{Doubled: 2}, 0},
		{"acknowledged, one of them signed for since", []wire.Batch{batch(t, true, receipt)}, []wire.Claims{got}, 0, 0, 1, 150, nil, 1},
		{"acknowledged by the worker itself", nil, []wire.Claims{minted}, 0, 0, 0, 0, map[Void]int{Forged: 1}, 0},
		{"acknowledged under another lease", nil, []wire.Claims{lent}, 0, 0, 0, 0, map[Void]int{Forged: 2}, 0},
		{"another result acknowledged", nil, []wire.Claims{better}, 0, 0, 0, 0, map[Void]int{Forged: 1}, 0},
		{"one acknowledgement doubled", nil, []wire.Claims{twice}, 0, 0, 0, 0, map[Void]int{Forged: 2}, 0},
		{"another worker's acknowledgement", nil, []wire.Claims{stolen}, 0, 0, 0, 0, map[Void]int{Forged: 1}, 0},
		{"acknowledged for oneself", nil, []wire.Claims{claims(t, 2, 2, wire.Got, 100)}, 0, 0, 0, 0, map[Void]int{Self: 1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bundle(c.batches...)
			b.Claims = c.claims
			s := compute(t, b)
			var got Transfer
			if len(s.Transfers) == 1 {
				got = s.Transfers[0]
			}
			if got.Unsigned != c.unsigned || got.Claims != c.counted || s.Asked != c.asked || s.Delivered != c.delivered || got.Net != c.net {
				t.Errorf("%+v, asked %d, delivered %d", got, s.Asked, s.Delivered)
			}
			for why, n := range c.void {
				if s.Void[why] != n {
					t.Errorf("%s: %d, want %d", why, s.Void[why], n)
				}
			}
			if w := s.Worth(node(2), node(1)); w != c.net {
				t.Errorf("claims are worth something: %d, want %d", w, c.net)
			}
			slices.Reverse(b.Claims)
			if again := compute(t, b); again.Digest != s.Digest {
				t.Error("the order of claims matters")
			}
		})
	}
}
