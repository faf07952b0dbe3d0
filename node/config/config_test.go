package config

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func open(t *testing.T, home string) *Store {
	t.Helper()
	s, err := Open(home)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func set(t *testing.T, s *Store, key, value string) []string {
	t.Helper()
	changed, err := s.Set(map[string]string{key: value})
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestDefaultsAreValidAndComplete(t *testing.T) {
	d := Defaults()
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(Config{}.Filled(), d) {
		t.Error("an empty file is not the defaults")
	}
	for _, f := range Fields() {
		if f.Doc == "" {
			t.Errorf("%s has no words", f.Key)
		}
	}
}

func TestSetUndoRedo(t *testing.T) {
	home := t.TempDir()
	s := open(t, home)
	if _, err := s.Undo(); !errors.Is(err, ErrNoHistory) {
		t.Fatalf("undo of nothing: %v", err)
	}
	if got := set(t, s, "work.slots", "7"); !slices.Equal(got, []string{"work.slots"}) {
		t.Fatalf("changed %v", got)
	}
	set(t, s, "network", "test")
	set(t, s, "network", "test") // no change, nothing to undo
	s = open(t, home)            // history survives a restart
	if c := s.Get(); c.Network != "test" || c.Work.Slots != 7 {
		t.Fatalf("reopened %+v", c)
	}
	for _, want := range []string{"main", "main"} {
		if _, err := s.Undo(); err != nil {
			t.Fatal(err)
		}
		if got := s.Get().Network; got != want {
			t.Fatalf("network %q, want %q", got, want)
		}
	}
	if s.Get().Work.Slots != Defaults().Work.Slots || s.CanUndo() {
		t.Fatal("not all is undone")
	}
	if _, err := s.Redo(); err != nil || s.Get().Work.Slots != 7 {
		t.Fatalf("redo: %v, %d slots", err, s.Get().Work.Slots)
	}
	set(t, s, "log.level", "debug")
	if s.CanRedo() {
		t.Error("a new change must end what could be redone")
	}
	if got := set(t, s, "log.level", ""); !slices.Equal(got, []string{"log.level"}) || s.Get().Log.Level != "info" {
		t.Errorf("default again: %v", got)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range maxHistory + 20 {
		set(t, s, "work.slots", []string{"3", "5"}[i%2])
	}
	undone := 0
	for s.CanUndo() {
		if _, err := s.Undo(); err != nil {
			t.Fatal(err)
		}
		undone++
	}
	if undone != maxHistory {
		t.Errorf("%d changes can be undone, want %d", undone, maxHistory)
	}
}

func TestSetIsAllOrNothing(t *testing.T) {
	home := t.TempDir()
	s := open(t, home)
	_, err := s.Set(map[string]string{"network": "test", "work.slots": "0x"})
	var bad *Error
	if !errors.As(err, &bad) || bad.Key != "work.slots" {
		t.Fatalf("got %v", err)
	}
	if s.Get().Network != "main" {
		t.Error("half of the change was taken")
	}
	if _, err := os.Stat(filepath.Join(home, FileName)); err == nil {
		t.Error("a refused change wrote a file")
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"work.slots", "-1", "1 to 256"},
		{"work.slots", "99999", "1 to 256"},
		{"work.slots", "two", "1 to 256"},
		{"work.memoryPerTask", "1KiB", "16MiB to 1TiB"},
		{"work.memoryPerTask", "8GiB", "work.memory"},
		{"work.memoryPerTask", "NaN", "16MiB to 1TiB"},
		{"storage.diskAlert", "95", "storage.diskStop"},
		{"network", "Main Net", "a-z"},
		{"listen.ports", "99999", "1 to 65535"},
		{"listen.ports", "4780", "overlaps"},
		{"listen.profile", "home", "auto, lan, wan"},
		{"peers.mdns", "maybe", "on, off"},
		{"peers.region", "Germany", "ISO country"},
		{"peers.bootstrap", "example.org:4717", "/p2p/"},
		{"work.kindsOff", "rm -rf", "etl.*"},
		{"peers.mmdb", "a\nb", "one line"},
		{"work.slot", "1", `did you mean "work.slots"`},
	} {
		t.Run(c.key+"="+c.value, func(t *testing.T) {
			_, err := open(t, t.TempDir()).Set(map[string]string{c.key: c.value})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestListLimit(t *testing.T) {
	s := open(t, t.TempDir())
	_, err := s.Set(map[string]string{"work.kindsOff": strings.Repeat("etl.x,", maxList+1)})
	if err == nil || !strings.Contains(err.Error(), "at most 1000") {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Set(map[string]string{"peers.mmdb": strings.Repeat("x", maxText+1)}); err == nil {
		t.Fatal("a text over the limit was taken")
	}
}

func TestBadFileIsRefusedAndKept(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"unknown":  {"{\n \"wrok\": {}}", `line 2, column 2: wrok: no such field; did you mean "work"?`},
		"truncate": {`{"version":1`, "ends too early"},
		"garbage":  {"\x00\x01", "line 1"},
		"range":    {`{"version":1,"work":{"slots":4000}}`, "1 to 256"},
		"future":   {`{"version":9}`, "update Kith"},
		"huge":     {strings.Repeat(" ", maxFile+1), "no settings file"},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			file := filepath.Join(home, FileName)
			if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(home)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if got, _ := os.ReadFile(file); string(got) != c.file {
				t.Error("the file was changed")
			}
		})
	}
}

func TestDamagedHistoryNeverStopsAStart(t *testing.T) {
	home := t.TempDir()
	set(t, open(t, home), "network", "test")
	if err := os.WriteFile(filepath.Join(home, historyName), []byte("{{{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, home)
	if s.Get().Network != "test" || s.CanUndo() {
		t.Error("not a fresh history")
	}
}

func TestEditByHandTakesEffect(t *testing.T) {
	home := t.TempDir()
	set(t, open(t, home), "network", "test")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, home)
		ctx, cancel := context.WithCancel(t.Context())
		var got []Config
		s.Subscribe(func(_, now Config) { got = append(got, now) })
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()
		edit := func(text string) {
			if err := os.WriteFile(filepath.Join(home, FileName), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * pollEvery)
			synctest.Wait()
		}
		edit(`{"version":1,"work":{"slots":9}}`)
		edit(`{"version":1,"work":{"slots":"nine"}}`)
		if len(got) != 1 || got[0].Work.Slots != 9 || s.Get().Work.Slots != 9 {
			t.Errorf("got %d changes, %d slots", len(got), s.Get().Work.Slots)
		}
		if _, err := s.Undo(); err != nil || s.Get().Network != "test" {
			t.Errorf("undo of an edit: %v, network %s", err, s.Get().Network)
		}
		cancel()
		<-done
	})
}

func TestSubscribeCancel(t *testing.T) {
	s := open(t, t.TempDir())
	calls := 0
	cancel := s.Subscribe(func(before, now Config) { calls += now.Work.Slots - before.Work.Slots })
	base := Defaults().Work.Slots
	set(t, s, "work.slots", "40")
	cancel()
	set(t, s, "work.slots", "50")
	if calls != 40-base {
		t.Errorf("got %d", calls)
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]Size{
		"0": 0, "1": 1, "512MiB": 512 << 20, "1.5G": 3 << 29, "20GB": 20e9, " 4 KiB ": 4096, "9007199254740993": 9007199254740993,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "GiB", "-1", "1e400", "inf", "nan", "0x10", "9999999TiB", "1 2"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q was read as %d", in, got)
		}
	}
}

func TestReference(t *testing.T) {
	got := Reference()
	if *update {
		if err := os.WriteFile("testdata/settings.md", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("testdata/settings.md is out of date; go test -update rewrites it")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"network":"main","work":{"slots":2,"memory":"4GiB","kindsOff":["etl.*"]}}`))
	f.Add([]byte(`{"storage":{"quota":1}}`))
	f.Add([]byte(`{"listen":{"ports":"any"},"api":{"ports":"1-2"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		if err := c.Filled().Validate(); err != nil {
			t.Fatalf("valid settings became invalid with the defaults filled in: %v", err)
		}
		var again Config
		for _, field := range Fields() {
			text, err := c.Text(field.Key)
			if err != nil {
				t.Fatal(err)
			}
			if field.Type == "list" && strings.ContainsAny(text, ", \t") {
				return // a comma inside an entry has no text form
			}
			if err := again.SetText(field.Key, text); err != nil && text != "0" {
				t.Fatalf("%s: text form %q does not set: %v", field.Key, text, err)
			}
		}
	})
}

func FuzzParseSize(f *testing.F) {
	f.Add("512MiB")
	f.Add("1.5G")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseSize(in)
		if err != nil {
			return
		}
		if again, err := ParseSize(s.String()); err != nil || again != s {
			t.Fatalf("%q: %d writes itself as %q, read as %d, %v", in, s, s.String(), again, err)
		}
	})
}

// TestForms: every pattern can be compiled, which none is before it is asked for.
func TestForms(t *testing.T) {
	for name, f := range forms {
		if f.pattern().MatchString("") || f.words == "" {
			t.Errorf("%s: takes nothing, or has no words", name)
		}
	}
}
