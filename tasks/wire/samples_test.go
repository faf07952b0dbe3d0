package wire

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

const (
	testNet = "kith-test"
	testNow = int64(1_790_000_000_000)
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func id(k ed25519.PrivateKey) tasks.NodeID { return tasks.NodeID(k.Public().(ed25519.PublicKey)) }

// pair is both ends of a session, with nothing random, so that golden vectors stay.
func pair() (worker, submitter *Session) {
	w, s := key(1), key(2)
	sid := SessionID(bytes.Repeat([]byte{3}, 32))
	worker = NewSession(testNet, w, id(s), sid, Worker)
	submitter = newSession(testNet, s, id(w), sid, Submitter, Hash(bytes.Repeat([]byte{4}, 32)))
	return worker, submitter
}

// started returns both ends after hello and welcome.
func started(t testing.TB) (worker, submitter *Session) {
	t.Helper()
	worker, submitter = pair()
	pass(t, worker, submitter, &Hello{Network: testNet, Time: testNow})
	pass(t, submitter, worker, &Welcome{Session: worker.ID(), Time: testNow})
	return worker, submitter
}

// pass sends m from one end to the other and returns what arrived.
func pass(t testing.TB, from, to *Session, m Message) Message {
	t.Helper()
	f, err := from.Seal(m, testNow)
	if err != nil {
		t.Fatalf("seal %s: %v", m.Type(), err)
	}
	got, err := to.Open(f[frameHead:], testNow)
	if err != nil {
		t.Fatalf("open %s: %v", m.Type(), err)
	}
	return got
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func sampleLease(n int) tasks.Lease {
	worker, job := id(key(1)), tasks.JobID{9}
	in := dag.Sum(dag.DagCBOR, dag.SHA256, []byte{byte(n)})
	l := tasks.Lease{
		Attempt: 1, Worker: worker, Epoch: 7, Granted: testNow, Expiry: testNow + 60_000, Salt: [32]byte{5, byte(n)},
		Do: tasks.Assignment{
			Job: job, Task: tasks.NewTaskID(job, 0, n, []dag.CID{in}), Mode: tasks.Map, Index: n, Parts: 100, Ranges: 25,
			Steps: []tasks.Step{
				{Op: 0, Kind: "etl.chunk", Phase: "chunk", Params: []byte(`{"overlap":64,"window":1024}`)},
				{Op: 1, Kind: "etl.dedup", Phase: "sign", Params: []byte(`{"hamming":3}`)},
			},
			Inputs: []dag.CID{in}, Keys: [][]byte{{}}, Public: dag.Sum(dag.DagCBOR, dag.SHA256, []byte("public")), Seed: [32]byte{1},
			Limits: tasks.Limits{WallMillis: 60_000, CPUMillis: 60_000, MemoryBytes: 1 << 30, ScratchBytes: 1 << 30, OutputBytes: 1 << 28, LogBytes: 1 << 14, Processes: 8},
		},
	}
	if n == 1 {
		l.Depot = &tasks.Depot{Node: id(key(5)), Addresses: []string{"/ip4/192.0.2.7/tcp/4001"}, Tokens: [][]byte{{1, 2}}}
	}
	l.ID = tasks.NewLeaseID(job, l.Do.Task, l.Attempt, l.Worker, l.Epoch, l.Expiry)
	return l
}

func sampleLeases(n int) *Leases {
	m := new(Leases)
	for i := range n {
		m.Leases = append(m.Leases, sampleLease(i))
	}
	return m
}

func samplePoint() *tasks.Point {
	return &tasks.Point{Root: dag.Sum(dag.DagCBOR, dag.SHA256, []byte("point")), Bytes: 5, Done: 62, Total: 100, CPUMillis: 4000}
}

// travelling is a lease that goes on from a checkpoint, pointed one handed back with another.
func travelling() *Leases {
	m := sampleLeases(1)
	m.Leases[0].Travel = &tasks.Travel{Most: MaxPoint, From: samplePoint()}
	return m
}

func pointed() *Returned {
	p := samplePoint()
	p.Blocks = [][]byte{[]byte("point")}
	return &Returned{Lease: sampleLease(0).ID, Reason: tasks.Because(tasks.Paused, "by its owner"), Log: []string{}, Point: p}
}

func sampleCommits(n int) *Commits {
	m := new(Commits)
	for i := range n {
		m.Commits = append(m.Commits, tasks.Commit{Lease: sampleLease(i).ID, Hash: [32]byte{byte(i)}})
	}
	return m
}

func sampleReceipts(n int) []tasks.Receipt {
	var list []tasks.Receipt
	for i := range n {
		l := sampleLease(i)
		list = append(list, tasks.Receipt{
			Job: l.Do.Job, Task: l.Do.Task, Lease: l.ID, Submitter: id(key(2)), Worker: id(key(1)),
			Kinds: []string{"etl.chunk/chunk", "etl.dedup/sign"}, Code: [32]byte{7}, Root: dag.Sum(dag.DagCBOR, dag.SHA256, []byte{byte(i)}),
			Outcome: tasks.Accepted, WallMillis: 812, CPUMillis: 790, At: testNow,
		})
	}
	return list
}

func sampleOffer() Offer {
	return Offer{
		Job: tasks.JobID{9}, Kinds: []string{"etl.chunk", "etl.dedup"}, Want: 6, Ring: 1, Class: tasks.CPU, Region: "DE",
		Memory: 1 << 30, Sandbox: tasks.GradeB, Addresses: []string{"/ip4/192.0.2.7/udp/4001/quic-v1"}, Time: testNow,
		Expiry: testNow + 30_000, Nonce: [8]byte{1, 2, 3},
	}
}

func sampleCapability() Capability {
	return Capability{
		Seq: 12, Time: testNow, Expiry: testNow + 3_600_000, Addresses: []string{"/ip4/192.0.2.7/udp/4001/quic-v1", "/ip4/192.0.2.7/tcp/4001"},
		Class: tasks.CPU, Band: 4, Sandbox: tasks.GradeB, Region: "DE", Cell: "DE-48-11", Kinds: []string{"etl.chunk", "etl.dedup", "test.noop"},
		Equals: []string{"embed.text:0123456789abcdef0123456789abcdef"}, Slots: 8, Memory: 8 << 30, Program: "0.1.0", Depot: true, Share: 540, Stays: 3 * 3_600_000,
	}
}

func sampleDeposit() Deposit {
	return Deposit{Depot: id(key(5)), Root: dag.Sum(dag.DagCBOR, dag.SHA256, []byte("sealed")), Bytes: 5 << 20, Time: testNow, Until: testNow + 3_600_000}
}

func sampleSearch() *Search {
	return &Search{
		Version: Version, Network: testNet, Class: tasks.CPU, Band: 2, Sandbox: tasks.GradeB, Memory: 1 << 30, Kinds: []string{"etl.dedup"},
		Regions: []string{"DE", "FR"}, Excluded: []string{}, Salt: 7, Known: Filter(7, []tasks.NodeID{id(key(1)), id(key(2))}),
	}
}

func sampleNotice() Notice {
	return Notice{Action: Stop, Job: tasks.JobID{9}, Reason: tasks.Because(tasks.Killed, "runaway job"), Time: testNow, Expiry: testNow + 60_000, Nonce: [16]byte{1}}
}

// sampleEvidence is two stories of a submitter about its message 1.
func sampleEvidence(t testing.TB) Evidence {
	w, s := started(t)
	st := s.State()
	pass(t, s, w, &NoWork{Reason: tasks.Because(tasks.NoTasksLeft, "first story")})
	s.sent = st.Sent
	f := must(s.Seal(&NoWork{Reason: tasks.Because(tasks.NoTasksLeft, "second story")}, testNow))
	_, err := w.Open(f[frameHead:], testNow)
	conflict, ok := err.(*ConflictError)
	if !ok {
		t.Fatalf("two stories: %v", err)
	}
	return conflict.Evidence
}

func sampleBatch() Batch {
	receipts := sampleReceipts(3)
	root := must(ReceiptRoot(receipts))
	s, w := id(key(2)), id(key(1))
	return Batch{
		Submitter: s, Worker: w, Receipts: receipts, Root: root,
		Signed: SignBatch(testNet, key(2), s, w, root, 3), Countered: SignBatch(testNet, key(1), s, w, root, 3),
	}
}

// sampleClaims is two claims of one worker, by some word of the submitter on their results.
func sampleClaims(t testing.TB, word Word) Claims {
	t.Helper()
	w, s := pair()
	root := dag.Sum(dag.DagCBOR, dag.SHA256, []byte("out"))
	c := Claims{}
	var verdicts []tasks.Verdict
	var asked []tasks.LeaseID
	got := &Delivered{Time: testNow}
	for i := range 2 {
		x := Claim{
			Job: tasks.JobID{1}, Task: tasks.TaskID{byte(i)}, Attempt: i, Epoch: 7, Expiry: testNow, Kinds: []string{"etl.chunk/run"},
			Root: root, Digest: Hash{8}, WallMillis: 812, CPUMillis: 790,
		}
		c.Leases = append(c.Leases, x)
		verdicts = append(verdicts, tasks.Verdict{Lease: x.Lease(id(key(1))), Outcome: tasks.Accepted, Root: root})
		asked = append(asked, x.Lease(id(key(1))))
		got.Results = append(got.Results, Delivery{Lease: x.Lease(id(key(1))), Root: root, Digest: x.Digest})
	}
	verdicts = append(verdicts, tasks.Verdict{Lease: tasks.LeaseID{9}, Outcome: tasks.Outvoted})
	m := map[Word]Message{Asked: &RevealRequest{Leases: asked}, Got: got, Approved: &Verdicts{Verdicts: verdicts}}
	for _, say := range []Message{&Welcome{Session: w.ID(), Time: testNow}, m[word]} {
		f := must(s.Seal(say, testNow))
		if _, err := w.Open(f[frameHead:], testNow); err != nil {
			t.Fatal(err)
		}
		c.Heard = must(w.Spoken(f[frameHead:]))
	}
	c.Sign(testNet, key(1))
	return c
}

func sampleBundle(t testing.TB) *Bundle {
	return &Bundle{Version: Version, Network: testNet, Writer: id(key(2)), At: testNow, Batches: []Batch{sampleBatch()}, Conflicts: []Evidence{sampleEvidence(t)}, Claims: []Claims{sampleClaims(t, Approved)}}
}

// sample is one message, and the end of the session that sends it.
type sample struct {
	what string
	from Role
	m    Message
}

// sampleMessages is one of every message of a session, in an order in which they may be sent.
func sampleMessages() []sample {
	l, l2 := sampleLease(0), sampleLease(1)
	root := dag.Sum(dag.DagCBOR, dag.SHA256, []byte("out"))
	b := sampleBatch()
	capability := must(SignCapability(testNet, key(1), sampleCapability()))
	why := tasks.Because(tasks.NoTasksLeft, "all %d tasks are leased", 40)
	return []sample{
		{"a worker's first message", Worker, &Hello{Network: testNet, Capability: capability, Membership: []byte{}, Resume: Token{6}, Held: []tasks.LeaseID{l.ID}, Ask: Ask{Slots: 4, Kinds: []string{"etl.chunk"}, Job: l.Do.Job, Load: 120}, Time: testNow}},
		{"a submitter's first message", Submitter, &Welcome{Session: SessionID(bytes.Repeat([]byte{3}, 32)), Epoch: 7, Token: Token{6}, Resumed: true, Kept: []tasks.LeaseID{l.ID}, Reason: &why, Time: testNow}},
		{"a worker asks for more", Worker, &Ask{Slots: 2}},
		{"two leases", Submitter, sampleLeases(2)},
		{"the state of two leases", Worker, &Heartbeat{Leases: []Beat{{Lease: l.ID, State: Running, Done: 10, Total: 100}, {Lease: l2.ID, State: Preparing}}, Load: 800, Time: testNow}},
		{"two commits", Worker, sampleCommits(2)},
		{"a call to open two commits", Submitter, &RevealRequest{Leases: []tasks.LeaseID{l.ID, l2.ID}}},
		{"a reveal with its block, and one through a depot", Worker, &Reveals{Reveals: []tasks.Reveal{
			{Lease: l.ID, Root: root, Digest: [32]byte{8}, Bytes: 3, Blocks: [][]byte{[]byte("out")}, WallMillis: 812, CPUMillis: 790},
			{Lease: l2.ID, Root: root, Digest: [32]byte{9}, Bytes: 1 << 20, Parcel: &tasks.Parcel{Depot: id(key(5)), Root: root, Bytes: 1 << 20, Token: []byte{1}}},
		}}},
		{"a lease handed back", Worker, &Returned{Lease: l2.ID, Reason: tasks.Because(tasks.NoBlockPath, "3 peers asked"), Log: []string{"asked für blocks"}}},
		{"one verdict of each kind", Submitter, &Verdicts{Verdicts: []tasks.Verdict{{Lease: l.ID, Outcome: tasks.Accepted, Root: root}, {Lease: l2.ID, Outcome: tasks.Lapsed}}}},
		{"a cancelled lease", Submitter, &Cancel{Leases: []tasks.LeaseID{l2.ID}, Reason: tasks.Because(tasks.JobCancelled, "")}},
		{"a batch of three receipts", Submitter, &Receipts{Receipts: b.Receipts, Root: b.Root, Sig: b.Signed}},
		{"the batch countersigned", Worker, &ReceiptAck{Root: b.Root, Count: 3, Sig: b.Countered}},
		{"no work now", Submitter, &NoWork{Reason: tasks.Reason{Code: tasks.Filled, Detail: "12 sessions", RetryMillis: 30_000}}},
		{"a result acknowledged before its verdict", Submitter, &Delivered{Results: []Delivery{{Lease: l.ID, Root: root, Digest: Hash{8}}}, Time: testNow}},
		{"the end", Worker, &Bye{Reason: tasks.Because(tasks.ShuttingDown, "")}},
	}
}
