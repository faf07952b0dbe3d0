package wire

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kith/storage/dag"
	"kith/tasks"
)

func signText(b []byte) Signature { return Signature(ed25519.Sign(key(1), b)) }

func TestOffer(t *testing.T) {
	want := sampleOffer()
	b := must(SignOffer(testNet, key(2), want))
	got, err := OpenOffer(testNet, testNow, b)
	want.Submitter = id(key(2))
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Fatal(err, d)
	}
	late := want.Expiry + MaxSkew.Milliseconds() + 1
	for name, c := range map[string]struct {
		net  string
		now  int64
		b    []byte
		want error
	}{
		"another network": {"elsewhere", testNow, b, ErrNetwork},
		"expired":         {testNet, late, b, ErrTime},
		"from the future": {testNet, testNow - MaxSkew.Milliseconds() - 1, b, ErrTime},
		"truncated":       {testNet, testNow, b[:len(b)-1], ErrEncoding},
		"oversized":       {testNet, testNow, make([]byte, MaxOffer+1), ErrSize},
		"signature":       {testNet, testNow, append(bytes.Clone(b[:len(b)-1]), b[len(b)-1]^1), nil},
		"a capability":    {testNet, testNow, must(SignCapability(testNet, key(2), sampleCapability())), ErrSignature},
	} {
		if _, err := OpenOffer(c.net, c.now, c.b); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for name, spoil := range map[string]func(*Offer){
		"kinds":   func(o *Offer) { o.Kinds = make([]string, MaxKinds+1) },
		"want":    func(o *Offer) { o.Want = 0 },
		"ring":    func(o *Offer) { o.Ring = MaxRing + 1 },
		"class":   func(o *Offer) { o.Class = "toaster" },
		"region":  func(o *Offer) { o.Region = strings.Repeat("x", MaxName+1) },
		"memory":  func(o *Offer) { o.Memory = -1 },
		"sandbox": func(o *Offer) { o.Sandbox = 4 },
		"addr":    func(o *Offer) { o.Addresses = []string{"a", "b", "c", "d", "e"} },
		"address": func(o *Offer) { o.Addresses = []string{strings.Repeat("x", MaxAddress+1)} },
		"expiry":  func(o *Offer) { o.Expiry = o.Time + MaxOfferLife.Milliseconds() + 1 },
		"size": func(o *Offer) {
			for range 40 {
				o.Kinds = append(o.Kinds, strings.Repeat("x", 40))
			}
		},
	} {
		o := sampleOffer()
		spoil(&o)
		if _, err := SignOffer(testNet, key(2), o); err == nil {
			t.Errorf("offer with bad %s signed", name)
		}
	}
	if n := len(b); n > 512 {
		t.Errorf("an ordinary offer has %d bytes", n)
	}
}

func TestCapability(t *testing.T) {
	want := sampleCapability()
	b := must(SignCapability(testNet, key(1), want))
	want.Node = id(key(1))
	got, err := ValidateCapability(testNet, testNow, CapabilityKey(id(key(1))), b)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Fatal(err, d)
	}
	for name, k := range map[string]string{
		"another node": CapabilityKey(id(key(2))), "another namespace": "/pk/" + string(want.Node[:]), "short": "/kithcap/x", "empty": "",
	} {
		if _, err := ValidateCapability(testNet, testNow, k, b); err == nil {
			t.Errorf("record accepted under the key of %s", name)
		}
	}
	if _, err := OpenCapability(testNet, want.Expiry+MaxSkew.Milliseconds()+1, b); !errors.Is(err, ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	for name, spoil := range map[string]func(*Capability){
		"seq":     func(c *Capability) { c.Seq = maxSeq },
		"life":    func(c *Capability) { c.Expiry = c.Time + MaxRecord.Milliseconds() + 1 },
		"band":    func(c *Capability) { c.Band = MaxBand + 1 },
		"sandbox": func(c *Capability) { c.Sandbox = -1 },
		"class":   func(c *Capability) { c.Class = "" },
		"slots":   func(c *Capability) { c.Slots = MaxSlots + 1 },
		"share":   func(c *Capability) { c.Share = 1001 },
		"stays":   func(c *Capability) { c.Stays = -1 },
		"memory":  func(c *Capability) { c.Memory = MaxAnyBytes + 1 },
		"program": func(c *Capability) { c.Program = "a b" },
		"cell":    func(c *Capability) { c.Cell = strings.Repeat("x", MaxName+1) },
		"size": func(c *Capability) {
			c.Kinds = strings.Split(strings.Repeat("x.y.z.aaaaaaaaaaaaa ", 60)[:60*20-1], " ")
		},
	} {
		c := sampleCapability()
		spoil(&c)
		if _, err := SignCapability(testNet, key(1), c); err == nil {
			t.Errorf("record with bad %s signed", name)
		}
	}
	newer, older := want, want
	newer.Seq++
	if !Newer(&newer, &older) || Newer(&older, &newer) || Newer(&want, &older) {
		t.Error("newer by sequence")
	}
	newer = want
	newer.Expiry++
	if !Newer(&newer, &older) || Newer(&older, &newer) {
		t.Error("newer by expiry")
	}
}

