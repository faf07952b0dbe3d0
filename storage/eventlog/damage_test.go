package eventlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kith/storage"
	"kith/storage/eventlog"
)

// TestTruncatedAnywhere: whatever the length a segment was cut to, the whole records before are there and the log goes on.
func TestTruncatedAnywhere(t *testing.T) {
	d := newDisk()
	l := open(t, "", eventlog.Options{Files: d})
	var ends []int // of record i
	for i := range 20 {
		_, err := l.AppendSync(t.Context(), bytes.Repeat([]byte{byte(i)}, i*3))
		must(t, err)
		ends = append(ends, len(d.only(t).data))
	}
	must(t, l.Close())
	whole := d.only(t).data
	for n := range len(whole) + 1 {
		d := newDisk()
		d.now["00000000000000000001.log"] = &inode{data: bytes.Clone(whole[:n]), synced: n}
		l, err := eventlog.Open("", quiet(eventlog.Options{Files: d}))
		if err != nil {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		want := 0
		for want < len(ends) && ends[want] <= n {
			want++
		}
		if got := replay(t, l, 0); len(got) != want {
			t.Fatalf("cut to %d bytes: %d records, want %d", n, len(got), want)
		}
		if seq, err := l.AppendSync(t.Context(), []byte("on")); err != nil || seq != uint64(want+1) {
			t.Fatalf("cut to %d bytes: appended %d %v", n, seq, err)
		}
		must(t, l.Close())
	}
}

// only returns the one file.
func (d *disk) only(t testing.TB) *inode {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.now {
		return f
	}
	t.Fatal("no file")
	return nil
}

// TestFlippedBitIsFound: after an orderly Close no flipped bit goes unnoticed or takes a record away.
func TestFlippedBitIsFound(t *testing.T) {
	d := newDisk()
	l := open(t, "", eventlog.Options{Files: d})
	var want []string
	for i := range 10 {
		rec := fmt.Sprint("record ", i*i*i)
		_, err := l.AppendSync(t.Context(), []byte(rec))
		must(t, err)
		want = append(want, rec)
	}
	must(t, l.Close())
	whole := d.only(t).data
	const mark = 24
	for bit := range len(whole) * 8 {
		d := newDisk()
		data := bytes.Clone(whole)
		data[bit/8] ^= 1 << (bit % 8)
		d.now["00000000000000000001.log"] = &inode{data: data}
		l, err := eventlog.Open("", quiet(eventlog.Options{Files: d}))
		if err == nil {
			if got := replay(t, l, 0); !slices.Equal(got, want) {
				t.Fatalf("bit %d: lost records: %q", bit, got)
			}
			if bit/8 < len(whole)-mark {
				t.Fatalf("bit %d: not noticed", bit)
			}
			must(t, l.Close())
		} else if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), ".log at offset ") {
			t.Fatalf("bit %d: %v", bit, err)
		}
	}
}

func TestDamageInAnOlderSegment(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, eventlog.Options{SegmentSize: 500})
	for range 30 {
		_, err := l.AppendSync(t.Context(), make([]byte, 40))
		must(t, err)
	}
	must(t, l.Close())
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	must(t, err)
	if len(names) < 3 {
		t.Fatalf("only %d segments", len(names))
	}
	data, err := os.ReadFile(names[1])
	must(t, err)
	nothing := func(uint64, []byte) error { return nil }

	must(t, os.WriteFile(names[1], data[:len(data)-5], 0o600))
	l = open(t, dir, eventlog.Options{})
	if err := l.Replay(0, nothing); !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), filepath.Base(names[1])) {
		t.Errorf("cut segment: %v", err)
	}
	must(t, l.Close())
	must(t, os.Remove(names[1]))
	l = open(t, dir, eventlog.Options{})
	if err := l.Replay(0, nothing); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("missing segment: %v", err)
	}
	must(t, l.Close())
	must(t, os.Remove(names[0]))
	l = open(t, dir, eventlog.Options{})
	if err := l.Replay(0, nothing); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("missing start: %v", err)
	}
}

