package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kith/simnet/report"
)

func TestSimnet(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := file("good.sim", "title good\nnodes 20\njob tasks=40 seconds=1 want=20\nexpect done = 100\n")
	missed := file("missed.sim", "title missed\nnodes 20\njob tasks=40 seconds=1 want=20\nexpect makespan < 1s\n")
	means := file("means.sim", "title means\nnodes 20\nseeds 3\njob tasks=40 seconds=1 want=20\nexpect done = 100\nexpect mean makespan < 1s\n")
	typo := file("typo.sim", "title typo\njob tasks=40\nexpcet done = 100\n")
	page := filepath.Join(dir, "page.html")
	for _, c := range []struct {
		name string
		args []string
		code int
		out  string
		err  string
	}{
		{"holds", []string{"run", good, "--html", page}, exitOK, "holds   line 4: done = 100", ""},
		{"missed", []string{"run", missed}, exitFailed, "MISSED  line 4: makespan < 1s", ""},
		{"mistake", []string{"run", typo}, exitUsage, "", "typo.sim:3: there is no directive"},
		{"unknown", []string{"run", "nope"}, exitNotFound, "", "mixed-fleet"},
		{"rung", []string{"run", good, "--rung", "air"}, exitUsage, "", "core, mock or quic"},
		{"seeds", []string{"run", good, "--seeds", "3"}, exitOK, "seeds 1 to 3", ""},
		{"a mean", []string{"run", means, "--seed", "2", "--seeds", "3"}, exitFailed, "MISSED  line 6: mean makespan < 1s", ""},
		{"a mean of one", []string{"run", means, "--seed", "2"}, exitOK, "open    line 6: mean makespan < 1s", ""},
		{"list", []string{"list"}, exitOK, "mixed-fleet", ""},
		{"show", []string{"show", "colluders"}, exitOK, "hosts  colluder 30%", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), append([]string{"simnet"}, c.args...), &out, &errs)
			if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.err) {
				t.Errorf("exit %d, want %d\n%s\n%s", code, c.code, &out, &errs)
			}
		})
	}
	if b, err := os.ReadFile(page); err != nil || !bytes.Contains(b, []byte("<svg")) {
		t.Errorf("page: %v", err)
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"simnet", "run", good, "--json", "--nodes", "10", "--seed", "7"}, &out, &out); code != exitOK {
		t.Fatalf("exit %d: %s", code, &out)
	}
	var list []report.Report
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || len(list) != 1 || list[0].Nodes != 10 || list[0].Seed != 7 || !list[0].Passed {
		t.Errorf("JSON: %v %+v", err, list)
	}
}