func TestProviderKeysDiffer(t *testing.T) {
	seen := map[[32]byte]string{}
	for _, network := range []string{"a", "b"} {
		for _, class := range []tasks.DeviceClass{tasks.CPU, tasks.WeakGPU} {
			for band := range 3 {
				for _, cell := range []string{"", "DE-1", "DE-11"} {
					for bucket := range Buckets {
						name := fmt.Sprint(network, class, band, cell, bucket)
						k := ProviderKey(network, class, band, cell, bucket)
						if other, ok := seen[k]; ok {
							t.Fatalf("%s and %s have one key", name, other)
						}
						seen[k] = name
					}
				}
			}
		}
	}
	if b := Bucket(id(key(1))); b < 0 || b >= Buckets {
		t.Error(b)
	}
}

func TestNotice(t *testing.T) {
	n := sampleNotice()
	stewards := []tasks.NodeID{id(key(1)), id(key(2)), id(key(3))}
	by := func(keys ...byte) []Endorsement {
		var list []Endorsement
		for _, k := range keys {
			list = append(list, Endorse(testNet, key(k), n))
		}
		return list
	}
	for _, c := range []struct {
		name string
		sigs []Endorsement
		ok   bool
	}{
		{"two", by(1, 2), true},
		{"other two", by(3, 1), true},
		{"three", by(3, 2, 1), true},
		{"one", by(1), false},
		{"one twice", by(1, 1), false},
		{"none", nil, false},
		{"two and a stranger", by(1, 2, 4), false},
	} {
		got, err := OpenNotice(testNet, testNow, stewards, 2, must(JoinNotice(testNet, n, c.sigs)))
		if (err == nil) != c.ok || c.ok && got != n {
			t.Errorf("signed by %s: %v", c.name, err)
		}
	}
	b := must(JoinNotice(testNet, n, by(1, 2)))
	for name, f := range map[string]func() error{
		"another network": func() error { _, err := OpenNotice("elsewhere", testNow, stewards, 2, b); return err },
		"expired": func() error {
			_, err := OpenNotice(testNet, n.Expiry+MaxSkew.Milliseconds()+1, stewards, 2, b)
			return err
		},
		"the future": func() error {
			_, err := OpenNotice(testNet, n.Time-MaxSkew.Milliseconds()-1, stewards, 2, b)
			return err
		},
		"k of 0": func() error { _, err := OpenNotice(testNet, testNow, stewards, 0, b); return err },
		"oversized": func() error {
			_, err := OpenNotice(testNet, testNow, stewards, 2, make([]byte, MaxNotice+1))
			return err
		},
		"many sigs":  func() error { _, err := JoinNotice(testNet, n, make([]Endorsement, MaxSigners+1)); return err },
		"no action":  func() error { n := n; n.Action = ""; return n.Validate(testNow) },
		"no subject": func() error { n := n; n.Action = Revoke; return n.Validate(testNow) },
		"subject":    func() error { n := n; n.Subject[0] = 1; return n.Validate(testNow) },
		"too long":   func() error { n := n; n.Expiry = n.Time + MaxNoticeLife.Milliseconds() + 1; return n.Validate(testNow) },
	} {
		if name == "many sigs" {
			continue // equal ones collapse; the opener's bound is met below
		}
		if f() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	var many []Endorsement
	for i := range byte(MaxSigners + 1) {
		many = append(many, by(10+i)...)
	}
	if _, err := JoinNotice(testNet, n, many); !errors.Is(err, ErrBounds) {
		t.Errorf("too many signatures: %v", err)
	}
}

func TestSeenSet(t *testing.T) {
	s := NewSeenSet(3, 2)
	a, b := tasks.NodeID{1}, tasks.NodeID{2}
	exp := testNow + 1000
	for i, c := range []struct {
		by   tasks.NodeID
		msg  string
		want bool
	}{
		{a, "1", true}, {a, "1", false}, {a, "2", true}, {a, "3", false}, {b, "4", true}, {b, "5", false},
	} {
		if got := s.Admit(c.by, []byte(c.msg), exp, testNow); got != c.want {
			t.Errorf("message %d: %v", i, got)
		}
	}
	if d := s.Drops(); d != (SeenDrops{Repeated: 1, Flood: 1, Full: 1}) || s.Len() != 3 {
		t.Errorf("drops %+v, length %d", d, s.Len())
	}
	// Remembered for as long as a clock that is wrong by MaxSkew would accept it, and not longer.
	end := exp + MaxSkew.Milliseconds()
	if s.Admit(a, []byte("1"), exp, end) {
		t.Error("forgotten early")
	}
	if !s.Admit(a, []byte("6"), exp, end+1) || s.Len() != 1 || len(s.per) != 1 {
		t.Errorf("not forgotten: %d", s.Len())
	}
}

func TestReceipts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "receipts")
		list := sampleReceipts(n)
		root := must(ReceiptRoot(list))
		i := rapid.IntRange(0, n-1).Draw(t, "which")
		p := must(ProveReceipt(list, i))
		if err := VerifyReceipt(&list[i], p, root); err != nil {
			t.Fatal(err)
		}
		bad := p
		bad.Siblings = append([][]byte(nil), p.Siblings...)
		r, top := list[i], root
		switch rapid.IntRange(0, 7).Draw(t, "spoil") {
		case 0:
			r.WallMillis++
		case 1:
			top[3]++
		case 2:
			bad.Count++
		case 3:
			bad.Index = (i + 1) % (n + 1)
		case 4:
			bad.Siblings = append(bad.Siblings, make([]byte, 32))
		case 5:
			if len(bad.Siblings) == 0 {
				return
			}
			bad.Siblings = bad.Siblings[1:]
		case 6:
			if len(bad.Siblings) == 0 {
				return
			}
			bad.Siblings[0] = bytes.Clone(bad.Siblings[0])
			bad.Siblings[0][5]++
		case 7:
			bad.Index = -1
		}
		if VerifyReceipt(&r, bad, top) == nil {
			t.Fatal("a spoiled proof verifies")
		}
	})
	if _, err := ReceiptRoot(make([]tasks.Receipt, MaxReceipts+1)); !errors.Is(err, ErrBounds) {
		t.Error(err)
	}
	if _, err := ProveReceipt(sampleReceipts(2), 2); !errors.Is(err, ErrBounds) {
		t.Error(err)
	}
	full := sampleReceipts(MaxReceipts)
	if err := VerifyReceipt(&full[255], must(ProveReceipt(full, 255)), must(ReceiptRoot(full))); err != nil {
		t.Error(err)
	}
}

