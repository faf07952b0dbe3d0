package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

// fuzzBody decodes a body as Open does: whatever is accepted must be written back byte for byte, and checking it must
// not panic.
func fuzzBody(f *testing.F, typ Type) {
	for _, s := range sampleMessages() {
		if s.m.Type() == typ {
			f.Add(must(dag.Marshal(s.m)))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sp := specs[typ]
		if len(b) > sp.size {
			return
		}
		m := sp.make()
		if dag.Unmarshal(b, m) != nil {
			return
		}
		again, err := dag.Marshal(m)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("written back as %x: %v", again, err)
		}
		var e *Error
		if err := m.Validate(testNow); err != nil && (!errors.As(err, &e) || e.Reason().Code == "" || len(e.Reason().Detail) > MaxDetail) {
			t.Fatalf("refused without a reason: %v", err)
		}
	})
}

func FuzzHello(f *testing.F)         { fuzzBody(f, TypeHello) }
func FuzzAsk(f *testing.F)           { fuzzBody(f, TypeAsk) }
func FuzzHeartbeat(f *testing.F)     { fuzzBody(f, TypeHeartbeat) }
func FuzzCommits(f *testing.F)       { fuzzBody(f, TypeCommits) }
func FuzzReveals(f *testing.F)       { fuzzBody(f, TypeReveals) }
func FuzzReturned(f *testing.F)      { fuzzBody(f, TypeReturned) }
func FuzzReceiptAck(f *testing.F)    { fuzzBody(f, TypeReceiptAck) }
func FuzzBye(f *testing.F)           { fuzzBody(f, TypeBye) }
func FuzzWelcome(f *testing.F)       { fuzzBody(f, TypeWelcome) }
func FuzzLeases(f *testing.F)        { fuzzBody(f, TypeLeases) }
func FuzzRevealRequest(f *testing.F) { fuzzBody(f, TypeReveal) }
func FuzzDelivered(f *testing.F)     { fuzzBody(f, TypeDelivered) }
func FuzzVerdicts(f *testing.F)      { fuzzBody(f, TypeVerdicts) }
func FuzzCancel(f *testing.F)        { fuzzBody(f, TypeCancel) }
func FuzzReceipts(f *testing.F)      { fuzzBody(f, TypeReceipts) }
func FuzzNoWork(f *testing.F)        { fuzzBody(f, TypeNoWork) }

// fuzzRecord feeds bytes to an opener that must refuse or accept, and never panic; and, because a fuzzer cannot sign,
// the same bytes as the body of a record signed by us.
func fuzzRecord(f *testing.F, domain string, seed []byte, v any, open func(b []byte) error) {
	f.Add(seed)
	f.Add(must(dag.Marshal(v)))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = open(b)
		r := record{Version: Version, Network: testNet, By: id(key(1)), Body: b}
		r.Sig = signText(recordText(domain, testNet, r.By, b))
		_ = open(must(dag.Marshal(&r)))
	})
}

func FuzzOffer(f *testing.F) {
	o := sampleOffer()
	fuzzRecord(f, offerDomain, must(SignOffer(testNet, key(1), o)), &o, func(b []byte) error {
		o, err := OpenOffer(testNet, testNow, b)
		if err == nil {
			if again, err := SignOffer(testNet, key(1), o); o.Submitter == id(key(1)) && o.Time == testNow && (err != nil || !bytes.Equal(again, b)) {
				f.Fatalf("signed again as %x: %v", again, err)
			}
		}
		return err
	})
}

func FuzzCapability(f *testing.F) {
	c := sampleCapability()
	fuzzRecord(f, capabilityDomain, must(SignCapability(testNet, key(1), c)), &c, func(b []byte) error {
		_, err := ValidateCapability(testNet, testNow, CapabilityKey(id(key(1))), b)
		return err
	})
}

func FuzzFetchToken(f *testing.F) {
	root := sampleReceipts(1)[0].Root
	token := FetchToken{Holder: id(key(2)), Root: root, Expiry: testNow}
	fuzzRecord(f, tokenDomain, must(SignFetchToken(testNet, key(1), token)), &token, func(b []byte) error {
		_, err := OpenFetchToken(testNet, testNow, id(key(2)), root, b)
		return err
	})
}

func FuzzNotice(f *testing.F) {
	n := sampleNotice()
	f.Add(must(JoinNotice(testNet, n, []Endorsement{Endorse(testNet, key(1), n)})))
	f.Add(must(dag.Marshal(&n)))
	f.Fuzz(func(t *testing.T, b []byte) {
		stewards := []tasks.NodeID{id(key(1))}
		_, _ = OpenNotice(testNet, testNow, stewards, 1, b)
		sig := Endorsement{By: stewards[0], Sig: signText(recordText(noticeDomain, testNet, tasks.NodeID{}, b))}
		signed := must(dag.Marshal(&signedNotice{Version: Version, Network: testNet, Body: b, Sigs: []Endorsement{sig}}))
		_, _ = OpenNotice(testNet, testNow, stewards, 1, signed)
	})
}

