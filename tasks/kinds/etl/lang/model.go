package lang

import (
	_ "embed"
	"encoding/binary"
	"fmt"

	"kith/tasks/kinds/etl/lang/internal/gram"
)

//go:generate go run ./train -from train -to table.bin

// table is what train writes. For each script: its number, the number of languages, their two-letter codes, the number
// of features (u32), the hash of each (u32, increasing), and for each feature one byte a language: how much less likely
// the feature is in it than in the language that uses it most, in sixteenths of a bit.
//
//go:embed table.bin
var table []byte

// model tells the languages of one script apart.
//
// A row holds what a feature speaks against each language, one byte a language, eight in a word. Sums are kept in
// lanes of sixteen bits, so that two additions serve eight languages.
type model struct {
	langs  []string
	words  int      // of a row
	rows   []uint64 // of all features
	hashes []uint32 // open addressing; 0 is empty
	index  []uint16 // row of each hash
	mask   uint32
}

// maxLangs is the most languages one script may have.
const maxLangs = 40

// parseTable reads what train writes.
func parseTable(b []byte) (models [gram.ScriptCount]*model, err error) {
	for len(b) > 0 {
		if len(b) < 2 || b[0] >= byte(gram.ScriptCount) || len(b) < 2+2*int(b[1])+4 {
			return models, fmt.Errorf("language table: bad header")
		}
		script, count := b[0], int(b[1])
		if count == 0 || count > maxLangs {
			return models, fmt.Errorf("language table: %d languages in one script", count)
		}
		m := &model{words: (count + 7) / 8}
		for i := range count {
			m.langs = append(m.langs, string(b[2+2*i:4+2*i]))
		}
		b = b[2+2*count:]
		n := int(binary.LittleEndian.Uint32(b))
		b = b[4:]
		if n >= 1<<16 || len(b) < n*(4+count) {
			return models, fmt.Errorf("language table: %d features do not fit", n)
		}
		size := 1
		for size < 2*n {
			size <<= 1
		}
		m.mask = uint32(size - 1)
		m.hashes, m.index = make([]uint32, size), make([]uint16, size)
		for i := range n {
			h := binary.LittleEndian.Uint32(b[4*i:])
			at := slot(h) & m.mask
			for m.hashes[at] != 0 {
				at = (at + 1) & m.mask
			}
			m.hashes[at], m.index[at] = h, uint16(i)
		}
		b = b[4*n:]
		m.rows = make([]uint64, n*m.words)
		for i := range n {
			for k, against := range b[i*count : (i+1)*count] {
				m.rows[i*m.words+k/8] |= uint64(against) << (k % 8 * 8)
			}
		}
		b = b[n*count:]
		models[script] = m
	}
	return models, nil
}

// slot spreads a hash over the table; its lowest bit is always set.
func slot(h uint32) uint32 { return h >> 1 }

// guess is the outcome of a comparison of languages.
type guess struct {
	lang     string
	margin   int // how much more likely it is than the second, in sixteenths of a bit
	against  int // what speaks against it, in sixteenths of a bit
	known    int // features that the table knows
	features int
}

// flush is how many rows fit into lanes of sixteen bits.
const flush = 65535 / 255

// score compares the languages by the features of a text.
func (m *model) score(features []uint32) guess {
	g := guess{features: len(features)}
	var sums [maxLangs]int
	var even, odd [maxLangs / 8]uint64
	const lanes = 0x00ff00ff00ff00ff
	pending := 0
	for _, h := range features {
		at := slot(h) & m.mask
		for m.hashes[at] != h && m.hashes[at] != 0 {
			at = (at + 1) & m.mask
		}
		if m.hashes[at] == 0 {
			continue
		}
		g.known++
		row := int(m.index[at]) * m.words
		for i, w := range m.rows[row : row+m.words] {
			even[i] += w & lanes
			odd[i] += w >> 8 & lanes
		}
		if pending++; pending == flush {
			unload(&sums, &even, &odd)
			pending = 0
		}
	}
	unload(&sums, &even, &odd)
	best, second := 0, -1
	for i := 1; i < len(m.langs); i++ {
		switch {
		case sums[i] < sums[best]:
			best, second = i, best
		case second < 0 || sums[i] < sums[second]:
			second = i
		}
	}
	g.lang, g.against = m.langs[best], sums[best]
	if second >= 0 {
		g.margin = sums[second] - sums[best]
	}
	return g
}

// unload adds the lanes to the sums and clears them.
func unload(sums *[maxLangs]int, even, odd *[maxLangs / 8]uint64) {
	for i := range even {
		for k := range 4 {
			sums[8*i+2*k] += int(even[i] >> (16 * k) & 0xffff)
			sums[8*i+2*k+1] += int(odd[i] >> (16 * k) & 0xffff)
		}
		even[i], odd[i] = 0, 0
	}
}
