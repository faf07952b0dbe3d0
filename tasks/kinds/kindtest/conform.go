package kindtest

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"kith/tasks"
)

// Conform checks what every kind promises: a complete description, strict parameters with one canonical form, and
// results that are the same however the input is cut into parts and the outputs are grouped for merging. params are
// the parameters to run with; docs, of which there should be five or more, the input of a kind that needs one.
func Conform(t *testing.T, kind tasks.Kind, params string, docs ...Doc) {
	t.Helper()
	d := kind.Describe()
	t.Run("description", func(t *testing.T) {
		if d.Name == "" || d.Title == "" || d.Version < 1 || len(d.Phases) == 0 || d.Needs.Class == "" || d.Comparison == "" {
			t.Errorf("incomplete: %+v", d)
		}
		l := d.Limits
		if min(l.WallMillis, l.CPUMillis, l.MemoryBytes, l.ScratchBytes, l.OutputBytes, l.LogBytes, l.Processes) <= 0 {
			t.Errorf("a limit is not set: %+v", l)
		}
		if !json.Valid([]byte(d.Schema)) {
			t.Error("the schema is not JSON")
		}
	})
	t.Run("parameters", func(t *testing.T) {
		if _, err := kind.Check(nil); err != nil {
			t.Errorf("no parameters: %v", err)
		}
		canonical := check(t, kind, params)
		if again := check(t, kind, string(canonical)); string(again) != string(canonical) {
			t.Errorf("canonical form %s became %s", canonical, again)
		}
		for _, bad := range []string{`{"no_such_field":1}`, `[]`, `null`, `{`, `{}{}`, `7`} {
			if _, err := kind.Check([]byte(bad)); !errors.Is(err, tasks.ErrParams) {
				t.Errorf("%s: got %v, want ErrParams", bad, err)
			}
		}
	})
	t.Run("any split", func(t *testing.T) {
		splits := [][]int{{len(docs)}, {1, len(docs) - 1}, {0, 2, 0, len(docs) - 3, 1}, slices.Repeat([]int{1}, len(docs))}
		if !d.Needs.Input {
			splits = [][]int{{0, 0, 0}, {0, 0, 0}} // the number of parts is a parameter; the same twice must give the same
		}
		job := Job{Kinds: Registry{kind}, Ops: []tasks.Op{{Kind: d.Name, Params: check(t, kind, params)}}, Scratch: t.TempDir()}
		var want fstest.MapFS
		for i, split := range splits {
			var lists [][]Doc
			rest := docs
			for _, n := range split {
				lists = append(lists, rest[:n])
				rest = rest[n:]
			}
			job.Parts = Parts(lists...)
			job.Ranges = 1 + 2*i
			got, err := job.Run(t.Context())
			if err != nil {
				t.Fatalf("split %v: %v", split, err)
			}
			if i == 0 {
				want = got
			} else if diff := Diff(want, got); diff != "" {
				t.Fatalf("split %v: %s", split, diff)
			}
		}
		merges(t, kind, want)
	})
	t.Run("cancelled", func(t *testing.T) {
		if !d.Needs.Input {
			t.Skip("no input")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := kind.Run(ctx, &tasks.Call{
			Phase: d.Phases[0].Name, Params: check(t, kind, params), Parts: 1, Ranges: 1, In: []fs.FS{Corpus(docs...)}, Out: NewOutput(),
		})
		if err == nil {
			t.Error("a cancelled run went on to the end")
		}
	})
}

// merges checks that merging is associative and leaves a single output as it is.
func merges(t *testing.T, kind tasks.Kind, output fstest.MapFS) {
	t.Helper()
	merge := func(in ...fs.FS) fstest.MapFS {
		out := NewOutput()
		if err := kind.Merge(t.Context(), &tasks.Call{In: in, Out: out}); err != nil {
			t.Fatal(err)
		}
		return out.FS()
	}
	if diff := Diff(output, merge(output)); diff != "" {
		t.Errorf("merging one output changed it: %s", diff)
	}
	all := merge(output, output, output)
	if diff := Diff(all, merge(merge(output, output), output)); diff != "" {
		t.Errorf("left first: %s", diff)
	}
	if diff := Diff(all, merge(output, merge(output, output))); diff != "" {
		t.Errorf("right first: %s", diff)
	}
}

// Diff says how the files of got differ from those of want, or nothing.
func Diff(want, got fstest.MapFS) string {
	names := slices.Sorted(maps.Keys(want))
	if have := slices.Sorted(maps.Keys(got)); !slices.Equal(names, have) {
		return "files " + strings.Join(have, " ") + ", want " + strings.Join(names, " ")
	}
	for _, name := range names {
		w, g := string(want[name].Data), string(got[name].Data)
		if w == g {
			continue
		}
		at := 0
		for at < min(len(w), len(g)) && w[at] == g[at] {
			at++
		}
		return name + " differs: " + excerpt(g, at) + ", want " + excerpt(w, at)
	}
	return ""
}

func excerpt(s string, at int) string {
	b, _ := json.Marshal(s[max(0, at-40):min(len(s), at+80)])
	return string(b)
}

func check(t *testing.T, kind tasks.Kind, params string) []byte {
	t.Helper()
	canonical, err := kind.Check([]byte(params))
	if err != nil {
		t.Fatal(err)
	}
	return canonical
}
