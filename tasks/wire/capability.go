package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"kith/tasks"
)

// Capability is what a node says it can do. It is stored in the DHT under CapabilityKey and carried by Hello.
type Capability struct {
	Node      tasks.NodeID       `cbor:"-"`   // the signer
	Seq       uint64             `cbor:"seq"` // grows with every record of this node
	Time      int64              `cbor:"at"`  // Unix milliseconds
	Expiry    int64              `cbor:"exp"` // Unix milliseconds
	Addresses []string           `cbor:"addr"`
	Class     tasks.DeviceClass  `cbor:"class"`
	Band      int                `cbor:"band"` // grade in tenths of the scale, 0 (ungraded) to 10
	Sandbox   tasks.SandboxGrade `cbor:"sandbox"`
	Region    string             `cbor:"region"` // country
	Cell      string             `cbor:"cell"`   // about 100 km
	Kinds     []string           `cbor:"kinds"`
	Equals    []string           `cbor:"eq"` // "kind:class" of each kind whose results hold floats: equal texts may be compared
	Slots     int                `cbor:"slots"`
	Memory    int64              `cbor:"mem"`   // bytes given to tasks, all together
	Program   string             `cbor:"ver"`   // version of the program
	Depot     bool               `cbor:"depot"` // holds sealed blocks for others (ProtocolDeposit)
	Share     int                `cbor:"share"` // of the last days in which it could compute, per mille; 0: not known
	Stays     int64              `cbor:"stays"` // how long it usually stays before it cannot for a while, milliseconds; 0: not known
}

// MaxBand is the highest grade band.
const MaxBand = 10

// Validate checks every bound.
func (r *Capability) Validate(now int64) error {
	c := checker{now: now}
	if r.Seq >= maxSeq {
		c.fail(ErrBounds, "capability.seq is %d, want less than %d", r.Seq, uint64(maxSeq))
	}
	c.past("capability.at", r.Time)
	c.life("capability", r.Time, r.Expiry, MaxRecord)
	c.names("capability.addr", r.Addresses, MaxAddresses, MaxAddress)
	c.class("capability.class", r.Class)
	c.number("capability.band", int64(r.Band), 0, MaxBand)
	c.number("capability.sandbox", int64(r.Sandbox), 0, int64(tasks.GradeA))
	c.name("capability.region", r.Region, 0, MaxName)
	c.name("capability.cell", r.Cell, 0, MaxName)
	c.names("capability.kinds", r.Kinds, MaxKinds, MaxName)
	c.names("capability.eq", r.Equals, MaxKinds, MaxName)
	c.number("capability.slots", int64(r.Slots), 0, MaxSlots)
	c.number("capability.mem", r.Memory, 0, MaxAnyBytes)
	c.name("capability.ver", r.Program, 0, MaxName)
	c.number("capability.share", int64(r.Share), 0, 1000)
	c.number("capability.stays", r.Stays, 0, MaxMillis)
	return c.result()
}

const capabilityDomain = "kith/capability/1"

// SignCapability encodes and signs a record of self, at most MaxCapability bytes.
func SignCapability(network string, self ed25519.PrivateKey, r Capability) ([]byte, error) {
	if err := r.Validate(r.Time); err != nil {
		return nil, err
	}
	return signRecord(capabilityDomain, network, self, &r, MaxCapability)
}

// OpenCapability checks and decodes a record. The caller compares Node with whom it asked.
func OpenCapability(network string, now int64, b []byte) (Capability, error) {
	var r Capability
	by, err := openRecord(capabilityDomain, network, b, &r, MaxCapability)
	if err != nil {
		return Capability{}, err
	}
	if err := r.Validate(now); err != nil {
		return Capability{}, err
	}
	r.Node = by
	return r, nil
}

// DepotKey is the DHT provider key of the depots of one bucket. A provider is a hint until it has taken something.
func DepotKey(network string, bucket int) [32]byte {
	b := appendField(make([]byte, 0, 96), "kith/depot/1")
	b = appendField(b, network)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(bucket)))
}

// CapabilityNamespace is the DHT namespace of capability records.
const CapabilityNamespace = "kithcap"

// CapabilityKey is the DHT key of a node's record.
func CapabilityKey(node tasks.NodeID) string {
	return "/" + CapabilityNamespace + "/" + string(node[:])
}

// ValidateCapability checks a record found under a DHT key: it must be valid and of the node the key names.
func ValidateCapability(network string, now int64, key string, b []byte) (Capability, error) {
	node, ok := strings.CutPrefix(key, "/"+CapabilityNamespace+"/")
	if !ok || len(node) != len(tasks.NodeID{}) {
		return Capability{}, bad(ErrBounds, "not the key of a capability record")
	}
	r, err := OpenCapability(network, now, b)
	if err != nil {
		return Capability{}, err
	}
	if string(r.Node[:]) != node {
		return Capability{}, bad(ErrSignature, "record of %s under the key of another node", r.Node.Short())
	}
	return r, nil
}

// Newer reports whether a replaces b: the higher sequence, then the later expiry.
func Newer(a, b *Capability) bool {
	if a.Seq != b.Seq {
		return a.Seq > b.Seq
	}
	return a.Expiry > b.Expiry
}

// Buckets is how many provider keys share the nodes of one class, band and cell, so that no DHT node has to hold them
// all.
const Buckets = 16

// Bucket is the bucket of a node.
func Bucket(node tasks.NodeID) int { return int(node[31]) % Buckets }

// AnyBand is the band under whose keys nodes of every grade can be found.
const AnyBand = MaxBand + 1

// ProviderKey is the DHT provider key of the nodes of one device class, grade band, cell and bucket. In place of a cell
// may stand a wider area: a country, a continent, the world. A provider is a hint until its record verifies.
func ProviderKey(network string, class tasks.DeviceClass, band int, cell string, bucket int) [32]byte {
	b := appendField(make([]byte, 0, 160), "kith/provider/1")
	b = appendField(b, network)
	b = appendField(b, class)
	b = binary.BigEndian.AppendUint64(b, uint64(band))
	b = appendField(b, cell)
	b = binary.BigEndian.AppendUint64(b, uint64(bucket))
	return sha256.Sum256(b)
}
