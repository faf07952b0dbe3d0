// Package network measures the way to other nodes over streams that somebody else opens: round trips, their jitter, how
// fast bytes come and go, and how much slower the round trips become meanwhile, which is what the rest of a household
// feels. Both sides bound what a measurement may cost; the side that serves refuses what is more.
package network

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"kith/bench"
)

// Stream is one stream to a peer.
type Stream interface {
	io.Reader
	io.Writer
	SetDeadline(time.Time) error
	Close() error
}

// Peer is one node to measure with.
type Peer struct {
	Name string // for people
	// Open opens a stream that the peer serves with Server.Serve.
	Open func(ctx context.Context) (Stream, error)
}

// Orders of the protocol: one byte, four bytes of length. The answer is one byte, then what was ordered.
const (
	orderPing byte = 'p' // so many round trips of eight bytes
	orderDown byte = 'd' // send so many bytes
	orderUp   byte = 'u' // take so many bytes, then send one
	orderSize      = 5
	pingSize       = 8

	answerYes     byte = 0
	answerRefused byte = 1
)

// Bounds.
const (
	MaxBytes   = 32 << 20 // one order
	maxPings   = 64
	maxOrders  = 256 // on one stream
	pause      = 20 * time.Millisecond
	orderTime  = 30 * time.Second // for one order
	chunk      = 256 << 10        // of one write
	firstBytes = 256 << 10        // the first transfer, which says how large the next may be
)

// ErrRefused: the peer has served its share of measurements for now.
var ErrRefused = errors.New("the peer serves no more measurements for now")

// ErrProtocol: the peer said what the protocol does not know.
var ErrProtocol = errors.New("the peer does not keep to the protocol")

// Options bound a measurement.
type Options struct {
	Pings int           // with each peer; 0: 20
	Bytes int64         // one transfer at most; 0: 8 MiB, at most MaxBytes
	Time  time.Duration // one transfer should take, at most; 0: a second
	Peers int           // with how many; 0: 3
}

// Measure measures the way to peers, in the order they are given, until so many have answered.
func Measure(ctx context.Context, peers []Peer, o Options) bench.Device {
	o.Pings, o.Bytes = min(cmp.Or(o.Pings, 20), maxPings), min(cmp.Or(o.Bytes, 8<<20), MaxBytes)
	o.Time, o.Peers = cmp.Or(o.Time, time.Second), cmp.Or(o.Peers, 3)
	names := []struct {
		name   string
		unit   bench.Unit
		method string
	}{
		{bench.RTT, bench.Seconds, "median of round trips over a stream"},
		{bench.Jitter, bench.Seconds, "mean difference of successive round trips"},
		{bench.Down, bench.ByteRate, "one stream"},
		{bench.Up, bench.ByteRate, "one stream"},
		{"rtt.loaded", bench.Seconds, "median of round trips while bytes flow"},
	}
	watches := make([]bench.Stopwatch, len(names))
	for i, n := range names {
		watches[i] = bench.Begin(n.name, n.unit, n.method)
	}
	d := bench.Device{Part: bench.Network, Name: "network", Measurements: []bench.Measurement{}}
	var all []figures
	var err error
	if len(peers) == 0 {
		err = errors.New("no other node is connected")
	}
	for _, p := range peers {
		if len(all) == o.Peers {
			break
		}
		f, ferr := measure(ctx, p, o)
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %w", context.Cause(ctx))
			break
		}
		if ferr != nil {
			err = fmt.Errorf("%s: %w", p.Name, ferr)
			continue
		}
		all = append(all, f)
	}
	if len(all) > 0 && ctx.Err() == nil {
		err = nil
	}
	for i, n := range names {
		if err != nil {
			d.Measurements = append(d.Measurements, watches[i].Fail(err))
			continue
		}
		var samples []float64
		for _, f := range all {
			samples = append(samples, [...]float64{f.rtt, f.jitter, f.down, f.up, f.loaded}[i])
		}
		w := watches[i].Name(fmt.Sprintf("%s, %d peers", n.method, len(all)))
		if n.unit == bench.ByteRate { // the line is at least as fast as the fastest transfer
			d.Measurements = append(d.Measurements, w.Name(fmt.Sprintf("%s, best of %d peers, at most %d MiB", n.method, len(all), o.Bytes>>20)).Best(samples))
		} else {
			d.Measurements = append(d.Measurements, w.Median(samples))
		}
	}
	return d
}

// figures of one peer, in seconds and bytes a second.
type figures struct{ rtt, jitter, down, up, loaded float64 }

