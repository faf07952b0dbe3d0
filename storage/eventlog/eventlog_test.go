package eventlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"kith/storage"
	"kith/storage/eventlog"
	"kith/storage/storagetest"
)

func quiet(o eventlog.Options) eventlog.Options {
	o.Logger = slog.New(slog.DiscardHandler)
	return o
}

func open(t testing.TB, dir string, o eventlog.Options) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(dir, quiet(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func replay(t testing.TB, l *eventlog.Log, from uint64) []string {
	t.Helper()
	var recs []string
	next := max(from, 1)
	err := l.Replay(from, func(seq uint64, rec []byte) error {
		if seq != next {
			t.Fatalf("record %d where %d belongs", seq, next)
		}
		next++
		recs = append(recs, string(rec))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAppendReplayReopen(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for round := range 3 {
		l := open(t, dir, eventlog.Options{SegmentSize: 2000})
		if got := replay(t, l, 0); !slices.Equal(got, want) {
			t.Fatalf("round %d: %d records, want %d", round, len(got), len(want))
		}
		for i := range 100 {
			rec := strings.Repeat("x", i) + fmt.Sprint(round)
			seq, err := l.AppendSync(t.Context(), []byte(rec))
			want = append(want, rec)
			if err != nil || seq != uint64(len(want)) {
				t.Fatalf("record %d: %d %v", len(want), seq, err)
			}
		}
		if got := replay(t, l, 50); !slices.Equal(got, want[49:]) {
			t.Error("replay from 50 differs")
		}
		must(t, l.Close())
		if err := l.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(names) < 5 {
		t.Errorf("%d segments %v", len(names), err)
	}
}

func TestManyCallers(t *testing.T) {
	d := newDisk()
	l := open(t, "", eventlog.Options{Files: d, SegmentSize: 100_000})
	const callers, each = 50, 200
	var mu sync.Mutex
	var told []uint64
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				wg.Add(1)
				l.Append(fmt.Appendf(nil, "%d/%d", i, j), j%3 == 0, func(seq uint64, err error) {
					defer wg.Done()
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Error(err)
					}
					told = append(told, seq)
				})
			}
		})
	}
	wg.Wait()
	if !slices.IsSorted(told) || len(told) != callers*each || told[0] != 1 || told[len(told)-1] != callers*each {
		t.Errorf("%d callbacks out of order", len(told))
	}
	last := map[int]int{}
	for _, rec := range replay(t, l, 0) {
		var i, j int
		fmt.Sscanf(rec, "%d/%d", &i, &j)
		if j != last[i] {
			t.Fatalf("caller %d: record %d where %d belongs", i, j, last[i])
		}
		last[i]++
	}
	if d.syncs > callers*each/3 {
		t.Errorf("%d syncs for %d durable records: no group commit", d.syncs, callers*each/3)
	}
}

func TestLimits(t *testing.T) {
	d := newDisk()
	l := open(t, "", eventlog.Options{Files: d})
	if _, err := l.AppendSync(t.Context(), make([]byte, eventlog.MaxRecord+1)); !errors.Is(err, eventlog.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if seq, err := l.AppendSync(t.Context(), make([]byte, eventlog.MaxRecord)); err != nil || seq != 1 {
		t.Errorf("largest: %d %v", seq, err)
	}
	stall := make(chan struct{})
	d.mu.Lock()
	d.stall = stall
	d.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.AppendSync(ctx, []byte("stalled")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	results := make(chan error, 10)
	for range 10 {
		l.Append(make([]byte, eventlog.MaxRecord), false, func(_ uint64, err error) { results <- err })
	}
	close(stall)
	behind := 0
	for range 10 {
		if err := <-results; errors.Is(err, eventlog.ErrBehind) {
			behind++
		} else if err != nil {
			t.Error(err)
		}
	}
	if behind < 4 || behind > 6 {
		t.Errorf("%d of 10 refused", behind)
	}
	must(t, l.Close())
	if _, err := l.AppendSync(t.Context(), nil); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Sync(t.Context()); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, eventlog.Options{})
	if _, err := eventlog.Open(dir, eventlog.Options{}); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("got %v", err)
	}
	must(t, l.Close())
	open(t, dir, eventlog.Options{})
}

func TestFullDisk(t *testing.T) {
	d := newDisk()
	l := open(t, "", eventlog.Options{Files: d, SegmentSize: 1000})
	var want []string
	add := func(rec string) error {
		_, err := l.AppendSync(t.Context(), []byte(rec))
		if err == nil {
			want = append(want, rec)
		}
		return err
	}
	must(t, add("before"))
	for round := range 3 {
		d.setRoom(500)
		var err error
		for i := 0; err == nil; i++ {
			err = add(fmt.Sprint("record ", round, i))
		}
		if !errors.Is(err, storage.ErrFull) {
			t.Fatalf("full disk: %v", err)
		}
		if err := l.WriteSnapshot(1, func(w io.Writer) error {
			_, err := w.Write(make([]byte, 1000))
			return err
		}); !errors.Is(err, storage.ErrFull) {
			t.Fatalf("snapshot on a full disk: %v", err)
		}
		d.setRoom(-1)
		must(t, add("space again"))
	}
	if got := replay(t, l, 0); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	must(t, l.Close())
	l = open(t, "", eventlog.Options{Files: d})
	if got := replay(t, l, 0); !slices.Equal(got, want) {
		t.Errorf("reopened: got %q, want %q", got, want)
	}
}

func TestFailedSyncStopsTheLog(t *testing.T) {
	d := newDisk()
	l := open(t, "", eventlog.Options{Files: d})
	_, err := l.AppendSync(t.Context(), []byte("good"))
	must(t, err)
	d.mu.Lock()
	d.failSync = errIO
	d.mu.Unlock()
	for range 2 {
		if _, err := l.AppendSync(t.Context(), []byte("bad")); !errors.Is(err, eventlog.ErrBroken) || !errors.Is(err, errIO) {
			t.Errorf("got %v", err)
		}
	}
	if err := l.Close(); !errors.Is(err, errIO) {
		t.Errorf("Close: %v", err)
	}
	d.failSync = nil
	l = open(t, "", eventlog.Options{Files: d})
	if got := replay(t, l, 0); got[0] != "good" {
		t.Errorf("got %q", got)
	}
}

func TestSnapshots(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, eventlog.Options{SegmentSize: 300})
	if _, _, err := l.Snapshot(); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("none yet: %v", err)
	}
	if err := l.WriteSnapshot(1, nil); err == nil {
		t.Error("a snapshot of the future was accepted")
	}
	state := func(seq uint64) string { return strings.Repeat(fmt.Sprint("state ", seq), 10_000) }
	for i := range 50 {
		seq, err := l.AppendSync(t.Context(), fmt.Appendf(nil, "record %d", i))
		must(t, err)
		if seq%10 == 0 {
			must(t, l.WriteSnapshot(seq, func(w io.Writer) error {
				_, err := io.WriteString(w, state(seq))
				return err
			}))
		}
	}
	if err := l.WriteSnapshot(50, func(io.Writer) error { return errIO }); !errors.Is(err, errIO) {
		t.Errorf("failing writer: %v", err)
	}
	must(t, l.Close())
	snaps, err := filepath.Glob(filepath.Join(dir, "*.snap*"))
	must(t, err)
	if len(snaps) != 2 {
		t.Fatalf("snapshots %q", snaps)
	}
	must(t, os.WriteFile(filepath.Join(dir, "x.tmp"), nil, 0o600))

	check := func(want uint64) {
		t.Helper()
		l := open(t, dir, eventlog.Options{})
		defer l.Close()
		seq, r, err := l.Snapshot()
		must(t, err)
		defer r.Close()
		got, err := io.ReadAll(r)
		if err != nil || seq != want || string(got) != state(want) {
			t.Errorf("snapshot %d of %d bytes %v, want %d", seq, len(got), err, want)
		}
		if n := len(replay(t, l, seq+1)); n != int(50-want) {
			t.Errorf("%d records after the snapshot", n)
		}
		if err := l.Replay(1, nil); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("pruned records: %v", err)
		}
	}
	check(50)
	if _, err := os.Stat(filepath.Join(dir, "x.tmp")); !errors.Is(err, os.ErrNotExist) {
		t.Error("temporary file left")
	}
	data, err := os.ReadFile(snaps[1])
	must(t, err)
	for _, broken := range [][]byte{data[:0], data[:10], data[:len(data)-1], append(bytes.Clone(data), 0), append([]byte{'x'}, data[1:]...)} {
		must(t, os.WriteFile(snaps[1], broken, 0o600))
		check(40)
	}
	must(t, os.WriteFile(snaps[0], nil, 0o600))
	l = open(t, dir, eventlog.Options{})
	if _, _, err := l.Snapshot(); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("all damaged: %v", err)
	}
}

