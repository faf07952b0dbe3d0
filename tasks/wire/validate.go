package wire

import (
	"time"
	"unicode/utf8"

	"kith/storage/dag"
	"kith/tasks"
)

// checker collects the first thing that is wrong, so that a Validate method is a plain list of its rules.
type checker struct {
	now int64
	err *Error
}

func (c *checker) result() error {
	if c.err == nil {
		return nil
	}
	return c.err
}

func (c *checker) fail(err error, format string, args ...any) {
	if c.err == nil {
		c.err = bad(err, format, args...)
	}
}

func (c *checker) version(v int) {
	if v != Version {
		c.fail(ErrVersion, "%d, this node speaks %d", v, Version)
	}
}

func (c *checker) number(field string, v, low, high int64) {
	if v < low || v > high {
		c.fail(ErrBounds, "%s is %d, want %d to %d", field, v, low, high)
	}
}

// length bounds how many of something there are, or how many bytes.
func (c *checker) length(field string, n, low, high int) {
	if n < low || n > high {
		c.fail(ErrBounds, "%s has length %d, want %d to %d", field, n, low, high)
	}
}

// text is free text: valid UTF-8 of bounded length.
func (c *checker) text(field, s string, high int) {
	c.length(field, len(s), 0, high)
	if !utf8.ValidString(s) {
		c.fail(ErrBounds, "%s is not valid UTF-8", field)
	}
}

// name is an identifier: visible ASCII without spaces or quotes.
func (c *checker) name(field, s string, low, high int) {
	c.length(field, len(s), low, high)
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			c.fail(ErrBounds, "%s holds byte %#02x, want visible ASCII", field, s[i])
			return
		}
	}
}

func (c *checker) names(field string, list []string, high, each int) {
	c.length(field, len(list), 0, high)
	if c.err != nil {
		return
	}
	for _, s := range list {
		c.name(field, s, 1, each)
	}
}

// clock is a time that must be now.
func (c *checker) clock(field string, at int64) {
	if skew := MaxSkew.Milliseconds(); at < c.now-skew || at > c.now+skew {
		c.fail(ErrTime, "%s is %d ms from this node's clock, at most %d allowed", field, at-c.now, skew)
	}
}

// past is a time that must not lie in the future.
func (c *checker) past(field string, at int64) {
	if at <= 0 || at > c.now+MaxSkew.Milliseconds() {
		c.fail(ErrTime, "%s is %d ms ahead of this node's clock, at most %d allowed", field, at-c.now, MaxSkew.Milliseconds())
	}
}

// life is the span of something that has begun and must not have ended.
func (c *checker) life(field string, from, until int64, longest time.Duration) {
	if until <= from || until-from > longest.Milliseconds() {
		c.fail(ErrBounds, "%s lasts %d ms, want 1 to %d", field, until-from, longest.Milliseconds())
	}
	if until+MaxSkew.Milliseconds() < c.now {
		c.fail(ErrExpired, "%s ended %d ms ago", field, c.now-until)
	}
}

func (c *checker) reason(r *tasks.Reason) {
	c.name("reason.code", string(r.Code), 1, MaxCode)
	c.text("reason.text", r.Detail, MaxDetail)
	c.number("reason.retry", r.RetryMillis, 0, MaxRetry.Milliseconds())
}

// leases checks a list of lease ids: none twice.
func (c *checker) leases(field string, ids []tasks.LeaseID, low, high int) {
	c.length(field, len(ids), low, high)
	unique(c, field, ids, func(id *tasks.LeaseID) *tasks.LeaseID { return id })
}

// unique fails if two elements have the same lease.
func unique[T any](c *checker, field string, list []T, key func(*T) *tasks.LeaseID) {
	if c.err != nil || len(list) < 2 {
		return
	}
	seen := make(map[tasks.LeaseID]struct{}, len(list))
	for i := range list {
		seen[*key(&list[i])] = struct{}{}
	}
	if len(seen) != len(list) {
		c.fail(ErrBounds, "%s names a lease twice", field)
	}
}

