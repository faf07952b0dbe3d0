package work

import (
	"time"

	"kith/tasks"
)

// A submitter that has a result says a word on it: its verdict, or, when that takes a while, that it has the bytes
// (wire.Delivered). What it was shown and said nothing of is counted, and beyond a window of such results no more is shown
// to it and no work is taken. The window begins small, grows with every word and halves when none comes. So whoever takes
// results and keeps silent gains a window of them at once, and not twice as many in all before it has to wait: a stranger
// 4, and 7; then one an hour. One of good repute has a window as large as what it may have here anyway, and never meets it.
const (
	firstWindow = 4
	mostWindow  = maxHeld
	patience    = 10 * time.Second // for a word on a result that was whole in its reveal
	fetchTime   = time.Minute      // more, for one that must be fetched, and
	mibTime     = time.Second      // for every MiB of it
	restTime    = time.Hour        // for which a submitter gets nothing when its window is gone
)

// size is the window when nothing speaks against the submitter.
func (p *payer) size() int {
	if p.Window <= 0 {
		return firstWindow
	}
	return min(p.Window, mostWindow)
}

// window is how many results a submitter may have at once that it said nothing of.
func (p *payer) window(now int64) int {
	if p.Rest > now {
		return 0
	}
	return p.size()
}

// spoke notes a word on a result.
func (p *payer) spoke() {
	if p.Window < mostWindow || p.Rest != 0 {
		p.Window, p.Rest, p.changed = min(p.size()+1, mostWindow), 0, true
	}
}

// silent notes that no word came. One that cannot come any more may cost the submitter the last of its window.
func (p *payer) silent(now int64, lost bool) {
	p.Window, p.changed = p.size()/2, true
	if p.Window == 0 {
		p.Window = 1
		if lost {
			p.Rest = now + restTime.Milliseconds()
		}
	}
}

// wary reports whether something is known against a submitter that must not be forgotten.
func (p *payer) wary() bool {
	return p.mean() || p.Rest != 0 || p.Window != 0 && p.Window < firstWindow
}

// mayShow reports whether one more result may be shown. A node from before acknowledges nothing: of it verdicts are
// expected, and only one that let results go without any is held to the window.
func (s *session) mayShow() bool {
	w := s.pays.window(time.Now().UnixMilli())
	return !s.acknowledges && w >= firstWindow || s.silent+s.pays.lost < w
}

// mute says that no work is taken from a submitter because it says nothing of what it has, or nil.
func (s *session) mute() *tasks.Reason {
	if w := s.pays.window(time.Now().UnixMilli()); w > 0 && (s.overdue+s.pays.lost == 0 || s.mayShow()) {
		return nil
	}
	return s.pays.muted(s.silent + s.pays.lost)
}

func (p *payer) muted(n int) *tasks.Reason {
	if left := p.Rest - time.Now().UnixMilli(); left > 0 {
		return &tasks.Reason{Code: tasks.NoWord, RetryMillis: left}
	}
	r := tasks.Because(tasks.NoWord, "%d results", n)
	r.RetryMillis = patience.Milliseconds()
	return &r
}

// shows notes that a result is shown now, for the first time.
func (s *session) shows(h *held) {
	h.shownAt = time.Now().UnixMilli()
	s.silent++
}

// answered notes the first word on a result that was shown; growing says whether it speaks for the submitter.
func (s *session) answered(h *held, growing bool) {
	if h.shownAt == 0 || h.answered {
		return
	}
	h.answered = true
	s.unwait(h)
	if growing {
		s.pays.spoke()
	}
	s.showMore()
}

// unwait takes a result off the count of those without a word.
func (s *session) unwait(h *held) {
	s.silent--
	if h.overdue {
		h.overdue = false
		s.overdue--
	}
}

// lost notes that a lease ends on whose result, though it was shown, no word can come any more. It stands in the window a
// while longer: a submitter gains nothing by calling off what it has seen.
func (s *session) lost(h *held) {
	if h.shownAt == 0 || h.answered {
		return
	}
	h.answered = true
	s.unwait(h)
	p, d := s.pays, s.d
	if p.lost++; s.up && s.mute() != nil {
		s.retune() // the window may be full again
	}
	if p.lost > 1 {
		return
	}
	time.AfterFunc(patience, func() {
		d.box.Post(func() {
			now := time.Now().UnixMilli()
			p.silent(now, true)
			d.log.Info("A submitter had results and said nothing of them", "submitter", p.Submitter, "results", p.lost, "window", p.window(now))
			p.lost = 0
			d.sweepSoon()
			if s := d.sessions[p.Submitter]; s != nil {
				s.showMore()
			}
		})
	})
}

// showMore shows what was held back as far as the window has room, and asks for work as far as that says.
func (s *session) showMore() {
	for len(s.heldBack) > 0 && s.mayShow() {
		h := s.heldBack[0]
		s.heldBack = s.heldBack[1:]
		if h.state == committed && h.asked != nil {
			s.open(h)
		}
	}
	s.writeShown(false)
	if s.asked == 0 {
		s.retune()
	}
}

// listen looks for results that have waited too long for a word. It runs with the heartbeats.
func (s *session) listen(now int64) {
	if !s.acknowledges || !s.up {
		return
	}
	late := false
	for _, h := range s.m {
		if h.shownAt == 0 || h.answered || h.overdue || h.shownAt+h.promise.patience().Milliseconds() > now {
			continue
		}
		h.overdue, late = true, true
		s.overdue++
	}
	if !late {
		return
	}
	s.pays.silent(now, false)
	s.d.sweepSoon()
	why := s.mute()
	if why == nil {
		return
	}
	s.d.log.Info("A submitter says nothing of results that it has; no more work is taken from it", "submitter", s.peer, "results", s.silent)
	for _, h := range s.leases() {
		if h.state < running {
			s.d.why(*why)
			s.giveBack(h, *why, nil)
		}
	}
	s.retune()
}

// patience is how long a word on a result may take.
func (p *promise) patience() time.Duration {
	if p.Blocks != nil {
		return patience
	}
	return patience + fetchTime + time.Duration(p.Bytes>>20)*mibTime
}