// fuzzSingle reads a message that travels alone.
func fuzzSingle[T any, P interface {
	*T
	Single
}](f *testing.F, seed P) {
	var b bytes.Buffer
	if err := WriteSingle(&b, seed, testNow); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		m := P(new(T))
		r := bytes.NewReader(b)
		if ReadSingle(r, m, testNow) != nil {
			return
		}
		var again bytes.Buffer
		if err := WriteSingle(&again, m, testNow); err != nil || !bytes.Equal(again.Bytes(), b[:len(b)-r.Len()]) {
			t.Fatalf("written back as %x: %v", again.Bytes(), err)
		}
	})
}

func FuzzFetchRequest(f *testing.F) {
	fuzzSingle(f, &FetchRequest{Version: Version, Network: testNet, Root: sampleReceipts(1)[0].Root})
}

func FuzzFetchReply(f *testing.F) {
	fuzzSingle(f, &FetchReply{Version: Version, Reason: &tasks.Reason{Code: tasks.NotMine}})
}

func FuzzRegister(f *testing.F) {
	fuzzSingle(f, &Register{Version: Version, Network: testNet, Protocols: []string{ProtocolSession}, Capability: []byte{1}, Time: testNow})
}

func FuzzDepositRequest(f *testing.F) {
	fuzzSingle(f, &DepositRequest{Version: Version, Network: testNet, Order: must(SignDeposit(testNet, key(2), sampleDeposit()))})
}

func FuzzDepositReply(f *testing.F) {
	fuzzSingle(f, &DepositReply{Version: Version, Have: []dag.CID{sampleReceipts(1)[0].Root}, Until: testNow})
}

func FuzzDeposit(f *testing.F) {
	d := sampleDeposit()
	fuzzRecord(f, depositDomain, must(SignDeposit(testNet, key(2), d)), &d, func(b []byte) error {
		_, err := OpenDeposit(testNet, testNow, id(key(2)), id(key(5)), b)
		return err
	})
}

func FuzzRegisterReply(f *testing.F) {
	fuzzSingle(f, &RegisterReply{Version: Version, Membership: []byte{1}, Time: testNow})
}

func FuzzSearch(f *testing.F) { fuzzSingle(f, sampleSearch()) }

func FuzzSearchReply(f *testing.F) {
	fuzzSingle(f, &SearchReply{Version: Version, Nodes: [][]byte{must(SignCapability(testNet, key(1), sampleCapability()))}, Ways: [][]byte{{1}}})
}

func FuzzInvite(f *testing.F) {
	fuzzSingle(f, &Invite{Version: Version, Network: testNet, Offer: must(SignOffer(testNet, key(2), sampleOffer()))})
}

func FuzzInviteReply(f *testing.F) {
	fuzzSingle(f, &InviteReply{Version: Version, Reason: &tasks.Reason{Code: tasks.Busy}})
}

// FuzzBlocks reads the blocks of a fetch.
func FuzzBlocks(f *testing.F) {
	var b bytes.Buffer
	_ = WriteBlock(&b, dag.Sum(dag.Raw, dag.SHA256, []byte("x")), []byte("x"))
	_ = EndBlocks(&b)
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			c, data, err := ReadBlock(r)
			if err != nil {
				return
			}
			if dag.Verify(c, data) != nil {
				t.Fatal("a block that does not match its CID")
			}
		}
	})
}

// FuzzOpen feeds envelopes to both ends of a session.
func FuzzOpen(f *testing.F) {
	w, s := pair()
	for _, m := range sampleMessages() {
		from := w
		if m.from == Submitter {
			from = s
		}
		f.Add(must(from.Seal(m.m, testNow))[frameHead:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w, s := pair()
		for _, end := range []*Session{w, s} {
			before := end.State()
			if _, err := end.Open(b, testNow); err != nil && end.State() != before {
				t.Fatal("a refused message moved the session")
			}
		}
		_, _ = PeekSession(b)
		if e, err := parseEnvelope(b); err == nil && !bytes.Equal(e.frame()[frameHead:], b) {
			t.Fatalf("envelope written back as %x", e.frame()[frameHead:])
		}
	})
}

func FuzzEvidence(f *testing.F) {
	e := sampleEvidence(f)
	f.Add(must(dag.Marshal(&e)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Evidence
		if dag.Unmarshal(b, &e) == nil {
			_ = e.Verify()
		}
	})
}

func FuzzBundle(f *testing.F) {
	b := sampleBundle(f)
	var text, data bytes.Buffer
	if err := errors.Join(b.WriteJSON(&text), b.WriteCBOR(&data)); err != nil {
		f.Fatal(err)
	}
	f.Add(text.Bytes())
	f.Add(data.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadBundle(bytes.NewReader(b))
		if err != nil {
			return
		}
		_ = got.Verify()
		var text, data bytes.Buffer
		if err := errors.Join(got.WriteJSON(&text), got.WriteCBOR(&data)); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzReceiptProof(f *testing.F) {
	r := sampleReceipts(5)
	root := must(ReceiptRoot(r))
	proof := must(ProveReceipt(r, 4))
	f.Add(must(dag.Marshal(&proof)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Proof
		if dag.Unmarshal(b, &p) != nil || VerifyReceipt(&r[4], p, root) != nil {
			return
		}
		if want := must(dag.Marshal(&proof)); !bytes.Equal(b, want) {
			t.Fatalf("a second proof: %s", hex.EncodeToString(b))
		}
	})
}
