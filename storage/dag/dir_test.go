package dag_test

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kith/storage/dag"
	"kith/storage/memstore"
)

func TestDirectory(t *testing.T) {
	for _, n := range []int{0, 1, 3000, 30_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := memstore.NewBlobs()
			f := addBytes(t, s, []byte("x"))
			entries := make([]dag.Entry, n)
			for i := range entries {
				entries[i] = dag.Entry{Name: fmt.Sprintf("%d \xff 🌿", i*7919%n), Root: f.Root, Size: f.Size}
			}
			root, err := dag.NewDirectory(t.Context(), s, entries)
			if err != nil {
				t.Fatal(err)
			}
			slices.Reverse(entries)
			again, err := dag.NewDirectory(t.Context(), s, entries)
			if err != nil || again != root {
				t.Errorf("order of entries matters: %v %v", again, err)
			}
			slices.SortFunc(entries, func(a, b dag.Entry) int { return strings.Compare(a.Name, b.Name) })
			i := 0
			for e, err := range dag.ReadDir(t.Context(), s, root) {
				if err != nil {
					t.Fatal(err)
				}
				if e != entries[i] {
					t.Fatalf("entry %d is %v, want %v", i, e, entries[i])
				}
				i++
			}
			if i != n {
				t.Fatalf("%d entries, want %d", i, n)
			}
			for _, i := range []int{0, n / 3, n - 1} {
				if n == 0 {
					break
				}
				if e, err := dag.Lookup(t.Context(), s, root, entries[i].Name); err != nil || e != entries[i] {
					t.Errorf("lookup: %v %v", e, err)
				}
			}
			for _, name := range []string{"zzz", "!", "0/x", "0 \xff 🌿/x"} {
				if _, err := dag.Lookup(t.Context(), s, root, name); !errors.Is(err, dag.ErrNoEntry) {
					t.Errorf("lookup %q: %v", name, err)
				}
			}
			for c, err := range s.All(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if size, err := s.Size(t.Context(), c); err != nil || size > 300<<10 {
					t.Errorf("node of %d bytes %v", size, err)
				}
			}
		})
	}
}

func TestDirectoryRefusesNames(t *testing.T) {
	s := memstore.NewBlobs()
	f := addBytes(t, s, nil)
	for _, names := range [][]string{{""}, {"."}, {".."}, {"a/b"}, {"a\x00"}, {strings.Repeat("n", 1025)}, {"a", "a"}} {
		var entries []dag.Entry
		for _, n := range names {
			entries = append(entries, dag.Entry{Name: n, Root: f.Root})
		}
		if _, err := dag.NewDirectory(t.Context(), s, entries); err == nil {
			t.Errorf("%q accepted", names)
		}
	}
}

// TestFilesInPathOrder: whatever the names, whole trees come in byte order of their paths.
func TestFilesInPathOrder(t *testing.T) {
	name := rapid.StringMatching(`[a!/.0\-]{1,6}`)
	rapid.Check(t, func(rt *rapid.T) {
		s := memstore.NewBlobs()
		content := map[string][]byte{}
		for _, n := range rapid.SliceOfN(name, 0, 30).Draw(rt, "names") {
			content[n] = []byte(n)
		}
		tree, err := dag.AddFiles(t.Context(), s, content)
		if err != nil {
			return // not a tree: empty elements, dots, a file that is a folder too
		}
		var want, got []string
		for n := range content {
			want = append(want, n)
		}
		sort.Strings(want)
		var size int64
		for e, err := range dag.Files(t.Context(), s, tree.Root) {
			if err != nil {
				rt.Fatal(err)
			}
			got = append(got, e.Name)
			size += e.Size
			if found, err := dag.Lookup(t.Context(), s, tree.Root, e.Name); err != nil || found != e {
				rt.Errorf("lookup %q: %v %v", e.Name, found, err)
			}
		}
		if !slices.Equal(got, want) || size != tree.Size {
			rt.Errorf("got %q of %d bytes, want %q of %d", got, size, want, tree.Size)
		}
	})
}