func (c *checker) limits(l *tasks.Limits) {
	c.number("limits.wall", l.WallMillis, 0, MaxMillis)
	c.number("limits.cpu", l.CPUMillis, 0, MaxMillis)
	c.number("limits.mem", l.MemoryBytes, 0, MaxAnyBytes)
	c.number("limits.disk", l.ScratchBytes, 0, MaxAnyBytes)
	c.number("limits.out", l.OutputBytes, 0, MaxAnyBytes)
	c.number("limits.log", l.LogBytes, 0, MaxAnyBytes)
	c.number("limits.vram", l.VRAMBytes, 0, MaxAnyBytes)
	c.number("limits.procs", l.Processes, 0, 1<<20)
}

func (c *checker) lease(l *tasks.Lease) {
	c.number("lease.try", int64(l.Attempt), 0, MaxAttempts)
	if l.Epoch >= maxSeq {
		c.fail(ErrBounds, "lease.epoch is %d, want less than %d", l.Epoch, uint64(maxSeq))
	}
	c.clock("lease.at", l.Granted)
	c.life("lease", l.Granted, l.Expiry, MaxLeaseTime)
	c.assignment(&l.Do)
	if d := l.Depot; d != nil {
		c.names("lease.depot.addr", d.Addresses, MaxAddresses, MaxAddress)
		if len(d.Tokens) != 0 && len(d.Tokens) != len(l.Do.Inputs) {
			c.fail(ErrBounds, "lease.depot.tokens has length %d, want 0 or %d", len(d.Tokens), len(l.Do.Inputs))
		}
		c.length("lease.depot.tokens", len(d.Tokens), 0, MaxTokens)
		for _, t := range d.Tokens {
			c.length("lease.depot.token", len(t), 1, maxToken)
		}
	}
	if t := l.Travel; t != nil {
		c.number("lease.travel.most", t.Most, 0, MaxPoint)
		if t.From != nil {
			c.point("lease.travel.from", t.From)
		}
	}
	if c.err == nil && l.ID != tasks.NewLeaseID(l.Do.Job, l.Do.Task, l.Attempt, l.Worker, l.Epoch, l.Expiry) {
		c.fail(ErrBounds, "lease.id is not the hash of what the lease says")
	}
}

func (c *checker) point(field string, p *tasks.Point) {
	if !p.Root.Defined() {
		c.fail(ErrBounds, "%s.root is no block", field)
	}
	c.number(field+".bytes", p.Bytes, 0, MaxPoint)
	c.number(field+".done", p.Done, 0, MaxAnyBytes)
	c.number(field+".total", p.Total, 0, MaxAnyBytes)
	c.number(field+".cpu", p.CPUMillis, 0, MaxMillis)
	c.length(field+".blocks", len(p.Blocks), 0, MaxInBlocks)
	sum := 0
	for _, b := range p.Blocks {
		sum += len(b)
	}
	c.length(field+".blocks together", sum, 0, MaxInline)
}

func (c *checker) assignment(a *tasks.Assignment) {
	c.number("do.stage", int64(a.Stage), 0, MaxStages-1)
	c.number("do.parts", int64(a.Parts), 0, MaxParts)
	c.number("do.ranges", int64(a.Ranges), 0, MaxRanges)
	c.number("do.index", int64(a.Index), 0, MaxParts-1)
	if a.Mode != tasks.Map && a.Mode != tasks.Reduce {
		c.fail(ErrBounds, "do.mode is %.20q, want map or reduce", a.Mode)
	}
	c.length("do.steps", len(a.Steps), 1, MaxSteps)
	c.length("do.in", len(a.Inputs), 0, MaxInputs)
	if len(a.Keys) != 0 && len(a.Keys) != len(a.Inputs) {
		c.fail(ErrBounds, "do.keys has length %d, want 0 or %d", len(a.Keys), len(a.Inputs))
	}
	if c.err != nil {
		return
	}
	for i := range a.Steps {
		s := &a.Steps[i]
		c.number("step.op", int64(s.Op), 0, tasks.MaxOps-1)
		c.name("step.kind", s.Kind, 1, MaxName)
		c.name("step.phase", s.Phase, 1, MaxName)
		c.length("step.params", len(s.Params), 0, MaxParams)
	}
	for i := range a.Inputs {
		if !a.Inputs[i].Defined() {
			c.fail(ErrBounds, "do.in[%d] is no block", i)
			return
		}
	}
	for _, k := range a.Keys {
		if len(k) != 0 && len(k) != 32 {
			c.fail(ErrBounds, "do.keys holds a key of %d bytes, want 0 or 32", len(k))
			return
		}
	}
	c.limits(&a.Limits)
}

