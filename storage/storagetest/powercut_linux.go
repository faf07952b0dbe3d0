package storagetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// PowerCut checks that a store loses nothing that Sync made durable, when a process under load is killed over and over and
// the pages it wrote since are lost in part. unsynced are patterns of the files that the store writes without syncing
// them; what else it has in its folder it syncs itself. Main must be the package's TestMain.
func PowerCut(t *testing.T, open Opener, rounds int, unsynced ...string) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Logf("%d cuts, seed %d", rounds, seed)
	dir, acked := "", 0
	total := 0
	for round := range rounds {
		if round%8 == 0 { // a store of its own now and then, so that copying it stays cheap
			dir, acked = filepath.Join(t.TempDir(), "store"), 0
		}
		acked = powerRound(t, dir, acked, 1+rng.IntN(12), unsynced)
		lostPages := loseUnsynced(t, dir, unsynced, rng)
		blobs, kv, closer, err := open(dir)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if acked > 0 {
			if v, err := kv.Get(t.Context(), []byte("last")); err != nil {
				t.Fatalf("round %d: the last record is lost: %v", round, err)
			} else if n, err := strconv.Atoi(string(v)); err != nil || n < acked {
				t.Fatalf("round %d: last record %q, %d were durable (%d pages lost)", round, v, acked, lostPages)
			}
		}
		for i := 1; i <= acked; i++ {
			b := diskBlock(i)
			if got, err := blobs.Get(t.Context(), b.CID); err != nil || !bytes.Equal(got, b.Data) {
				t.Fatalf("round %d: block %d of %d durable ones (%d pages lost): %v", round, i, acked, lostPages, err)
			}
		}
		must(t, closer.Close())
		total += acked
	}
	t.Logf("%d times a durable block was looked for and found", total)
}

const (
	powerEnv = "KITH_STORAGETEST_POWER"
	filesEnv = "KITH_STORAGETEST_UNSYNCED"
	ackedEnv = "KITH_STORAGETEST_ACKED"
)

// serveOthers makes the test binary serve as the child of PowerCut.
func serveOthers(open Opener) {
	if dir := os.Getenv(powerEnv); dir != "" {
		acked, _ := strconv.Atoi(os.Getenv(ackedEnv))
		fmt.Fprintln(os.Stderr, "child:", powerChild(dir, open, acked+1, strings.Split(os.Getenv(filesEnv), ",")))
		os.Exit(1)
	}
}

// powerChild stores blocks from number from on, whatever else has survived, a few at a time, syncs, keeps a copy of what is
// durable now, and prints the number of the
// last, until it is killed.
func powerChild(dir string, open Opener, from int, unsynced []string) error {
	blobs, kv, _, err := open(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := from; ; {
		for range 1 + rand.IntN(30) {
			b := diskBlock(i)
			if err := blobs.Put(ctx, b.CID, b.Data); err != nil {
				return err
			}
			i++
		}
		if err := kv.Set(ctx, []byte("last"), strconv.AppendInt(nil, int64(i-1), 10)); err != nil {
			return err
		}
		if err := blobs.Sync(ctx); err != nil {
			return err
		}
		if err := keepDurable(dir, unsynced); err != nil {
			return err
		}
		fmt.Println(i - 1)
	}
}

// powerRound runs a child until it has said so many times that something is durable, and kills it.
func powerRound(t *testing.T, dir string, acked, syncs int, unsynced []string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), powerEnv+"="+dir, filesEnv+"="+strings.Join(unsynced, ","), ackedEnv+"="+strconv.Itoa(acked))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines, n := bufio.NewScanner(out), 0
	for ; lines.Scan(); n++ {
		if i, err := strconv.Atoi(lines.Text()); err == nil {
			acked = i
		}
		if n == syncs {
			must(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); n <= syncs {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return acked
}

func matching(dir string, patterns []string) (names []string, err error) {
	for _, p := range patterns {
		list, err := filepath.Glob(filepath.Join(dir, p))
		if err != nil {
			return nil, err
		}
		names = append(names, list...)
	}
	return names, nil
}

// keepDurable copies the files that are not synced by themselves, as they are right after a Sync. The copy before stays
// until this one is whole.
func keepDurable(dir string, patterns []string) error {
	names, err := matching(dir, patterns)
	if err != nil {
		return err
	}
	next := dir + ".next"
	if err := errors.Join(os.RemoveAll(next), os.Mkdir(next, 0o700)); err != nil {
		return err
	}
	for _, name := range names {
		data, err := written(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // became a table meanwhile
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(next, filepath.Base(name)), data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dir + ".durable"); err != nil {
		return err
	}
	return os.Rename(next, dir+".durable")
}

// written reads a sparse file up to its last byte that is not in a hole.
func written(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	end := int64(0)
	for {
		data, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if err != nil {
			break // no more
		}
		if end, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
	}
	b := make([]byte, end)
	_, err = f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b, err
}

// loseUnsynced takes away, page by page and at random, what was written after the last copy.
func loseUnsynced(t *testing.T, dir string, patterns []string, rng *rand.Rand) (lost int) {
	t.Helper()
	durable := dir + ".durable"
	if _, err := os.Stat(durable); errors.Is(err, os.ErrNotExist) { // killed between its removal and the renaming
		durable = dir + ".next"
	}
	names, err := matching(dir, patterns)
	must(t, err)
	for _, name := range names {
		now, err := written(name)
		must(t, err)
		before, err := os.ReadFile(filepath.Join(durable, filepath.Base(name)))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		must(t, err)
		const page = 4096
		for at := 0; at < len(now); at += page {
			is := now[at:min(at+page, len(now))]
			was := make([]byte, len(is))
			if at < len(before) {
				copy(was, before[at:])
			}
			if !bytes.Equal(is, was) && rng.IntN(2) == 0 {
				_, err := f.WriteAt(was, int64(at))
				must(t, err)
				lost++
			}
		}
		must(t, f.Close())
	}
	return lost
}
