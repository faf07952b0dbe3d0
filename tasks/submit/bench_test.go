package submit_test

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"kith/storage/eventlog"
	"kith/tasks/submit"
	"kith/tasks/work"
)

// loopback returns the two ends of a TCP connection.
func loopback(b testing.TB) func() (net.Conn, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return func() (net.Conn, net.Conn) {
		here, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		there, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		return here, there
	}
}

// BenchmarkVerified measures verified no-op tasks, k = 2, four donors, everything in one process over loopback TCP with
// an in-process engine and blocks in memory: what the drivers themselves cost, without a disk, with this machine's, and
// with one that takes 5 ms longer to sync.
func BenchmarkVerified(b *testing.B) {
	for _, disk := range []struct {
		name  string
		log   bool
		delay time.Duration
	}{{"memory", false, 0}, {"disk", true, 0}, {"disk+5ms", true, 5 * time.Millisecond}} {
		b.Run(disk.name, func(b *testing.B) {
			open := func() *eventlog.Log {
				l, err := eventlog.Open(b.TempDir(), eventlog.Options{SyncDelay: disk.delay, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { l.Close() })
				return l
			}
			w := newWorld(b, nil)
			w.pipe = loopback(b)
			w.submit(func(o *submit.Options) {
				if disk.log {
					o.Log, o.Book = open(), open()
				}
			})
			for range 4 {
				w.newDonor(func(o *work.Options) {
					o.Slots = 1
					if disk.log {
						o.Log, o.Book = open(), open()
					}
				})
			}
			w.mustFinish(w.run(noop(64)))
			tasks, began := 0, time.Now()
			for b.Loop() {
				const n = 5000
				w.mustFinish(w.run(noop(n)))
				tasks += n
			}
			b.ReportMetric(float64(tasks)/time.Since(began).Seconds(), "tasks/s")
		})
	}
}

// BenchmarkOne measures the time of one task with open sessions.
func BenchmarkOne(b *testing.B) {
	w := newWorld(b, nil)
	w.pipe = loopback(b)
	w.submit()
	for range 3 {
		w.newDonor(func(o *work.Options) { o.Slots = 1 })
	}
	w.mustFinish(w.run(noop(64)))
	for b.Loop() {
		w.mustFinish(w.run(noop(1)))
	}
}
