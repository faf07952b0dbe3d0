package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"kith/tasks"
)

// Search asks a node, on a stream of ProtocolSearch, for others it has met that could do some work. Whoever asks verifies
// what it is told: every node named comes with its own signed record.
type Search struct {
	Version  int                `cbor:"v"`
	Network  string             `cbor:"net"`
	Class    tasks.DeviceClass  `cbor:"class"`   // at least
	Band     int                `cbor:"band"`    // at least
	Sandbox  tasks.SandboxGrade `cbor:"sandbox"` // at least
	Memory   int64              `cbor:"mem"`     // bytes, at least
	Kinds    []string           `cbor:"kinds"`   // all of them
	Regions  []string           `cbor:"regions"` // one of them; empty: any
	Excluded []string           `cbor:"not"`     // none of these regions
	Salt     uint64             `cbor:"salt"`    // of Known
	Known    []byte             `cbor:"known"`   // nodes that need not be named (Filter)
}

// SearchReply names nodes, or says why it does not.
type SearchReply struct {
	Version int           `cbor:"v"`
	Reason  *tasks.Reason `cbor:"reason"`
	Nodes   [][]byte      `cbor:"nodes"` // signed capability records of nodes that would do
	Ways    [][]byte      `cbor:"ways"`  // and of some that would not, but may know more
}

// Invite hands an offer, on a stream of ProtocolInvite, to one node that it did not reach by gossip.
type Invite struct {
	Version int    `cbor:"v"`
	Network string `cbor:"net"`
	Offer   []byte `cbor:"offer"` // signed by who invites
}

// InviteReply says that the node comes (Reason is nil), or why not.
type InviteReply struct {
	Version int           `cbor:"v"`
	Reason  *tasks.Reason `cbor:"reason"`
}

// Limits of a search. A reply stays below the largest single message.
const (
	MaxFound   = 48      // nodes in a reply that would do
	MaxWays    = 4       // and that would not
	MaxFilter  = 4 << 10 // bytes of a filter: 3,276 nodes
	MaxRegions = 256     // regions in a list
)

// Validate checks every bound.
func (m *Search) Validate(int64) error {
	var c checker
	c.version(m.Version)
	c.name("search.net", m.Network, 1, MaxNetwork)
	c.class("search.class", m.Class)
	c.number("search.band", int64(m.Band), 0, MaxBand)
	c.number("search.sandbox", int64(m.Sandbox), 0, int64(tasks.GradeA))
	c.number("search.mem", m.Memory, 0, MaxAnyBytes)
	c.names("search.kinds", m.Kinds, MaxKinds, MaxName)
	c.names("search.regions", m.Regions, MaxRegions, MaxName)
	c.names("search.not", m.Excluded, MaxRegions, MaxName)
	if m.Salt >= maxSeq {
		c.fail(ErrBounds, "search.salt is %d, want less than %d", m.Salt, uint64(maxSeq))
	}
	c.length("search.known", len(m.Known), 0, MaxFilter)
	return c.result()
}

// Suits reports whether a node would do, by its record.
func (m *Search) Suits(r *Capability) bool {
	for _, k := range m.Kinds {
		if len(r.Kinds) > 0 && !slices.Contains(r.Kinds, k) {
			return false
		}
	}
	return r.Class.Rank() >= m.Class.Rank() && r.Band >= m.Band && r.Sandbox >= m.Sandbox && r.Memory >= m.Memory &&
		(len(m.Regions) == 0 || slices.Contains(m.Regions, r.Region)) && !slices.Contains(m.Excluded, r.Region)
}

// Validate checks every bound. It does not open the records.
func (m *SearchReply) Validate(int64) error {
	var c checker
	c.version(m.Version)
	if m.Reason != nil {
		c.reason(m.Reason)
	}
	c.length("search.nodes", len(m.Nodes), 0, MaxFound)
	c.length("search.ways", len(m.Ways), 0, MaxWays)
	for _, list := range [][][]byte{m.Nodes, m.Ways} {
		for _, r := range list {
			c.length("search record", len(r), 1, MaxCapability)
		}
	}
	return c.result()
}

// Validate checks every bound. It does not open the offer.
func (m *Invite) Validate(int64) error {
	var c checker
	c.version(m.Version)
	c.name("invite.net", m.Network, 1, MaxNetwork)
	c.length("invite.offer", len(m.Offer), 1, MaxOffer)
	return c.result()
}

// Validate checks every bound.
func (m *InviteReply) Validate(int64) error {
	var c checker
	c.version(m.Version)
	if m.Reason != nil {
		c.reason(m.Reason)
	}
	return c.result()
}

// Of a filter: bits for each node, and how many of them each node sets. One node in fifty looks as if it were known.
const (
	filterBits  = 10
	filterMarks = 4
	leastFilter = 64 // bytes
)

// Filter makes the set of nodes that need not be named: a Bloom filter, which never forgets a node and mistakes some for
// known. Another salt mistakes others. What there is no room for is left out: it may be named once more.
func Filter(salt uint64, nodes []tasks.NodeID) []byte {
	if len(nodes) == 0 {
		return []byte{}
	}
	nodes = nodes[:min(len(nodes), MaxFilter*8/filterBits)]
	f := make([]byte, min(max((len(nodes)*filterBits+7)/8, leastFilter), MaxFilter))
	for i := range nodes {
		for _, bit := range marks(salt, &nodes[i], len(f)) {
			f[bit/8] |= 1 << (bit % 8)
		}
	}
	return f
}

// Filtered reports whether a filter has a node.
func Filtered(salt uint64, filter []byte, node tasks.NodeID) bool {
	if len(filter) == 0 {
		return false
	}
	for _, bit := range marks(salt, &node, len(filter)) {
		if filter[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

func marks(salt uint64, node *tasks.NodeID, size int) (bits [filterMarks]uint32) {
	var b [8 + len(node)]byte
	binary.BigEndian.PutUint64(b[:], salt)
	copy(b[8:], node[:])
	sum := sha256.Sum256(b[:])
	for i := range bits {
		bits[i] = binary.BigEndian.Uint32(sum[4*i:]) % uint32(8*size)
	}
	return bits
}
