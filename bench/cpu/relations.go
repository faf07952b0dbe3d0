package cpu

import (
	"encoding/binary"
	"math/bits"
)

// Kinds of entries in Windows' table of processors.
const (
	relationCore    = 0
	relationCache   = 2
	relationPackage = 3
)

// parseRelations reads what GetLogicalProcessorInformationEx returns: entries that begin with their kind and size.
// Damaged entries end it.
func parseRelations(b []byte, order binary.ByteOrder) Topology {
	const head, affinity = 8, 16 // bytes
	var t Topology
	classes := map[byte]int{}
	var best byte
	for len(b) >= head {
		kind, size := order.Uint32(b), order.Uint32(b[4:])
		if size < head || uint64(size) > uint64(len(b)) {
			break
		}
		e := b[head:size]
		b = b[size:]
		switch kind {
		case relationPackage:
			t.Sockets++
		case relationCore:
			// flags, efficiency class, 20 reserved, number of groups, then so many masks of 16 bytes.
			if len(e) < 24 {
				continue
			}
			t.Cores++
			classes[e[1]]++
			best = max(best, e[1])
			groups := int(order.Uint16(e[22:]))
			for i := range groups {
				if m := 24 + i*affinity; m+8 <= len(e) {
					t.Threads += bits.OnesCount64(order.Uint64(e[m:]))
				}
			}
		case relationCache:
			// level, associativity, line size (2), size (4), type (4): 0 unified, 1 instructions, 2 data.
			if len(e) < 12 {
				continue
			}
			size, typ := int64(order.Uint32(e[4:])), order.Uint32(e[8:])
			switch {
			case e[0] == 1 && typ == 2:
				t.L1d = max(t.L1d, size)
			case e[0] == 1 && typ == 1:
				t.L1i = max(t.L1i, size)
			case e[0] == 2:
				t.L2 = max(t.L2, size)
			case e[0] == 3:
				t.L3 += size
			}
		}
	}
	if len(classes) > 1 {
		t.Performance, t.Efficiency = classes[best], t.Cores-classes[best]
	}
	return t
}
