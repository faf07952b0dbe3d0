package vector

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"kith/tasks"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/verify"
)

var docs = []kindtest.Doc{
	{Path: "a", Data: "The cat sat on the mat."},
	{Path: "b", Data: "A cat sits on a mat, and the cat sleeps."},
	{Path: "c", Data: "func main() { panic(\"no\") }"},
	{Path: "d"},
	{Path: "e", Data: "\xff\x00 " + strings.Repeat("ж", 1000)},
}

func TestConform(t *testing.T) { kindtest.Conform(t, Kind{}, `{"dimensions":32}`, docs...) }

func TestCheck(t *testing.T) {
	for _, bad := range []string{`{"dimensions":15}`, `{"dimensions":4097}`, `{"dimensions":-1}`} {
		if _, err := (Kind{}).Check([]byte(bad)); !errors.Is(err, tasks.ErrParams) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func output(t *testing.T) (fstest.MapFS, *tasks.Call) {
	t.Helper()
	out, err := kindtest.Job{Kinds: kindtest.Registry{Kind{}}, Ops: []tasks.Op{{Kind: "etl.vector"}}, Parts: kindtest.Parts(docs)}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out, &tasks.Call{}
}

// Vectors have length 1, or 0 for a text without words, and those of like texts point the same way.
func TestLikeTextsAreNear(t *testing.T) {
	out, c := output(t)
	n, err := Kind{}.Numbers(t.Context(), c, out)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Rows) != len(docs) || len(n.Rows[0]) != defaultDimensions {
		t.Fatalf("%d rows of %d", len(n.Rows), len(n.Rows[0]))
	}
	dot := func(i, j int) (sum float64) {
		for k := range n.Rows[i] {
			sum += n.Rows[i][k] * n.Rows[j][k]
		}
		return sum
	}
	for i := range docs {
		want := 1.0
		if docs[i].Path == "d" {
			want = 0
		}
		if math.Abs(dot(i, i)-want) > 1e-6 {
			t.Errorf("%s has squared length %v", docs[i].Path, dot(i, i))
		}
	}
	if like, unlike := dot(0, 1), dot(0, 2); like < 0.4 || unlike > 0.2 {
		t.Errorf("two texts about cats have %v in common, one about cats and a program %v", like, unlike)
	}
}

// What a comparison forgives and what it does not.
func TestNumbers(t *testing.T) {
	want, c := output(t)
	a, err := Kind{}.Numbers(t.Context(), c, want)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]struct {
		do    func(m fstest.MapFS)
		agree bool
		fails bool
	}{
		"nothing":              {func(fstest.MapFS) {}, true, false},
		"last bits":            {func(m fstest.MapFS) { shake(m, 1) }, true, false},
		"a thousand last bits": {func(m fstest.MapFS) { shake(m, 1<<20) }, false, false},
		"a vector less":        {func(m fstest.MapFS) { cut(m, 4*defaultDimensions) }, false, false},
		"a byte less":          {func(m fstest.MapFS) { cut(m, 1) }, false, true},
		"a NaN": {func(m fstest.MapFS) {
			copy(m[VectorFile].Data, []byte{0, 0, 0xc0, 0x7f})
		}, false, false},
		"no vectors":     {func(m fstest.MapFS) { delete(m, VectorFile) }, false, true},
		"another text":   {func(m fstest.MapFS) { m["data"].Data[0] ^= 1 }, false, false},
		"another file":   {func(m fstest.MapFS) { m["more"] = &fstest.MapFile{} }, false, false},
		"a folder in it": {func(m fstest.MapFS) { m["sub/file"] = &fstest.MapFile{} }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := fstest.MapFS{}
			for file, f := range want {
				m[file] = &fstest.MapFile{Data: bytes.Clone(f.Data), Mode: f.Mode}
			}
			change.do(m)
			b, err := Kind{}.Numbers(t.Context(), c, fs.FS(m))
			if (err != nil) != change.fails {
				t.Fatalf("reading says %v", err)
			}
			if got := err == nil && verify.Alike(&a, &b, Kind{}.Describe().Tolerance); got != change.agree {
				t.Errorf("agree: %v", got)
			}
		})
	}
}

// shake adds to the bits of every number that is not zero.
func shake(m fstest.MapFS, bits uint32) {
	data := m[VectorFile].Data
	for i := 0; i+4 <= len(data); i += 4 {
		v := uint32(data[i]) | uint32(data[i+1])<<8 | uint32(data[i+2])<<16 | uint32(data[i+3])<<24
		if v == 0 {
			continue
		}
		v += bits
		data[i], data[i+1], data[i+2], data[i+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
}

func cut(m fstest.MapFS, n int) {
	f := m[VectorFile]
	f.Data = f.Data[:len(f.Data)-n]
}

func FuzzNumbers(f *testing.F) {
	f.Add([]byte("x"), make([]byte, 4*MinDimensions))
	f.Fuzz(func(t *testing.T, data, vectors []byte) {
		m := fstest.MapFS{"data": {Data: data}, VectorFile: {Data: vectors}}
		n, err := Kind{}.Numbers(t.Context(), &tasks.Call{Params: []byte(`{"dimensions":16}`)}, m)
		if (err == nil) != (len(vectors)%(4*MinDimensions) == 0) {
			t.Errorf("%d bytes of vectors: %v", len(vectors), err)
		}
		if err == nil && len(n.Rows) != len(vectors)/(4*MinDimensions) {
			t.Errorf("%d rows of %d bytes", len(n.Rows), len(vectors))
		}
	})
}
