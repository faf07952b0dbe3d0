// Package gram turns text into the features by which etl.lang tells languages apart: hashes of letter triples and of
// whole words. The detector and the program that trains its table share it, so that both see the same features.
package gram

import (
	"unicode"
	"unicode/utf8"
)

// Script is a writing system.
type Script uint8

// The scripts that are told apart. None is everything that is no letter of one of them.
const (
	None Script = iota
	Latin
	Cyrillic
	Arabic
	Devanagari
	Greek
	Hebrew
	Han
	Kana
	Hangul
	Thai
	Armenian
	Georgian
	Bengali
	Gurmukhi
	Gujarati
	Tamil
	Telugu
	Kannada
	Malayalam
	Sinhala
	Lao
	Khmer
	Burmese
	Ethiopic
	ScriptCount
)

// tableSize bounds the runes that are folded by table: all of the scripts that Features knows.
const tableSize = 0x2000

// Tables hold what is known of each rune below tableSize. Use New; a Tables is safe for concurrent use.
type Tables struct {
	script [tableSize]Script
	fold   [tableSize]uint16
}

// New builds the tables.
func New() *Tables {
	t := new(Tables)
	for r := rune(1); r < tableSize; r++ {
		if s := script(r); s != None {
			t.script[r] = s
			if lower := unicode.ToLower(r); lower < tableSize {
				t.fold[r] = uint16(lower)
			} else {
				t.fold[r] = uint16(r)
			}
		}
	}
	return t
}

// Script returns the script of r.
func (t *Tables) Script(r rune) Script {
	if uint32(r) < tableSize {
		return t.script[r]
	}
	return script(r)
}

// blocks are the ranges of each script. Signs that change or carry no letter (digits, punctuation, vowel points, the
// Arabic tatweel) are left out: they separate words or, if Silent, vanish.
var blocks = [...]struct {
	lo, hi rune
	script Script
}{
	{'A', 'Z', Latin},
	{'a', 'z', Latin},
	{0xaa, 0xaa, Latin},
	{0xba, 0xba, Latin},
	{0xc0, 0xd6, Latin},
	{0xd8, 0xf6, Latin},
	{0xf8, 0x24f, Latin},
	{0x370, 0x373, Greek},
	{0x376, 0x377, Greek},
	{0x37b, 0x37d, Greek},
	{0x386, 0x386, Greek},
	{0x388, 0x3ff, Greek},
	{0x400, 0x481, Cyrillic},
	{0x48a, 0x52f, Cyrillic},
	{0x531, 0x556, Armenian},
	{0x561, 0x587, Armenian},
	{0x5d0, 0x5f2, Hebrew},
	{0x620, 0x63f, Arabic},
	{0x641, 0x64a, Arabic},
	{0x671, 0x6d3, Arabic},
	{0x6d5, 0x6d5, Arabic},
	{0x6fa, 0x6fc, Arabic},
	{0x750, 0x77f, Arabic},
	{0x900, 0x963, Devanagari},
	{0x971, 0x97f, Devanagari},
	{0x980, 0x9e3, Bengali},
	{0xa01, 0xa5e, Gurmukhi},
	{0xa70, 0xa75, Gurmukhi},
	{0xa81, 0xae3, Gujarati},
	{0xb82, 0xbd7, Tamil},
	{0xc00, 0xc63, Telugu},
	{0xc80, 0xce3, Kannada},
	{0xd00, 0xd63, Malayalam},
	{0xd81, 0xddf, Sinhala},
	{0xe01, 0xe3a, Thai},
	{0xe40, 0xe4e, Thai},
	{0xe81, 0xecd, Lao},
	{0xedc, 0xedf, Lao},
	{0x1000, 0x103f, Burmese},
	{0x10a0, 0x10ff, Georgian},
	{0x1100, 0x11ff, Hangul},
	{0x1200, 0x135f, Ethiopic},
	{0x1780, 0x17d3, Khmer},
	{0x1e00, 0x1eff, Latin},
	{0x1f00, 0x1fff, Greek},
	{0x3005, 0x3007, Han},
	{0x3041, 0x309f, Kana},
	{0x30a1, 0x30ff, Kana},
	{0x3400, 0x4dbf, Han},
	{0x4e00, 0x9fff, Han},
	{0xac00, 0xd7a3, Hangul},
	{0xf900, 0xfaff, Han},
	{0xff66, 0xff9f, Kana},
	{0x20000, 0x323af, Han},
}

func script(r rune) Script {
	lo, hi := 0, len(blocks)
	for lo < hi {
		mid := (lo + hi) / 2
		if blocks[mid].hi < r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(blocks) && blocks[lo].lo <= r {
		return blocks[lo].script
	}
	return None
}

// silent reports marks inside words that features pass over: combining accents, Arabic vowel points and tatweel,
// joiners, soft hyphens.
func silent(r rune) bool {
	return r >= 0x300 && r <= 0x36f || r >= 0x64b && r <= 0x65f || r == 0x640 || r == 0x670 || r == 0x200c || r == 0x200d || r == 0xad
}

// maxWord is the longest word, in letters, that is a feature as a whole.
const maxWord = 10

// Features appends the hashes of the features of text, as far as it is written in script s, to dst. A hash is never 0.
// s must be Latin, Cyrillic, Arabic or Devanagari.
func (t *Tables) Features(dst []uint32, text []byte, s Script) []uint32 {
	const space = ' '
	a, b := uint64(space), uint64(space) // the last two letters
	word, length := uint64(0), 0
	for i := 0; i < len(text); {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(text[i:])
		}
		i += n
		if r < tableSize && t.script[r] == s {
			c := uint64(t.fold[r])
			dst = append(dst, mix(a<<32|b<<16|c))
			if c >= utf8.RuneSelf {
				dst = append(dst, mix(1<<48|c))
			}
			a, b = b, c
			word = (word ^ c) * 0x9e3779b97f4a7c15
			word ^= word >> 29
			length++
			continue
		}
		if length == 0 || silent(r) {
			continue
		}
		dst = append(dst, mix(a<<32|b<<16|space))
		if length <= maxWord {
			dst = append(dst, mix(2<<48^word))
		}
		a, b, word, length = space, space, 0, 0
	}
	return dst
}

// mix hashes x to 32 bits, never 0.
func mix(x uint64) uint32 {
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return uint32(x>>32) | 1
}
