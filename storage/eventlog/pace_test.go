package eventlog_test

import (
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/eventlog"
)

// timed appends durable records in virtual time on a disk whose syncs take the given time, one every gap, for a second.
// It returns how many there were, how many syncs they took and how long the slowest waited.
func timed(t *testing.T, sync, gap time.Duration) (calls, syncs int, slowest time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		l := open(t, "log", eventlog.Options{Files: d, SyncDelay: sync})
		defer l.Close()
		synctest.Wait()
		d.mu.Lock()
		syncs = -d.syncs
		d.mu.Unlock()
		waits := make(chan time.Duration, 1<<16)
		for begun := time.Now(); time.Since(begun) < time.Second; calls++ {
			asked := time.Now()
			l.Append([]byte("record"), true, func(_ uint64, err error) {
				if err != nil {
					t.Error(err)
				}
				waits <- time.Since(asked)
			})
			time.Sleep(gap)
		}
		time.Sleep(time.Second)
		d.mu.Lock()
		syncs += d.syncs
		d.mu.Unlock()
		for range calls {
			slowest = max(slowest, <-waits)
		}
	})
	return calls, syncs, slowest
}

// Thousands of callers a second share syncs on a disk that could give each its own, and none waits long for it.
func TestBusyLogGathersCallers(t *testing.T) {
	calls, syncs, slowest := timed(t, 100*time.Microsecond, 200*time.Microsecond)
	if syncs > calls/12 {
		t.Errorf("%d syncs for %d callers", syncs, calls)
	}
	if slowest > 5*time.Millisecond {
		t.Errorf("one waited %v", slowest)
	}
}

func TestQuietLogDoesNotWait(t *testing.T) {
	calls, syncs, slowest := timed(t, 100*time.Microsecond, 2*time.Millisecond)
	if syncs != calls || slowest > 100*time.Microsecond {
		t.Errorf("%d syncs for %d callers, one waited %v", syncs, calls, slowest)
	}
}

// A caller that asks, waits and asks again, as fast as it can, is alone: nobody comes while it waits.
func TestLoneCallerIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, "log", eventlog.Options{Files: newDisk(), SyncDelay: 100 * time.Microsecond})
		defer l.Close()
		const calls = 20_000
		begun := time.Now()
		done := make(chan error)
		for range calls {
			l.Append([]byte("record"), true, func(_ uint64, err error) { done <- err })
			must(t, <-done)
		}
		if took, alone := time.Since(begun), calls*100*time.Microsecond; took > alone+alone/50 {
			t.Errorf("took %v, its syncs alone take %v", took, alone)
		}
	})
}
