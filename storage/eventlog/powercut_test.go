//go:build unix

package eventlog_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kith/storage"
	"kith/storage/eventlog"
)

const powerEnv = "KITH_EVENTLOG_POWER"

func init() { moreChildren[powerEnv] = powerChild }

// watched is a real folder that notes beside it what has been synced: how much of each file, by inode, and which names.
// The notes survive a kill as everything written does; that they come after the sync errs on the side of losing more.
type watched struct {
	eventlog.Files
	dir, notes string
	names      *sync.Mutex
}

func watch(dir string) watched {
	return watched{eventlog.Dir(dir), dir, dir + ".notes", new(sync.Mutex)}
}

func inodeOf(path string) (uint64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

func (w watched) note(name string) error {
	path := filepath.Join(w.dir, name)
	ino, err := inodeOf(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(w.notes, strconv.FormatUint(ino, 10)), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(info.Size())), 0)
	return errors.Join(err, f.Close())
}

func (w watched) Append(name string) (eventlog.File, error) {
	f, err := w.Files.Append(name)
	if err != nil {
		return nil, err
	}
	ino, err := inodeOf(filepath.Join(w.dir, name))
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(w.dir, name))
	if err != nil {
		return nil, err
	}
	n := info.Size()
	if n == 0 { // the number may have been another file's
		if err := w.note(name); err != nil {
			return nil, err
		}
	}
	return &watchedFile{File: f, note: filepath.Join(w.notes, strconv.FormatUint(ino, 10)), size: n}, nil
}

func (w watched) Truncate(name string, size int64) error {
	if err := w.Files.Truncate(name, size); err != nil { // which syncs
		return err
	}
	return w.note(name)
}

func (w watched) SyncDir() error {
	w.names.Lock()
	defer w.names.Unlock()
	list, err := w.List() // those that come meanwhile are not synced
	if err != nil {
		return err
	}
	if err := w.Files.SyncDir(); err != nil {
		return err
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	temp := filepath.Join(w.notes, "names.new")
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(w.notes, "names"))
}

type watchedFile struct {
	eventlog.File
	note string
	size int64
}

func (f *watchedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.size += int64(n)
	return n, err
}

func (f *watchedFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		return err
	}
	note, err := os.OpenFile(f.note, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = note.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(f.size)), 0)
	return errors.Join(err, note.Close())
}

