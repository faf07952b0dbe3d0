package corpus_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/kindtest"
)

// with adds files to a corpus.
func with(fsys fstest.MapFS, files map[string]string) fstest.MapFS {
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return fsys
}

func TestReportsAreHandedOn(t *testing.T) {
	in := with(write(t, doc{corpus.Record{Path: "a"}, "xy"}), map[string]string{
		"repairs.jsonl": "{\"a\":1}\n", "empty.jsonl": "", "r/0000": "entries", "deep/x.jsonl": "{}\n", "notes.txt": "x",
	})
	for name, run := range map[string]func(c *tasks.Call) error{
		"transform": func(c *tasks.Call) error {
			return corpus.Transform(t.Context(), c, in, func(w *corpus.Writer, rec *corpus.Record, data []byte) error { return w.Write(rec, data) })
		},
		"annotate": func(c *tasks.Call) error {
			return corpus.Annotate(t.Context(), c, in, func(*corpus.Record, []byte) error { return nil })
		},
		"pass":      func(c *tasks.Call) error { return corpus.Pass(c, in) },
		"merge one": func(c *tasks.Call) error { return corpus.Merge(t.Context(), &tasks.Call{In: []fs.FS{in}, Out: c.Out}) },
	} {
		out := kindtest.NewOutput()
		if err := run(&tasks.Call{Out: out}); err != nil {
			t.Fatal(err)
		}
		want := fstest.MapFS{}
		for _, file := range []string{"data", "index.jsonl", "repairs.jsonl", "empty.jsonl"} {
			want[file] = in[file]
		}
		if diff := kindtest.Diff(want, out.FS()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestReportNames(t *testing.T) {
	in := with(write(t), map[string]string{"dedup.jsonl": "", "dedup-2.jsonl": "{}\n"})
	out := kindtest.NewOutput()
	c := &tasks.Call{Out: out}
	for _, name := range []string{"dedup.jsonl", "other.jsonl"} {
		r, err := corpus.CreateReport(c, in, name)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(r.Write(corpus.NameOf("<a>")), r.Write(corpus.NameOf("\xff")), r.Close())
		if err != nil {
			t.Fatal(err)
		}
	}
	lines := "{\"path\":\"<a>\"}\n{\"path64\":\"/w==\"}\n"
	if diff := kindtest.Diff(with(fstest.MapFS{}, map[string]string{"dedup-3.jsonl": lines, "other.jsonl": lines}), out.FS()); diff != "" {
		t.Error(diff)
	}
}

func TestReportsRefused(t *testing.T) {
	good := with(write(t), map[string]string{"r.jsonl": "{\"a\":[1]}\n{}\n"})
	for name, text := range map[string]string{
		"cut short": "{}\n{}", "no object": "7\n", "empty line": "{}\n\n{}\n", "half a line": "{}\n{\"a\":1\n", "a line feed": "\n", "text before": " {}\n",
	} {
		bad := with(write(t), map[string]string{"r.jsonl": text})
		err := corpus.Merge(t.Context(), &tasks.Call{In: []fs.FS{good, bad}, Out: kindtest.NewOutput()})
		if !errors.Is(err, corpus.ErrCorpus) || !strings.Contains(err.Error(), "part 1: r.jsonl") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	many := map[string]string{}
	for i := range corpus.MaxReports {
		many[fmt.Sprintf("%d.jsonl", i)] = ""
	}
	full := with(write(t), many)
	merge := func(in ...fs.FS) error {
		return corpus.Merge(t.Context(), &tasks.Call{In: in, Out: kindtest.NewOutput()})
	}
	if err := merge(full, full); err != nil {
		t.Errorf("as many reports as allowed: %v", err)
	}
	if err := merge(full, good); !errors.Is(err, corpus.ErrCorpus) {
		t.Errorf("too many reports in all: %v", err)
	}
	over := with(full, map[string]string{"x.jsonl": ""})
	if _, err := corpus.CreateReport(&tasks.Call{Out: kindtest.NewOutput()}, over, "y.jsonl"); !errors.Is(err, corpus.ErrCorpus) {
		t.Errorf("one report too many: %v", err)
	}
	if err := merge(over); !errors.Is(err, corpus.ErrCorpus) {
		t.Errorf("one report too many, handed on: %v", err)
	}
}

// Reports are joined in the order of the parts, however the parts are grouped, and parts may lack some.
func TestReportsMergeAssociative(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var parts []fs.FS
		want := map[string]string{}
		for range rapid.IntRange(2, 6).Draw(rt, "parts") {
			files := map[string]string{}
			for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a.jsonl", "b.jsonl", "b-2.jsonl"}), rapid.ID[string]).Draw(rt, "reports") {
				for n := range rapid.IntRange(0, 3).Draw(rt, "lines") {
					files[name] += fmt.Sprintf("{\"part\":%d,\"n\":%d}\n", len(parts), n)
				}
				files[name] += "" // a report may be empty
				want[name] += files[name]
			}
			parts = append(parts, with(write(t), files))
		}
		for len(parts) > 1 {
			at := rapid.IntRange(0, len(parts)-2).Draw(rt, "from")
			to := rapid.IntRange(at+2, len(parts)).Draw(rt, "to")
			out := kindtest.NewOutput()
			if err := corpus.Merge(context.Background(), &tasks.Call{In: parts[at:to], Out: out}); err != nil {
				rt.Fatal(err)
			}
			parts = append(append(parts[:at:at], out.FS()), parts[to:]...)
		}
		if diff := kindtest.Diff(with(write(t), want), parts[0].(fstest.MapFS)); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func FuzzMergeReports(f *testing.F) {
	f.Add([]byte("{\"a\":1}\n{}\n"), []byte("{}\n"))
	f.Add([]byte("{"), []byte("}\n"))
	f.Add([]byte{}, []byte("\n{}\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		report := func(data []byte) fs.FS { return with(write(t), map[string]string{"r.jsonl": string(data)}) }
		out := kindtest.NewOutput()
		if err := corpus.Merge(t.Context(), &tasks.Call{In: []fs.FS{report(a), report(b)}, Out: out}); err != nil {
			if !errors.Is(err, corpus.ErrCorpus) {
				t.Fatal(err)
			}
			return
		}
		got := string(out.FS()["r.jsonl"].Data)
		if got != string(a)+string(b) {
			t.Errorf("%q and %q became %q", a, b, got)
		}
		for line := range strings.Lines(got) {
			if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}\n") {
				t.Errorf("%q is a line of %q", line, got)
			}
		}
	})
}
