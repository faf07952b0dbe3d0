package eventlog_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"kith/storage/eventlog"
)

// BenchmarkAppend is the cost of a record nobody waits for.
func BenchmarkAppend(b *testing.B) {
	l := open(b, b.TempDir(), eventlog.Options{})
	rec := make([]byte, 200)
	b.SetBytes(int64(len(rec)))
	for i := 0; b.Loop(); i++ {
		l.Append(rec, false, nil)
		if i%10_000 == 0 { // stay below MaxPending
			must(b, l.Sync(b.Context()))
		}
	}
	must(b, l.Sync(b.Context()))
}

// BenchmarkDurable is the time of one durable record with 1 and with 256 callers, on this disk and on one whose sync
// takes 5 ms longer.
func BenchmarkDurable(b *testing.B) {
	for _, delay := range []time.Duration{0, 5 * time.Millisecond} {
		for _, callers := range []int{1, 256} {
			b.Run(fmt.Sprintf("delay=%v/callers=%d", delay, callers), func(b *testing.B) {
				l := open(b, b.TempDir(), eventlog.Options{SyncDelay: delay})
				rec := make([]byte, 200)
				work := make(chan struct{})
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for range work {
							if _, err := l.AppendSync(b.Context(), rec); err != nil {
								b.Error(err)
							}
						}
					})
				}
				for b.Loop() {
					work <- struct{}{}
				}
				close(work)
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// BenchmarkReplay is the rate of reading back.
func BenchmarkReplay(b *testing.B) {
	l := open(b, b.TempDir(), eventlog.Options{})
	const records, size = 100_000, 200
	for i := range records {
		l.Append(make([]byte, size), i == records-1, nil)
	}
	must(b, l.Sync(b.Context()))
	b.SetBytes(records * size)
	for b.Loop() {
		must(b, l.Replay(1, func(uint64, []byte) error { return nil }))
	}
}
