package jsonl

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/kindtest"
)

var update = flag.Bool("update", false, "write the golden files")

// docs are files as they are found in the wild.
var docs = []kindtest.Doc{
	{Path: "bad.jsonl", Data: "{\"id\":1}\nnot json\n{\"id\":2,}}\n\x00\x00\x00\n{\"id\":3\n[1,\n"},
	{Path: "blank.jsonl", Data: "\n\n{\"id\":1}\n \t\r\n\n{\"id\":2}\n\n"},
	{Path: "clean.jsonl", Data: "{\"id\":1, \"text\":\"a\"}\n{\"id\":2,\"n\":1.50E+10}\n[]\n\"x\"\nnull\n"},
	{Path: "crlf.jsonl", Data: "\ufeff{\"id\":1}\r\n{\"id\":2}\r\r\n{\"id\":3}\r"},
	{Path: "empty.jsonl"},
	{Path: "keys.jsonl", Data: "{\"id\":1,\"id\":2}\n{\"id\":1,\"x\":{\"a\":1,\"\\u0061\":2}}\n"},
	{Path: "latin1.jsonl", Data: "{\"id\":1,\"text\":\"caf\xe9 cr\xe8me\"}\n"},
	{Path: "nl\xff.jsonl", Data: "{\"id\":1,}\nbad\n"},
	{Path: "part.jsonl", At: 70 << 20, Data: "tail of a long line\"}\n{\"id\":1}\n"},
	{Path: "python.jsonl", Data: "{'id': 1, 'ok': True, 'none': None, 'text': 'it\\'s \"x\"'},\n{'id': 2, 'text': 'a\tb'}\n"},
	{Path: "short.jsonl", Data: "{\"id\":1}\n{\"id\":2,\"tags\":[\"a\",\"b\""},
	{Path: "utf16.jsonl", Data: "\xff\xfe{\x00}\x00\n\x00"},
}

const schema = `{"type":"object","required":["id"],"properties":{"id":{"type":"integer","minimum":1},"text":{"type":"string","maxLength":5}},"additionalProperties":{"$ref":"#/$defs/any"},"$defs":{"any":true}}`