// TestPowerCut: whatever pages a power cut takes, every record whose callback said durable is there, and what is there is
// a prefix of what was appended.
func TestPowerCut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		rng := rand.New(rand.NewPCG(seed, 1))
		d := newDisk()
		var appended []string
		for range 4 {
			l, err := eventlog.Open("", quiet(eventlog.Options{Files: d, SegmentSize: 3000}))
			if err != nil {
				rt.Fatal(err)
			}
			survived := 0
			start := l.Last()
			if snap, r, err := l.Snapshot(); err == nil {
				state, _ := io.ReadAll(r)
				r.Close()
				if string(state) != strings.Join(appended[:snap], ",") {
					rt.Fatalf("snapshot %d differs", snap)
				}
				start = snap
				survived = int(snap)
			} else if !errors.Is(err, storage.ErrNotFound) {
				rt.Fatal(err)
			} else {
				start = 0
			}
			err = l.Replay(start+1, func(seq uint64, rec []byte) error {
				if int(seq) != survived+1 || appended[seq-1] != string(rec) {
					rt.Fatalf("record %d is %q, want %q", seq, rec, appended[seq-1])
				}
				survived++
				return nil
			})
			if err != nil {
				rt.Fatal(err)
			}
			appended = appended[:survived]

			var mu sync.Mutex
			durable := survived
			for range rng.IntN(60) {
				rec := strings.Repeat("r", rng.IntN(200)) + fmt.Sprint(rng.Uint32())
				appended = append(appended, rec)
				sync := rng.IntN(4) == 0
				l.Append([]byte(rec), sync, func(seq uint64, err error) {
					if err != nil {
						rt.Error(err)
					}
					if sync {
						mu.Lock()
						durable = int(seq)
						mu.Unlock()
					}
				})
				if rng.IntN(10) == 0 {
					time.Sleep(time.Microsecond)
				}
			}
			if rng.IntN(2) == 0 {
				n := len(appended)
				if err := l.WriteSnapshot(uint64(n), func(w io.Writer) error {
					_, err := io.WriteString(w, strings.Join(appended[:n], ","))
					return err
				}); err != nil {
					rt.Fatal(err)
				}
				mu.Lock()
				durable = n
				mu.Unlock()
			}
			mu.Lock()
			acked := durable
			mu.Unlock()
			after := d.crash(rng)
			l.Close()
			d = after
			check, err := eventlog.Open("", quiet(eventlog.Options{Files: d, SegmentSize: 3000}))
			if err != nil {
				rt.Fatal(err)
			}
			if got := int(check.Last()); got < acked || got > len(appended) {
				rt.Fatalf("%d records after the cut, %d were durable, %d appended", got, acked, len(appended))
			}
			check.Close()
		}
	})
}

// TestForeignSegment: a segment without a header of ours is not taken for one that a power cut took, and stays as it is.
func TestForeignSegment(t *testing.T) {
	for name, data := range map[string][]byte{"text": []byte("{\"not\": \"a log at all\"}"), "zeros": make([]byte, 500), "short": []byte("kith")} {
		d := newDisk()
		d.now["00000000000000000001.log"] = &inode{data: bytes.Clone(data), synced: len(data)}
		l, err := eventlog.Open("", quiet(eventlog.Options{Files: d}))
		if name == "text" {
			if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "offset 0") || !bytes.Equal(d.only(t).data, data) {
				t.Errorf("%s: %v, %q", name, err, d.only(t).data)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		must(t, l.Close())
	}
}

// TestLargeDamagedTail: looking for a record that vouches takes one pass over the tail, not one for each byte.
func TestLargeDamagedTail(t *testing.T) {
	d := newDisk()
	l := open(t, "", eventlog.Options{Files: d})
	_, err := l.AppendSync(t.Context(), []byte("first"))
	must(t, err)
	noise := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	l.Append(noise, true, nil)
	must(t, l.Sync(t.Context()))
	f := d.only(t)
	f.data = f.data[:len(f.data)-1]
	after := newDisk()
	after.now["00000000000000000001.log"] = f
	again := open(t, "", eventlog.Options{Files: after})
	if got := again.Recovered(); got.Bytes != int64(24+len(noise)-1) || again.Last() != 1 {
		t.Errorf("recovered %+v, last %d", got, again.Last())
	}
}
