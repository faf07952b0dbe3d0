package logfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a time that tests move.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestDays: a file a day, seven days of them.
func TestDays(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, filepath.FromSlash(Dir))
	c := &clock{time.Date(2026, 11, 1, 23, 59, 0, 0, time.UTC)}
	w := New(home, Options{Now: c.read})
	for range 20 {
		for i := range 3 {
			fmt.Fprintf(w, "%s line %d\n", c.now.Format(day), i)
		}
		c.now = c.now.Add(24 * time.Hour)
	}
	must(t, w.Close())
	got := names(t, dir)
	if len(got) != 8 || got[0] != "kith-2026-11-13.log" || got[7] != Current {
		t.Errorf("%q", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, "kith-2026-11-15.log"))
	must(t, err)
	if want := "2026-11-15 line 0\n2026-11-15 line 1\n2026-11-15 line 2\n"; string(text) != want {
		t.Errorf("%q", text)
	}
	if n, err := w.Write([]byte("late\n")); n != 5 || err != nil {
		t.Error(n, err)
	}
}

// TestRestart: a node that starts again goes on with the file of its day, and puts that of an earlier day away.
func TestRestart(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, filepath.FromSlash(Dir))
	c := &clock{time.Now()}
	for range 3 {
		w := New(home, Options{Now: c.read})
		fmt.Fprintln(w, "line")
		must(t, w.Close())
	}
	if text, err := os.ReadFile(filepath.Join(dir, Current)); err != nil || strings.Count(string(text), "line\n") != 3 {
		t.Errorf("%q %v", text, err)
	}
	before := c.now.Add(-48 * time.Hour)
	must(t, os.Chtimes(filepath.Join(dir, Current), before, before))
	must(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "kith-2020-01-01.log"), []byte("old"), 0o600))
	w := New(home, Options{Now: c.read})
	fmt.Fprintln(w, "today")
	must(t, w.Close())
	got := strings.Join(names(t, dir), " ")
	if got != fmt.Sprintf("kith-%s.log %s notes.txt", before.Format(day), Current) {
		t.Errorf("%s", got)
	}
}

func TestSizes(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, filepath.FromSlash(Dir))
	c := &clock{time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	w := New(home, Options{Now: c.read, File: 1000, Most: func() int64 { return 3500 }})
	line := []byte(strings.Repeat("x", 99) + "\n")
	for range 200 {
		_, _ = w.Write(line)
	}
	_, _ = w.Write([]byte(strings.Repeat("y", 5000) + "\n")) // longer than a file may be: whole all the same
	must(t, w.Close())
	var sum int64
	for _, it := range Finished(dir) {
		sum += it.Bytes
	}
	if sum > 3500 || len(names(t, dir)) < 3 {
		t.Errorf("%d bytes in %q", sum, names(t, dir))
	}
	if text, err := os.ReadFile(filepath.Join(dir, Current)); err != nil || len(text) != 5001 {
		t.Errorf("%d bytes %v", len(text), err)
	}
}

// TestTrouble: where nothing can be written, logging goes on without a word, and comes back.
func TestTrouble(t *testing.T) {
	home := t.TempDir()
	c := &clock{time.Now()}
	must(t, os.WriteFile(filepath.Join(home, "log"), nil, 0o600))
	w := New(home, Options{Now: c.read})
	if n, err := w.Write([]byte("lost\n")); n != 5 || err != nil {
		t.Error(n, err)
	}
	must(t, os.Remove(filepath.Join(home, "log")))
	fmt.Fprintln(w, "too early")
	c.now = c.now.Add(2 * retry)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { fmt.Fprintln(w, "kept") })
	}
	wg.Wait()
	must(t, w.Close())
	text, err := os.ReadFile(filepath.Join(home, filepath.FromSlash(Dir), Current))
	if err != nil || string(text) != strings.Repeat("kept\n", 10) {
		t.Errorf("%q %v", text, err)
	}
}
