package compress

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/kindtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// inputs are records of many sizes and kinds, the same on every machine and with every release of Go.
func inputs() (all [][]byte) {
	rng := rand.New(rand.NewPCG(7, 7))
	words := make([]string, 3000)
	for i := range words {
		b := make([]byte, 1+rng.IntN(10))
		for j := range b {
			b[j] = 'a' + byte(rng.IntN(1+rng.IntN(26)))
		}
		words[i] = string(b)
	}
	all = append(all, nil, []byte("x"), bytes.Repeat([]byte{0}, 300_000), bytes.Repeat([]byte("abcd"), 50_000))
	for size := 10; size < 200_000; size = size*3/2 + rng.IntN(10) {
		noise := make([]byte, size)
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		var text bytes.Buffer
		for text.Len() < size {
			text.WriteString(words[min(rng.IntN(len(words)), rng.IntN(len(words)), rng.IntN(len(words)))])
			text.WriteByte(" \n.,"[min(rng.IntN(4), rng.IntN(4))])
		}
		all = append(all, noise, text.Bytes())
	}
	return all
}

func encode(t testing.TB, level int, inputs ...[]byte) (frames [][]byte) {
	t.Helper()
	enc, err := newEncoder(level)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	for _, in := range inputs {
		frames = append(frames, enc.EncodeAll(in, nil))
	}
	return frames
}

// The frames are pinned: another processor, another build or another encoder must give these.
func TestGolden(t *testing.T) {
	var got strings.Builder
	for level := 1; level <= 3; level++ {
		for i, f := range encode(t, level, inputs()...) {
			fmt.Fprintf(&got, "%d %2d %6d %x\n", level, i, len(f), sha256.Sum256(f))
		}
	}
	golden := filepath.Join("testdata", "golden.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("frames changed; if that is meant, raise the kind's version and run with -update:\n%s", got.String())
	}
}

// What was compressed before must not show: the records before it depend on how the corpus was split.
func TestNoHistory(t *testing.T) {
	all := inputs()
	text := all[len(all)-1]
	for at := 0; at < len(text); at += 2048 {
		all = append(all, text[at:min(len(text), at+2048)])
	}
	for level := 1; level <= 3; level++ {
		together := encode(t, level, all...)
		for i := level; i < len(all); i += 1 + i%7 {
			if alone := encode(t, level, all[i])[0]; !bytes.Equal(alone, together[i]) {
				t.Fatalf("level %d: record %d of %d bytes has another frame after others", level, i, len(all[i]))
			}
		}
	}
}

func TestStream(t *testing.T) {
	docs := []kindtest.Doc{{Path: "a", Data: strings.Repeat("hello ", 1000)}, {Path: "empty"}, {Path: "b\xff", At: 5, Data: "\x00\xff"}}
	job := kindtest.Job{Kinds: kindtest.Registry{Kind{}}, Ops: []tasks.Op{{Kind: "etl.zstd"}}}
	job.Parts = append(job.Parts, kindtest.Corpus(docs...))
	out, err := job.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(bytes.NewReader(out[corpus.DataFile].Data))
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	all, err := io.ReadAll(dec)
	if err != nil || string(all) != docs[0].Data+docs[2].Data {
		t.Errorf("the whole stream holds %d bytes, %v", len(all), err)
	}
	i := 0
	if err := corpus.Each(t.Context(), &tasks.Call{}, out, func(rec *corpus.Record, frame []byte) error {
		data, err := dec.DecodeAll(frame, nil)
		if raw, ok := rec.Fields.Int(corpus.RawField); err != nil || string(data) != docs[i].Data || !ok || raw != int64(len(data)) || rec.At != docs[i].At {
			t.Errorf("record %d: %+v, %v", i, rec, err)
		}
		i++
		return nil
	}); err != nil {
		t.Fatal(err)
	}

	job.Parts[0] = out
	if _, err := job.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "already compressed") {
		t.Errorf("compressed twice: %v", err)
	}
}

func TestConform(t *testing.T) {
	var docs []kindtest.Doc
	for i, in := range inputs()[:12] {
		docs = append(docs, kindtest.Doc{Path: fmt.Sprint(i), Data: string(in)})
	}
	kindtest.Conform(t, Kind{}, `{"level":1}`, docs...)
}

func TestCheck(t *testing.T) {
	for _, bad := range []string{`{"level":0}`, `{"level":4}`, `{"encoder":"another"}`} {
		if _, err := (Kind{}).Check([]byte(bad)); !errors.Is(err, tasks.ErrParams) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	canonical, err := Kind{}.Check(nil)
	if want := `{"level":2,"encoder":"` + Encoder + `"}`; err != nil || string(canonical) != want {
		t.Errorf("%s, %v, want %s", canonical, err, want)
	}
}

// Encoder must name the version that is linked in.
func TestEncoderVersion(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "github.com/"+Encoder+"\n") {
		t.Errorf("go.mod does not require %s: raise Encoder, the schema and the kind's version", Encoder)
	}
	if !strings.Contains(schema, `"`+Encoder+`"`) {
		t.Error("the schema names another encoder")
	}
}

func BenchmarkZstd(b *testing.B) {
	text, err := os.ReadFile(filepath.Join(kindtest.GoSource(b), "net", "http", "server.go"))
	if err != nil {
		b.Skip(err)
	}
	for level := 1; level <= 3; level++ {
		b.Run(fmt.Sprint(level), func(b *testing.B) {
			enc, err := newEncoder(level)
			if err != nil {
				b.Fatal(err)
			}
			defer enc.Close()
			b.SetBytes(int64(len(text)))
			var frame []byte
			for b.Loop() {
				for at := 0; at < len(text); at += 2048 {
					frame = enc.EncodeAll(text[at:min(len(text), at+2048)], frame[:0])
				}
			}
		})
	}
}