func (c *checker) reveal(r *tasks.Reveal) {
	if !r.Root.Defined() {
		c.fail(ErrBounds, "reveal.root is no block")
	}
	c.number("reveal.bytes", r.Bytes, 0, MaxAnyBytes)
	c.number("reveal.wall", r.WallMillis, 0, MaxMillis)
	c.number("reveal.cpu", r.CPUMillis, 0, MaxMillis)
	c.length("reveal.blocks", len(r.Blocks), 0, MaxInBlocks)
	sum := 0
	for _, b := range r.Blocks {
		sum += len(b)
	}
	c.length("reveal.blocks together", sum, 0, MaxInline)
	if p := r.Parcel; p != nil {
		if !p.Root.Defined() || len(r.Blocks) != 0 {
			c.fail(ErrBounds, "reveal.parcel has no root, or the output comes in the message too")
		}
		c.number("reveal.parcel.bytes", p.Bytes, 0, MaxAnyBytes)
		c.length("reveal.parcel.token", len(p.Token), 1, maxToken)
	}
}

func (c *checker) outcome(field string, o tasks.Outcome) {
	switch o {
	case tasks.Accepted, tasks.Outvoted, tasks.Forged, tasks.Withheld, tasks.Lapsed, tasks.Returned, tasks.Cancelled:
	default:
		c.fail(ErrBounds, "%s is %.20q, not an outcome", field, o)
	}
}

func (c *checker) receipt(r *tasks.Receipt) {
	c.outcome("receipt.outcome", r.Outcome)
	c.names("receipt.kinds", r.Kinds, MaxSteps, 2*MaxName+1)
	c.number("receipt.wall", r.WallMillis, 0, MaxMillis)
	c.number("receipt.cpu", r.CPUMillis, 0, MaxMillis)
	c.past("receipt.at", r.At)
}

// Validate implements Message.
func (m *Hello) Validate(now int64) error {
	c := checker{now: now}
	c.name("hello.net", m.Network, 1, MaxNetwork)
	c.length("hello.cap", len(m.Capability), 0, MaxCapability)
	c.length("hello.member", len(m.Membership), 0, MaxMembership)
	c.leases("hello.held", m.Held, 0, MaxBeats)
	c.ask(&m.Ask)
	c.clock("hello.time", m.Time)
	return c.result()
}

func (c *checker) ask(m *Ask) {
	c.number("ask.slots", int64(m.Slots), 0, MaxSlots)
	c.names("ask.kinds", m.Kinds, MaxKinds, MaxName)
	c.number("ask.load", int64(m.Load), 0, 1000)
}

// Validate implements Message.
func (m *Ask) Validate(now int64) error {
	c := checker{now: now}
	c.ask(m)
	return c.result()
}

// Validate implements Message.
func (m *Heartbeat) Validate(now int64) error {
	c := checker{now: now}
	c.length("heartbeat.leases", len(m.Leases), 0, MaxBeats)
	unique(&c, "heartbeat.leases", m.Leases, func(b *Beat) *tasks.LeaseID { return &b.Lease })
	if c.err != nil {
		return c.err
	}
	for i := range m.Leases {
		b := &m.Leases[i]
		if b.State != Preparing && b.State != Running && b.State != Delivering {
			c.fail(ErrBounds, "heartbeat.state is %.20q", b.State)
		}
		c.number("heartbeat.done", b.Done, 0, MaxAnyBytes)
		c.number("heartbeat.total", b.Total, 0, MaxAnyBytes)
	}
	c.number("heartbeat.load", int64(m.Load), 0, 1000)
	c.clock("heartbeat.time", m.Time)
	return c.result()
}

// Validate implements Message.
func (m *Commits) Validate(now int64) error {
	c := checker{now: now}
	c.length("commits", len(m.Commits), 1, MaxLeases)
	unique(&c, "commits", m.Commits, func(x *tasks.Commit) *tasks.LeaseID { return &x.Lease })
	return c.result()
}

// Validate implements Message.
func (m *Reveals) Validate(now int64) error {
	c := checker{now: now}
	c.length("reveals", len(m.Reveals), 1, MaxLeases)
	unique(&c, "reveals", m.Reveals, func(x *tasks.Reveal) *tasks.LeaseID { return &x.Lease })
	if c.err != nil {
		return c.err
	}
	for i := range m.Reveals {
		c.reveal(&m.Reveals[i])
	}
	return c.result()
}

