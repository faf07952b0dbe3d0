package node

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/p2p"
	"kith/tasks"
)

// pulses answers for the peers that are alive; a dead one answers nothing until the ping gives up.
type pulses struct {
	dead    map[p2p.ID]bool
	relayed map[p2p.ID]bool
	pinged  atomic.Int64

	mu      sync.Mutex
	dropped map[p2p.ID]int
	doubted map[tasks.NodeID]int
}

func (p *pulses) Connected(id p2p.ID) (direct, relayed bool) { return !p.relayed[id], p.relayed[id] }

func (p *pulses) MeasureRTT(ctx context.Context, id p2p.ID) (time.Duration, error) {
	p.pinged.Add(1)
	if p.dead[id] {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return time.Millisecond, nil
}

func (p *pulses) Disconnect(id p2p.ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropped[id]++
	return errors.New("gone already")
}

func (p *pulses) doubt(id tasks.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubted[id]++
}

// seen returns whom it was told to doubt and to drop, and how often.
func (p *pulses) seen() (doubted map[tasks.NodeID]int, dropped map[p2p.ID]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.doubted), maps.Clone(p.dropped)
}

func TestNodeThatDoesNotAnswerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alive, dead, relayed := p2p.ID{1}, p2p.ID{2}, p2p.ID{3}
		p := &pulses{dead: map[p2p.ID]bool{dead: true, relayed: true}, relayed: map[p2p.ID]bool{relayed: true}, dropped: map[p2p.ID]int{}, doubted: map[tasks.NodeID]int{}}
		var waiting atomic.Pointer[map[tasks.NodeID]bool]
		waiting.Store(&map[tasks.NodeID]bool{})
		l := newLiveness(logger(t), p, func(context.Context) map[tasks.NodeID]bool { return *waiting.Load() }, p.doubt)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Serve(ctx) }()
		time.Sleep(time.Minute)
		if n := p.pinged.Load(); n != 0 {
			t.Errorf("%d pings while nothing is waited for", n)
		}
		waiting.Store(&map[tasks.NodeID]bool{tasks.NodeID(alive): true, tasks.NodeID(dead): true, tasks.NodeID(relayed): true})
		time.Sleep((pulseDoubt + 1) * pulseEvery)
		synctest.Wait()
		if doubted, dropped := p.seen(); doubted[tasks.NodeID(dead)] != 1 || len(doubted) != 1 || len(dropped) != 0 {
			t.Errorf("doubted %v, dropped %v: want the one that does not answer, still connected", doubted, dropped)
		}
		time.Sleep((pulseMisses + 2 - pulseDoubt) * pulseEvery)
		synctest.Wait()
		if _, dropped := p.seen(); dropped[dead] != 1 || len(dropped) != 1 {
			t.Errorf("dropped %v", dropped)
		}
		cancel()
		<-done
	})
}
