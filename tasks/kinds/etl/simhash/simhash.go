// Package simhash computes a 64-bit fingerprint of a text such that similar texts have fingerprints that differ in few
// bits (Charikar, "Similarity estimation techniques from rounding algorithms", 2002; Manku, Jain and Das Sarma,
// "Detecting near-duplicates for web crawling", 2007).
//
// The text is cut into tokens; three neighbouring tokens make a shingle; every shingle has a 64-bit hash, and bit i of
// the fingerprint is set if more than half of the hashes have bit i set. All of it is integer arithmetic over bytes, so
// the fingerprint is the same on every machine; golden files pin it.
//
// A shingle counts once, however often it stands in the text: else a long run of zeros, or any one phrase said often
// enough, would be the whole fingerprint of otherwise different texts. To bound memory, what was seen is remembered in a
// table of half as many slots as the text has bytes, rounded up to a power of two, but 64 at least and 8192 at most; a
// shingle takes the slot its lowest bits name. A shingle that another one has displaced from the table counts again.
//
// Tokens: a run of word bytes is a token. Word bytes are ASCII letters (upper case counts as lower), digits, the
// underscore and all bytes from 0x80. A byte from 0xE0, which begins a character of three or four bytes, begins a new
// token, because scripts of such characters (Chinese, Japanese, Thai) put no spaces between words. All other bytes
// separate. So text that is not UTF-8 needs no special treatment.
package simhash

import (
	"encoding/binary"
	"math/bits"
)

// Version of the tokenizer and the hash: it changes whenever a fingerprint does.
const Version = 1

// Shingle is the number of neighbouring tokens that are hashed together.
const Shingle = 3

// Odd constants with as many ones as zeros (from the fraction of the golden ratio and of wyhash).
const (
	k0 = 0x9e3779b97f4a7c15
	k1 = 0xe7037ed1a0b428db
	k2 = 0x8ebc6af09c88c6e3
	k3 = 0x589965cc75374cc3
)

// mix multiplies to 128 bits and folds the halves.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// low and high mask what belongs to a token of n bytes in its first and second eight bytes; 16 stands for more.
var low, high = masks()

func masks() (low, high [17]uint64) {
	for n := range low {
		low[n] = 1<<(8*min(n, 8)) - 1
		high[n] = 1<<(8*max(n-8, 0)) - 1
	}
	return low, high
}

const (
	minSlots = 1 << 6
	maxSlots = 1 << 13
)

// slots returns the size of the table of shingles for a text of n bytes.
func slots(n int) int {
	return min(max(1<<bits.Len(uint(max(n-1, 0))>>1), minSlots), maxSlots)
}

// Hasher computes fingerprints. Its zero value is ready, its memory is reused. It is not safe for concurrent use.
type Hasher struct {
	seen   [maxSlots]uint64 // the shingle that was last counted in each slot
	planes counters
	batch  [8]uint64 // hashes of shingles not yet added to planes
}

// Sum returns the fingerprint of text and the number of shingles that counted. A text of fewer than three tokens has no
// shingle, and fingerprint 0. Sum depends on text alone.
func (h *Hasher) Sum(text []byte) (sum uint64, shingles int) {
	seen := h.seen[:slots(len(text))]
	clear(seen)
	h.planes = counters{}
	var (
		older, old uint64 // hashes of the two tokens before
		tokens     int
		start      int    // of the token that is open, if one is
		open       uint64 // 1 if the byte before the block belongs to a token
		tail       [64]byte
	)
	for base := 0; base < len(text) || open == 1; base += 64 {
		var words, leads uint64
		if len(text)-base >= 64 {
			words, leads = classify((*[64]byte)(text[base:]))
		} else {
			tail = [64]byte{} // zeros separate
			copy(tail[:], text[min(base, len(text)):])
			words, leads = classify(&tail)
		}
		before := words<<1 | open
		starts := words&^before | leads
		ends := before & (^words | leads)
		if open == 0 && starts != 0 {
			start = base + bits.TrailingZeros64(starts)
			starts &= starts - 1
		}
		open = words >> 63
		for ; ends != 0; ends &= ends - 1 {
			end := base + bits.TrailingZeros64(ends)
			token := hashToken(text, start, end)
			if starts != 0 {
				start = base + bits.TrailingZeros64(starts)
				starts &= starts - 1
			}
			shingle := mix(older^k2, bits.RotateLeft64(old, 32)^token)
			older, old = old, token
			tokens++
			slot := shingle & uint64(len(seen)-1)
			if tokens < Shingle || seen[slot] == shingle {
				continue
			}
			seen[slot] = shingle
			h.batch[shingles&7] = shingle
			shingles++
			if shingles&7 == 0 {
				h.planes.add(&h.batch)
			}
		}
	}
	if rest := shingles & 7; rest != 0 {
		clear(h.batch[rest:])
		h.planes.add(&h.batch)
	}
	return h.planes.above(uint64(shingles) / 2), shingles
}

