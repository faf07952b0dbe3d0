package corpus_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/kindtest"
)

type doc struct {
	rec  corpus.Record
	data string
}

func write(t testing.TB, docs ...doc) fstest.MapFS {
	t.Helper()
	out := kindtest.NewOutput()
	w, err := corpus.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		if err := w.Write(&d.rec, []byte(d.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.FS()
}

// read returns the corpus as text, one record a line, and the error that ended it.
func read(fsys fs.FS) (string, error) {
	r, err := corpus.Open(fsys)
	if err != nil {
		return "", err
	}
	defer r.Close()
	var all strings.Builder
	for {
		rec, data, err := r.Next()
		if err == io.EOF {
			return all.String(), nil
		}
		if err != nil {
			return all.String(), err
		}
		fmt.Fprintf(&all, "%q %d %d %d %s %q\n", rec.Path, rec.At, rec.Off, rec.Len, rec.Fields, data)
	}
}

func TestRoundTrip(t *testing.T) {
	tagged := corpus.Record{Path: "b.go", At: 7}
	tagged.Fields.SetString("lang", "go")
	tagged.Fields.SetInt("raw", 812)
	tagged.Fields.SetString("lang", "zig \"x\"\n\x01")
	tagged.Fields.SetJSON("list", []byte(`[1,{"a":[]}]`))
	fsys := write(t,
		doc{corpus.Record{Path: "a b/😀.txt"}, "hello"},
		doc{corpus.Record{Path: "a\xff"}, ""},
		doc{tagged, "package b\n\x00\xff"},
		doc{corpus.Record{Path: "quote\"back\\tab\tbell\x07del\x7f"}, strings.Repeat("long", 1<<18)},
	)
	wantIndex := `{"path":"a b/😀.txt","at":0,"off":0,"len":5}
{"path64":"Yf8=","at":0,"off":5,"len":0}
{"path":"b.go","at":7,"off":5,"len":12,"lang":"zig \"x\"\n\u0001","raw":812,"list":[1,{"a":[]}]}
{"path":"quote\"back\\tab\tbell\u0007del` + "\x7f" + `","at":0,"off":17,"len":1048576}
`
	if got := string(fsys[corpus.IndexFile].Data); got != wantIndex {
		t.Errorf("index:\n%s\nwant:\n%s", got, wantIndex)
	}
	got, err := read(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"a b/😀.txt" 0 0 5  "hello"`, `"a\xff" 0 5 0  ""`, `"package b\n\x00\xff"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%.300s\nlacks %s", got, want)
		}
	}
}

func TestFields(t *testing.T) {
	var f corpus.Fields
	f.SetString("a", "1\xff2")
	f.SetInt("b", -5)
	f.SetJSON("c", []byte("null"))
	f.SetString("a", "longer than before")
	if got, want := string(f), `,"a":"longer than before","b":-5,"c":null`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s, ok := f.String("a"); !ok || s != "longer than before" {
		t.Errorf("a = %q, %v", s, ok)
	}
	if n, ok := f.Int("b"); !ok || n != -5 {
		t.Errorf("b = %d, %v", n, ok)
	}
	if _, ok := f.String("b"); ok {
		t.Error("a number was taken for a string")
	}
	f.Delete("b")
	f.Delete("x")
	if got, want := string(f), `,"a":"longer than before","c":null`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if f.Get("d") != nil {
		t.Error("a field that was never set")
	}
}

func TestEmpty(t *testing.T) {
	got, err := read(write(t))
	if got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestReaderRefuses(t *testing.T) {
	ok := `{"path":"a","at":0,"off":0,"len":2}` + "\n"
	for name, c := range map[string]struct{ index, data string }{
		"data too short":           {ok, "x"},
		"data too long":            {ok, "xyz"},
		"no newline":               {ok[:len(ok)-1], "xy"},
		"empty line":               {ok + "\n", "xy"},
		"gap":                      {strings.Replace(ok, `"off":0`, `"off":1`, 1), "xyz"},
		"huge record":              {strings.Replace(ok, `"len":2`, `"len":900000000000`, 1), "xy"},
		"promises more than given": {strings.Replace(ok, `"len":2`, `"len":200000000`, 1), "xy"},
		"negative":                 {strings.Replace(ok, `"at":0`, `"at":-1`, 1), "xy"},
		"leading zero":             {strings.Replace(ok, `"at":0`, `"at":00`, 1), "xy"},
		"overflow":                 {strings.Replace(ok, `"at":0`, `"at":9999999999999999999`, 1), "xy"},
		"space":                    {strings.Replace(ok, `"at":0`, `"at": 0`, 1), "xy"},
		"order":                    {`{"at":0,"path":"a","off":0,"len":2}` + "\n", "xy"},
		"no path":                  {`{"path":"","at":0,"off":0,"len":2}` + "\n", "xy"},
		"needless escape":          {`{"path":"\u0061","at":0,"off":0,"len":2}` + "\n", "xy"},
		"needless base64":          {`{"path64":"YQ==","at":0,"off":0,"len":2}` + "\n", "xy"},
		"bad base64":               {`{"path64":"Y","at":0,"off":0,"len":2}` + "\n", "xy"},
		"raw control byte":         {"{\"path\":\"a\tb\",\"at\":0,\"off\":0,\"len\":2}\n", "xy"},
		"path not UTF-8":           {"{\"path\":\"a\xff\",\"at\":0,\"off\":0,\"len\":2}\n", "xy"},
		"long path":                {`{"path":"` + strings.Repeat("a", corpus.MaxPath+1) + `","at":0,"off":0,"len":2}` + "\n", "xy"},
		"field twice":              {strings.Replace(ok, `}`, `,"a":1,"a":2}`, 1), "xy"},
		"field of the format":      {strings.Replace(ok, `}`, `,"len":1}`, 1), "xy"},
		"field name":               {strings.Replace(ok, `}`, `,"A":1}`, 1), "xy"},
		"field without value":      {strings.Replace(ok, `}`, `,"a":}`, 1), "xy"},
		"field with white space":   {strings.Replace(ok, `}`, `,"a":[1, 2]}`, 1), "xy"},
		"field with wrong bracket": {strings.Replace(ok, `}`, `,"a":[1}}`, 1), "xy"},
		"field with odd number":    {strings.Replace(ok, `}`, `,"a":01}`, 1), "xy"},
		"field not UTF-8":          {strings.Replace(ok, `}`, ",\"a\":\"\xff\"}", 1), "xy"},
		"too many fields":          {strings.Replace(ok, `}`, manyFields(corpus.MaxFields+1)+"}", 1), "xy"},
		"long line":                {strings.Replace(ok, `}`, `,"a":"`+strings.Repeat("a", corpus.MaxLine)+`"}`, 1), "xy"},
		"rest of line":             {strings.Replace(ok, `}`, `}}`, 1), "xy"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(fstest.MapFS{"index.jsonl": {Data: []byte(c.index)}, "data": {Data: []byte(c.data)}})
			if !errors.Is(err, corpus.ErrCorpus) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := read(fstest.MapFS{"data": {}}); !errors.Is(err, corpus.ErrCorpus) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no index: %v", err)
	}
	if _, err := read(fstest.MapFS{"index.jsonl": {}}); !errors.Is(err, corpus.ErrCorpus) {
		t.Errorf("no data: %v", err)
	}
	if _, err := read(fstest.MapFS{"index.jsonl": {Data: []byte(strings.Replace(ok, `}`, manyFields(corpus.MaxFields)+"}", 1))}, "data": {Data: []byte("xy")}}); err != nil {
		t.Errorf("as many fields as allowed: %v", err)
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"f%d":0`, i)
	}
	return b.String()
}

func TestWriterRefuses(t *testing.T) {
	for name, rec := range map[string]corpus.Record{
		"no path":   {},
		"long path": {Path: strings.Repeat("a", corpus.MaxPath+1)},
		"negative":  {Path: "a", At: -1},
		"long line": {Path: "a", Fields: corpus.Fields(`,"a":"` + strings.Repeat("a", corpus.MaxLine) + `"`)},
	} {
		w, err := corpus.Create(kindtest.NewOutput())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(&rec, nil); !errors.Is(err, corpus.ErrCorpus) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w := corpus.NewIndexWriter(io.Discard)
	if err := w.Write(&corpus.Record{Path: "a", Len: corpus.MaxRecord + 1}); !errors.Is(err, corpus.ErrCorpus) {
		t.Errorf("huge record: got %v", err)
	}
}

func drawDocs(t *rapid.T) []doc {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) doc {
		d := doc{corpus.Record{
			Path: string(rapid.SliceOfN(rapid.Byte(), 1, 6).Draw(t, "path")),
			At:   rapid.Int64Range(0, 1<<50).Draw(t, "at"),
		}, rapid.StringN(0, 40, -1).Draw(t, "data")}
		for i := range rapid.IntRange(0, 3).Draw(t, "fields") {
			d.rec.Fields.SetString(fmt.Sprintf("f%d", i), rapid.String().Draw(t, "value"))
		}
		return d
	}), 0, 12).Draw(t, "docs")
}

// What is written is read again, and any grouping of parts merges to the same bytes.
func TestMergeAssociative(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		docs := drawDocs(rt)
		whole := write(t, docs...)
		if _, err := read(whole); err != nil {
			rt.Fatalf("what was written is not read: %v", err)
		}
		var parts []fs.FS
		for len(docs) > 0 {
			n := rapid.IntRange(0, len(docs)).Draw(rt, "part")
			parts = append(parts, write(t, docs[:n]...))
			docs = docs[n:]
		}
		for len(parts) != 1 {
			at := rapid.IntRange(0, len(parts)).Draw(rt, "from")
			to := rapid.IntRange(at, len(parts)).Draw(rt, "to")
			out := kindtest.NewOutput()
			if err := corpus.Merge(t.Context(), &tasks.Call{In: parts[at:to], Out: out}); err != nil {
				rt.Fatal(err)
			}
			parts = append(append(parts[:at:at], out.FS()), parts[to:]...)
			if to == at && len(parts) > 20 {
				rt.Skip("only empty merges were drawn")
			}
		}
		for _, name := range []string{corpus.DataFile, corpus.IndexFile} {
			got, err := fs.ReadFile(parts[0], name)
			if err != nil {
				rt.Fatal(err)
			}
			if !bytes.Equal(got, whole[name].Data) {
				rt.Fatalf("%s differs:\n%s\nwant:\n%s", name, got, whole[name].Data)
			}
		}
	})
}

func TestMergeRefuses(t *testing.T) {
	good := write(t, doc{corpus.Record{Path: "a"}, "xy"})
	bad := fstest.MapFS{"index.jsonl": good["index.jsonl"], "data": {Data: []byte("x")}}
	err := corpus.Merge(t.Context(), &tasks.Call{In: []fs.FS{good, bad}, Out: kindtest.NewOutput()})
	if !errors.Is(err, corpus.ErrCorpus) || !strings.Contains(err.Error(), "part 1") {
		t.Errorf("got %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"path":"a","at":0,"off":0,"len":2,"x":[{"a":-1.5e3},"\n"]}`+"\n"), []byte("xy"))
	f.Add([]byte(`{"path64":"Yf8=","at":1,"off":0,"len":0}`+"\n"+`{"path":"a\"\u0001","at":0,"off":0,"len":1}`+"\n"), []byte("x"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, index, data []byte) {
		in := fstest.MapFS{"index.jsonl": {Data: index}, "data": {Data: data}}
		out := kindtest.NewOutput()
		err := corpus.Transform(t.Context(), &tasks.Call{Out: out}, in, func(w *corpus.Writer, rec *corpus.Record, data []byte) error {
			rec.Fields.Get("x")
			return w.Write(rec, data)
		})
		if err != nil {
			return
		}
		// The form is canonical: what is accepted is written again with the same bytes.
		if got := out.FS(); !bytes.Equal(got["index.jsonl"].Data, index) || !bytes.Equal(got["data"].Data, data) {
			t.Errorf("accepted\n%q\nbut wrote\n%q", index, got["index.jsonl"].Data)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	docs := make([]doc, 2000)
	for i := range docs {
		docs[i] = doc{corpus.Record{Path: fmt.Sprintf("src/file%d.go", i/20), At: int64(i%20) * 2048}, strings.Repeat("x", 2048)}
	}
	fsys := write(b, docs...)
	b.SetBytes(int64(len(fsys["data"].Data)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := corpus.Open(fsys)
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, _, err = r.Next(); err != nil {
				break
			}
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}
