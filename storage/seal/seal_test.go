package seal_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"kith/storage/seal"
)

var (
	key   = [32]byte{1, 2, 3}
	other = [32]byte{1, 2, 4}
)

const (
	segment = seal.SegmentSize
	sealed  = segment + 16
	salt    = 32
)

func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

func sealBytes(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := seal.Seal(key, &out, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 1000, segment - 1, segment, segment + 1, 3 * segment, 3*segment + 5} {
		want := content(n)
		s := sealBytes(t, want)
		if int64(len(s)) != seal.SealedSize(int64(n)) {
			t.Errorf("%d bytes: sealed %d, announced %d", n, len(s), seal.SealedSize(int64(n)))
		}
		var got bytes.Buffer
		if err := seal.Open(key, &got, iotest.HalfReader(bytes.NewReader(s))); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes: got %d %v", n, got.Len(), err)
		}
		if err := seal.Open(other, io.Discard, bytes.NewReader(s)); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("%d bytes: another key: %v", n, err)
		}
		if bytes.Equal(s, sealBytes(t, want)) {
			t.Errorf("%d bytes: sealed twice, the same bytes", n)
		}
	}
}

// TestTampering: every way to change a sealed stream is found.
func TestTampering(t *testing.T) {
	s := sealBytes(t, content(3*segment+100))
	seg := func(i int) []byte { return s[salt+i*sealed : min(salt+(i+1)*sealed, len(s))] }
	head := s[:salt]
	twin := sealBytes(t, content(3*segment+100))
	for name, changed := range map[string][]byte{
		"nothing":             nil,
		"salt only":           head,
		"first bit":           flip(s, 0),
		"last bit":            flip(s, len(s)*8-1),
		"bit in the middle":   flip(s, len(s)*4),
		"cut by one":          s[:len(s)-1],
		"cut at a segment":    s[:salt+3*sealed],
		"cut in a segment":    s[:salt+sealed+100],
		"byte added":          append(bytes.Clone(s), 0),
		"segments swapped":    bytes.Join([][]byte{head, seg(1), seg(0), seg(2), seg(3)}, nil),
		"segment left out":    bytes.Join([][]byte{head, seg(0), seg(2), seg(3)}, nil),
		"segment repeated":    bytes.Join([][]byte{head, seg(0), seg(0), seg(1), seg(2), seg(3)}, nil),
		"last repeated":       bytes.Join([][]byte{head, seg(0), seg(1), seg(2), seg(3), seg(3)}, nil),
		"last alone":          bytes.Join([][]byte{head, seg(3)}, nil),
		"of another stream":   bytes.Join([][]byte{head, seg(0), twin[salt+sealed : salt+2*sealed], seg(2), seg(3)}, nil),
		"another stream's":    append(bytes.Clone(head), twin[salt:]...),
		"two streams in line": append(bytes.Clone(s), twin...),
	} {
		if err := seal.Open(key, io.Discard, bytes.NewReader(changed)); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func flip(b []byte, bit int) []byte {
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

func TestErrorsOfReadersAndWriters(t *testing.T) {
	broken := errors.New("broken")
	s := sealBytes(t, content(2*segment))
	for name, err := range map[string]error{
		"Seal reads":  seal.Seal(key, io.Discard, io.MultiReader(bytes.NewReader(content(segment)), iotest.ErrReader(broken))),
		"Open reads":  seal.Open(key, io.Discard, io.MultiReader(bytes.NewReader(s[:sealed]), iotest.ErrReader(broken))),
		"Open's salt": seal.Open(key, io.Discard, iotest.ErrReader(broken)),
		"Seal writes": seal.Seal(key, failing{broken}, bytes.NewReader(s)),
		"Open writes": seal.Open(key, failing{broken}, bytes.NewReader(s)),
	} {
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// FuzzOpen: nothing but what Seal made opens.
func FuzzOpen(f *testing.F) {
	s := sealBytes(f, content(100))
	f.Add(s)
	f.Add(s[:40])
	f.Add(sealBytes(f, nil))
	f.Add(bytes.Repeat([]byte{0}, sealed+salt+16))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got bytes.Buffer
		if err := seal.Open(key, &got, bytes.NewReader(b)); err == nil {
			if int64(len(b)) != seal.SealedSize(int64(got.Len())) {
				t.Errorf("%d bytes opened to %d", len(b), got.Len())
			}
		} else if !errors.Is(err, seal.ErrOpen) {
			t.Error(err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	c := content(1 << 20)
	b.SetBytes(int64(len(c)))
	for b.Loop() {
		if err := seal.Seal(key, io.Discard, bytes.NewReader(c)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	c := content(1 << 20)
	s := sealBytes(b, c)
	b.SetBytes(int64(len(c)))
	for b.Loop() {
		if err := seal.Open(key, io.Discard, bytes.NewReader(s)); err != nil {
			b.Fatal(err)
		}
	}
}
