package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kith/node/api"
	"kith/node/config"
	"kith/node/identity"
)

// try runs one command line in this process.
func try(t *testing.T, home string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"--home", home}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommandLine(t *testing.T) {
	home := t.TempDir()
	input := filepath.Join(t.TempDir(), "a file 🙂.txt")
	if err := os.WriteFile(input, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string // in standard output if code is 0, else in standard error
	}{
		{"help", []string{"--help"}, 0, "kith"},
		{"help of a command", []string{"submit", "--help"}, 0, "--part-size"},
		{"help command", []string{"help", "submit"}, 0, "--part-size"},
		{"help exit-codes", []string{"help", "exit-codes"}, 0, "interrupted"},
		{"exit codes", []string{"exit-codes"}, 0, "no node is running"},
		{"version", []string{"version"}, 0, "kith "},
		{"kinds", []string{"kinds"}, 0, "etl.dedup"},
		{"one kind", []string{"kinds", "etl.chunk"}, 0, "parameters"},
		{"settings", []string{"config", "list"}, 0, "work.slots"},
		{"one setting", []string{"config", "get", "network"}, 0, "main"},
		{"docs", []string{"config", "docs"}, 0, "| `work.slots` |"},
		{"drives without a node", []string{"drives"}, 0, "grade"},
		{"drives for programs", []string{"drives", "--json"}, 0, `"syncEvery"`},
		{"table of grades", []string{"drives", "--table"}, 0, "fragile"},
		{"forget", []string{"drives", home, "--forget"}, 0, "grade"},
		{"bash", []string{"completion", "bash"}, 0, "complete -o filenames -F _kith kith"},
		{"zsh", []string{"completion", "zsh"}, 0, "#compdef kith"},
		{"fish", []string{"completion", "fish"}, 0, "complete -c kith"},

		{"no such drive", []string{"drives", "nosuchdrive"}, 4, "kith drives"},
		{"forget which", []string{"drives", "--forget"}, 2, "name the drive"},
		{"soak, no such drive", []string{"soak", filepath.Join(home, "gone")}, 4, "name a folder"},
		{"soak, not a folder", []string{"soak", input}, 4, "name a folder"},
		{"soak, no time", []string{"soak", home, "--minutes", "0"}, 2, "--minutes"},
		{"soak, NaN", []string{"soak", home, "--minutes", "NaN"}, 2, "--minutes"},
		{"soak, too small", []string{"soak", home, "--size", "1KiB"}, 2, "--size"},
		{"no such command", []string{"sumbit"}, 2, "sumbit"},
		{"no such flag", []string{"jobs", "--al"}, 2, "--al"},
		{"no such shell", []string{"completion", "csh"}, 2, "csh"},
		{"no such kind", []string{"kinds", "etl.chunck"}, 4, `did you mean "etl.chunk"`},
		{"no such setting", []string{"config", "get", "work.slot"}, 4, `did you mean "work.slots"`},
		{"bad value", []string{"config", "set", "work.slots", "99999"}, 2, "1 to 256"},
		{"bad value among good ones", []string{"config", "set", "work.donate=off", "work.slots=99999"}, 2, "1 to 256"},
		{"no value", []string{"config", "set", "work.slots"}, 2, "work.slots=VALUE"},
		{"set twice", []string{"config", "set", "work.slots=1", "work.slots=2"}, 2, "twice"},
		{"nothing to undo", []string{"config", "undo"}, 5, "nothing to take back"},
		{"no node", []string{"status"}, 3, "kith run"},
		{"no identity", []string{"id"}, 4, "kith init"},
		{"submit, no such kind", []string{"submit", "etl.nothing", input}, 4, "kith kinds"},
		{"submit, no path", []string{"submit", "etl.chunk"}, 2, "name one"},
		{"submit, path too many", []string{"submit", "test.noop", input}, 2, "reads no input"},
		{"submit, who may see it", []string{"submit", "etl.chunk", input}, 2, "--sensitivity"},
		{"submit, nobody", []string{"submit", "etl.chunk", input, "-s", "some"}, 2, "public, synthetic"},
		{"submit, bad size", []string{"submit", "etl.chunk", input, "-s", "public", "--part-size", "big"}, 2, "--part-size"},
		{"submit, bad deadline", []string{"submit", "etl.chunk", input, "-s", "public", "--deadline", "soon"}, 2, "--deadline"},
		{"submit, bad k", []string{"submit", "test.noop", "--k", "0"}, 2, "at least 1"},
		{"submit, bad parameter", []string{"submit", "test.noop", "-p", "tasks"}, 2, "KIND.KEY=VALUE"},
		{"submit, parameter of another", []string{"submit", "test.noop", "-p", "etl.chunk.window=1"}, 2, "none of the steps"},
		{"submit, full folder", []string{"submit", "test.noop", "-o", full}, 2, "not empty"},
		{"submit, no node", []string{"submit", "test.noop"}, 3, "kith run"},
		{"local, full folder", []string{"local", "etl.chunk", input, "-o", full}, 2, "not empty"},
		{"local, no such input", []string{"local", "etl.chunk", filepath.Join(home, "gone"), "-o", filepath.Join(home, "out")}, 4, "gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := try(t, home, c.args...)
			text := out
			if c.code != 0 {
				text = errs
			}
			if code != c.code || !strings.Contains(text, c.want) {
				t.Fatalf("exit %d, want %d and %q\nstdout: %s\nstderr: %s", code, c.code, c.want, out, errs)
			}
			if c.code != 0 && out != "" && c.code != 2 {
				t.Errorf("a failure wrote to standard output: %s", out)
			}
		})
	}
}