// TestSnapshotWithoutLog: a log deleted by hand does not give numbers out again that a snapshot stands for.
func TestSnapshotWithoutLog(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, eventlog.Options{})
	seq, err := l.AppendSync(t.Context(), []byte("x"))
	must(t, err)
	must(t, l.WriteSnapshot(seq, func(io.Writer) error { return nil }))
	must(t, l.Close())
	must(t, os.Remove(filepath.Join(dir, "00000000000000000001.log")))
	l = open(t, dir, eventlog.Options{})
	if seq, err := l.AppendSync(t.Context(), []byte("y")); err != nil || seq != 2 {
		t.Errorf("got %d %v", seq, err)
	}
}

// TestTinyDisk fills a real disk under a log: nothing acknowledged is lost, and with room again the log goes on.
func TestTinyDisk(t *testing.T) {
	dir := storagetest.TinyDisk(t, 1<<20)
	ballast := filepath.Join(dir, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 500_000), 0o600))
	l := open(t, dir, eventlog.Options{SegmentSize: 100_000})
	stored := 0
	fill := func() {
		for {
			_, err := l.AppendSync(t.Context(), make([]byte, 1000))
			if errors.Is(err, storage.ErrFull) {
				return
			}
			must(t, err)
			stored++
		}
	}
	fill()
	must(t, os.Remove(ballast))
	n := stored
	fill()
	if stored == n {
		t.Error("the log did not go on")
	}
	must(t, l.Close())
	l = open(t, dir, eventlog.Options{})
	if got := len(replay(t, l, 0)); got != stored {
		t.Errorf("%d records, want %d", got, stored)
	}
}