// Validate implements Message.
func (m *Returned) Validate(now int64) error {
	c := checker{now: now}
	c.reason(&m.Reason)
	c.length("returned.log", len(m.Log), 0, MaxLogLines)
	sum := 0
	for _, line := range m.Log {
		sum += len(line)
		if !utf8.ValidString(line) {
			c.fail(ErrBounds, "returned.log is not valid UTF-8")
		}
	}
	c.length("returned.log together", sum, 0, MaxLog)
	if m.Point != nil {
		c.point("returned.point", m.Point)
	}
	return c.result()
}

// Validate implements Message.
func (m *ReceiptAck) Validate(now int64) error {
	c := checker{now: now}
	c.number("receiptack.count", int64(m.Count), 1, MaxReceipts)
	return c.result()
}

// Validate implements Message.
func (m *Bye) Validate(now int64) error {
	c := checker{now: now}
	c.reason(&m.Reason)
	return c.result()
}

// Validate implements Message.
func (m *Welcome) Validate(now int64) error {
	c := checker{now: now}
	if m.Epoch >= maxSeq {
		c.fail(ErrBounds, "welcome.epoch is %d, want less than %d", m.Epoch, uint64(maxSeq))
	}
	c.leases("welcome.kept", m.Kept, 0, MaxBeats)
	if m.Reason != nil {
		c.reason(m.Reason)
	}
	c.clock("welcome.time", m.Time)
	return c.result()
}

// Validate implements Message.
func (m *Leases) Validate(now int64) error {
	c := checker{now: now}
	c.length("leases", len(m.Leases), 1, MaxLeases)
	unique(&c, "leases", m.Leases, func(l *tasks.Lease) *tasks.LeaseID { return &l.ID })
	for i := range m.Leases {
		if c.err != nil {
			break
		}
		c.lease(&m.Leases[i])
	}
	return c.result()
}

// Validate implements Message.
func (m *RevealRequest) Validate(now int64) error {
	c := checker{now: now}
	c.leases("reveal", m.Leases, 1, MaxLeases)
	return c.result()
}

// Validate implements Message.
func (m *Delivered) Validate(now int64) error {
	c := checker{now: now}
	c.length("delivered", len(m.Results), 1, MaxLeases)
	unique(&c, "delivered", m.Results, func(r *Delivery) *tasks.LeaseID { return &r.Lease })
	for i := range m.Results {
		if !m.Results[i].Root.Defined() {
			c.fail(ErrBounds, "delivered result without a root")
		}
	}
	c.clock("delivered.time", m.Time)
	return c.result()
}

// Validate implements Message.
func (m *Verdicts) Validate(now int64) error {
	c := checker{now: now}
	c.length("verdicts", len(m.Verdicts), 1, MaxLeases)
	unique(&c, "verdicts", m.Verdicts, func(v *tasks.Verdict) *tasks.LeaseID { return &v.Lease })
	if c.err != nil {
		return c.err
	}
	for i := range m.Verdicts {
		v := &m.Verdicts[i]
		c.outcome("verdict.outcome", v.Outcome)
		if v.Outcome == tasks.Accepted && v.Root == (dag.CID{}) {
			c.fail(ErrBounds, "verdict accepted without a root")
		}
	}
	return c.result()
}

// Validate implements Message.
func (m *Cancel) Validate(now int64) error {
	c := checker{now: now}
	c.leases("cancel", m.Leases, 1, MaxLeases)
	c.reason(&m.Reason)
	return c.result()
}

// Validate implements Message. It checks the root over the receipts too.
func (m *Receipts) Validate(now int64) error {
	c := checker{now: now}
	c.length("receipts", len(m.Receipts), 1, MaxReceipts)
	if c.err != nil {
		return c.err
	}
	for i := range m.Receipts {
		c.receipt(&m.Receipts[i])
	}
	if c.err == nil {
		root, err := ReceiptRoot(m.Receipts)
		if err != nil || root != m.Root {
			c.fail(ErrBounds, "receipts.root is not the root over the receipts")
		}
	}
	return c.result()
}

// Validate implements Message.
func (m *NoWork) Validate(now int64) error {
	c := checker{now: now}
	c.reason(&m.Reason)
	return c.result()
}
