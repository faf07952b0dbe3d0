package storagetest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"kith/storage"
)

// Opener opens the store in a folder.
type Opener func(dir string) (Collected, storage.KV, io.Closer, error)

const childEnv = "KITH_STORAGETEST_CHILD"

// Main is the TestMain of a package that calls Disk: it makes the test binary serve as the child process.
func Main(m *testing.M, open Opener) {
	if dir := os.Getenv(childEnv); dir != "" {
		fmt.Fprintln(os.Stderr, "child:", child(dir, open))
		os.Exit(1)
	}
	serveOthers(open)
	os.Exit(m.Run())
}

// child puts blocks and records and prints the number of each that was stored, until it is killed.
func child(dir string, open Opener) error {
	blobs, kv, _, err := open(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	last := 0
	if v, err := kv.Get(ctx, []byte("last")); err == nil {
		last, _ = strconv.Atoi(string(v))
	}
	for i := last + 1; ; i++ {
		b := diskBlock(i)
		if err := blobs.Put(ctx, b.CID, b.Data); err != nil {
			return err
		}
		if err := kv.Set(ctx, []byte("last"), strconv.AppendInt(nil, int64(i), 10)); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func diskBlock(i int) storage.Block { return Block(uint64(i), i*7919%40_000) }

// Disk checks that a store on disk keeps what it was given: over Close, over a kill -9 in full swing, over many of
// them, and that a second process is kept out. Main must be the package's TestMain.
func Disk(t *testing.T, open Opener) {
	dir := t.TempDir()
	stored := 0
	for round := range 3 {
		stored = max(stored, runChild(t, dir, func(p *os.Process) {
			if _, _, _, err := open(dir); err == nil {
				t.Error("opened a store that another process has open")
			}
			must(t, p.Kill())
		}))
		blobs, kv, closer, err := open(dir)
		must(t, err)
		if v, err := kv.Get(t.Context(), []byte("last")); err != nil {
			t.Fatal(err)
		} else if n, err := strconv.Atoi(string(v)); err != nil || n < stored {
			t.Fatalf("round %d: last record %q, %d were stored", round, v, stored)
		}
		for i := 1; i <= stored; i++ {
			b := diskBlock(i)
			if got, err := blobs.Get(t.Context(), b.CID); err != nil || !bytes.Equal(got, b.Data) {
				t.Fatalf("round %d: block %d of %d: %v", round, i, stored, err)
			}
		}
		must(t, closer.Close())
		must(t, closer.Close())
	}
}

// runChild starts a child, calls busy when it has stored some hundred blocks, and returns the number of the last.
func runChild(t *testing.T, dir string, busy func(*os.Process)) (last int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	n := 0
	for ; lines.Scan(); n++ {
		if n == 300 {
			busy(cmd.Process)
		}
		if i, err := strconv.Atoi(lines.Text()); err == nil && i > last && i < last+10_000 { // the last line may be cut off
			last = i
		}
	}
	if cmd.Wait(); n < 300 {
		t.Fatalf("the child stored only %d blocks", n)
	}
	return last
}
