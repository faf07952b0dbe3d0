package sandbox_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"kith/tasks"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

// TestPreparedStays: a task reads what was prepared for it, and can do nothing to it.
func TestPreparedStays(t *testing.T) {
	t.Parallel()
	for name, without := range map[string]sandbox.Layers{
		"all":            0,
		"own root alone": sandbox.LayerSyscalls | sandbox.LayerLandlock,
		"landlock alone": sandbox.LayerSyscalls | sandbox.LayerNamespaces,
		"no own root":    sandbox.LayerNamespaces,
	} {
		t.Run(name, func(t *testing.T) {
			if name == "landlock alone" && !landlockKeepsLength() {
				t.Skip("this kernel's Landlock does not keep files from being cut; the filter does")
			}
			e := process(t, func(o *sandbox.Options) { o.Without, o.Spares = without, -1 })
			dir := t.TempDir()
			made := filepath.Join(dir, sandbox.InDir, "prepared")
			if err := errors.Join(os.MkdirAll(made, 0o700), os.Mkdir(filepath.Join(dir, sandbox.OutDir), 0o700), os.Mkdir(filepath.Join(dir, sandbox.TmpDir), 0o700),
				os.WriteFile(filepath.Join(made, "code"), []byte("as it was made"), 0o600)); err != nil {
				t.Fatal(err)
			}
			r, err := e.Open(t.Context(), tasks.JobID{1}, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if l := e.Layers(); l&(sandbox.LayerRoot|sandbox.LayerLandlock) == 0 {
				t.Skipf("this system has neither: %s", l)
			}
			w := sandboxtest.Do("prepared", "")
			w.OutDir, w.Scratch, w.Prepared = filepath.Join(dir, sandbox.OutDir), filepath.Join(dir, sandbox.TmpDir), made
			res, err := r.Run(t.Context(), w)
			if err != nil || string(res.Inline["n"]) != "as it was made" || string(res.Inline["did"]) != "" {
				t.Errorf("it read %q and managed to: %s (%v)", res.Inline["n"], res.Inline["did"], err)
			}
			if b, err := os.ReadFile(filepath.Join(made, "code")); err != nil || string(b) != "as it was made" {
				t.Errorf("after it: %q, %v", b, err)
			}
			if list, err := os.ReadDir(made); err != nil || len(list) != 1 {
				t.Errorf("after it: %v, %v", list, err)
			}
			w.Prepared = dir
			if _, err := r.Run(t.Context(), w); err == nil {
				t.Error("a folder outside of the runner's inputs was accepted")
			}
		})
	}
}
