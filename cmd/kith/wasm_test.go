package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kith/cmd/internal/fleet"
)

// TestModule gives a program of the submitter's own to another node, and has modules that cannot run refused.
func TestModule(t *testing.T) {
	_, submitter, _ := world(t, 1)
	base := t.TempDir()
	module := filepath.Join(base, "grep.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s", "-o", module, "../../tasks/kinds/wasm/examples/grep")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	input, result := filepath.Join(base, "input"), filepath.Join(base, "result")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(input, 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(input, "a.txt"), "nothing\nTODO: more\n")
	write(filepath.Join(input, "grep.wasm"), "a document of the same name\n")
	pattern := `wasm.args=["TODO|same name"]`
	must(t, submitter, "submit", "wasm", "--module", module, "--input", input, "--checkpoint", "-p", pattern, "-s", "public", "--k", "1", "-o", result, "--timeout", "60s")
	got, err := os.ReadFile(filepath.Join(result, "matches.jsonl"))
	if err != nil || !strings.Contains(string(got), "TODO: more") || !strings.Contains(string(got), "the same name") {
		t.Fatalf("%s, %v", got, err)
	}

	// The same by itself, twice: the module is compiled once, and kept.
	var kept []os.FileInfo
	for _, name := range []string{"first", "second"} {
		alone := filepath.Join(base, name)
		must(t, submitter, "local", "wasm", "--module", module, "--input", input, "-p", pattern, "-o", alone)
		if files, size, err := fleet.Same(alone, result); err != nil || files == 0 || size == 0 {
			t.Fatalf("%s: %d files, %d bytes: %v", name, files, size, err)
		}
		found, err := filepath.Glob(filepath.Join(submitter.Home, "code", "*", "data"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: kept %v, %v", name, found, err)
		}
		info, err := os.Stat(found[0])
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, info)
	}
	if !os.SameFile(kept[0], kept[1]) {
		t.Error("the module was compiled twice")
	}

	empty, foreign := filepath.Join(base, "empty.wasm"), filepath.Join(base, "foreign.wasm")
	write(empty, "\x00asm\x01\x00\x00\x00")
	write(foreign, "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x02\x0b\x01\x03env\x03foo\x00\x00\x03\x02\x01\x00"+
		"\x07\x0a\x01\x06_start\x00\x01\x0a\x04\x01\x02\x00\x0b")
	for _, c := range []struct {
		name, want string
		code       int
		args       []string
	}{
		{"no WebAssembly", "not WebAssembly", exitUsage, []string{"--module", filepath.Join(input, "a.txt")}},
		{"exports nothing", "exports no function _start", exitUsage, []string{"--module", empty}},
		{"imports what is not given", `"env"."foo"`, exitUsage, []string{"--module", foreign}},
		{"not there", "check the path", exitNotFound, []string{"--module", filepath.Join(base, "none.wasm")}},
		{"a folder", "is a folder", exitUsage, []string{"--module", input}},
		{"named twice", "named twice", exitUsage, []string{"--module", module, "-p", "wasm.module=a.txt"}},
		{"in the input, and no WebAssembly", "not WebAssembly", exitRefused, []string{"-p", "wasm.module=a.txt", "-w"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			exits(t, submitter, c.code, c.want, append([]string{"submit", "wasm", "--input", input, "-s", "public", "--timeout", "60s"}, c.args...)...)
		})
	}
	exits(t, submitter, exitUsage, "--checkpoint is for wasm", "submit", "etl.chunk", input, "--checkpoint", "-s", "public")
	exits(t, submitter, exitUsage, "--checkpoint is for wasm", "submit", "wasm,etl.chunk", input, "--module", module, "--checkpoint", "-s", "public")
	exits(t, submitter, exitUsage, "contradict", "submit", "wasm", input, "--module", module, "--checkpoint", "-p", "wasm.checkpoint=false", "-s", "public")
	exits(t, submitter, exitUsage, "--module is for wasm", "submit", "etl.chunk", input, "--module", module, "-s", "public")
	exits(t, submitter, exitUsage, "two inputs", "submit", "wasm", base, "--input", input, "--module", module, "-s", "public")
}
