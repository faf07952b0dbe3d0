package eventlog

import "time"

const (
	// busyCalls is how many callers a second make it worth to wait for the next ones.
	busyCalls = 1000
	// gather is the least time between two commits of a busy log. On a disk that syncs in 0.1 ms and with thousands of
	// callers a second, each commit would carry one or two of them, and each wakes goroutines, signs and sends by itself;
	// a disk that syncs in 5 ms then did more work a second than the fast one.
	gather = 4 * time.Millisecond
	// fewCalls, gathered by one wait, were not worth it: callers that ask one after another gain nothing from waiting.
	// The log then does not wait for gatherRest.
	fewCalls   = 4
	gatherRest = time.Second
	// quietTime without a commit ends a busy time.
	quietTime = 100 * time.Millisecond
)

// pace decides whether a commit waits for more callers, as databases do that delay a commit while others are active.
// Its zero value has seen no commit.
type pace struct {
	last time.Time
	rate float64   // callers a second, smoothed over the last commits
	rest time.Time // until when no commit waits
}

// wait tells how long the next commit should wait from now; at most gather.
func (p *pace) wait(now time.Time) time.Duration {
	since := now.Sub(p.last)
	if p.rate < busyCalls || since >= quietTime || now.Before(p.rest) {
		return 0
	}
	return gather - since
}

// commit notes that a commit of so many callers begins, and whether it waited for them.
func (p *pace) commit(now time.Time, calls int, waited bool) {
	since := now.Sub(p.last)
	p.last = now
	if waited && calls < fewCalls {
		p.rest = now.Add(gatherRest)
	}
	if since >= quietTime || since <= 0 {
		p.rate = 0
		return
	}
	const weight = 1.0 / 8
	p.rate += weight * (float64(calls)/since.Seconds() - p.rate)
}
