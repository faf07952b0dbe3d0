package jsonl

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// state is what may stand at the scanner's position.
type state uint8

const (
	wantValue    state = iota // a value: at the top or after a colon
	firstElement              // after '[': a value or ']'
	nextElement               // after ',' in an array: a value, or ']' if the comma was one too many
	firstName                 // after '{': a name or '}'
	nextName                  // after ',' in an object: a name, or '}' if the comma was one too many
	wantColon                 // after a name
	afterValue                // a comma, a closing bracket, or the end
)

// scan walks src once from r.pos, notes the changes that repair it, and returns why it cannot be repaired.
// It uses no recursion: nesting costs a frame, not stack.
func (r *repairer) scan() *Reason {
	at := wantValue
	for {
		r.skipSpace()
		if r.pos == len(r.src) {
			return r.finish(at)
		}
		c := r.src[r.pos]
		var bad *Reason
		switch at {
		case wantValue, firstElement, nextElement:
			if c == ']' && at != wantValue {
				at, bad = r.bracket(at == nextElement)
			} else {
				at, bad = r.value(c)
			}
		case firstName, nextName:
			if c == '}' {
				at, bad = r.bracket(at == nextName)
			} else {
				at, bad = r.name(c)
			}
		case wantColon:
			if c != ':' {
				return r.unexpected()
			}
			r.pos++
			at = wantValue
		case afterValue:
			at, bad = r.after(c)
		}
		if bad != nil {
			return bad
		}
	}
}

