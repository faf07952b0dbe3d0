package memstore_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage"
	"kith/storage/memstore"
)

func records(t *testing.T, l *memstore.Log, from uint64) (list []string) {
	t.Helper()
	if err := l.Replay(from, func(seq uint64, rec []byte) error {
		list = append(list, fmt.Sprintf("%d %s", seq, rec))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// Callbacks come in order, after the group commit; a cut leaves what was durable by then, and the snapshot.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memstore.NewLog(5 * time.Millisecond)
		var mu sync.Mutex
		var called []uint64
		soFar := func() []uint64 {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(called)
		}
		note := func(seq uint64, err error) {
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			called = append(called, seq)
		}
		if _, _, err := l.Snapshot(); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("no snapshot yet: %v", err)
		}
		rec := []byte("a")
		l.Append(rec, true, note)
		rec[0] = 'x' // it is the log's no more
		l.Append([]byte("b"), false, note)
		l.Append([]byte("c"), false, nil)
		synctest.Wait()
		if len(soFar()) != 0 {
			t.Error("called before the commit")
		}
		time.Sleep(12 * time.Millisecond) // the next commit has begun and ended with nothing to do
		if got := soFar(); !slices.Equal(got, []uint64{1, 2}) || l.Len() != 3 {
			t.Errorf("called for %v of %d", got, l.Len())
		}
		l.Append([]byte("d"), true, note)
		if got := records(t, l, 2); !slices.Equal(got, []string{"2 b", "3 c", "4 d"}) {
			t.Error(got)
		}
		if err := l.WriteSnapshot(3, func(w io.Writer) error { _, err := w.Write([]byte("state")); return err }); err != nil {
			t.Fatal(err)
		}
		n := l.Cut() // the last record is not on the disk yet
		l.Append([]byte("late"), true, note)
		if got := records(t, n, 1); !slices.Equal(got, []string{"1 a"}) || l.Len() != 4 {
			t.Errorf("the cut left %v", got)
		}
		seq, r, err := n.Snapshot()
		if err != nil || seq != 3 {
			t.Fatal(seq, err)
		}
		if b, err := io.ReadAll(r); err != nil || string(b) != "state" {
			t.Errorf("%q %v", b, err)
		}
		if err := errors.Join(l.Close(), n.Close()); err != nil {
			t.Error(err)
		}
		if errStop := errors.New("stop"); !errors.Is(l.Replay(1, func(uint64, []byte) error { return errStop }), errStop) {
			t.Error("an error of the caller is lost")
		}
	})
}

// Without a commit time what is durable is so at once.
func TestLogAtOnce(t *testing.T) {
	l := memstore.NewLog(0)
	l.Append([]byte("a"), true, nil)
	if got := records(t, l.Cut(), 1); !slices.Equal(got, []string{"1 a"}) {
		t.Error(got)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
