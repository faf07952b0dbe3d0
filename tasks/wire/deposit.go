package wire

import (
	"crypto/ed25519"

	"kith/storage/dag"
	"kith/tasks"
)

// DepositRequest asks, on a stream of ProtocolDeposit, a depot to hold a DAG. The answer is a DepositReply. If it
// accepts, the blocks follow depth first (WriteBlock), each once, without those in Have, then EndBlocks; a second
// DepositReply says whether the DAG is whole and kept.
type DepositRequest struct {
	Version int    `cbor:"v"`
	Network string `cbor:"net"`
	Order   []byte `cbor:"order"` // SignDeposit
}

// DepositReply accepts (nil) or refuses a deposit.
type DepositReply struct {
	Version int           `cbor:"v"`
	Reason  *tasks.Reason `cbor:"reason"`
	Have    []dag.CID     `cbor:"have"`  // blocks that this depositor has sent for it before
	Until   int64         `cbor:"until"` // Unix milliseconds: how long it is kept
}

// Deposit is a depositor's signed order to a depot.
type Deposit struct {
	By    tasks.NodeID `cbor:"-"`     // the signer
	Depot tasks.NodeID `cbor:"to"`    // who is to hold it
	Root  dag.CID      `cbor:"root"`  // sealed, or public
	Bytes int64        `cbor:"bytes"` // of all blocks together, at most
	Time  int64        `cbor:"at"`    // Unix milliseconds
	Until int64        `cbor:"until"` // Unix milliseconds
}

// Limits of a deposit.
const (
	maxOrder      = 512 // bytes of a signed order
	depositDomain = "kith/deposit/1"
)

// SignDeposit signs an order.
func SignDeposit(network string, self ed25519.PrivateKey, d Deposit) ([]byte, error) {
	if err := d.validate(d.Time); err != nil {
		return nil, err
	}
	return signRecord(depositDomain, network, self, &d, maxOrder)
}

// OpenDeposit checks an order given by depositor to depot.
func OpenDeposit(network string, now int64, depositor, depot tasks.NodeID, b []byte) (Deposit, error) {
	var d Deposit
	by, err := openRecord(depositDomain, network, b, &d, maxOrder)
	if err != nil {
		return Deposit{}, err
	}
	if err := d.validate(now); err != nil {
		return Deposit{}, err
	}
	switch {
	case by != depositor:
		return Deposit{}, bad(ErrSignature, "order of another node")
	case d.Depot != depot:
		return Deposit{}, bad(ErrBounds, "order to another depot")
	}
	d.By = by
	return d, nil
}

func (d *Deposit) validate(now int64) error {
	c := checker{now: now}
	if !d.Root.Defined() {
		c.fail(ErrBounds, "deposit.root is no block")
	}
	c.number("deposit.bytes", d.Bytes, 1, MaxAnyBytes)
	c.clock("deposit.at", d.Time)
	c.life("deposit", d.Time, d.Until, MaxDeposit)
	return c.result()
}

// Validate checks every bound.
func (m *DepositRequest) Validate(int64) error {
	var c checker
	c.version(m.Version)
	c.name("deposit.net", m.Network, 1, MaxNetwork)
	c.length("deposit.order", len(m.Order), 1, maxOrder)
	return c.result()
}

// Validate checks every bound.
func (m *DepositReply) Validate(int64) error {
	var c checker
	c.version(m.Version)
	if m.Reason != nil {
		c.reason(m.Reason)
	}
	c.length("deposit.have", len(m.Have), 0, MaxHave)
	c.number("deposit.until", m.Until, 0, MaxMillis)
	return c.result()
}
