package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Memory of the node's own process. Tasks have processes of their own; this one mostly waits, and is kept small then. While
// it works, a tight collector costs every tenth of its processor time: it gets more room for a while.
const (
	memoryLimit  = 1 << 30 // bytes, soft: only a flood of blocks comes near
	tightPercent = 50      // of the live heap, as garbage, before it is collected
	loosePercent = 400
	looseBytes   = 96 << 20 // but no more garbage than this
	busyCycles   = 2        // collections a second from which on the collector is in the way
	quietSeconds = 10       // without any collection, after which memory goes back
)

// paceHeap sets how much garbage the process may hold, by how often it is collected, until ctx ends.
func paceHeap(ctx context.Context) {
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	p := heapPace{percent: tightPercent}
	debug.SetGCPercent(p.percent)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(samples)
		was := p.percent
		p.next(samples[0].Value.Uint64(), samples[1].Value.Uint64())
		if p.percent == was {
			continue
		}
		debug.SetGCPercent(p.percent)
		if p.percent == tightPercent {
			debug.FreeOSMemory()
		}
	}
}

// heapPace decides what paceHeap does.
type heapPace struct {
	percent int
	cycles  uint64 // collections until now
	quiet   int    // seconds without any
}

// next takes what is measured each second: collections since the process began, and bytes of live heap.
func (p *heapPace) next(cycles, live uint64) {
	since := cycles - p.cycles
	p.cycles = cycles
	switch {
	case since >= busyCycles:
		p.quiet = 0
		p.percent = int(min(loosePercent, max(tightPercent, 100*looseBytes/max(live, 1))))
	case since > 0:
		p.quiet = 0
	case p.percent != tightPercent:
		if p.quiet++; p.quiet >= quietSeconds {
			p.percent = tightPercent
		}
	}
}
