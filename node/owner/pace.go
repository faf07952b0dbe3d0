package owner

import (
	"context"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Pace holds a flow of bytes to a rate that may change at any time. It is safe for concurrent use; the zero value is not
// useful, see NewPace.
type Pace struct {
	limiter *rate.Limiter
	waiting atomic.Int64
}

// burst is what may pass at once after a pause; a waiter asks for no more.
const burst = 64 << 10

// NewPace returns a pace without a limit.
func NewPace() *Pace { return &Pace{limiter: rate.NewLimiter(rate.Inf, burst)} }

// Set sets the bytes each second, at once also for who waits next; 0 or less: no limit.
func (p *Pace) Set(bytesPerSecond int64) {
	if bytesPerSecond <= 0 {
		p.limiter.SetLimit(rate.Inf)
		return
	}
	p.limiter.SetLimit(rate.Limit(bytesPerSecond))
}

// Wait returns when n more bytes may flow, n at most 64 KiB, or with an error when ctx ends or could not last so long.
func (p *Pace) Wait(ctx context.Context, n int) error {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	return p.limiter.WaitN(ctx, n)
}

// Busy reports whether somebody waits right now: then a silence is this pace's doing.
func (p *Pace) Busy() bool { return p.waiting.Load() > 0 }