func runKind(t *testing.T, params string, docs ...kindtest.Doc) fstest.MapFS {
	t.Helper()
	out, err := kindtest.Job{
		Kinds: kindtest.Registry{Kind{}}, Ops: []tasks.Op{{Kind: "etl.jsonl", Params: []byte(params)}}, Parts: kindtest.Parts(docs),
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConform(t *testing.T) {
	kindtest.Conform(t, Kind{}, `{"schema":`+schema+`}`, docs...)
	kindtest.Conform(t, Kind{}, `{"format":"json","duplicates":"first"}`, docs...)
}

// TestGolden pins every byte of the output for every choice of parameters.
func TestGolden(t *testing.T) {
	for name, params := range map[string]string{
		"default":    ``,
		"schema":     `{"schema":` + schema + `}`,
		"json-first": `{"format":"json","duplicates":"first"}`,
		"strict":     `{"repair":[],"duplicates":"quarantine","maxLine":60}`,
	} {
		t.Run(name, func(t *testing.T) {
			out := runKind(t, params, docs...)
			var got strings.Builder
			for _, file := range []string{corpus.DataFile, corpus.IndexFile, RepairsFile, QuarantineFile} {
				got.WriteString("== " + file + "\n" + string(out[file].Data))
			}
			golden := "testdata/" + name + ".golden"
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
				t.Errorf("got\n%s\nwant\n%s", got.String(), want)
			}
		})
	}
}

// TestAccountedFor: every line of the input is in the output, in quarantine, or listed as blank; and every byte of a
// quarantined line can be had back.
func TestAccountedFor(t *testing.T) {
	out := runKind(t, "", docs...)
	lines := map[string]map[int]bool{}
	note := func(path string, line int) {
		if lines[path] == nil {
			lines[path] = map[int]bool{}
		}
		if lines[path][line] {
			t.Errorf("%s line %d stands twice", path, line)
		}
		lines[path][line] = true
	}
	records, err := kindtest.Docs(out)
	if err != nil {
		t.Fatal(err)
	}
	index := strings.Split(strings.TrimSpace(string(out[corpus.IndexFile].Data)), "\n")
	for i, rec := range records {
		var more struct{ Line int }
		if err := json.Unmarshal([]byte(index[i]), &more); err != nil {
			t.Fatal(err)
		}
		note(rec.Path, more.Line)
		if !strings.HasSuffix(rec.Data, "\n") || strings.Count(rec.Data, "\n") != 1 || !json.Valid([]byte(rec.Data)) {
			t.Errorf("%s line %d is %q", rec.Path, more.Line, rec.Data)
		}
	}
	source := map[string]kindtest.Doc{}
	for _, d := range docs {
		source[d.Path] = d
	}
	for line := range strings.Lines(string(out[QuarantineFile].Data)) {
		var q Quarantined
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		path := q.Path + string(q.Path64)
		note(path, q.Line)
		d := source[path]
		if at := q.At - d.At; d.Data[at:at+int64(q.Len)] != string(q.Bytes) {
			t.Errorf("%s line %d: bytes %q", path, q.Line, q.Bytes)
		}
	}
	for line := range strings.Lines(string(out[RepairsFile].Data)) {
		var r Repaired
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Changes[0].Defect == "blank-line" {
			for i := range max(1, r.Lines) {
				note(r.Path+string(r.Path64), r.Line+i)
			}
		}
	}
	for _, d := range docs {
		n := strings.Count(strings.TrimSuffix(d.Data, "\n")+"\n", "\n")
		if d.Data == "" {
			n = 0
		}
		if d.Path == "utf16.jsonl" {
			n = 1
		}
		if len(lines[d.Path]) != n {
			t.Errorf("%s: %d of %d lines are accounted for", d.Path, len(lines[d.Path]), n)
		}
	}
}

// TestTwice: a second run over the good lines changes nothing.
func TestTwice(t *testing.T) {
	once := runKind(t, "", docs...)
	records, err := kindtest.Docs(once)
	if err != nil {
		t.Fatal(err)
	}
	twice := runKind(t, "", records...)
	if string(twice[corpus.DataFile].Data) != string(once[corpus.DataFile].Data) {
		t.Error("the data changed")
	}
	if n := len(twice[RepairsFile].Data) + len(twice[QuarantineFile].Data); n > 0 {
		t.Errorf("%d bytes of repairs and quarantine", n)
	}
}

func TestLineLimit(t *testing.T) {
	out := runKind(t, `{"maxLine":10}`, kindtest.Doc{Path: "x", Data: "[12345678]\n[123456789]\n[1]"})
	if got := string(out[corpus.DataFile].Data); got != "[12345678]\n[1]\n" {
		t.Errorf("data %q", got)
	}
	var q Quarantined
	if err := json.Unmarshal(out[QuarantineFile].Data, &q); err != nil || q.Line != 2 || q.Reasons[0].Code != TooLong || q.Bytes != nil || q.Len != 11 {
		t.Errorf("quarantine %s, %v", out[QuarantineFile].Data, err)
	}
}

// TestSegments: lines that cross the border of two pieces of a large file are not lost and not completed.
func TestSegments(t *testing.T) {
	line := `"` + strings.Repeat("x", 1<<20-3) + "\"\n"
	first := strings.Repeat(line, firstPiece>>20) + `{"a":"x"`
	out := runKind(t, "", kindtest.Doc{Path: "big", Data: first}, kindtest.Doc{Path: "big", At: int64(len(first)), Data: ",\"b\":2}\n[2]\n"})
	var reasons []string
	for line := range strings.Lines(string(out[QuarantineFile].Data)) {
		var q Quarantined
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		reasons = append(reasons, string(q.Bytes))
		if last := q.Reasons[len(q.Reasons)-1]; last.Code != SegmentBorder {
			t.Errorf("reasons %v", q.Reasons)
		}
	}
	if got := strings.Join(reasons, "|"); got != `{"a":"x"|,"b":2}` {
		t.Errorf("quarantined %q", got)
	}
	if n := len(out[corpus.DataFile].Data); n != firstPiece+4 {
		t.Errorf("%d bytes of good lines", n)
	}
}

func TestCheck(t *testing.T) {
	for bad, field := range map[string]string{
		`{"format":"csv"}`:                                   "format",
		`{"duplicates":"all"}`:                               "duplicates",
		`{"maxLine":-1}`:                                     "maxLine",
		`{"maxLine":67108865}`:                               "maxLine",
		`{"maxLine":1.5}`:                                    "maxLine",
		`{"repair":["bom","rust"]}`:                          "repair",
		`{"repair":"all"}`:                                   "repair",
		`{"schema":{"type":"nothing"}}`:                      "schema",
		`{"schema":7}`:                                       "schema",
		`{"schema":{"$ref":"https://example.org/x"}}`:        "schema",
		`{"schema":{"$ref":"file:///etc/passwd"}}`:           "schema",
		`{"schema":{"$ref":"other.json"}}`:                   "schema",
		`{"schema":{"$schema":"https://example.org/draft"}}`: "schema",
		`{"schema":{"maximum":1e999999999}}`:                 "schema",
		`{"schema":{"pattern":"("}}`:                         "schema",
		`{"schema":{"enum":["` + strings.Repeat("x", maxSchemaBytes) + `"]}}`: "bytes",
		// Few bytes, and yet gigabytes of pointers.
		`{"schema":{"properties":{"` + strings.Repeat("n", 100_000) + `":{"allOf":[` + strings.Repeat("{},", 50_000) + `{}]}}}}`: "names that are too long",
		`{"format":"json","format":"lines"}`: "duplicate-key",
		"{\"format\":\"\xff\"}":              "invalid-utf8",
	} {
		_, err := Kind{}.Check([]byte(bad))
		if !errors.Is(err, tasks.ErrParams) || !strings.Contains(err.Error(), field) {
			t.Errorf("%.80s: %v", bad, err)
		}
	}
	for given, want := range map[string]string{
		``: `{"format":"lines","repair":["bom","crlf","blank-line","trailing-comma","single-quotes","python-literal","control-character","invalid-utf8","duplicate-key","truncated"],"duplicates":"last","maxLine":16777216}`,
		`{"repair":["crlf","bom","crlf"],"schema":{"b":1, "a":{"type":"object"}}}`: `{"format":"lines","schema":{"a":{"type":"object"},"b":1},"repair":["bom","crlf"],"duplicates":"last","maxLine":16777216}`,
		`{"repair":[],"schema":null}`: `{"format":"lines","repair":[],"duplicates":"last","maxLine":16777216}`,
		`{"schema":false}`:            `{"format":"lines","schema":false,"repair":["bom","crlf","blank-line","trailing-comma","single-quotes","python-literal","control-character","invalid-utf8","duplicate-key","truncated"],"duplicates":"last","maxLine":16777216}`,
	} {
		if got, err := (Kind{}).Check([]byte(given)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", given, got, err)
		}
	}
}

// TestLargeSchema: an ordinary schema as large as one may be is none that costs too much.
func TestLargeSchema(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"schema":{"properties":{"first":true`)
	for i := 0; b.Len() < maxSchemaBytes-100; i++ {
		fmt.Fprintf(&b, `,"a field of number %d":{"type":"object","properties":{"x":{"type":"string"}}}`, i)
	}
	b.WriteString("}}}")
	if _, err := (Kind{}).Check([]byte(b.String())); err != nil {
		t.Error(err)
	}
}

// TestSchemaBounds: what would be dear to validate is quarantined, not tried.
func TestSchemaBounds(t *testing.T) {
	const params = `{"schema":{"items":{"multipleOf":0.5}}}`
	out := runKind(t, params, kindtest.Doc{Path: "x", Data: "[1e1000]\n[1e1001]\n[-1E-999999999999999999999]\n[1.5]\n[1.3]\n[" +
		strings.Repeat("9", maxDigits) + "]\n[" + strings.Repeat("9", maxDigits+1) + "]\n[" + strings.Repeat("0,", maxValues) + "0]\n"})
	var codes []string
	for line := range strings.Lines(string(out[QuarantineFile].Data)) {
		var q Quarantined
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		codes = append(codes, string(q.Reasons[0].Code))
	}
	if got := strings.Join(codes, " "); got != "too-much-for-schema too-much-for-schema schema too-much-for-schema too-much-for-schema" {
		t.Errorf("quarantined for %s", got)
	}
}

// TestSchemaReasons: the findings are sorted, few, and never hold a whole value.
func TestSchemaReasons(t *testing.T) {
	var line strings.Builder
	line.WriteString(`{"z":1,"y":2`)
	for i := range 100 {
		line.WriteString(`,"k` + strings.Repeat("x", i) + `":"` + strings.Repeat("v", 1000) + `"`)
	}
	line.WriteString("}\n")
	const params = `{"schema":{"properties":{"z":{"type":"string"},"y":{"enum":[1]}},"patternProperties":{"^k":{"type":"number"}},"required":["w"]}}`
	first := runKind(t, params, kindtest.Doc{Path: "x", Data: line.String()})
	var q Quarantined
	if err := json.Unmarshal(first[QuarantineFile].Data, &q); err != nil {
		t.Fatal(err)
	}
	if len(q.Reasons) != maxMismatches+1 || q.Reasons[maxMismatches].Detail != "and 87 more" || q.Reasons[0].Detail != "required: missing w" {
		t.Errorf("reasons %+v", q.Reasons)
	}
	for range 10 {
		again := runKind(t, params, kindtest.Doc{Path: "x", Data: line.String()})
		if diff := kindtest.Diff(first, again); diff != "" {
			t.Fatal(diff)
		}
	}
}

func FuzzDocument(f *testing.F) {
	for _, d := range docs {
		f.Add([]byte(d.Data), false)
		f.Add([]byte(d.Data), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, whole bool) {
		params := `{"schema":{"type":["object","array","string"]}}`
		if whole {
			params = `{"format":"json"}`
		}
		out := runKind(t, params, kindtest.Doc{Path: "x", Data: string(data)})
		records, err := kindtest.Docs(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if !json.Valid([]byte(r.Data)) {
				t.Fatalf("%q is not JSON", r.Data)
			}
		}
	})
}

func BenchmarkRun(b *testing.B) {
	clean := strings.Repeat(`{"id":12345,"user":{"name":"Ada Lovelace","tags":["a","b","c"]},"text":"The quick brown fox jumps over the lazy dog, twice.","score":0.75}`+"\n", 20000)
	dirty := strings.ReplaceAll(strings.ReplaceAll(clean, `"text"`, `'text'`), "}\n", ",}\r\n")
	for _, bm := range []struct{ name, params, data string }{
		{"clean", ``, clean},
		{"dirty", ``, dirty},
		{"schema", `{"schema":{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},"text":{"type":"string"}}}}`, clean},
	} {
		b.Run(bm.name, func(b *testing.B) {
			in := kindtest.Parts([]kindtest.Doc{{Path: "x", Data: bm.data}})
			params, err := Kind{}.Check([]byte(bm.params))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(bm.data)))
			for b.Loop() {
				if err := (Kind{}).Run(b.Context(), &tasks.Call{Params: params, In: in, Out: kindtest.NewOutput()}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRepair(b *testing.B) {
	line := []byte(`{"id":12345,"user":{"name":"Ada Lovelace","tags":["a","b","c"]},"text":"The quick brown fox jumps over the lazy dog, twice.","score":0.75}`)
	r := newRepairer()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		r.repair(line, false)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"schema":` + schema + `}`))
	f.Add([]byte(`{"schema":{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#"}}},"repair":["bom"],"maxLine":9}`))
	f.Add([]byte(`{"format":"json","duplicates":"first","schema":{"$id":"http://x/","pattern":"^a+$"}}`))
	f.Fuzz(func(t *testing.T, params []byte) {
		canonical, err := Kind{}.Check(params)
		if err != nil {
			if !errors.Is(err, tasks.ErrParams) {
				t.Fatal(err)
			}
			return
		}
		again, err := Kind{}.Check(canonical)
		if err != nil || string(again) != string(canonical) {
			t.Fatalf("%s became %s (%v)", canonical, again, err)
		}
		runKind(t, string(canonical), kindtest.Doc{Path: "x", Data: "{\"a\":[1,\"b\",null]}\n"})
	})
}
