package lang

import (
	"bytes"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/kindtest"
)

var update = flag.Bool("update", false, "write the golden file")

func docs(t *testing.T) (docs []kindtest.Doc) {
	files, err := filepath.Glob("testdata/samples/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, kindtest.Doc{Path: "prose/" + filepath.Base(f), Data: string(text)})
	}
	for _, lang := range slices.Sorted(maps.Keys(snippets)) {
		at := int64(0)
		for _, s := range snippets[lang] {
			docs = append(docs, kindtest.Doc{Path: "snippets/" + lang, At: at, Data: s})
			at += int64(len(s))
		}
	}
	return docs
}

func TestConform(t *testing.T) {
	kindtest.Conform(t, Kind{}, `{"field":"/text"}`, docs(t)...)
	kindtest.Conform(t, Kind{}, ``, docs(t)...)
}

// run returns the index that the kind writes for docs.
func run(t *testing.T, params string, docs ...kindtest.Doc) string {
	t.Helper()
	out, err := kindtest.Job{
		Kinds: kindtest.Registry{Kind{}}, Ops: []tasks.Op{{Kind: "etl.lang", Params: []byte(params)}}, Parts: kindtest.Parts(docs),
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(out[corpus.IndexFile].Data)
}

func TestGolden(t *testing.T) {
	got := run(t, "", docs(t)...)
	const golden = "testdata/golden.jsonl"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal([]byte(got), want) {
		t.Errorf("the tags changed: look at the difference, raise the version of the kind and run with -update; got\n%s", got)
	}
}

func TestField(t *testing.T) {
	french := "Il faisait beau et nous avons passé toute la journée au bord de la mer, sans penser au lendemain."
	english := "It was a fine day and we spent all of it at the sea without a thought of what would come after."
	record := `{"id":7,"text":"` + french + `","messages":[{"role":"user","content":"` + english + `"}],"a/b":{"~":"` + french + `"}}` + "\n"
	for pointer, want := range map[string]string{
		"":                    "code:json",
		"/text":               "fr",
		"/messages/0/content": "en",
		"/messages":           "en",
		"/messages/1":         "und",
		"/messages/x":         "und",
		"/messages/-1":        "und",
		"/a~1b/~0":            "fr",
		"/nothing":            "und",
		"/text/more":          "und",
		"/id":                 "und",
		"/":                   "und",
	} {
		got := run(t, `{"field":"`+pointer+`"}`, kindtest.Doc{Path: "x", Data: record})
		if !strings.Contains(got, `"lang":"`+want+`"`) {
			t.Errorf("%q: %s, want %s", pointer, got, want)
		}
	}
	if got := run(t, `{"field":"/text"}`, kindtest.Doc{Path: "x", Data: "no JSON"}); !strings.Contains(got, `"lang":"und"`) {
		t.Errorf("no JSON: %s", got)
	}
}

func TestCheck(t *testing.T) {
	for _, bad := range []string{`{"field":"text"}`, `{"field":7}`, `{"field":"/` + strings.Repeat("x", maxField) + `"}`} {
		if _, err := (Kind{}).Check([]byte(bad)); !errors.Is(err, tasks.ErrParams) || !strings.Contains(err.Error(), "field") {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
}

func TestTableSize(t *testing.T) {
	if len(table) > 1<<20 {
		t.Errorf("the table has %d bytes, want at most 1 MiB", len(table))
	}
}