// powerChild appends records under load, snapshots now and then, and tells each durable record and its hash, until it is
// killed.
func powerChild(dir string) error {
	l, err := eventlog.Open(dir, eventlog.Options{SegmentSize: 20_000, Files: watch(dir)})
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))
			for {
				rec := make([]byte, rng.IntN(600))
				for j := range rec {
					rec[j] = byte(rng.Uint32())
				}
				l.Append(make([]byte, rng.IntN(3000)), false, nil) // nobody waits for this one
				done := make(chan struct{})
				l.Append(rec, true, func(seq uint64, err error) {
					if err != nil {
						fmt.Fprintln(os.Stderr, "child:", err)
						os.Exit(1)
					}
					mu.Lock()
					fmt.Fprintf(out, "%d %d\n", seq, hashOf(rec))
					out.Flush()
					mu.Unlock()
					close(done)
				})
				<-done
				if rng.IntN(40) == 0 {
					seq := l.Last()
					if err := l.WriteSnapshot(seq, func(w io.Writer) error { _, err := fmt.Fprint(w, seq); return err }); err != nil && !errors.Is(err, storage.ErrClosed) {
						fmt.Fprintln(os.Stderr, "snapshot:", err)
					}
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func hashOf(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// cutPower does to a folder what a power cut may do to what was not synced: files lose their end or pages of it, names
// that were new may be gone.
func cutPower(t *testing.T, dir string, rng *rand.Rand) {
	t.Helper()
	var durable []string
	if data, err := os.ReadFile(filepath.Join(dir+".notes", "names")); err == nil {
		must(t, json.Unmarshal(data, &durable))
	}
	keepNames := rng.IntN(2) == 0
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.Name() == "lock" {
			continue
		}
		if !keepNames && !slices.Contains(durable, e.Name()) {
			must(t, os.Remove(path))
			continue
		}
		ino, err := inodeOf(path)
		must(t, err)
		synced := int64(0)
		if data, err := os.ReadFile(filepath.Join(dir+".notes", strconv.FormatUint(ino, 10))); err == nil && len(data) == 8 {
			synced = int64(binary.LittleEndian.Uint64(data))
		}
		data, err := os.ReadFile(path)
		must(t, err)
		if len(data) == 0 { // made at the last moment, and the note is of a file that had its number before
			synced = 0
		}
		if synced > int64(len(data)) {
			t.Fatalf("%s: %d bytes were synced, %d are there", e.Name(), synced, len(data))
		}
		data = data[:synced+rng.Int64N(int64(len(data))-synced+1)]
		const page = 4096
		for at := synced; at < int64(len(data)); at += page - at%page {
			if rng.IntN(3) == 0 {
				clear(data[at:min(int64(len(data)), at+page-at%page)])
			}
		}
		must(t, os.WriteFile(path, data, 0o600))
	}
	must(t, os.RemoveAll(dir+".notes"))
	must(t, os.Mkdir(dir+".notes", 0o700))
	for _, e := range entries { // what is left is what the disk has
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil {
			ino := info.Sys().(*syscall.Stat_t).Ino
			must(t, os.WriteFile(filepath.Join(dir+".notes", strconv.FormatUint(ino, 10)), binary.LittleEndian.AppendUint64(nil, uint64(info.Size())), 0o600))
		}
	}
}

// TestPowerCuts: a process under write load is killed over and over, and each time its unsynced writes are lost in part.
// Nothing it was told is durable is lost. KITH_POWER_CUTS says how often; make power-cut does it hundreds of times.
func TestPowerCuts(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 4
	}
	if n, err := strconv.Atoi(os.Getenv("KITH_POWER_CUTS")); err == nil {
		rounds = n
	}
	seed := rand.Uint64()
	t.Logf("%d cuts, seed %d", rounds, seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := filepath.Join(t.TempDir(), "log")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.Mkdir(dir+".notes", 0o700))
	durable := map[uint64]uint64{} // since the last snapshot at least
	var all, lostTails int
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), powerEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines, after, killed := bufio.NewScanner(out), 1+rng.IntN(150), false
		for n := 0; lines.Scan(); n++ {
			if n == after {
				must(t, cmd.Process.Kill())
				killed = true
			}
			seq, hash, ok := strings.Cut(lines.Text(), " ")
			s, errS := strconv.ParseUint(seq, 10, 64)
			h, errH := strconv.ParseUint(hash, 10, 64)
			if ok && errS == nil && errH == nil {
				durable[s] = h
				all++
			}
		}
		if err := cmd.Wait(); !killed {
			t.Fatalf("round %d: the child ended by itself: %v", round, err)
		}
		cutPower(t, dir, rng)
		l, err := eventlog.Open(dir, quiet(eventlog.Options{SegmentSize: 20_000}))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if l.Recovered().File != "" {
			lostTails++
		}
		from := uint64(0)
		if snap, r, err := l.Snapshot(); err == nil {
			text, err := io.ReadAll(r)
			r.Close()
			if err != nil || string(text) != fmt.Sprint(snap) {
				t.Fatalf("round %d: snapshot %d holds %q: %v", round, snap, text, err)
			}
			from = snap
		} else if !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("round %d: %v", round, err)
		}
		found := map[uint64]bool{}
		must(t, l.Replay(from+1, func(seq uint64, rec []byte) error {
			if h, ok := durable[seq]; ok {
				if h != hashOf(rec) {
					return fmt.Errorf("record %d differs", seq)
				}
				found[seq] = true
			}
			return nil
		}))
		for seq := range durable {
			if seq > from && !found[seq] {
				t.Fatalf("round %d: record %d was durable and is gone; the log ends at %d", round, seq, l.Last())
			}
		}
		must(t, l.Close())
		// Close was in order: what is there now is on the disk.
		must(t, os.RemoveAll(dir+".notes"))
		must(t, os.Mkdir(dir+".notes", 0o700))
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			must(t, watch(dir).note(e.Name()))
		}
		must(t, watch(dir).SyncDir())
	}
	t.Logf("%d durable records over %d cuts, %d unfinished ends dropped, none lost", all, rounds, lostTails)
}