func TestBundle(t *testing.T) {
	b := sampleBundle(t)
	if err := b.Verify(); err != nil {
		t.Fatal(err)
	}
	for _, write := range []func(io.Writer) error{b.WriteJSON, b.WriteCBOR} {
		var buf bytes.Buffer
		if err := write(&buf); err != nil {
			t.Fatal(err)
		}
		got, err := ReadBundle(&buf)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b, got); d != "" {
			t.Error(d)
		}
		if err := got.Verify(); err != nil {
			t.Error(err)
		}
	}
	for name, spoil := range map[string]func(*Bundle){
		"version":      func(b *Bundle) { b.Version++ },
		"network":      func(b *Bundle) { b.Network = "elsewhere" },
		"receipt":      func(b *Bundle) { b.Batches[0].Receipts[1].CPUMillis++ },
		"root":         func(b *Bundle) { b.Batches[0].Root[0]++ },
		"submitter":    func(b *Bundle) { b.Batches[0].Submitter[0]++ },
		"signature":    func(b *Bundle) { b.Batches[0].Signed[0]++ },
		"counter":      func(b *Bundle) { b.Batches[0].Countered[0]++ },
		"no receipts":  func(b *Bundle) { b.Batches[0].Receipts = nil },
		"conflict":     func(b *Bundle) { b.Conflicts[0].B = b.Conflicts[0].A },
		"conflict net": func(b *Bundle) { b.Batches = nil; b.Network = "elsewhere" },
	} {
		x := sampleBundle(t)
		spoil(x)
		if x.Verify() == nil {
			t.Errorf("bundle with another %s verifies", name)
		}
	}
	one := sampleBatch()
	one.Countered = Signature{}
	if both, err := one.Verify(testNet); err != nil || both {
		t.Errorf("one-sided batch: %v %v", both, err)
	}
	for _, text := range []string{"", "{", `{"version":1,"surprise":2}`, `{"version":1} {}`, "\xa0", `{"batches":[{"root":"00"}]}`, `{"batches":[{"root":"` + strings.Repeat("zz", 32) + `"}]}`} {
		if _, err := ReadBundle(strings.NewReader(text)); err == nil {
			t.Errorf("read %q", text)
		}
	}
}

