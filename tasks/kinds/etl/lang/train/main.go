// Command train builds the table of etl.lang from the texts and word lists in its folder. It uses integers alone, so
// that the same texts give the same table on every machine.
package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kith/tasks/kinds/etl/lang/internal/gram"
)

// groups are the scripts in which several languages are written, each with how many features its table keeps.
var groups = []struct {
	script gram.Script
	langs  string
	keep   int
}{
	{gram.Latin, "af ca cs cy da de en es et eu fi fr ga hr hu id is it lt lv nl no pl pt ro sk sl sq sv sw tl tr vi", 14000},
	{gram.Cyrillic, "be bg kk mk ru sr uk", 6000},
	{gram.Arabic, "ar fa ur", 4000},
	{gram.Devanagari, "hi mr ne", 4000},
}

func main() {
	from := flag.String("from", "train", "folder of text/ and words/")
	to := flag.String("to", "table.bin", "file to write")
	flag.Parse()
	if err := run(*from, *to); err != nil {
		log.Fatal(err)
	}
}

func run(from, to string) error {
	tables := gram.New()
	var out bytes.Buffer
	for _, g := range groups {
		langs := strings.Fields(g.langs)
		counts := map[uint32][]int{} // feature → how often in each language, in 1/16
		for i, lang := range langs {
			seen, err := count(tables, g.script, from, lang)
			if err != nil {
				return err
			}
			for feature, n := range seen {
				if counts[feature] == nil {
					counts[feature] = make([]int, len(langs))
				}
				counts[feature][i] = n
			}
		}
		writeGroup(&out, g.script, langs, counts, g.keep)
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}

// count returns the damped counts of the features of one language.
func count(tables *gram.Tables, script gram.Script, from, lang string) (map[uint32]int, error) {
	text, err := os.ReadFile(filepath.Join(from, "text", lang+".txt"))
	if err != nil {
		return nil, err
	}
	features := tables.Features(nil, append(text, '\n'), script)
	raw := map[uint32]int{}
	for _, f := range features {
		raw[f]++
	}
	// The text is a declaration of law and repeats itself: the root of a count says more about other texts. Of some
	// languages there are two versions: scaling makes them one.
	seen := map[uint32]int{}
	for f, n := range raw {
		seen[f] = root(int64(n) * 256 * reference / int64(len(features)))
	}
	words, err := os.ReadFile(filepath.Join(from, "words", lang+".txt"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for _, f := range tables.Features(nil, append(words, '\n'), script) {
		seen[f] += wordWeight
	}
	return seen, nil
}

// reference is the usual number of features of one text.
const reference = 14000

// wordWeight is what one word of a list counts, in 1/16.
const wordWeight = 24

// smoothing is what a feature that was never seen counts, in 1/16.
const smoothing = 6

func writeGroup(out *bytes.Buffer, script gram.Script, langs []string, counts map[uint32][]int, keep int) {
	totals := make([]uint64, len(langs))
	for _, c := range counts {
		for i, n := range c {
			totals[i] += uint64(n)
		}
	}
	type feature struct {
		hash    uint32
		rank    int64
		against []byte
	}
	var features []feature
	for hash, c := range counts {
		logs := make([]int, len(langs)) // log2 of the likelihood in 1/65536
		best, sum := math.MinInt, 0
		for i, n := range c {
			logs[i] = log2(uint64(n)+smoothing) - log2(totals[i]+uint64(len(counts))*smoothing)
			best = max(best, logs[i])
			sum += n
		}
		f := feature{hash: hash, against: make([]byte, len(langs))}
		spread := 0
		for i, l := range logs {
			a := min((best-l+1<<11)>>12, 255) // in 1/16 bit
			spread += a
			f.against[i] = byte(a)
		}
		f.rank = int64(sum) * int64(spread)
		features = append(features, f)
	}
	slices.SortFunc(features, func(a, b feature) int {
		if a.rank != b.rank {
			return cmp.Compare(b.rank, a.rank)
		}
		return cmp.Compare(a.hash, b.hash)
	})
	fmt.Fprintf(os.Stderr, "%v: %d features, %d kept\n", langs, len(features), min(keep, len(features)))
	features = features[:min(keep, len(features))]
	slices.SortFunc(features, func(a, b feature) int { return cmp.Compare(a.hash, b.hash) })

	out.WriteByte(byte(script))
	out.WriteByte(byte(len(langs)))
	for _, l := range langs {
		out.WriteString(l)
	}
	out.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(features))))
	for _, f := range features {
		out.Write(binary.LittleEndian.AppendUint32(nil, f.hash))
	}
	for _, f := range features {
		out.Write(f.against)
	}
}

// root returns the integer square root.
func root(n int64) int {
	r := int64(0)
	for r*r <= n {
		r++
	}
	return int(r - 1)
}

// log2 returns the binary logarithm of x ≥ 1 in 1/65536, rounded down, by repeated squaring.
func log2(x uint64) int {
	whole := bits.Len64(x) - 1
	m := x << (63 - whole) // 1 ≤ m/2^63 < 2
	result := whole
	for range 16 {
		hi, lo := bits.Mul64(m, m) // m² / 2^126
		result <<= 1
		if hi&(1<<63) != 0 {
			result |= 1
			m = hi
		} else {
			m = hi<<1 | lo>>63
		}
	}
	return result
}
