package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/node/basicnode"

	"kith/storage/dag"
	"kith/tasks"
)

var update = flag.Bool("update", false, "write testdata/golden.json anew")

// golden is one vector: what a message must look like, byte for byte, in every version of Kith that speaks Version.
type golden struct {
	Name string `json:"name"`
	What string `json:"what"`
	Hex  string `json:"hex"`
}

// vectors makes every message: bodies, whole envelopes of a session, and everything that is signed on its own.
func vectors(t testing.TB) []golden {
	var list []golden
	add := func(name, what string, b []byte) { list = append(list, golden{name, what, hex.EncodeToString(b)}) }
	value := func(name, what string, v any) { add(name, what, must(dag.Marshal(v))) }
	ends := map[Role]*Session{}
	ends[Worker], ends[Submitter] = pair()
	for _, s := range sampleMessages() {
		value("body/"+string(s.m.Type()), s.what, s.m)
		add("envelope/"+string(s.m.Type()), s.what+", as sent in a session", must(ends[s.from].Seal(s.m, testNow))[frameHead:])
	}
	add("offer", "a signed offer", must(SignOffer(testNet, key(2), sampleOffer())))
	add("capability", "a signed capability record", must(SignCapability(testNet, key(1), sampleCapability())))
	root := dag.Sum(dag.Raw, dag.BLAKE3, []byte("out"))
	add("token", "the right to fetch one DAG", must(SignFetchToken(testNet, key(2), FetchToken{Holder: id(key(1)), Root: root, Lease: tasks.LeaseID{1}, Expiry: testNow})))
	value("fetch", "a request for a DAG", &FetchRequest{Version: Version, Network: testNet, Root: root, Lease: tasks.LeaseID{1}, Token: []byte{}, Have: []dag.CID{root}})
	value("fetch/reply", "a refused request", &FetchReply{Version: Version, Reason: &tasks.Reason{Code: tasks.NotMine}})
	value("register", "a node introduces itself", &Register{Version: Version, Network: testNet, Protocols: []string{ProtocolSession, ProtocolFetch}, Capability: []byte{1}, Time: testNow})
	value("register/reply", "and is accepted", &RegisterReply{Version: Version, Protocols: []string{ProtocolDeposit}, Capability: []byte{1}, Membership: []byte{1}, Time: testNow})
	order := must(SignDeposit(testNet, key(2), sampleDeposit()))
	add("deposit/order", "a depositor's signed order", order)
	value("deposit", "a request to hold a DAG", &DepositRequest{Version: Version, Network: testNet, Order: order})
	value("deposit/reply", "a deposit taken", &DepositReply{Version: Version, Have: []dag.CID{root}, Until: testNow})
	value("search", "a question for nodes that could do some work", sampleSearch())
	value("search/reply", "and an answer", &SearchReply{Version: Version, Nodes: [][]byte{{1}}, Ways: [][]byte{{2}}})
	value("invite", "an offer for one node", &Invite{Version: Version, Network: testNet, Offer: []byte{1}})
	value("invite/reply", "which cannot come", &InviteReply{Version: Version, Reason: &tasks.Reason{Code: tasks.Busy}})
	n := sampleNotice()
	add("notice", "a stop signed by two stewards", must(JoinNotice(testNet, n, []Endorsement{Endorse(testNet, key(1), n), Endorse(testNet, key(2), n)})))
	value("evidence", "two stories by one signer", sampleEvidence(t))
	value("bundle", "exported evidence", sampleBundle(t))
	value("body/leases/travel", "a lease that goes on from a checkpoint", travelling())
	value("body/returned/point", "a lease handed back with a checkpoint", pointed())
	proof := must(ProveReceipt(sampleReceipts(3), 2))
	value("proof", "receipt 2 of 3", &proof)
	return list
}

const goldenFile = "testdata/golden.json"

func TestGolden(t *testing.T) {
	got := vectors(t)
	if *update {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetIndent("", " ")
		if err := enc.Encode(got); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	var want []golden
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("messages changed; that needs a new Version, or -update before the first release:\n%s", d)
	}
}

// TestIndependentDecoder reads every vector with a DAG-CBOR decoder that shares no code with ours, in its strict mode,
// and expects its encoder to write the same bytes.
func TestIndependentDecoder(t *testing.T) {
	for _, g := range vectors(t) {
		b := must(hex.DecodeString(g.Hex))
		n := basicnode.Prototype.Any.NewBuilder()
		if err := (dagcbor.DecodeOptions{AllowLinks: true}).Decode(n, bytes.NewReader(b)); err != nil {
			t.Errorf("%s: %v", g.Name, err)
			continue
		}
		var again bytes.Buffer
		if err := dagcbor.Encode(n.Build(), &again); err != nil {
			t.Errorf("%s: %v", g.Name, err)
		} else if !bytes.Equal(again.Bytes(), b) {
			t.Errorf("%s: written as %x, want %x", g.Name, again.Bytes(), b)
		}
	}
}

// TestGoldenSession plays the recorded envelopes to both ends.
func TestGoldenSession(t *testing.T) {
	ends := map[Role]*Session{}
	ends[Worker], ends[Submitter] = pair()
	all := map[string]golden{}
	for _, g := range vectors(t) {
		all[g.Name] = g
	}
	for _, s := range sampleMessages() {
		m, err := ends[s.from.Other()].Open(must(hex.DecodeString(all["envelope/"+string(s.m.Type())].Hex)), testNow)
		if err != nil {
			t.Fatalf("%s: %v", s.m.Type(), err)
		}
		if d := cmp.Diff(s.m, m); d != "" {
			t.Errorf("%s changed on the way:\n%s", s.m.Type(), d)
		}
	}
}