func TestFetch(t *testing.T) {
	root := dag.Sum(dag.Raw, dag.SHA256, []byte("out"))
	token := must(SignFetchToken(testNet, key(2), FetchToken{Holder: id(key(1)), Root: root, Expiry: testNow}))
	got, err := OpenFetchToken(testNet, testNow, id(key(1)), root, token)
	if err != nil || got.By != id(key(2)) {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"another holder":  func() error { _, err := OpenFetchToken(testNet, testNow, id(key(3)), root, token); return err },
		"another root":    func() error { _, err := OpenFetchToken(testNet, testNow, id(key(1)), dag.CID{1}, token); return err },
		"expired":         func() error { _, err := OpenFetchToken(testNet, testNow+1, id(key(1)), root, token); return err },
		"another network": func() error { _, err := OpenFetchToken("elsewhere", testNow, id(key(1)), root, token); return err },
		"no root":         func() error { return (&FetchRequest{Version: Version, Network: testNet}).Validate(0) },
		"other version":   func() error { return (&FetchRequest{Version: 2, Network: testNet, Root: root}).Validate(0) },
		"no network":      func() error { return (&FetchRequest{Version: Version, Root: root}).Validate(0) },
		"long token": func() error {
			return (&FetchRequest{Version: Version, Network: testNet, Root: root, Token: make([]byte, maxToken+1)}).Validate(0)
		},
		"long have": func() error {
			return (&FetchRequest{Version: Version, Network: testNet, Root: root, Have: make([]dag.CID, MaxHave+1)}).Validate(0)
		},
		"reply version": func() error { return (&FetchReply{}).Validate(0) },
		"reply reason":  func() error { return (&FetchReply{Version: Version, Reason: &tasks.Reason{}}).Validate(0) },
		"single too large": func() error {
			return WriteSingle(io.Discard, &Register{Version: Version, Network: testNet, Capability: make([]byte, MaxCapability+1), Time: testNow}, testNow)
		},
	} {
		if f() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	var buf bytes.Buffer
	blocks := [][]byte{[]byte("out"), {}, make([]byte, dag.MaxBlock)}
	for _, b := range blocks {
		if err := WriteBlock(&buf, dag.Sum(dag.Raw, dag.SHA256, b), b); err != nil {
			t.Fatal(err)
		}
	}
	cutOff := bytes.Clone(buf.Bytes())
	_ = EndBlocks(&buf)
	for i, want := range append(blocks, nil) {
		_, b, err := ReadBlock(&buf)
		if last := i == len(blocks); last != errors.Is(err, io.EOF) || !bytes.Equal(b, want) {
			t.Errorf("block %d: %d bytes, %v", i, len(b), err)
		}
	}
	r := bytes.NewReader(cutOff)
	for range blocks {
		_, _, _ = ReadBlock(r)
	}
	if _, _, err := ReadBlock(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a fetch cut off between blocks: %v", err)
	}
	if err := WriteBlock(io.Discard, root, make([]byte, dag.MaxBlock+1)); !errors.Is(err, ErrSize) {
		t.Error(err)
	}
	cutOff[frameHead+10]++
	if _, _, err := ReadBlock(bytes.NewReader(cutOff)); !errors.Is(err, ErrEncoding) {
		t.Errorf("a wrong block: %v", err)
	}
}

func TestDeposit(t *testing.T) {
	by, at := id(key(2)), id(key(5))
	order := must(SignDeposit(testNet, key(2), sampleDeposit()))
	if d, err := OpenDeposit(testNet, testNow, by, at, order); err != nil || d.By != by {
		t.Fatal(d, err)
	}
	open := func(network string, now int64, by, at tasks.NodeID) error {
		_, err := OpenDeposit(network, now, by, at, order)
		return err
	}
	change := func(spoil func(*Deposit)) error {
		d := sampleDeposit()
		spoil(&d)
		_, err := SignDeposit(testNet, key(2), d)
		return err
	}
	for name, c := range map[string]struct{ got, want error }{
		"another depositor": {open(testNet, testNow, at, at), ErrSignature},
		"another depot":     {open(testNet, testNow, by, by), ErrBounds},
		"another network":   {open("elsewhere", testNow, by, at), ErrNetwork},
		"an old order":      {open(testNet, testNow+MaxSkew.Milliseconds()+1, by, at), ErrTime},
		"no root":           {change(func(d *Deposit) { d.Root = dag.CID{} }), ErrBounds},
		"nothing":           {change(func(d *Deposit) { d.Bytes = 0 }), ErrBounds},
		"for too long":      {change(func(d *Deposit) { d.Until = d.Time + MaxDeposit.Milliseconds() + 1 }), ErrBounds},
		"version":           {(&DepositRequest{Version: 2, Network: testNet, Order: order}).Validate(0), ErrVersion},
		"no order":          {(&DepositRequest{Version: Version, Network: testNet}).Validate(0), ErrBounds},
		"no network":        {(&DepositRequest{Version: Version, Order: order}).Validate(0), ErrBounds},
		"too many blocks":   {(&DepositReply{Version: Version, Have: make([]dag.CID, MaxHave+1)}).Validate(0), ErrBounds},
		"reply version":     {(&DepositReply{}).Validate(0), ErrVersion},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	if DepotKey(testNet, 1) == DepotKey(testNet, 2) || DepotKey(testNet, 1) == DepotKey("elsewhere", 1) {
		t.Error("keys collide")
	}
}

// What a lease and a reveal say of depots is bounded like everything else.
func TestDepotBounds(t *testing.T) {
	for name, spoil := range map[string]func(*tasks.Depot){
		"addresses":       func(d *tasks.Depot) { d.Addresses = make([]string, MaxAddresses+1) },
		"an empty token":  func(d *tasks.Depot) { d.Tokens = [][]byte{{}} },
		"a long token":    func(d *tasks.Depot) { d.Tokens = [][]byte{make([]byte, maxToken+1)} },
		"too many tokens": func(d *tasks.Depot) { d.Tokens = [][]byte{{1}, {2}} },
	} {
		l := sampleLease(1)
		spoil(l.Depot)
		if err := (&Leases{Leases: []tasks.Lease{l}}).Validate(testNow); !errors.Is(err, ErrBounds) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, p := range map[string]tasks.Parcel{
		"no root":      {Bytes: 1, Token: []byte{1}},
		"no token":     {Root: sampleReceipts(1)[0].Root, Bytes: 1},
		"a long token": {Root: sampleReceipts(1)[0].Root, Token: make([]byte, maxToken+1)},
		"a size":       {Root: sampleReceipts(1)[0].Root, Bytes: -1, Token: []byte{1}},
	} {
		m := &Reveals{Reveals: []tasks.Reveal{{Root: sampleReceipts(1)[0].Root, Parcel: &p}}}
		if err := m.Validate(testNow); !errors.Is(err, ErrBounds) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
