// Package vector is the kind etl.vector: it writes, beside the corpus, a vector for each record by which records can be
// compared. Texts that share words and parts of words have vectors that point the same way; no model is needed.
//
// The features of a text are its words, in lower case, and the three-letter pieces of each word with its two ends. A
// feature counts 1 + ln n if it occurs n times, on one coordinate and with one sign that its hash chooses (feature hashing,
// Weinberger et al. 2009), and the whole is scaled to length 1. The empty text has the zero vector.
//
// The vectors lie beside the corpus, and other kinds do not hand them on: etl.vector is the last step of a pipeline.
//
// Logarithms, and sums of products, differ in their last bits between processors, so results are compared by their numbers.
package vector

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"slices"
	"unicode"
	"unicode/utf8"

	"kith/tasks"
	"kith/tasks/kinds/etl"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/params"
)

// VectorFile holds the vectors of all records, one after another, in the order of the index: Params.Dimensions
// little-endian 32-bit floats each.
const VectorFile = "vectors.f32"

// Params are the parameters of etl.vector.
type Params struct {
	Dimensions int `json:"dimensions"`
}

// Bounds of the parameters.
const (
	MinDimensions     = 16
	MaxDimensions     = 4096
	defaultDimensions = 256
)

const schema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "dimensions": {"type": "integer", "minimum": 16, "maximum": 4096, "default": 256, "description": "numbers in a vector"}
  }
}`

// Kind is etl.vector. It implements tasks.Numbered.
type Kind struct{}

// Describe implements tasks.Kind.
func (Kind) Describe() tasks.Description {
	d := etl.Describe("etl.vector", "Write a vector of each record, by which records can be compared; the last step of a pipeline", 1, schema)
	d.Comparison = tasks.Numeric
	d.Tolerance = tasks.Tolerance{Cosine: 0.999999, MaxRelative: 1e-4, Floor: 1e-2}
	return d
}

// Check implements tasks.Kind.
func (Kind) Check(b []byte) ([]byte, error) {
	p, err := decode(b)
	if err != nil {
		return nil, err
	}
	return params.Canonical(p)
}

func decode(b []byte) (Params, error) {
	p := Params{Dimensions: defaultDimensions}
	if err := params.Decode(b, &p); err != nil {
		return p, err
	}
	return p, params.Range("dimensions", int64(p.Dimensions), MinDimensions, MaxDimensions)
}

// Run implements tasks.Kind.
func (Kind) Run(ctx context.Context, c *tasks.Call) (err error) {
	p, err := decode(c.Params)
	if err != nil {
		return err
	}
	if err := corpus.Pass(c, c.In[0]); err != nil {
		return err
	}
	f, err := c.Out.Create(VectorFile)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 64<<10)
	defer func() { err = errors.Join(err, out.Flush(), f.Close()) }()
	v := newVectorizer(p.Dimensions)
	buf := make([]byte, 0, 4*p.Dimensions)
	return corpus.Each(ctx, c, c.In[0], func(_ *corpus.Record, data []byte) error {
		buf = buf[:0]
		for _, x := range v.of(data) {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(float32(x)))
		}
		_, err := out.Write(buf)
		return err
	})
}

// vectorizer makes vectors, one at a time.
type vectorizer struct {
	sum    []float64
	counts map[uint64]int
}

func newVectorizer(dimensions int) *vectorizer {
	return &vectorizer{sum: make([]float64, dimensions), counts: map[uint64]int{}}
}

// of returns the vector of a text, valid until the next call.
func (v *vectorizer) of(text []byte) []float64 {
	clear(v.counts)
	clear(v.sum)
	var word []rune
	flush := func() {
		if len(word) > 0 {
			v.add(word)
			word = word[:0]
		}
	}
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) || r == utf8.RuneError {
			flush()
			continue
		}
		if word = append(word, unicode.ToLower(r)); len(word) == maxWord { // what is longer is no word of a text
			flush()
		}
	}
	flush()
	var square float64
	for _, h := range slices.Sorted(maps.Keys(v.counts)) { // in one order: sums of floats depend on it
		w := 1 + math.Log(float64(v.counts[h]))
		if h>>63 == 1 {
			w = -w
		}
		v.sum[h%uint64(len(v.sum))] += w
	}
	for _, x := range v.sum {
		square += x * x
	}
	if length := math.Sqrt(square); length > 0 {
		for i := range v.sum {
			v.sum[i] /= length
		}
	}
	return v.sum
}

const maxWord = 64

// add counts the features of one word.
func (v *vectorizer) add(word []rune) {
	h := uint64(offset)
	for _, r := range word {
		h = mix(h, r)
	}
	v.counts[mix(h, ' ')]++
	at := func(i int) rune {
		if i < 0 || i == len(word) {
			return '|' // an end of the word
		}
		return word[i]
	}
	for i := -1; i+2 <= len(word); i++ {
		v.counts[mix(mix(mix(offset, at(i)), at(i+1)), at(i+2))]++
	}
}

// The hash is FNV-1a over runes.
const (
	offset = 14695981039346656037
	prime  = 1099511628211
)

func mix(h uint64, r rune) uint64 {
	for s := 0; s < 24; s += 8 {
		h = (h ^ uint64(r>>s)&0xff) * prime
	}
	return h
}

// Numbers implements tasks.Numbered: the rows are the vectors, everything else must be the same.
func (Kind) Numbers(ctx context.Context, c *tasks.Call, output fs.FS) (n tasks.Numbers, err error) {
	p, err := decode(c.Params)
	if err != nil {
		return n, err
	}
	list, err := fs.ReadDir(output, ".")
	if err != nil {
		return n, err
	}
	sum := sha256.New()
	for _, f := range list {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if f.Name() == VectorFile {
			continue
		}
		in, err := output.Open(f.Name())
		if err != nil {
			return n, err
		}
		fmt.Fprintf(sum, "%q\n", f.Name())
		size, err := io.Copy(sum, in)
		if err := errors.Join(err, in.Close()); err != nil {
			return n, fmt.Errorf("%s: %w", f.Name(), err)
		}
		fmt.Fprintf(sum, "%d\n", size)
	}
	sum.Sum(n.Exact[:0])
	n.Rows, err = rows(output, p.Dimensions)
	return n, err
}

// rows reads vectors.
func rows(output fs.FS, dimensions int) (list [][]float64, err error) {
	f, err := output.Open(VectorFile)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := bufio.NewReaderSize(f, 64<<10)
	buf := make([]byte, 4*dimensions)
	for {
		switch _, err := io.ReadFull(in, buf); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("%s: vector %d: %w", VectorFile, len(list), err)
		}
		row := make([]float64, dimensions)
		for i := range row {
			row[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:])))
		}
		list = append(list, row)
	}
}

// Merge implements tasks.Kind.
func (Kind) Merge(ctx context.Context, c *tasks.Call) (err error) {
	if err := corpus.Merge(ctx, c); err != nil {
		return err
	}
	if len(c.In) == 1 {
		return c.Out.Pass(c.In[0], VectorFile, VectorFile)
	}
	out, err := c.Out.Create(VectorFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for i, in := range c.In {
		f, err := in.Open(VectorFile)
		if err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
		_, err = io.Copy(out, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
	}
	return nil
}
