package wire

import (
	"crypto/ed25519"

	"kith/tasks"
)

// Offer tells a topic that a job looks for workers. It announces; nothing is negotiated by gossip. A node answers with
// probability min(1, 3·Want/audience), its own estimate of the topic's size (match.AnswerProbability).
type Offer struct {
	Job       tasks.JobID        `cbor:"job"`
	Submitter tasks.NodeID       `cbor:"-"` // the signer
	Kinds     []string           `cbor:"kinds"`
	Want      int                `cbor:"want"` // sessions
	Ring      int                `cbor:"ring"` // 0: own region; each further ring asks further away
	Class     tasks.DeviceClass  `cbor:"class"`
	Region    string             `cbor:"region"`
	Memory    int64              `cbor:"mem"` // bytes a task may use
	Sandbox   tasks.SandboxGrade `cbor:"sandbox"`
	Addresses []string           `cbor:"addr"`  // where the submitter can be dialled, best first
	Time      int64              `cbor:"at"`    // Unix milliseconds
	Expiry    int64              `cbor:"exp"`   // Unix milliseconds
	Nonce     [8]byte            `cbor:"nonce"` // makes a repeated offer a new message
}

// MaxRing is the widest ring.
const MaxRing = 8

// Validate checks every bound.
func (o *Offer) Validate(now int64) error {
	c := checker{now: now}
	c.names("offer.kinds", o.Kinds, MaxKinds, MaxName)
	c.number("offer.want", int64(o.Want), 1, MaxSlots)
	c.number("offer.ring", int64(o.Ring), 0, MaxRing)
	c.class("offer.class", o.Class)
	c.name("offer.region", o.Region, 0, MaxName)
	c.number("offer.mem", o.Memory, 0, MaxAnyBytes)
	c.number("offer.sandbox", int64(o.Sandbox), 0, int64(tasks.GradeA))
	c.names("offer.addr", o.Addresses, MaxAddresses, MaxAddress)
	c.clock("offer.at", o.Time)
	c.life("offer", o.Time, o.Expiry, MaxOfferLife)
	return c.result()
}

func (c *checker) class(field string, d tasks.DeviceClass) {
	if d != tasks.CPU && d != tasks.WeakGPU && d != tasks.HighGPU {
		c.fail(ErrBounds, "%s is %.20q, want cpu, weak-gpu or high-gpu", field, d)
	}
}

const offerDomain = "kith/offer/1"

// SignOffer encodes and signs an offer of self, at most MaxOffer bytes.
func SignOffer(network string, self ed25519.PrivateKey, o Offer) ([]byte, error) {
	if err := o.Validate(o.Time); err != nil {
		return nil, err
	}
	return signRecord(offerDomain, network, self, &o, MaxOffer)
}

// OpenOffer checks and decodes an offer.
func OpenOffer(network string, now int64, b []byte) (Offer, error) {
	var o Offer
	by, err := openRecord(offerDomain, network, b, &o, MaxOffer)
	if err != nil {
		return Offer{}, err
	}
	if err := o.Validate(now); err != nil {
		return Offer{}, err
	}
	o.Submitter = by
	return o, nil
}
