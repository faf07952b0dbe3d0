package jsonl

import (
	"bytes"
	"cmp"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// fewMembers is the size up to which comparing every pair beats sorting.
const fewMembers = 12

// dropDuplicates notes the removal of members with equal names from one object.
func (r *repairer) dropDuplicates(ms []member) *Reason {
	if len(ms) < 2 {
		return nil
	}
	if len(ms) <= fewMembers {
		for i := range ms[:len(ms)-1] {
			for j := i + 1; j < len(ms); j++ {
				if len(ms[i].key) == len(ms[j].key) && bytes.Equal(ms[i].key, ms[j].key) {
					return r.dropEqual(ms)
				}
			}
		}
		return nil
	}
	return r.dropEqual(ms)
}

// dropEqual finds equal names by sorting, so that a hostile object costs n log n, and notes the removals.
func (r *repairer) dropEqual(ms []member) *Reason {
	r.order = r.order[:0]
	for i := range ms {
		r.order = append(r.order, int32(i))
	}
	slices.SortFunc(r.order, func(a, b int32) int {
		if c := bytes.Compare(ms[a].key, ms[b].key); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
	for k := 1; k < len(r.order); k++ {
		first, second := r.order[k-1], r.order[k]
		if !bytes.Equal(ms[first].key, ms[second].key) {
			continue
		}
		var bad *Reason
		switch r.duplicates {
		case Refuse:
			bad = &Reason{Code: Code(DuplicateKey.String()), Col: ms[second].off + 1}
		case FirstWins: // with the comma before it
			bad = r.change(DuplicateKey, ms[second-1].end, ms[second].end, "")
		default: // with the comma after it
			bad = r.change(DuplicateKey, ms[first].off, ms[first+1].off, "")
		}
		if bad != nil {
			return bad
		}
	}
	return nil
}

// decode returns the string whose content (without quotes) is b, as it reads after the repair: a byte that is not UTF-8
// as U+FFFD, a lone surrogate as the three bytes of its code point, which equals nothing else.
func decode(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c == '\\' && b[i+1] == 'u':
			u := hex4(b[i+2:])
			i += 6
			if utf16.IsSurrogate(u) {
				if i+6 <= len(b) && b[i] == '\\' && b[i+1] == 'u' {
					if pair := utf16.DecodeRune(u, hex4(b[i+2:])); pair != utf8.RuneError {
						out = utf8.AppendRune(out, pair)
						i += 6
						continue
					}
				}
				out = append(out, 0xe0|byte(u>>12), 0x80|byte(u>>6)&0x3f|0x80, 0x80|byte(u)&0x3f)
				continue
			}
			out = utf8.AppendRune(out, u)
		case c == '\\':
			out = append(out, unescape(b[i+1]))
			i += 2
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			u, n := utf8.DecodeRune(b[i:])
			out = utf8.AppendRune(out, u)
			i += n
		}
	}
	return out
}

func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // quotes, slash and backslash stand for themselves
}

func hex4(b []byte) rune {
	var u rune
	for _, c := range b[:4] {
		u <<= 4
		switch {
		case c <= '9':
			u |= rune(c - '0')
		case c <= 'F':
			u |= rune(c - 'A' + 10)
		default:
			u |= rune(c - 'a' + 10)
		}
	}
	return u
}
