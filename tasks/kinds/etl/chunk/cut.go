package chunk

import (
	"bytes"
	"sort"
	"unicode/utf8"
)

// cutter cuts texts into pieces of at most window bytes. A piece ends at the best place in the second half of the
// window, the latest of equals:
//
//	prose     after a paragraph, a sentence, a line, a word
//	markdown  before a heading (the higher the better), around fenced code, then as prose; fenced code that fits a
//	          window is never cut
//	code      at a blank line, the less indented what follows the better; after a closing brace; after a line, a word
//	lines     after a line, a word
//
// and, where there is none of these, anywhere but inside a UTF-8 character or between CR and LF. The next piece begins
// at most overlap bytes before the end of the one before, at the beginning of a line or else a word, and never before
// the middle of it. Cuts depend on nothing but the text from its beginning.
type cutter struct {
	window, overlap int
	fences          []span // of the text being cut, if it is markdown
}

// span is a part of the text: from at up to end.
type span struct{ at, end int }

// cut calls yield for each piece of text, in order. An empty text is one empty piece.
func (c *cutter) cut(text []byte, f form, yield func(at, end int) error) error {
	c.fences = c.fences[:0]
	if f == markdown && len(text) > c.window {
		c.findFences(text)
	}
	for at := 0; ; {
		if len(text)-at <= c.window {
			return yield(at, len(text))
		}
		end := c.end(text, f, at)
		if err := yield(at, end); err != nil {
			return err
		}
		at = c.begin(text, at, end)
	}
}

// begin returns where the piece after text[at:end] begins.
func (c *cutter) begin(text []byte, at, end int) int {
	from := max(end-c.overlap, at+(end-at+1)/2)
	if from >= end {
		return end
	}
	// Line and word starts are looked for from the byte before, so that from itself may be one.
	if i := bytes.IndexByte(text[from-1:end-1], '\n'); i >= 0 {
		return from + i
	}
	for i := from; i < end; i++ {
		if space(text[i-1]) && !space(text[i]) {
			return i
		}
	}
	for i := from; i < min(end, from+utf8.UTFMax); i++ {
		if whole(text, i) {
			return i
		}
	}
	return from
}

// end returns where a piece that begins at at ends; text goes on for more than a window from there.
func (c *cutter) end(text []byte, f form, at int) int {
	low, high := at+c.window/2, at+c.window
	if cut := c.ranked(text, f, at, low, high); cut > 0 {
		return cut
	}
	if fence := c.fence(high); fence.at < high && high < fence.end {
		if fence.at > at && fence.end-fence.at <= c.window {
			return fence.at
		}
		if cut := c.ranked(text, code, at, low, high); cut > 0 {
			return cut
		}
	}
	if f == prose || f == markdown {
		if cut := lastSentence(text, low, high); cut > 0 {
			return cut
		}
	}
	if i := bytes.LastIndexByte(text[low:high], '\n'); i >= 0 {
		return low + i + 1
	}
	for i := high; i > low; i-- {
		if space(text[i-1]) {
			if text[i-1] == '\r' && text[i] == '\n' {
				continue
			}
			return i
		}
	}
	for i := high; i > max(low, high-utf8.UTFMax); i-- {
		if whole(text, i) {
			return i
		}
	}
	return high
}

// ranked returns the best line to end a piece before that began at at, in (low, high], or 0 if none has a rank.
func (c *cutter) ranked(text []byte, f form, at, low, high int) int {
	best, bestRank := 0, 0
	line := at + bytes.LastIndexByte(text[at:low], '\n') + 1
	for {
		i := bytes.IndexByte(text[line:high], '\n')
		if i < 0 {
			return best
		}
		before := text[line : line+i]
		line += i + 1
		if line <= low {
			continue
		}
		rank := 0
		switch f {
		case prose:
			rank = rankProse(before, text[line:])
		case code:
			rank = rankCode(before, text[line:])
		case markdown:
			rank = c.rankMarkdown(before, text[line:], line)
		case lines:
			rank = 1
		}
		if rank >= bestRank && rank > 0 {
			best, bestRank = line, rank
		}
	}
}

func rankProse(before, after []byte) int {
	if blank(before) && !blankLine(after) {
		return 1
	}
	return 0
}

// maxIndent is where deeper indentation stops to count.
const maxIndent = 60

