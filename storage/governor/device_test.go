package governor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSpeeds: in the long run a device moves what its limits say, whoever asks and however much at once.
func TestSpeeds(t *testing.T) {
	for _, c := range []struct {
		name    string
		l       Limits
		size    int
		writing bool
		want    float64 // requests a second
	}{
		{"reads by bytes", Limits{ReadBytes: 10 * mib, Burst: mib}, mib, false, 10},
		{"writes by bytes", Limits{WriteBytes: 5 * mib, Burst: mib}, mib / 2, true, 10},
		{"larger than a second's worth", Limits{WriteBytes: mib, Burst: mib}, 4 * mib, true, 0.25},
		{"reads by requests", Limits{ReadOps: 50}, 10, false, 50},
		{"writes by requests", Limits{WriteOps: 20, WriteBytes: 1 << 40}, 4096, true, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := NewDevice("disk", c.l, nil)
				const seconds = 60
				ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
				defer cancel()
				var mu sync.Mutex
				n := 0
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						for {
							begin := d.Read
							if c.writing {
								begin = d.Write
							}
							done, err := begin(ctx)
							if err != nil {
								if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "limit of disk") {
									t.Error(err)
								}
								return
							}
							done(c.size)
							mu.Lock()
							n++
							mu.Unlock()
						}
					})
				}
				wg.Wait()
				got := float64(n) / seconds
				if slack := c.want/8 + 8.0/seconds; got > c.want+slack || got < c.want-slack {
					t.Errorf("%.2f requests a second, want %.2f", got, c.want)
				}
				if s := d.Stats(); s.Waiting != 0 || s.Waited == 0 || s.Reason == "" {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestQueueAndFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDevice("disk", Limits{Queue: 2, Files: 1}, nil)
		a, err := d.Read(t.Context())
		must(t, err)
		b, err := d.Write(t.Context())
		must(t, err)
		f, err := d.File(t.Context())
		must(t, err)
		third := make(chan func(int))
		go func() {
			done, err := d.Read(t.Context())
			if err != nil {
				t.Error(err)
			}
			third <- done
		}()
		synctest.Wait()
		if s := d.Stats(); s.Waiting != 1 || !strings.Contains(s.Reason, "queue limit of disk: 2") {
			t.Fatalf("%+v", s)
		}
		a(1)
		(<-third)(1)
		b(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.File(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "file limit") {
			t.Errorf("a second file: %v", err)
		}
		f()
		f, err = d.File(t.Context())
		must(t, err)
		f()
	})
}

// TestNewLimitsAtOnce: who waits under old limits goes on under new ones within a second.
func TestNewLimitsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDevice("disk", Limits{WriteBytes: 1, Burst: mib}, nil)
		for range 2 {
			d.Wrote(100 * mib) // a log, which never waits
		}
		begin := time.Now()
		time.AfterFunc(10*time.Second, func() { d.Allow(Limits{}) })
		done, err := d.Write(t.Context())
		must(t, err)
		done(1)
		if took := time.Since(begin); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("waited %v", took)
		}
	})
}

func TestSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDevice("disk", Limits{SyncEvery: 50 * time.Millisecond}, nil)
		sync := func(took time.Duration) error {
			return d.Sync(func() error { time.Sleep(took); return nil })
		}
		begin := time.Now()
		for range 21 {
			must(t, sync(time.Millisecond))
		}
		if took := time.Since(begin); took != 20*50*time.Millisecond+21*time.Millisecond {
			t.Errorf("21 syncs took %v", took)
		}
		if got := d.Signals(); len(got) != 0 {
			t.Fatalf("%+v", got)
		}
		must(t, sync(2*time.Second))
		got := d.Signals()
		if len(got) != 1 || got[0].Cause != SyncSpike || !strings.Contains(got[0].Detail, "took 2s, usual are 1ms") {
			t.Fatalf("%+v", got)
		}
		if s := d.Stats(); s.Syncs != 22 || s.SyncMedian != time.Millisecond {
			t.Errorf("%+v", s)
		}
		fails := &fs.PathError{Op: "sync", Path: "x", Err: syscall.EIO}
		if err := d.Sync(func() error { return fails }); !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
		if got := d.Signals(); len(got) != 1 || got[0].Cause != IOError {
			t.Fatalf("%+v", got)
		}
	})
}

func TestErrorsOfTheDrive(t *testing.T) {
	d := NewDevice("disk", Limits{}, nil)
	for err, want := range map[error]Cause{
		nil: "", io.EOF: "", syscall.ENOSPC: "", syscall.EACCES: "",
		fmt.Errorf("x: %w", syscall.EIO): IOError, syscall.EROFS: ReadOnly, syscall.ENODEV: Vanished, syscall.ESTALE: Vanished,
	} {
		d.Failed("write", err)
		got := d.Signals()
		if want == "" && len(got) != 0 || want != "" && (len(got) != 1 || got[0].Cause != want) {
			t.Errorf("%v: %+v, want %q", err, got, want)
		}
	}
	for range 10 * maxSignals {
		d.Failed("write", syscall.EIO)
	}
	if n := len(d.Signals()); n != maxSignals {
		t.Errorf("%d signals kept", n)
	}
}

func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDevice("disk", Limits{ReadBytes: mib, WriteBytes: mib, Burst: mib}, nil)
		data := bytes.Repeat([]byte("kith"), 2*mib)
		begin := time.Now()
		var out bytes.Buffer
		n, err := io.CopyBuffer(onlyWriter{d.Writer(t.Context(), &out)}, onlyReader{d.Reader(t.Context(), bytes.NewReader(data))}, make([]byte, 64<<10))
		must(t, err)
		if n != int64(len(data)) || !bytes.Equal(out.Bytes(), data) {
			t.Error("the bytes differ")
		}
		if took := time.Since(begin); took < 6*time.Second || took > 10*time.Second {
			t.Errorf("8 MiB at 1 MiB/s took %v", took)
		}
		if s := d.Stats(); s.ReadBytes != n || s.WrittenBytes != n {
			t.Errorf("%+v", s)
		}
		if _, err := d.Reader(t.Context(), iotest.ErrReader(syscall.EIO)).Read(make([]byte, 1)); !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
		if got := d.Signals(); len(got) != 1 || got[0].Cause != IOError {
			t.Errorf("%+v", got)
		}
		var none *Device
		if none.Reader(t.Context(), &out) != io.Reader(&out) || none.Writer(t.Context(), &out) != io.Writer(&out) {
			t.Error("nil is in the way")
		}
		must(t, none.Sync(func() error { return nil }))
		none.Wrote(1)
		none.DidRead(1)
		none.Failed("x", syscall.EIO)
	})
}

type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

func BenchmarkBegin(b *testing.B) {
	d := NewDevice("disk", rowOf(Fast).Limits, nil)
	for b.Loop() {
		done, err := d.Read(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		done(0)
	}
}
