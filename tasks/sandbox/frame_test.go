package sandbox

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"kith/tasks"
)

func sampleWork() Work {
	return Work{
		Op: OpRun, Steps: []tasks.Step{{Op: 1, Kind: "etl.dedup", Phase: "sign", Params: []byte(`{}`)}},
		Seed: [32]byte{1, 2}, Stage: 1, Index: 2, Parts: 3, Ranges: 4,
		In:     []Files{{Inline: map[string][]byte{"data": []byte("x"), "d/e": {}}}, {Dir: "/in"}},
		OutDir: "/out", Scratch: "/s", Inline: 99,
		Limits: tasks.Limits{WallMillis: 1, CPUMillis: 2, MemoryBytes: 3, ScratchBytes: 4, OutputBytes: 5, LogBytes: 6, VRAMBytes: 7, Processes: 8},
	}
}

func TestWorkRoundTrip(t *testing.T) {
	want := sampleWork()
	got, err := parseWork(putWork(nil, &want))
	if err != nil {
		t.Fatal(err)
	}
	want.In[1].Inline = map[string][]byte{}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) })); d != "" {
		t.Fatal(d)
	}
}

func TestReportBounds(t *testing.T) {
	files := func(m map[string][]byte) []byte { return putReport(nil, &report{inline: m}) }
	if _, err := parseReport(files(map[string][]byte{"a": make([]byte, 10)}), 10); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{
		"too large":     files(map[string][]byte{"a": make([]byte, 11)}),
		"two too large": files(map[string][]byte{"a": make([]byte, 6), "b": make([]byte, 6)}),
		"escape":        files(map[string][]byte{"../a": nil}),
		"absolute":      files(map[string][]byte{"/a": nil}),
		"root":          files(map[string][]byte{".": nil}),
		"long name":     files(map[string][]byte{strings.Repeat("x", maxName+1): nil}),
		"unknown code":  putReport(nil, &report{code: "because"}),
		"both":          putReport(nil, &report{onDisk: true, inline: map[string][]byte{"a": nil}}),
		"trailing":      append(files(nil), 0),
		"empty":         nil,
	} {
		if _, err := parseReport(body, 10); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add(putReport(nil, &report{inline: map[string][]byte{"a/b": []byte("x")}, cpuMicros: 5}))
	f.Add(putReport(nil, &report{code: tasks.TaskFailed, detail: "why\x1b"}))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseReport(body, 100)
		if err != nil {
			return
		}
		total := 0
		for name, data := range r.inline {
			if !fs.ValidPath(name) {
				t.Fatalf("name %q", name)
			}
			total += len(data)
		}
		if total > 100 || strings.ContainsRune(r.detail, 0x1b) {
			t.Fatalf("%d bytes, detail %q", total, r.detail)
		}
	})
}

func FuzzWork(f *testing.F) {
	w := sampleWork()
	f.Add(putWork(nil, &w))
	f.Fuzz(func(t *testing.T, body []byte) {
		w, err := parseWork(body)
		if err != nil {
			return
		}
		again, err := parseWork(putWork(nil, &w))
		if err != nil || !cmp.Equal(w, again) {
			t.Fatalf("does not survive a round trip: %v", err)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02\x01\x01\x00\x00\x00\x01\x05"))
	f.Add([]byte("\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newFrameConn(bytes.NewReader(b), io.Discard)
		for {
			_, body, err := c.read(1 << 10)
			if err != nil {
				return
			}
			if len(body) > 1<<10 {
				t.Fatalf("%d bytes", len(body))
			}
		}
	})
}

func TestMemFS(t *testing.T) {
	m := newMemFS(map[string][]byte{"a": []byte("x"), "d/b": []byte("yy"), "d/e/f": nil, "z": nil})
	if err := fstest.TestFS(m, "a", "d/b", "d/e/f", "z"); err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(newMemFS(nil)); err != nil {
		t.Fatal(err)
	}
}

func TestRedact(t *testing.T) {
	for line, secret := range map[string]string{
		"export API_KEY=abcd1234efgh":                             "abcd1234efgh",
		`{"password": "hunter22"}`:                                "hunter22",
		"Authorization: Bearer abc.def-ghi_jkl":                   "abc.def-ghi_jkl",
		"clone https://me:s3cret@host/x":                          "s3cret",
		"token ghp_0123456789abcdefghij":                          "ghp_0123456789abcdefghij",
		"AKIAIOSFODNN7EXAMPLE":                                    "AKIAIOSFODNN7EXAMPLE",
		"eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc":                   "eyJhbGciOiJIUzI1",
		"-----BEGIN OPENSSH PRIVATE KEY----- b3BlbnNzaC1rZXktdjE": "b3BlbnNzaC1rZXktdjE",
	} {
		if got := redact(line); strings.Contains(got, secret) {
			t.Errorf("%q → %q", line, got)
		}
	}
	for _, line := range []string{"read 10 files", "tokenizer: 3 tokens", "see http://host/path", "basic block 7"} {
		if got := redact(line); got != line {
			t.Errorf("%q → %q", line, got)
		}
	}
}