func rankCode(before, after []byte) int {
	depth, first := 0, byte('\n')
	for _, b := range after {
		first = b
		if b == ' ' && depth < maxIndent {
			depth++
		} else if b == '\t' && depth < maxIndent {
			depth += 4
		} else {
			break
		}
	}
	depth = min(depth, maxIndent)
	switch first {
	case '\n', '\r', '}', ')', ']':
		return 1
	}
	if trimmed := bytes.Trim(before, " \t\r"); len(trimmed) == 0 {
		return 3 + 2*(maxIndent-depth)
	} else if trimmed[0] == '}' && trimmed[len(trimmed)-1] != '{' {
		return 2 + 2*(maxIndent-depth)
	}
	return 1
}

func (c *cutter) rankMarkdown(before, after []byte, at int) int {
	f := c.fence(at)
	if f.at < at && at < f.end {
		return 0
	}
	if level := headingLevel(after); level > 0 {
		return 10 - level
	}
	if f.end > 0 && (f.at == at || f.end == at) {
		return 3
	}
	return 2 * rankProse(before, after)
}

// fence returns the last fence that begins at or before at, or an empty span.
func (c *cutter) fence(at int) span {
	n := sort.Search(len(c.fences), func(i int) bool { return c.fences[i].at > at })
	if n == 0 {
		return span{}
	}
	return c.fences[n-1]
}

// findFences notes where fenced code stands: from a line of at least three backticks or tildes, indented by at most
// three spaces, through the line that closes it, or the end of the text.
func (c *cutter) findFences(text []byte) {
	var mark byte
	length := 0 // of the open fence; 0: none is open
	open := 0
	for at := 0; at < len(text); {
		end := len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		b, n, rest := fenceLine(text[at:end])
		switch {
		case n < 3:
		case length == 0:
			if b == '~' || bytes.IndexByte(rest, '`') < 0 { // else it is code within a line
				mark, length, open = b, n, at
			}
		case b == mark && n >= length && blank(rest):
			c.fences = append(c.fences, span{open, end})
			length = 0
		}
		at = end
	}
	if length > 0 {
		c.fences = append(c.fences, span{open, len(text)})
	}
}

// fenceLine returns the mark that begins a line, how often it stands there, and what follows.
func fenceLine(line []byte) (mark byte, n int, rest []byte) {
	for i := 0; i < 3 && len(line) > 0 && line[0] == ' '; i++ {
		line = line[1:]
	}
	if len(line) < 3 || line[0] != '`' && line[0] != '~' {
		return 0, 0, nil
	}
	for n < len(line) && line[n] == line[0] {
		n++
	}
	return line[0], n, line[n:]
}

// headingLevel returns 1 to 6 if the text begins with an ATX heading, else 0.
func headingLevel(text []byte) int {
	n := 0
	for n < len(text) && n < 7 && text[n] == '#' {
		n++
	}
	if n == 0 || n > 6 || n < len(text) && !space(text[n]) {
		return 0
	}
	return n
}

// lastSentence returns where the last sentence that ends in (low, high] does, with the white space after it, or 0.
func lastSentence(text []byte, low, high int) int {
	for i := high; i > low; i-- {
		switch b := text[i-1]; {
		case space(b):
			j := i - 1
			for j > low && space(text[j-1]) {
				j--
			}
			k := j
			for k > low && closes(text[k-1]) {
				k--
			}
			if k > low && (text[k-1] == '.' || text[k-1] == '!' || text[k-1] == '?') && !(b == '\r' && text[i] == '\n') {
				return i
			}
			i = j + 1 // the loop goes on before the white space
		case i-3 > low && (b == 0x82 && text[i-2] == 0x80 && text[i-3] == 0xe3 || // 。
			(b == 0x81 || b == 0x9f) && text[i-2] == 0xbc && text[i-3] == 0xef): // ！ ？
			return i
		}
	}
	return 0
}

// whole reports whether a cut at i, inside text, splits neither a character nor a CR LF.
func whole(text []byte, i int) bool {
	return utf8.RuneStart(text[i]) && !(text[i] == '\n' && text[i-1] == '\r')
}

func closes(b byte) bool { return b == '"' || b == '\'' || b == ')' || b == ']' }

func space(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' }

func blank(line []byte) bool {
	for _, b := range line {
		if !space(b) {
			return false
		}
	}
	return true
}

// blankLine reports whether the first line of text is blank.
func blankLine(text []byte) bool {
	for _, b := range text {
		if b == '\n' {
			return true
		}
		if !space(b) {
			return false
		}
	}
	return true
}