// hashToken hashes text[start:end], which is not empty and holds no zero byte.
func hashToken(text []byte, start, end int) uint64 {
	n := end - start
	if start+16 > len(text) || n > 16 {
		return hashSlow(text[start:end])
	}
	a := lower(binary.LittleEndian.Uint64(text[start:]) & low[n])
	b := lower(binary.LittleEndian.Uint64(text[start+8:]) & high[n])
	return mix(a^k0, b^k1)
}

// hashSlow is hashToken for long tokens, and where sixteen bytes cannot be loaded.
func hashSlow(token []byte) uint64 {
	var last [16]byte
	h := uint64(0)
	for ; len(token) > 16; token = token[16:] {
		a := lower(binary.LittleEndian.Uint64(token))
		b := lower(binary.LittleEndian.Uint64(token[8:]))
		h = mix(a^k0^h, b^k3)
	}
	copy(last[:], token)
	a := lower(binary.LittleEndian.Uint64(last[:]))
	b := lower(binary.LittleEndian.Uint64(last[8:]))
	return mix(a^k0^h, b^k1)
}

// A byte in every lane of a word.
const (
	ones  = 0x0101010101010101
	lanes = 0x7f7f7f7f7f7f7f7f
	tops  = 0x8080808080808080
)

// lower turns the ASCII capitals among the eight bytes of w into small letters.
func lower(w uint64) uint64 {
	seven := w & lanes
	capital := (seven + (0x80-'A')*ones) &^ (seven + (0x7f-'Z')*ones) &^ w & tops
	return w | capital>>2
}

// classify returns which bytes of the block are word bytes and which of these begin a character of three or four bytes,
// the first byte in bit 0.
func classify(block *[64]byte) (words, leads uint64) {
	for i := 0; i < 64; i += 8 {
		x := binary.LittleEndian.Uint64(block[i : i+8])
		seven := x & lanes
		// In each sum the top bit of a lane tells whether its byte reaches a bound; lanes do not carry into another.
		letter := (seven | 0x20*ones) + (0x80-'a')*ones
		letter &^= (seven | 0x20*ones) + (0x7f-'z')*ones
		digit := (seven + (0x80-'0')*ones) &^ (seven + (0x7f-'9')*ones)
		underscore := ^((seven ^ '_'*ones) + lanes)
		word := (letter | digit | underscore | x) & tops
		words |= gather(word) << i
		if x&tops != 0 {
			leads |= gather(x&(x<<1)&(x<<2)&tops) << i
		}
	}
	return words, leads
}

// gather collects the top bits of the eight lanes into the lowest eight bits.
func gather(w uint64) uint64 { return (w >> 7) * 0x0102040810204080 >> 56 }

// counters are 64 counters, bit-sliced: bit i of planes[j] is bit j of the counter of bit i.
type counters [32]uint64

// add counts the bits of eight hashes with a tree of carry-save adders.
func (p *counters) add(h *[8]uint64) {
	one, a := csa(p[0], h[0], h[1])
	one, b := csa(one, h[2], h[3])
	one, c := csa(one, h[4], h[5])
	one, d := csa(one, h[6], h[7])
	p[0] = one
	two, e := csa(p[1], a, b)
	two, f := csa(two, c, d)
	p[1] = two
	four, carry := csa(p[2], e, f)
	p[2] = four
	for i := 3; carry != 0; i++ {
		p[i&31], carry = p[i&31]^carry, p[i&31]&carry
	}
}

// csa adds three bits in every lane.
func csa(a, b, c uint64) (sum, carry uint64) {
	u := a ^ b
	return u ^ c, a&b | u&c
}

// above returns which counters are greater than n.
func (p *counters) above(n uint64) uint64 {
	greater, equal := uint64(0), ^uint64(0)
	for i := len(p) - 1; i >= 0; i-- {
		if n>>i&1 == 1 {
			equal &= p[i]
		} else {
			greater |= equal & p[i]
			equal &^= p[i]
		}
	}
	return greater
}
