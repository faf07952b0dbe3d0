package wire

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

// TestStrict writes one message in every way but the right one. The right one is
// {"reason": {"code": "busy", "text": "x", "retry": 5}}.
func TestStrict(t *testing.T) {
	const (
		reason = "66726561736f6e"            // "reason"
		code   = "64636f6465" + "6462757379" // "code": "busy"
		text   = "6474657874" + "6178"       // "text": "x"
		retry  = "657265747279"              // "retry":
	)
	for _, c := range []struct {
		name, hex string
		ok        bool
	}{
		{"right", "a1" + reason + "a3" + code + text + retry + "05", true},
		{"keys in another order", "a1" + reason + "a3" + text + code + retry + "05", false},
		{"keys sorted as text", "a1" + reason + "a3" + code + retry + "05" + text, false},
		{"a key twice", "a1" + reason + "a4" + code + code + text + retry + "05", false},
		{"a key missing", "a1" + reason + "a2" + code + text, false},
		{"an unknown key", "a1" + reason + "a4" + code + "647a7a7a7a" + "00" + text + retry + "05", false},
		{"a key in capitals", "a1" + reason + "a3" + "64436f6465" + "6462757379" + text + retry + "05", false},
		{"an integer key", "a1" + reason + "a4" + "0100" + code + text + retry + "05", false},
		{"a number in two bytes", "a1" + reason + "a3" + code + text + retry + "1805", false},
		{"a number in nine bytes", "a1" + reason + "a3" + code + text + retry + "1b0000000000000005", false},
		{"a length in two bytes", "a1" + reason + "b803" + code + text + retry + "05", false},
		{"a float of 64 bits", "a1" + reason + "a3" + code + text + retry + "fb4014000000000000", false},
		{"a float of 16 bits", "a1" + reason + "a3" + code + text + retry + "f94500", false},
		{"not a number", "a1" + reason + "a3" + code + text + retry + "f97e00", false},
		{"a bignum", "a1" + reason + "a3" + code + text + retry + "c24105", false},
		{"a number too large", "a1" + reason + "a3" + code + text + retry + "1bffffffffffffffff", false},
		{"a null", "a1" + reason + "a3" + code + text + retry + "f6", false},
		{"undefined", "a1" + reason + "a3" + code + text + retry + "f7", false},
		{"a simple value", "a1" + reason + "a3" + code + text + retry + "e0", false},
		{"a boolean", "a1" + reason + "a3" + code + text + retry + "f5", false},
		{"an indefinite map", "bf" + reason + "a3" + code + text + retry + "05" + "ff", false},
		{"an indefinite inner map", "a1" + reason + "bf" + code + text + retry + "05" + "ff", false},
		{"an indefinite string", "a1" + reason + "a3" + "64636f6465" + "7f6462757379ff" + text + retry + "05", false},
		{"bytes for text", "a1" + reason + "a3" + "64636f6465" + "4462757379" + text + retry + "05", false},
		{"text that is not UTF-8", "a1" + reason + "a3" + code + "6474657874" + "61ff" + retry + "05", false},
		{"a tag", "a1" + reason + "d9d9f7a3" + code + text + retry + "05", false},
		{"tag 42 around it", "d82aa1" + reason + "a3" + code + text + retry + "05", false},
		{"an array for the map", "81" + "a3" + code + text + retry + "05", false},
		{"two values", "a1" + reason + "a3" + code + text + retry + "05" + "00", false},
		{"cut off", "a1" + reason + "a3" + code + text + retry, false},
		{"a map that promises too much", "a1" + reason + "bb7fffffffffffffff" + code, false},
		{"text that promises too much", "a1" + reason + "a3" + "64636f6465" + "7b7fffffffffffffff" + "6462757379", false},
		{"deep nesting", strings.Repeat("81", 500) + "00", false},
	} {
		w, s := started(t)
		_, err := w.Open(forge(s, TypeNoWork, must(hex.DecodeString(c.hex)), nil), testNow)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestBounds breaks every bound of every message, one at a time.
func TestBounds(t *testing.T) {
	text := strings.Repeat("x", 1<<12)
	many := func(n int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = "k"
		}
		return list
	}
	ids := func(n int) []tasks.LeaseID {
		list := make([]tasks.LeaseID, n)
		for i := range list {
			list[i] = tasks.LeaseID{byte(i), byte(i >> 8)}
		}
		return list
	}
	ask := func(f func(*Ask)) Message { m := &Ask{}; f(m); return m }
	hello := func(f func(*Hello)) Message { m := &Hello{Network: testNet, Time: testNow}; f(m); return m }
	beat := func(f func(*Heartbeat)) Message {
		m := &Heartbeat{Leases: []Beat{{State: Running}}, Time: testNow}
		f(m)
		return m
	}
	welcome := func(f func(*Welcome)) Message { m := &Welcome{Time: testNow}; f(m); return m }
	grant := func(f func(*tasks.Lease)) Message {
		m := sampleLeases(1)
		l := &m.Leases[0]
		f(l)
		l.ID = tasks.NewLeaseID(l.Do.Job, l.Do.Task, l.Attempt, l.Worker, l.Epoch, l.Expiry)
		return m
	}
	reveal := func(f func(*tasks.Reveal)) Message {
		m := sampleMessages()[7].m.(*Reveals)
		f(&m.Reveals[0])
		return m
	}
	returned := func(f func(*Returned)) Message {
		m := &Returned{Reason: tasks.Because(tasks.Busy, "")}
		f(m)
		return m
	}
	point := func(f func(*tasks.Point)) Message {
		m := pointed()
		f(m.Point)
		return m
	}
	receipt := func(f func(*tasks.Receipt)) Message {
		list := sampleReceipts(2)
		f(&list[1])
		return &Receipts{Receipts: list, Root: must(ReceiptRoot(list))}
	}
	busy := tasks.Because(tasks.Busy, "")
	for name, m := range map[string]Message{
		"hello.net empty":     hello(func(m *Hello) { m.Network = "" }),
		"hello.net long":      hello(func(m *Hello) { m.Network = text[:MaxNetwork+1] }),
		"hello.net space":     hello(func(m *Hello) { m.Network = "a b" }),
		"hello.cap":           hello(func(m *Hello) { m.Capability = make([]byte, MaxCapability+1) }),
		"hello.member":        hello(func(m *Hello) { m.Membership = make([]byte, MaxMembership+1) }),
		"hello.held":          hello(func(m *Hello) { m.Held = ids(MaxBeats + 1) }),
		"hello.held twice":    hello(func(m *Hello) { m.Held = make([]tasks.LeaseID, 2) }),
		"hello.ask":           hello(func(m *Hello) { m.Ask.Slots = -1 }),
		"hello.time":          hello(func(m *Hello) { m.Time = 0 }),
		"ask.slots":           ask(func(m *Ask) { m.Slots = MaxSlots + 1 }),
		"ask.kinds":           ask(func(m *Ask) { m.Kinds = many(MaxKinds + 1) }),
		"ask.kinds empty":     ask(func(m *Ask) { m.Kinds = []string{""} }),
		"ask.kinds long":      ask(func(m *Ask) { m.Kinds = []string{text[:MaxName+1]} }),
		"ask.kinds control":   ask(func(m *Ask) { m.Kinds = []string{"a\nb"} }),
		"ask.load":            ask(func(m *Ask) { m.Load = 1001 }),
		"beat.many":           beat(func(m *Heartbeat) { m.Leases = make([]Beat, MaxBeats+1) }),
		"beat.twice":          beat(func(m *Heartbeat) { m.Leases = append(m.Leases, m.Leases[0]) }),
		"beat.state":          beat(func(m *Heartbeat) { m.Leases[0].State = "asleep" }),
		"beat.done":           beat(func(m *Heartbeat) { m.Leases[0].Done = -1 }),
		"beat.total":          beat(func(m *Heartbeat) { m.Leases[0].Total = MaxAnyBytes + 1 }),
		"beat.load":           beat(func(m *Heartbeat) { m.Load = -1 }),
		"beat.time":           beat(func(m *Heartbeat) { m.Time = testNow + 2*MaxSkew.Milliseconds() }),
		"commits none":        sampleCommits(0),
		"commits many":        sampleCommits(MaxLeases + 1),
		"commits twice":       &Commits{Commits: make([]tasks.Commit, 2)},
		"reveals none":        &Reveals{},
		"reveals many":        &Reveals{Reveals: make([]tasks.Reveal, MaxLeases+1)},
		"reveals twice":       &Reveals{Reveals: make([]tasks.Reveal, 2)},
		"reveal.root":         reveal(func(r *tasks.Reveal) { r.Root[0] = 0; r.Root = [36]byte{} }),
		"reveal.bytes":        reveal(func(r *tasks.Reveal) { r.Bytes = -1 }),
		"reveal.wall":         reveal(func(r *tasks.Reveal) { r.WallMillis = -1 }),
		"reveal.cpu":          reveal(func(r *tasks.Reveal) { r.CPUMillis = MaxMillis + 1 }),
		"reveal.blocks many":  reveal(func(r *tasks.Reveal) { r.Blocks = make([][]byte, MaxInBlocks+1) }),
		"reveal.blocks large": reveal(func(r *tasks.Reveal) { r.Blocks = [][]byte{make([]byte, MaxInline), {1}} }),
		"returned.reason":     returned(func(m *Returned) { m.Reason.Code = "" }),
		"returned.code":       returned(func(m *Returned) { m.Reason.Code = tasks.Code(text[:MaxCode+1]) }),
		"returned.detail":     returned(func(m *Returned) { m.Reason.Detail = text[:MaxDetail+1] }),
		"returned.utf8":       returned(func(m *Returned) { m.Reason.Detail = "\xff" }),
		"returned.retry":      returned(func(m *Returned) { m.Reason.RetryMillis = MaxRetry.Milliseconds() + 1 }),
		"returned.log many":   returned(func(m *Returned) { m.Log = many(MaxLogLines + 1) }),
		"returned.log large":  returned(func(m *Returned) { m.Log = []string{text, text, text, text, "x"} }),
		"returned.log utf8":   returned(func(m *Returned) { m.Log = []string{"\xff"} }),
		"point.root":          returned(func(m *Returned) { m.Point = &tasks.Point{} }),
		"point.bytes":         point(func(p *tasks.Point) { p.Bytes = MaxPoint + 1 }),
		"point.done":          point(func(p *tasks.Point) { p.Done = -1 }),
		"point.total":         point(func(p *tasks.Point) { p.Total = MaxAnyBytes + 1 }),
		"point.cpu":           point(func(p *tasks.Point) { p.CPUMillis = -1 }),
		"point.blocks many":   point(func(p *tasks.Point) { p.Blocks = make([][]byte, MaxInBlocks+1) }),
		"point.blocks large":  point(func(p *tasks.Point) { p.Blocks = [][]byte{make([]byte, MaxInline+1)} }),
		"travel.most":         grant(func(l *tasks.Lease) { l.Travel = &tasks.Travel{Most: MaxPoint + 1} }),
		"travel.from.root":    grant(func(l *tasks.Lease) { l.Travel = &tasks.Travel{From: &tasks.Point{}} }),
		"travel.from.blocks": grant(func(l *tasks.Lease) {
			l.Travel = &tasks.Travel{From: samplePoint()}
			l.Travel.From.Blocks = [][]byte{make([]byte, MaxInline), {1}}
		}),
		"ack none":        &ReceiptAck{},
		"ack many":        &ReceiptAck{Count: MaxReceipts + 1},
		"bye":             &Bye{},
		"welcome.epoch":   welcome(func(m *Welcome) { m.Epoch = maxSeq }),
		"welcome.kept":    welcome(func(m *Welcome) { m.Kept = ids(MaxBeats + 1) }),
		"welcome.reason":  welcome(func(m *Welcome) { m.Reason = &tasks.Reason{} }),
		"welcome.time":    welcome(func(m *Welcome) { m.Time = 1 }),
		"leases none":     &Leases{},
		"leases many":     sampleLeases(MaxLeases + 1),
		"leases twice":    &Leases{Leases: append(sampleLeases(1).Leases, sampleLeases(1).Leases...)},
		"lease.id":        &Leases{Leases: []tasks.Lease{func() tasks.Lease { l := sampleLease(0); l.ID[0]++; return l }()}},
		"lease.try":       grant(func(l *tasks.Lease) { l.Attempt = MaxAttempts + 1 }),
		"lease.epoch":     grant(func(l *tasks.Lease) { l.Epoch = maxSeq }),
		"lease.exp early": grant(func(l *tasks.Lease) { l.Expiry = l.Granted }),
		"lease.exp late":  grant(func(l *tasks.Lease) { l.Expiry = l.Granted + MaxLeaseTime.Milliseconds() + 1 }),
		"do.stage":        grant(func(l *tasks.Lease) { l.Do.Stage = MaxStages }),
		"do.parts":        grant(func(l *tasks.Lease) { l.Do.Parts = MaxParts + 1 }),
		"do.ranges":       grant(func(l *tasks.Lease) { l.Do.Ranges = MaxRanges + 1 }),
		"do.index":        grant(func(l *tasks.Lease) { l.Do.Index = -1 }),
		"do.mode":         grant(func(l *tasks.Lease) { l.Do.Mode = tasks.Gather }),
		"do.steps none":   grant(func(l *tasks.Lease) { l.Do.Steps = nil }),
		"do.steps many":   grant(func(l *tasks.Lease) { l.Do.Steps = make([]tasks.Step, MaxSteps+1) }),
		"do.in many": grant(func(l *tasks.Lease) {
			l.Do.Inputs, l.Do.Keys = hugeLeases().Leases[0].Do.Inputs, nil
			l.Do.Inputs = append(l.Do.Inputs, l.Do.Inputs[0])
		}),
		"do.in none":          grant(func(l *tasks.Lease) { l.Do.Inputs[0] = [36]byte{} }),
		"do.keys":             grant(func(l *tasks.Lease) { l.Do.Keys = make([][]byte, 2) }),
		"do.keys length":      grant(func(l *tasks.Lease) { l.Do.Keys = [][]byte{make([]byte, 31)} }),
		"step.op":             grant(func(l *tasks.Lease) { l.Do.Steps[0].Op = tasks.MaxOps }),
		"step.kind":           grant(func(l *tasks.Lease) { l.Do.Steps[0].Kind = "" }),
		"step.phase":          grant(func(l *tasks.Lease) { l.Do.Steps[0].Phase = "" }),
		"step.params":         grant(func(l *tasks.Lease) { l.Do.Steps[0].Params = make([]byte, MaxParams+1) }),
		"limits.wall":         grant(func(l *tasks.Lease) { l.Do.Limits.WallMillis = -1 }),
		"limits.cpu":          grant(func(l *tasks.Lease) { l.Do.Limits.CPUMillis = -1 }),
		"limits.mem":          grant(func(l *tasks.Lease) { l.Do.Limits.MemoryBytes = MaxAnyBytes + 1 }),
		"limits.disk":         grant(func(l *tasks.Lease) { l.Do.Limits.ScratchBytes = -1 }),
		"limits.out":          grant(func(l *tasks.Lease) { l.Do.Limits.OutputBytes = -1 }),
		"limits.log":          grant(func(l *tasks.Lease) { l.Do.Limits.LogBytes = -1 }),
		"limits.vram":         grant(func(l *tasks.Lease) { l.Do.Limits.VRAMBytes = -1 }),
		"limits.procs":        grant(func(l *tasks.Lease) { l.Do.Limits.Processes = -1 }),
		"reveal request none": &RevealRequest{},
		"reveal request many": &RevealRequest{Leases: ids(MaxLeases + 1)},
		"delivered none":      &Delivered{Time: testNow},
		"delivered many":      delivered(MaxLeases+1, nil),
		"delivered twice":     delivered(2, func(m *Delivered) { m.Results[1].Lease = m.Results[0].Lease }),
		"delivered.root":      delivered(2, func(m *Delivered) { m.Results[1].Root = dag.CID{} }),
		"delivered.time":      delivered(1, func(m *Delivered) { m.Time -= MaxSkew.Milliseconds() + 1 }),
		"verdicts none":       &Verdicts{},
		"verdicts many":       &Verdicts{Verdicts: make([]tasks.Verdict, MaxLeases+1)},
		"verdicts twice":      &Verdicts{Verdicts: make([]tasks.Verdict, 2)},
		"verdict.outcome":     &Verdicts{Verdicts: []tasks.Verdict{{Outcome: "maybe"}}},
		"verdict.root":        &Verdicts{Verdicts: []tasks.Verdict{{Outcome: tasks.Accepted}}},
		"cancel none":         &Cancel{Reason: busy},
		"cancel many":         &Cancel{Leases: ids(MaxLeases + 1), Reason: busy},
		"cancel.reason":       &Cancel{Leases: ids(1)},
		"receipts none":       &Receipts{},
		"receipts many":       &Receipts{Receipts: make([]tasks.Receipt, MaxReceipts+1)},
		"receipts.root":       &Receipts{Receipts: sampleReceipts(1)},
		"receipt.outcome":     receipt(func(r *tasks.Receipt) { r.Outcome = "" }),
		"receipt.kinds":       receipt(func(r *tasks.Receipt) { r.Kinds = many(MaxSteps + 1) }),
		"receipt.wall":        receipt(func(r *tasks.Receipt) { r.WallMillis = -1 }),
		"receipt.cpu":         receipt(func(r *tasks.Receipt) { r.CPUMillis = -1 }),
		"receipt.at":          receipt(func(r *tasks.Receipt) { r.At = testNow + 2*MaxSkew.Milliseconds() }),
		"nowork":              &NoWork{},
	} {
		var e *Error
		if err := m.Validate(testNow); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// And everything at its bound is good, and fits its frame.
	for _, m := range []Message{
		hello(func(m *Hello) {
			m.Capability, m.Membership, m.Held = make([]byte, MaxCapability), make([]byte, MaxMembership), ids(MaxBeats)
			m.Ask.Kinds = make([]string, MaxKinds)
			for i := range m.Ask.Kinds {
				m.Ask.Kinds[i] = text[:MaxName]
			}
		}),
		beat(func(m *Heartbeat) {
			m.Leases = nil
			for _, id := range ids(MaxBeats) {
				m.Leases = append(m.Leases, Beat{Lease: id, State: Delivering, Done: MaxAnyBytes, Total: MaxAnyBytes})
			}
		}),
		sampleCommits(MaxLeases), &RevealRequest{Leases: ids(MaxLeases)},
		&Cancel{Leases: ids(MaxLeases), Reason: tasks.Reason{Code: tasks.Code(text[:MaxCode]), Detail: text[:MaxDetail], RetryMillis: MaxRetry.Milliseconds()}},
		returned(func(m *Returned) { m.Log = []string{text, text, text, text} }),
		point(func(p *tasks.Point) { p.Blocks = [][]byte{make([]byte, MaxInline)} }), travelling(),
		welcome(func(m *Welcome) { m.Kept = ids(MaxBeats) }),
		fullReveals(), delivered(MaxLeases, nil), fullVerdicts(), fullReceipts(),
	} {
		w, s := started(t)
		from := w
		if specs[m.Type()].from == Submitter {
			from = s
		}
		if m.Type() == TypeHello || m.Type() == TypeWelcome {
			from, _ = pair()
			if m.Type() == TypeWelcome {
				_, from = pair()
			}
		}
		if m.Type() == TypeReceipts {
			m = must(from.SignReceipts(m.(*Receipts).Receipts))
		}
		if _, err := from.Seal(m, testNow); err != nil {
			t.Errorf("%s at its bounds: %v", m.Type(), err)
		}
	}
}

func fullReveals() *Reveals {
	m := new(Reveals)
	for i := range MaxLeases {
		r := sampleMessages()[7].m.(*Reveals).Reveals[0]
		r.Lease, r.Blocks = tasks.LeaseID{byte(i)}, [][]byte{make([]byte, MaxInline)}
		m.Reveals = append(m.Reveals, r)
	}
	return m
}

// delivered acknowledges n results; change, if not nil, spoils it.
func delivered(n int, change func(*Delivered)) *Delivered {
	m := &Delivered{Time: testNow}
	for i := range n {
		m.Results = append(m.Results, Delivery{Lease: tasks.LeaseID{byte(i)}, Root: sampleReceipts(1)[0].Root, Digest: Hash{byte(i)}})
	}
	if change != nil {
		change(m)
	}
	return m
}

func fullVerdicts() *Verdicts {
	m := new(Verdicts)
	for i := range MaxLeases {
		m.Verdicts = append(m.Verdicts, tasks.Verdict{Lease: tasks.LeaseID{byte(i)}, Outcome: tasks.Accepted, Root: sampleReceipts(1)[0].Root})
	}
	return m
}

func fullReceipts() *Receipts {
	m := &Receipts{Receipts: sampleReceipts(MaxReceipts)}
	for i := range m.Receipts {
		for range MaxSteps - 2 {
			m.Receipts[i].Kinds = append(m.Receipts[i].Kinds, strings.Repeat("x", 2*MaxName+1))
		}
	}
	return m
}
