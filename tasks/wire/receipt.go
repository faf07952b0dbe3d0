package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"

	"kith/tasks"
)

// ReceiptRoot is the root of the Merkle tree over 1 to MaxReceipts receipts, in order. Leaves and nodes are hashed in
// different domains and the number of receipts is part of the root, so that no leaf can pass for a node and no shorter
// batch for a longer one.
func ReceiptRoot(receipts []tasks.Receipt) ([32]byte, error) {
	level, err := leaves(receipts)
	if err != nil {
		return [32]byte{}, err
	}
	for len(level) > 1 {
		level = parents(level)
	}
	return crown(len(receipts), level[0]), nil
}

func leaves(receipts []tasks.Receipt) ([][32]byte, error) {
	if len(receipts) == 0 || len(receipts) > MaxReceipts {
		return nil, bad(ErrBounds, "%d receipts, want 1 to %d", len(receipts), MaxReceipts)
	}
	level := make([][32]byte, len(receipts))
	for i := range receipts {
		b := marshal(&receipts[i])
		level[i] = sha256.Sum256(append(appendField(make([]byte, 0, len(b)+32), "kith/receipt/1"), b...))
	}
	return level, nil
}

// parents hashes neighbours together; an odd last one moves up as it is.
func parents(level [][32]byte) [][32]byte {
	up := level[:0]
	for i := 0; i+1 < len(level); i += 2 {
		up = append(up, node(level[i], level[i+1]))
	}
	if len(level)%2 == 1 {
		up = append(up, level[len(level)-1])
	}
	return up
}

func node(left, right [32]byte) [32]byte {
	b := appendField(make([]byte, 0, 128), "kith/receipt-node/1")
	return sha256.Sum256(append(append(b, left[:]...), right[:]...))
}

func crown(count int, top [32]byte) [32]byte {
	b := appendField(make([]byte, 0, 128), "kith/receipt-root/1")
	b = binary.BigEndian.AppendUint64(b, uint64(count))
	return sha256.Sum256(append(b, top[:]...))
}

// Proof shows that one receipt is in a batch without showing the others.
type Proof struct {
	Index    int      `cbor:"i" json:"index"`
	Count    int      `cbor:"n" json:"count"`
	Siblings [][]byte `cbor:"path" json:"siblings"` // from the leaf up, 32 bytes each
}

// ProveReceipt makes the proof for receipts[i].
func ProveReceipt(receipts []tasks.Receipt, i int) (Proof, error) {
	level, err := leaves(receipts)
	if err != nil {
		return Proof{}, err
	}
	if i < 0 || i >= len(receipts) {
		return Proof{}, bad(ErrBounds, "receipt %d of %d", i, len(receipts))
	}
	p := Proof{Index: i, Count: len(receipts)}
	for at := i; len(level) > 1; at /= 2 {
		if sib := at ^ 1; sib < len(level) {
			s := level[sib]
			p.Siblings = append(p.Siblings, s[:])
		}
		level = parents(level)
	}
	return p, nil
}

// VerifyReceipt returns nil if r is the receipt at p.Index of the batch with that root.
func VerifyReceipt(r *tasks.Receipt, p Proof, root [32]byte) error {
	if p.Count < 1 || p.Count > MaxReceipts || p.Index < 0 || p.Index >= p.Count || len(p.Siblings) > 8 {
		return bad(ErrBounds, "receipt %d of %d with %d siblings", p.Index, p.Count, len(p.Siblings))
	}
	level, err := leaves([]tasks.Receipt{*r})
	if err != nil {
		return err
	}
	sum, rest := level[0], p.Siblings
	for at, width := p.Index, p.Count; width > 1; at, width = at/2, (width+1)/2 {
		if at^1 >= width {
			continue
		}
		if len(rest) == 0 || len(rest[0]) != 32 {
			return bad(ErrBounds, "receipt proof is incomplete")
		}
		if sib := [32]byte(rest[0]); at%2 == 0 {
			sum = node(sum, sib)
		} else {
			sum = node(sib, sum)
		}
		rest = rest[1:]
	}
	if len(rest) != 0 || crown(p.Count, sum) != root {
		return bad(ErrSignature, "receipt is not in this batch")
	}
	return nil
}

// batchText is what both sides of a batch sign.
func batchText(network string, submitter, worker tasks.NodeID, root [32]byte, count int) []byte {
	b := appendField(make([]byte, 0, 256), "kith/receipts/1")
	b = appendField(b, network)
	b = append(b, submitter[:]...)
	b = append(b, worker[:]...)
	b = append(b, root[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(count))
}

// SignBatch signs a batch of receipts, as its submitter or as its worker.
func SignBatch(network string, self ed25519.PrivateKey, submitter, worker tasks.NodeID, root [32]byte, count int) Signature {
	return Signature(ed25519.Sign(self, batchText(network, submitter, worker, root, count)))
}

// VerifyBatch checks signer's signature on a batch.
func VerifyBatch(network string, signer, submitter, worker tasks.NodeID, root [32]byte, count int, sig Signature) error {
	if !ed25519.Verify(signer[:], batchText(network, submitter, worker, root, count), sig[:]) {
		return bad(ErrSignature, "batch of %d receipts by %s", count, signer.Short())
	}
	return nil
}
