package eventlog_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"kith/storage"
	"kith/storage/eventlog"
)

// FuzzOpen: whatever a segment and a snapshot hold, Open, Replay and Snapshot give what is sound or say that it is
// corrupt, and a log that opened goes on.
func FuzzOpen(f *testing.F) {
	d := newDisk()
	l := open(f, "", eventlog.Options{Files: d})
	for _, rec := range []string{"", "a", "some record"} {
		_, err := l.AppendSync(f.Context(), []byte(rec))
		must(f, err)
	}
	must(f, l.WriteSnapshot(2, func(w io.Writer) error { _, err := w.Write([]byte("state")); return err }))
	must(f, l.Close())
	segment, snapshot := d.now["00000000000000000001.log"].data, d.now["00000000000000000002.snap"].data
	f.Add(segment, snapshot)
	f.Add(segment[:len(segment)-30], snapshot[:10])
	f.Add([]byte(nil), []byte(nil))
	f.Add(bytes.Repeat([]byte{0}, 100), bytes.Repeat([]byte{255}, 30))
	f.Fuzz(func(t *testing.T, segment, snapshot []byte) {
		d := newDisk()
		d.now["00000000000000000001.log"] = &inode{data: bytes.Clone(segment), synced: len(segment)}
		d.now["00000000000000000002.snap"] = &inode{data: bytes.Clone(snapshot), synced: len(snapshot)}
		l, err := eventlog.Open("", quiet(eventlog.Options{Files: d}))
		if err != nil {
			if !errors.Is(err, storage.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		defer l.Close()
		if _, r, err := l.Snapshot(); err == nil {
			_, err := io.ReadAll(r)
			must(t, err)
		} else if !errors.Is(err, storage.ErrCorrupt) {
			t.Fatal(err)
		}
		last := l.Last()
		seq, err := l.AppendSync(t.Context(), []byte("on"))
		if err != nil || seq != last+1 {
			t.Fatal(seq, err)
		}
		if got := replay(t, l, max(3, 1)); len(got) == 0 || got[len(got)-1] != "on" {
			t.Fatalf("got %q", got)
		}
	})
}