func measure(ctx context.Context, p Peer, o Options) (figures, error) {
	var f figures
	s, err := dial(ctx, p)
	if err != nil {
		return f, err
	}
	defer s.end()
	trips, err := s.ping(o.Pings)
	if err != nil {
		return f, err
	}
	f.rtt, f.jitter = median(trips), jitter(trips)

	// Round trips on a stream of their own while bytes flow on this one.
	other, err := dial(ctx, p)
	if err != nil {
		return f, err
	}
	defer other.end()
	var loaded []float64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(pause): // pinging without pause would itself slow what flows
			}
			t, err := other.ping(4)
			if err != nil || len(loaded) > 1000 {
				return
			}
			loaded = append(loaded, t...)
		}
	})
	f.down, err = s.transfer(orderDown, f.rtt, o)
	if err == nil {
		f.up, err = s.transfer(orderUp, f.rtt, o)
	}
	close(stop)
	other.end()
	wg.Wait()
	f.loaded = f.rtt
	if len(loaded) > 0 {
		f.loaded = median(loaded)
	}
	return f, err
}

// session is one stream with its orders.
type session struct {
	Stream
	stop func() bool
	once sync.Once
}

func dial(ctx context.Context, p Peer) (*session, error) {
	s, err := p.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &session{Stream: s, stop: context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })}, nil
}

func (s *session) end() {
	s.once.Do(func() {
		s.stop()
		_ = s.Close() // nothing is owed to the peer
	})
}

// order asks for n of something and returns when the peer has agreed.
func (s *session) order(what byte, n int64) error {
	if err := s.SetDeadline(time.Now().Add(orderTime)); err != nil {
		return err
	}
	b := append([]byte{what}, binary.BigEndian.AppendUint32(nil, uint32(n))...)
	if _, err := s.Write(b); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(s, answer[:]); err != nil {
		return err
	}
	switch answer[0] {
	case answerYes:
		return nil
	case answerRefused:
		return ErrRefused
	}
	return fmt.Errorf("%w: answer %d", ErrProtocol, answer[0])
}

// ping returns the times of n round trips in seconds.
func (s *session) ping(n int) ([]float64, error) {
	if err := s.order(orderPing, int64(n)); err != nil {
		return nil, err
	}
	var out []float64
	var b, back [pingSize]byte
	for i := range n {
		binary.BigEndian.PutUint64(b[:], uint64(i)+1)
		begun := time.Now()
		if _, err := s.Write(b[:]); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(s, back[:]); err != nil {
			return nil, err
		}
		if back != b {
			return nil, fmt.Errorf("%w: another echo than was sent", ErrProtocol)
		}
		out = append(out, time.Since(begun).Seconds())
	}
	return out, nil
}

// transfer moves bytes one way, first a few, then as many as the time allows, and returns the faster rate.
func (s *session) transfer(what byte, rtt float64, o Options) (float64, error) {
	rate := 0.0
	for n := min(firstBytes, o.Bytes); ; {
		took, err := s.move(what, n)
		if err != nil {
			return 0, err
		}
		rate = max(rate, float64(n)/max(took-rtt, 1e-6)) // the order itself takes a round trip
		next := min(o.Bytes, int64(rate*o.Time.Seconds()))
		if next <= 2*n {
			return rate, nil
		}
		n = min(next, 16*n) // the rate of a short transfer is a guess
	}
}

func (s *session) move(what byte, n int64) (seconds float64, err error) {
	begun := time.Now()
	if err := s.order(what, n); err != nil {
		return 0, err
	}
	if what == orderDown {
		if _, err := io.CopyN(io.Discard, onlyReader{s}, n); err != nil {
			return 0, err
		}
		return time.Since(begun).Seconds(), nil
	}
	if err := send(s, n); err != nil {
		return 0, err
	}
	var done [1]byte
	if _, err := io.ReadFull(s, done[:]); err != nil {
		return 0, err
	}
	return time.Since(begun).Seconds(), nil
}

// onlyReader hides everything but Read.
type onlyReader struct{ io.Reader }

// send writes n bytes that do not compress.
func send(w io.Writer, n int64) error {
	b := noise()
	for n > 0 {
		k := min(n, int64(len(b)))
		if _, err := w.Write(b[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

func noise() []byte {
	b := make([]byte, chunk)
	x := uint64(time.Now().UnixNano())
	for i := 0; i+8 <= len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	return b
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// jitter is the mean difference of successive round trips.
func jitter(v []float64) float64 {
	if len(v) < 2 {
		return 0
	}
	sum := 0.0
	for i := 1; i < len(v); i++ {
		sum += max(v[i]-v[i-1], v[i-1]-v[i])
	}
	return sum / float64(len(v)-1)
}
