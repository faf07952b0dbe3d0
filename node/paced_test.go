package node

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"kith/node/owner"
	"kith/tasks"
)

// wired is a stream over a pipe in memory.
type wired struct{ net.Conn }

func (wired) Remote() tasks.NodeID { return tasks.NodeID{} }

// Whole DAGs move at the owner's rates, and nobody is late because this node holds back.
func TestPacedStream(t *testing.T) {
	for _, c := range []struct {
		name    string
		in, out int64 // bytes each second
		atLeast time.Duration
	}{
		{"unlimited", 0, 0, 0},
		{"up", 0, 64 << 10, 15 * time.Second},
		{"down", 64 << 10, 0, 14 * time.Second}, // what came last waits for nothing
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				w := network{in: owner.NewPace(), out: owner.NewPace()}
				w.in.Set(c.in)
				w.out.Set(c.out)
				from := &pacedStream{Stream: wired{a}, ctx: t.Context(), in: owner.NewPace(), out: w.out}
				to := &pacedStream{Stream: wired{b}, ctx: t.Context(), in: w.in, out: owner.NewPace()}
				begun := time.Now()
				holding := from // the other side knows nothing of its caps and has patience
				if c.in > 0 {
					holding = to
				}
				if err := holding.SetDeadline(begun.Add(5 * time.Second)); err != nil { // each slice takes half a second, all of them more
					t.Fatal(err)
				}
				sent := bytes.Repeat([]byte("kith"), 1<<18)
				got := make(chan []byte, 1)
				go func() {
					data, _ := io.ReadAll(to)
					got <- data
				}()
				n, err := from.Write(sent)
				if n != len(sent) || err != nil {
					t.Fatalf("wrote %d: %v", n, err)
				}
				_ = a.Close()
				if data := <-got; !bytes.Equal(data, sent) {
					t.Errorf("%d of %d bytes came", len(data), len(sent))
				}
				if took := time.Since(begun); took < c.atLeast {
					t.Errorf("1 MiB passed in %v", took)
				}
			})
		})
	}
}

// A deadline that ends a conversation is not moved on.
func TestPacedStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		s := &pacedStream{Stream: wired{a}, ctx: t.Context(), in: owner.NewPace(), out: owner.NewPace()}
		s.out.Set(1 << 10)
		if err := s.SetDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(make([]byte, 128<<10)); err == nil {
			t.Error("a stream that was told to end goes on")
		}
	})
}
