package wire

import "kith/tasks"

// Register introduces a node to another on a stream of ProtocolRegister: to a hub, which may answer with a membership,
// or to any node that wants to know who is there.
type Register struct {
	Version    int      `cbor:"v"`
	Network    string   `cbor:"net"`
	Protocols  []string `cbor:"protos"` // ids this node speaks
	Capability []byte   `cbor:"cap"`    // signed (SignCapability)
	Membership []byte   `cbor:"member"` // a hub's credential; empty: none
	Time       int64    `cbor:"time"`
}

// RegisterReply accepts a registration (Reason is nil) or refuses it.
type RegisterReply struct {
	Version    int           `cbor:"v"`
	Reason     *tasks.Reason `cbor:"reason"`
	Protocols  []string      `cbor:"protos"` // ids the answering node speaks
	Capability []byte        `cbor:"cap"`    // its own, signed; empty if it refuses
	Membership []byte        `cbor:"member"` // new or renewed, for the node that asked; empty: none
	Time       int64         `cbor:"time"`
}

// Validate checks every bound.
func (m *Register) Validate(now int64) error {
	c := checker{now: now}
	c.version(m.Version)
	c.name("register.net", m.Network, 1, MaxNetwork)
	c.names("register.protos", m.Protocols, MaxKinds, MaxName)
	c.length("register.cap", len(m.Capability), 1, MaxCapability)
	c.length("register.member", len(m.Membership), 0, MaxMembership)
	c.clock("register.time", m.Time)
	return c.result()
}

// Validate checks every bound.
func (m *RegisterReply) Validate(now int64) error {
	c := checker{now: now}
	c.version(m.Version)
	if m.Reason != nil {
		c.reason(m.Reason)
	}
	c.names("register.protos", m.Protocols, MaxKinds, MaxName)
	c.length("register.cap", len(m.Capability), 0, MaxCapability)
	c.length("register.member", len(m.Membership), 0, MaxMembership)
	c.clock("register.time", m.Time)
	return c.result()
}
