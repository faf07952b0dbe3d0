package eventlog_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"kith/storage/eventlog"
)

const childEnv = "KITH_EVENTLOG_CHILD"

// moreChildren are what this binary can be besides a test, by the variable that names its folder.
var moreChildren = map[string]func(dir string) error{}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
	}
	for env, run := range moreChildren {
		if dir := os.Getenv(env); dir != "" {
			fmt.Fprintln(os.Stderr, "child:", run(dir))
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// child appends durable records from many goroutines and prints each number it was told, until it is killed.
func child(dir string) {
	l, err := eventlog.Open(dir, eventlog.Options{SegmentSize: 50_000})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for i := range 8 {
		go func() {
			for j := 0; ; j++ {
				rec := fmt.Appendf(nil, "%d/%d", i, j)
				l.Append(rec, false, nil)
				done := make(chan struct{})
				l.Append(rec, true, func(seq uint64, err error) {
					if err == nil {
						mu.Lock()
						fmt.Println(seq)
						mu.Unlock()
					}
					close(done)
				})
				<-done
			}
		}()
	}
	select {}
}

// TestKill: a process killed with -9 in full swing loses nothing it was told is durable, over and over.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	var last uint64
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 500 {
				must(t, cmd.Process.Kill())
			}
			seq, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err == nil { // the last line may be cut off
				last = max(last, seq)
			}
		}
		cmd.Wait()
		l := open(t, dir, eventlog.Options{})
		if got := len(replay(t, l, 0)); uint64(got) < last || last < 500 {
			t.Fatalf("round %d: %d records, %d were durable", round, got, last)
		}
		must(t, l.Close())
	}
}
