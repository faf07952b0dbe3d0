package work_test

import (
	"sync/atomic"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// What other programs do to the machine is told with the first word and every heartbeat, so that submitters give work to
// idler ones.
func TestLoadOfOtherProgramsIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var foreign atomic.Int64
		foreign.Store(300)
		r := newRig(t, func(o *work.Options) { o.Load = func() int { return int(foreign.Load()) } })
		r.offer()
		b, hello := r.greet()
		if hello.Ask.Load != 300 {
			t.Errorf("an idle node whose machine is at 300 ‰ says %d", hello.Ask.Load)
		}
		b.welcome(false)
		foreign.Store(5000) // a sensor's nonsense stays within bounds
		b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, func(l *tasks.Lease) {
			l.Do.Steps[0].Kind, l.Do.Steps[0].Params = "test.sleep", []byte(`{"tasks":1,"millis":600000}`)
		})}})
		if beat := hear[*wire.Heartbeat](b); beat.Load != 1000 {
			t.Errorf("a busy node says %d", beat.Load)
		}
		foreign.Store(-7)
		time.Sleep(time.Second)
		if beat := hear[*wire.Heartbeat](b); beat.Load != 500 {
			t.Errorf("one of two slots at work: the node says %d", beat.Load)
		}
	})
}
