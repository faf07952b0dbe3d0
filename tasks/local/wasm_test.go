package local_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/local"
)

// TestModule runs a submitter's own program: it lies in the input, every part carries it along, and it is no document.
func TestModule(t *testing.T) {
	dir := t.TempDir()
	module := filepath.Join(dir, "tools", "grep.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s", "-o", module, "kith/tasks/kinds/wasm/examples/grep")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no go command that builds for wasip1: %v\n%s", err, out)
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("first\nthe word in "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := here(t, true)
	tree, err := dag.AddTree(t.Context(), p.blobs, dir, dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := dag.Lookup(t.Context(), p.blobs, tree.Root, "tools/grep.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for name, ref := range map[string]string{"path": "tools/grep.wasm", "CID": f.Root.String()} {
		t.Run("by "+name, func(t *testing.T) {
			input := tree.Root
			if name == "CID" { // the module need not be in the input
				if err := os.RemoveAll(filepath.Join(dir, "tools")); err != nil {
					t.Fatal(err)
				}
				without, err := dag.AddTree(t.Context(), p.blobs, dir, dag.Options{})
				if err != nil {
					t.Fatal(err)
				}
				input = without.Root
			}
			res, err := local.Run(t.Context(), p.o, job(t, input, 20, tasks.Op{Kind: "wasm", Params: []byte(`{"module":"` + ref + `","args":["word"]}`)}), nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.Parts != 3 {
				t.Errorf("%d parts", res.Parts)
			}
			if got := fileOf(t, p, res.Root, "matches.jsonl"); strings.Count(got, "\n") != 3 || !strings.Contains(got, `{"path":"b","at":0,"line":2,"text":"the word in b"}`) {
				t.Errorf("got\n%s", got)
			}
		})
	}
	for ref, want := range map[string]string{"no/such.wasm": "no file", "a": "not WebAssembly", "": "module is missing"} {
		_, err := local.Run(t.Context(), p.o, job(t, tree.Root, 20, tasks.Op{Kind: "wasm", Params: []byte(`{"module":"` + ref + `"}`)}), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("module %q: got %v, want %q", ref, err, want)
		}
	}
}

func fileOf(t *testing.T, p place, root dag.CID, name string) string {
	t.Helper()
	f, err := dag.Lookup(t.Context(), p.blobs, root, name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := dag.Open(t.Context(), p.blobs, f.Root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