func TestErrorsAsJSON(t *testing.T) {
	code, out, errs := try(t, t.TempDir(), "status", "--json")
	var e struct {
		Error, Remedy string
		Exit          int
	}
	if err := json.Unmarshal([]byte(errs), &e); err != nil || code != exitNotRunning || e.Exit != exitNotRunning || e.Remedy == "" || out != "" {
		t.Fatalf("exit %d, %v: %s", code, err, errs)
	}
}

// Reading the settings of a folder that is not there shows the defaults and makes nothing; changing them makes it.
func TestSettingsBeforeAnything(t *testing.T) {
	home := filepath.Join(t.TempDir(), "new", "folder")
	if code, out, errs := try(t, home, "config", "get", "network"); code != 0 || !strings.Contains(out, "main") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if _, err := os.Stat(home); err == nil {
		t.Fatal("reading made the data folder")
	}
	if code, out, errs := try(t, home, "config", "set", "work.slots=3"); code != 0 || !strings.Contains(out, "work.slots = 3") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if code, out, errs := try(t, home, "id"); code != 0 || !strings.Contains(out, "12D3KooW") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
}

func TestInitAndSettingsWithoutNode(t *testing.T) {
	home := filepath.Join(t.TempDir(), "new", "folder")
	if code, out, errs := try(t, home, "init"); code != 0 || !strings.Contains(out, "made node") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if code, out, _ := try(t, home, "init"); code != 0 || !strings.Contains(out, "there already") {
		t.Fatalf("exit %d: %s", code, out)
	}
	if code, out, _ := try(t, home, "id"); code != 0 || !strings.Contains(out, "12D3KooW") {
		t.Fatalf("exit %d: %s", code, out)
	}
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"config", "set", "work.slots", "7"}, "work.slots = 7"},
		{[]string{"config", "set", "peers.bootstrap", ""}, ""},
		{[]string{"config", "get", "work.slots"}, "7"},
		{[]string{"config", "undo"}, "work.slots = "},
		{[]string{"config", "redo"}, "work.slots = 7"},
		{[]string{"config", "set", "work.slots=3", "log.level=warn"}, "log.level = warn"},
		{[]string{"config", "undo"}, "work.slots = 7"},
	} {
		if code, out, errs := try(t, home, step.args...); code != 0 || !strings.Contains(out, step.want) {
			t.Fatalf("%v: exit %d: %s%s", step.args, code, out, errs)
		}
	}
	code, out, _ := try(t, home, "config", "list", "--changed", "--json")
	var list []api.Setting
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list) != 1 || list[0].Value != "7" {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
}

func TestDamagedFilesAreNamedAndKept(t *testing.T) {
	for file, text := range map[string]string{config.FileName: "{\n  \"wrok\": {}}", identity.FileName: "not a key"} {
		t.Run(file, func(t *testing.T) {
			home := t.TempDir()
			path := filepath.Join(home, file)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range [][]string{{"init"}, {"run", "--api-port", "any", "--port", "any"}} {
				code, _, errs := try(t, home, command...)
				if code != exitFailed || !strings.Contains(errs, path) || !strings.Contains(errs, "move") {
					t.Fatalf("%v: exit %d: %s", command, code, errs)
				}
			}
			if now, _ := os.ReadFile(path); string(now) != text {
				t.Error("the file was changed")
			}
		})
	}
}

func TestParameters(t *testing.T) {
	p := pipeline{Kinds: "etl.chunk, etl.dedup", Path: "x", Param: []string{"etl.chunk.window=500", "2.distance=2", "1.mode=prose", "1.on=true", `1.list=[1,"a"]`}}
	ops, input, err := p.ops()
	if err != nil || !input {
		t.Fatalf("input %v, %v", input, err)
	}
	got, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"kind":"etl.chunk","params":{"list":[1,"a"],"mode":"prose","on":true,"window":500}},{"kind":"etl.dedup","params":{"distance":2}}]`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
}

func TestNamesCannotSteerTheTerminal(t *testing.T) {
	if got := printable("a\x1b[31mred\r\n\u009bx ü"); strings.ContainsAny(got, "\x1b\r\n\u009b") || !strings.Contains(got, "ü") {
		t.Errorf("got %q", got)
	}
}

func TestTexts(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_499: "999 kB", 999_500: "1.0 MB", 127_600_000: "128 MB", 1 << 60: "1153 PB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
