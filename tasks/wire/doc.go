// Package wire holds every message Kith nodes exchange, and the rules that make one trustworthy: strict deterministic
// DAG-CBOR, a size limit for each message and each field, signatures that cover network, session and direction, and
// hash chains that make two stories told by one signer a proof against it.
//
// A Session is one end of the stream between a worker and a submitter: Seal makes a signed frame of a Message, Open
// checks one and gives the message back. Offers (gossip) and capability records (DHT) are signed on their own. The
// package does no I/O but WriteFrame and ReadFrame, starts no goroutine and reads no clock: now is always a parameter,
// in Unix milliseconds like every time in a message.
//
// # What a signature covers
//
// Every signature is Ed25519 over a domain ("kith/session/1", "kith/offer/1", …), the network's name and the fields
// it vouches for, each with its length, so that no signed text can be read as another. A session's signatures cover the
// hash of the body rather than the body: a Head (what was signed) is small, proves what its signer said and in which
// order, and gives away no secret of the body.
//
// # Chains
//
// Each direction of a session is a chain. It begins with 32 random bytes chosen by its signer (the Origin, which
// stands in the first envelope's Prev); each later envelope's Prev is the hash of the Head before it. A signer that
// signs two different envelopes for one place of a chain, or one that contradicts the envelope before it, has produced
// Evidence against itself. Because only the signer chooses its origin, no two peers can make an honest node seem to
// contradict itself by replaying a session's name.
package wire
