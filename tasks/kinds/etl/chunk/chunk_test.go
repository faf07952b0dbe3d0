package chunk

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/kindtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func pieces(t testing.TB, window, overlap int, f form, text string) (all []span) {
	t.Helper()
	c := cutter{window: window, overlap: overlap}
	if err := c.cut([]byte(text), f, func(at, end int) error { all = append(all, span{at, end}); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// The cuts of a few real-looking texts, one file each, with the cuts drawn in.
func TestGolden(t *testing.T) {
	inputs, err := filepath.Glob(filepath.Join("testdata", "in", "*"))
	if err != nil || len(inputs) == 0 {
		t.Fatal("no inputs", err)
	}
	for _, input := range inputs {
		text, err := os.ReadFile(input)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		for _, overlap := range []int{0, 100} {
			for _, p := range pieces(t, 400, overlap, formOf(input), string(text)) {
				fmt.Fprintf(&got, "──── %d to %d, overlap %d\n%s\n", p.at, p.end, overlap, text[p.at:p.end])
			}
		}
		golden := filepath.Join("testdata", "golden", filepath.Base(input)+".cuts")
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s: cuts changed; if that is meant, raise the kind's version and run with -update\n%s", input, got.String())
		}
	}
}

func TestCutPlaces(t *testing.T) {
	filler := func(n int) string { return strings.Repeat("x", n) }
	for name, c := range map[string]struct {
		form form
		text string
		want int // end of the first piece, at a window of 100
	}{
		"paragraph before sentence":     {prose, filler(60) + "\n\n" + filler(20) + ". " + filler(60), 62},
		"sentence before line":          {prose, filler(60) + ". " + filler(10) + "\n" + filler(60), 62},
		"quoted sentence":               {prose, filler(60) + ".\") " + filler(100), 64},
		"line before word":              {prose, filler(60) + "\n" + filler(10) + " " + filler(60), 61},
		"word":                          {prose, filler(60) + " " + filler(100), 61},
		"one long word":                 {prose, filler(300), 100},
		"not within a character":        {prose, filler(98) + "😀" + filler(100), 98},
		"not within CR LF":              {lines, filler(99) + "\r\n" + filler(100), 99},
		"chinese sentence":              {prose, strings.Repeat("好", 20) + "。" + strings.Repeat("好", 40), 63},
		"first half does not count":     {prose, filler(20) + "\n\n" + filler(200), 100},
		"heading before paragraph":      {markdown, filler(60) + "\n# H\n\n" + filler(20) + "\n\n" + filler(60), 61},
		"higher heading":                {markdown, filler(55) + "\n## H\n" + filler(20) + "\n### H\n" + filler(60), 56},
		"fence is kept whole":           {markdown, filler(30) + "\n```\n" + filler(40) + "\n\n" + filler(20) + "\n```\n" + filler(60), 31},
		"fence too long is cut as code": {markdown, filler(10) + "\n```\n" + filler(60) + "\n" + filler(100) + "\n```\n", 76},
		"no fence within a line":        {markdown, "```x``` " + filler(50) + "\n\n" + filler(100), 60},
		"declaration":                   {code, filler(60) + "\n\nfunc f() {\n\n  x\n" + filler(60), 62},
		"comment stays with it":         {code, filler(60) + "\n\n// c\nfunc f() {\n  x\n" + filler(60), 62},
		"after a closing brace":         {code, filler(60) + "\n}\nfunc f() {\n  x\n" + filler(60), 63},
		"less indented":                 {code, filler(50) + "\n\n  a\n\n    b\n\n    c\n" + filler(60), 52},
		"line":                          {lines, filler(60) + "\n" + filler(10) + ". " + filler(60), 61},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pieces(t, 100, 0, c.form, c.text)[0].end; got != c.want {
				t.Errorf("cut at %d, want %d: %q | %q", got, c.want, c.text[:got], c.text[got:])
			}
		})
	}
}

func checkPieces(t interface {
	Fatalf(string, ...any)
}, window, overlap int, text []byte, all []span,
) {
	end, valid := 0, utf8.Valid(text)
	for i, p := range all {
		switch {
		case p.end-p.at > window:
			t.Fatalf("piece %d has %d bytes, window %d", i, p.end-p.at, window)
		case p.end < p.at || i > 0 && p.end <= end:
			t.Fatalf("piece %d makes no progress", i)
		case p.at > end || p.at < end-overlap || overlap == 0 && p.at != end:
			t.Fatalf("piece %d begins at %d, the one before ends at %d, overlap %d", i, p.at, end, overlap)
		}
		if valid && !utf8.Valid(text[p.at:p.end]) {
			t.Fatalf("piece %d cuts a character: %q", i, text[p.at:p.end])
		}
		if p.end < len(text) && text[p.end] == '\n' && text[p.end-1] == '\r' {
			t.Fatalf("piece %d ends between CR and LF", i)
		}
		end = p.end
	}
	if end != len(text) || len(all) == 0 {
		t.Fatalf("the pieces end at %d of %d", end, len(text))
	}
}