func (r *repairer) skipSpace() {
	for r.pos < len(r.src) {
		switch r.src[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// after handles what follows a complete value.
func (r *repairer) after(c byte) (state, *Reason) {
	if len(r.frames) == 0 {
		if c == ',' && isSpace(r.src[r.pos+1:]) {
			// Up to the end, so that no line end that stood after the value comes to light.
			bad := r.change(TrailingComma, r.valueEnd, len(r.src), "")
			r.pos = len(r.src)
			return afterValue, bad
		}
		if r.numberEnd == r.pos {
			return 0, r.fault(BadNumber, r.pos)
		}
		return 0, r.fault(ExtraData, r.pos)
	}
	object := r.frames[len(r.frames)-1].object
	switch {
	case c == ',':
		r.comma = r.pos
		r.pos++
		if object {
			return nextName, nil
		}
		return nextElement, nil
	case c == '}' && object:
		return r.bracket(false)
	case c == ']' && !object:
		return r.bracket(false)
	case r.numberEnd == r.pos:
		return 0, r.fault(BadNumber, r.pos)
	}
	return 0, r.unexpected()
}

// value handles the value that begins with c.
func (r *repairer) value(c byte) (state, *Reason) {
	r.values++
	switch {
	case c == '"' || c == '\'':
		if _, bad := r.str(c, false); bad != nil {
			return 0, bad
		}
		r.done(r.pos)
		return afterValue, nil
	case c == '{' || c == '[':
		if len(r.frames) == MaxDepth {
			return 0, r.fault(TooDeep, r.pos)
		}
		r.frames = append(r.frames, frame{object: c == '{', first: len(r.members)})
		r.pos++
		if c == '{' {
			return firstName, nil
		}
		return firstElement, nil
	case c == '-' || '0' <= c && c <= '9':
		return afterValue, r.number()
	case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
		return afterValue, r.literal()
	}
	return 0, r.unexpected()
}

// done marks the end of a value.
func (r *repairer) done(end int) {
	r.valueEnd = end
	if n := len(r.frames); n > 0 && r.frames[n-1].object {
		r.members[len(r.members)-1].end = end
	}
}

func (r *repairer) name(c byte) (state, *Reason) {
	if c != '"' && c != '\'' {
		return 0, r.unexpected()
	}
	if len(r.members) == MaxMembers {
		return 0, r.fault(TooManyMembers, r.pos)
	}
	off := r.pos
	key, bad := r.str(c, true)
	r.members = append(r.members, member{off: off, key: key})
	return wantColon, bad
}

// bracket handles the closing bracket at r.pos.
func (r *repairer) bracket(comma bool) (state, *Reason) {
	r.pos++
	return afterValue, r.pop(comma)
}

// pop ends the innermost array or object; comma says that a comma stood before its bracket.
func (r *repairer) pop(comma bool) *Reason {
	if comma {
		if bad := r.change(TrailingComma, r.comma, r.comma+1, ""); bad != nil {
			return bad
		}
	}
	f := r.frames[len(r.frames)-1]
	if f.object {
		if bad := r.dropDuplicates(r.members[f.first:]); bad != nil {
			return bad
		}
		r.members = r.members[:f.first]
	}
	r.frames = r.frames[:len(r.frames)-1]
	r.done(r.pos)
	return nil
}

// finish handles the end of src.
func (r *repairer) finish(at state) *Reason {
	if at == afterValue && len(r.frames) == 0 {
		return nil
	}
	if at != afterValue || !r.last || r.numberEnd == len(r.src) {
		return r.fault(Incomplete, len(r.src))
	}
	closers := make([]byte, 0, len(r.frames))
	for len(r.frames) > 0 {
		closer := byte(']')
		if r.frames[len(r.frames)-1].object {
			closer = '}'
		}
		before := len(r.changes)
		if bad := r.pop(false); bad != nil {
			return bad
		}
		for _, c := range r.changes[before:] {
			if c.End == len(r.src) { // the last member goes, and with it the brackets that it lacked
				closers = closers[:0]
			}
		}
		closers = append(closers, closer)
	}
	return r.change(Truncated, len(r.src), len(r.src), string(closers))
}

var literals = []struct {
	text, json string
}{
	{"true", "true"},
	{"false", "false"},
	{"null", "null"},
	{"True", "true"},
	{"False", "false"},
	{"None", "null"},
}

func (r *repairer) literal() *Reason {
	start := r.pos
	for r.pos < len(r.src) && isWord(r.src[r.pos]) {
		r.pos++
	}
	word := string(r.src[start:min(r.pos, start+8)])
	for _, l := range literals {
		switch {
		case word == l.json:
		case word == l.text:
			if bad := r.change(PythonLiteral, start, r.pos, l.json); bad != nil {
				return bad
			}
		case l.text == l.json && r.last && r.pos == len(r.src) && len(r.frames) > 0 && len(word) < len(l.text) && l.text[:len(word)] == word:
			if bad := r.change(Truncated, start, r.pos, l.json); bad != nil {
				return bad
			}
		default:
			continue
		}
		r.done(r.pos)
		return nil
	}
	return r.fault(BadLiteral, start)
}

// Bounds of numbers that a schema may be checked against: exact arithmetic on longer ones is too dear.
const (
	maxDigits   = 1000
	maxExponent = 1000
)

func (r *repairer) number() *Reason {
	src, start, i := r.src, r.pos, r.pos
	if src[i] == '-' {
		i++
	}
	whole := digits(src[i:])
	if whole == 0 || whole > 1 && src[i] == '0' {
		return r.badNumber(i + whole)
	}
	i += whole
	if i < len(src) && src[i] == '.' {
		i++
		n := digits(src[i:])
		if n == 0 {
			return r.badNumber(i)
		}
		i += n
	}
	huge := i-start > maxDigits
	if i < len(src) && src[i]|0x20 == 'e' {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		n := digits(src[i:])
		if n == 0 {
			return r.badNumber(i)
		}
		exponent := 0
		for _, c := range src[i : i+n] {
			exponent = min(exponent*10+int(c-'0'), maxExponent+1)
		}
		huge = huge || exponent > maxExponent
		i += n
	}
	if huge && r.hugeNumber < 0 {
		r.hugeNumber = start
	}
	r.pos, r.numberEnd = i, i
	r.done(i)
	return nil
}

// badNumber tells a number that is wrong from one that the end of the text cut.
func (r *repairer) badNumber(at int) *Reason {
	if at == len(r.src) {
		return r.fault(Incomplete, at)
	}
	return r.fault(BadNumber, at)
}

func digits(b []byte) int {
	n := 0
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	return n
}

// str scans the string that begins at r.pos with the given quote. If key is set it returns the string as it will read
// after the repair.
func (r *repairer) str(quote byte, key bool) ([]byte, *Reason) {
	start := r.pos
	if quote == '\'' {
		if bad := r.change(SingleQuotes, start, start+1, `"`); bad != nil {
			return nil, bad
		}
	}
	src, i, plain := r.src, start+1, true
	for {
		i += clean(src[i:])
		if i >= len(src) {
			return nil, r.fault(Incomplete, len(src))
		}
		c := src[i]
		switch {
		case c == quote:
			r.pos = i + 1
			if quote == '\'' {
				if bad := r.change(SingleQuotes, i, i+1, `"`); bad != nil {
					return nil, bad
				}
			}
			if !key {
				return nil, nil
			}
			if plain {
				return src[start+1 : i], nil
			}
			return decode(src[start+1 : i]), nil
		case c == '\'': // inside double quotes
			i++
		case c == '"': // inside single quotes
			if bad := r.change(SingleQuotes, i, i+1, `\"`); bad != nil {
				return nil, bad
			}
			i++
		case c == '\\':
			plain = false
			n, bad := r.escape(i)
			if bad != nil {
				return nil, bad
			}
			i += n
		case c < 0x20:
			if bad := r.change(ControlCharacter, i, i+1, escapeControl(c)); bad != nil {
				return nil, bad
			}
			i++
		default:
			if _, n := utf8.DecodeRune(src[i:]); n > 1 {
				i += n
				continue
			}
			plain = false
			if bad := r.change(InvalidUTF8, i, i+1, "\uFFFD"); bad != nil {
				return nil, bad
			}
			i++
		}
	}
}

// escape checks the escape at i and returns its length.
func (r *repairer) escape(i int) (int, *Reason) {
	rest := r.src[i+1:]
	if len(rest) == 0 {
		return 0, r.fault(Incomplete, len(r.src))
	}
	switch rest[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, nil
	case '\'':
		return 2, r.change(SingleQuotes, i, i+2, "'")
	case 'u':
		for k := 1; k <= 4; k++ {
			if k == len(rest) {
				return 0, r.fault(Incomplete, len(r.src))
			}
			if !isHex(rest[k]) {
				return 0, r.fault(BadEscape, i)
			}
		}
		return 6, nil
	}
	return 0, r.fault(BadEscape, i)
}

// clean returns how many bytes at the start of b are printable ASCII other than quotes and backslash, looking at eight
// at a time; it may stop early.
func clean(b []byte) int {
	const (
		low  = 0x0101010101010101
		high = 0x8080808080808080
	)
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		// The high bit of each byte: below 0x20, equal to one of the three, or not ASCII. Borrows only reach bytes
		// above the first hit, so the lowest hit is exact.
		quote, apostrophe, slash := w^(low*'"'), w^(low*'\''), w^(low*'\\')
		hit := ((w - low*0x20) | (quote - low) | (apostrophe - low) | (slash - low) | w) & high
		if hit != 0 {
			// A byte of 0x80 or more minus something small keeps its high bit: it is a hit by itself.
			return n + bits.TrailingZeros64(hit)/8
		}
	}
	for ; n < len(b); n++ {
		if c := b[n]; c < 0x20 || c >= 0x80 || c == '"' || c == '\'' || c == '\\' {
			break
		}
	}
	return n
}

func (r *repairer) unexpected() *Reason { return r.fault(UnexpectedByte, r.pos) }

// fault describes what stands at offset off.
func (r *repairer) fault(code Code, off int) *Reason {
	bad := &Reason{Code: code, Col: off + 1}
	if off == len(r.src) {
		return bad
	}
	// Spelled out by hand: what the library calls printable depends on the Unicode version it was made for.
	switch c, n := utf8.DecodeRune(r.src[off:]); {
	case c > ' ' && c < 0x7f:
		bad.Detail = fmt.Sprintf("at '%c'", c)
	case c == utf8.RuneError && n == 1:
		bad.Detail = fmt.Sprintf("at byte 0x%02x", r.src[off])
	default:
		bad.Detail = fmt.Sprintf("at U+%04X", c)
	}
	return bad
}

func escapeControl(c byte) string {
	switch c {
	case '\b':
		return `\b`
	case '\f':
		return `\f`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	return fmt.Sprintf(`\u%04x`, c)
}

func isSpace(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