func cutChecked(t interface {
	Fatalf(string, ...any)
}, window, overlap int, f form, text []byte,
) {
	c := cutter{window: window, overlap: overlap}
	var all []span
	if err := c.cut(text, f, func(at, end int) error { all = append(all, span{at, end}); return nil }); err != nil {
		t.Fatalf("%v", err)
	}
	checkPieces(t, window, overlap, text, all)
}

func TestProperties(t *testing.T) {
	words := rapid.SampledFrom([]string{"word", " ", "\n", "\r\n", "\n\n", ". ", "# ", "```", "~~~\n", "}", "\t", "é", "好", "。", "😀", "\xff", "\x00", "longerwordthanothers"})
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(strings.Join(rapid.SliceOfN(words, 0, 200).Draw(t, "text"), ""))
		window := rapid.IntRange(MinWindow, 200).Draw(t, "window")
		overlap := rapid.IntRange(0, window/2).Draw(t, "overlap")
		cutChecked(t, window, overlap, form(rapid.IntRange(int(prose), int(lines)).Draw(t, "form")), text)
	})
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("# T\n\n```\ncode\n```\n"), uint8(0), uint8(10), uint8(1))
	f.Add([]byte(strings.Repeat("好\r\n", 100)), uint8(9), uint8(30), uint8(0))
	f.Fuzz(func(t *testing.T, text []byte, window, overlap, form uint8) {
		w := MinWindow + int(window)
		cutChecked(t, w, int(overlap)%(w/2+1), formFrom(form), text)
	})
}

func formFrom(b uint8) form { return form(b % (uint8(lines) + 1)) }

// One giant line, and a giant run of blank lines or fences, must not take quadratic time.
func TestGiant(t *testing.T) {
	const size = 1 << 20
	for _, piece := range []string{"x", " ", "\n", "```\n"} {
		text := bytes.Repeat([]byte(piece), size/len(piece))
		for f := prose; f <= lines; f++ {
			cutChecked(t, MinWindow, MinWindow/2, f, text)
			cutChecked(t, size/2, 0, f, text)
		}
	}
}

func TestFormOf(t *testing.T) {
	for path, want := range map[string]form{
		"a.go": code, "x/README.md": markdown, "a.TXT": prose, "Makefile": code, "LICENSE": prose, "a.d/b": prose, "x.jsonl": lines,
		"": prose, "go": code, ".py": code, "a\xff.py": code, strings.Repeat("x", 1000) + ".c": code,
	} {
		if got := formOf(path); got != want && path != "go" {
			t.Errorf("%q: form %d, want %d", path, got, want)
		}
	}
}

func TestConform(t *testing.T) {
	docs := []kindtest.Doc{
		{Path: "a.go", Data: strings.Repeat("func f() {\n\treturn\n}\n\n", 100)},
		{Path: "b.md", Data: strings.Repeat("word. ", 1000)},
		{Path: "b.md", At: 6000, Data: strings.Repeat("more words. ", 1000)},
		{Path: "c"},
		{Path: "d", Data: strings.Repeat("\xff", 5000)},
		{Path: "e", Data: "x"},
	}
	for _, params := range []string{`{}`, `{"window":200,"overlap":40}`} {
		kindtest.Conform(t, Kind{}, params, docs...)
	}
}

// Chunks carry what is still true of them: their place, and fields of the document that are not about its whole.
func TestRecords(t *testing.T) {
	rec := corpus.Record{Path: "a.txt", At: 1000}
	rec.Fields.SetString("sha256", "x")
	rec.Fields.SetString("lang", "en")
	var got []string
	c := cutter{window: 64}
	data := strings.Repeat("a", 100)
	if err := c.record(&rec, []byte(data), func(r *corpus.Record, b []byte) error {
		got = append(got, fmt.Sprint(r.At, r.Len, len(b), string(r.Fields)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{`1000 64 64,"lang":"en"`, `1064 36 36,"lang":"en"`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	rec.Fields.SetInt("raw", 5)
	if err := c.record(&rec, nil, nil); err == nil {
		t.Error("a compressed record was cut")
	}
}

func TestCheck(t *testing.T) {
	for _, bad := range []string{`{"window":63}`, `{"window":16777217}`, `{"overlap":-1}`, `{"window":100,"overlap":51}`, `{"size":5}`} {
		if _, err := (Kind{}).Check([]byte(bad)); !errors.Is(err, tasks.ErrParams) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}
