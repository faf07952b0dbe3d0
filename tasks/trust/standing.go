package trust

import (
	"cmp"

	"kith/storage/dag"
	"kith/tasks"
)

// Adaptive replication: when one result of a node is enough, and how often it is looked at again.
const (
	SoleAfter  = 10 // agreeing results in a row, of one kind on one class of machine, after which a node is believed alone
	WarmUp     = 20 // verdicts a book must have seen before anybody is
	FirstOneIn = 4  // of the results of a node newly believed, one in so many is audited
	LastOneIn  = 16 // and of one known for long: 6.25 %, never less
)

// Where one lies there may be others. For alertMillis after a lie was proven, no node is audited less than once in
// alertOneIn results.
const (
	alertOneIn  = 8
	alertMillis = dayMillis
)

// mostAgreed bounds what a node can save up: after two months without work it has to begin again.
const mostAgreed = 2 * SoleAfter

// Standing is what a node has shown with one kind of work on one equivalence class of machines. The zero Standing is of
// one that has shown nothing.
type Standing struct {
	Agreed int   `cbor:"ok" json:"agreed"`     // independent results that agreed with it since it was last outvoted
	Passed int   `cbor:"audits" json:"passed"` // audits it passed since then
	Day    int64 `cbor:"day" json:"day"`       // of the last one, days since 1970
}

// At is the standing at now: halved for every HalfLifeDays without a verdict.
func (s Standing) At(now int64) Standing {
	for today := now / dayMillis; today-s.Day >= HalfLifeDays; s.Day += HalfLifeDays {
		s.Agreed, s.Passed = s.Agreed/2, s.Passed/2
		if s.Agreed == 0 && s.Passed == 0 {
			s.Day = today
			break
		}
	}
	return s
}

// Agree is the standing after one more result that an independent one agreed with; audit says that it had been accepted
// alone before.
func (s Standing) Agree(audit bool, now int64) Standing {
	s = s.At(now)
	s.Day = max(s.Day, now/dayMillis)
	s.Agreed = min(s.Agreed+1, mostAgreed)
	if audit {
		s.Passed = min(s.Passed+1, LastOneIn)
	}
	return s
}

// Sole reports whether one result of the node is enough.
func (s Standing) Sole() bool { return s.Agreed >= SoleAfter }

// OneIn is how many results of the node that stand alone share one audit: more with every audit it passed.
func (s Standing) OneIn() int { return min(FirstOneIn+2*s.Passed, LastOneIn) }

func (s *Standing) valid() bool {
	return s.Agreed >= 0 && s.Agreed <= mostAgreed && s.Passed >= 0 && s.Passed <= LastOneIn && s.Day >= 0
}

// skill is a node at one kind of work.
type skill struct {
	node tasks.NodeID
	what string
}

// Skill is a standing in a snapshot.
type Skill struct {
	Node     tasks.NodeID `cbor:"node" json:"node"`
	What     string       `cbor:"what" json:"what"` // kinds and equivalence class
	Standing Standing     `cbor:"standing" json:"standing"`
}

// Vote is one checked result of a task with a verdict.
type Vote struct {
	Node  tasks.NodeID
	Group string // network origin; empty: the node is its own
	Root  dag.CID
	What  string // the work as its node earns trust by it, if that says more than the task's; "": it does not
	Won   bool
	Told  bool // accepted alone before: this verdict is its audit
}

// Sole reports whether one result of a node for that work is enough, and how many such results share one audit.
func (b *Book) Sole(node tasks.NodeID, what string, now int64) (oneIn int, ok bool) {
	s := b.skills[skill{node, what}].At(now)
	if b.verdicts < WarmUp || !s.Sole() || b.Banned(node, now) {
		return 0, false
	}
	oneIn = s.OneIn()
	if b.alarm > 0 && now < b.alarm+alertMillis {
		oneIn = min(oneIn, alertOneIn)
	}
	return oneIn, true
}

// Standing returns what a node has shown with one kind of work.
func (b *Book) Standing(node tasks.NodeID, what string, now int64) Standing {
	return b.skills[skill{node, what}].At(now)
}

// Banned reports whether a node is shut out: by its record (see Record.Banned) or by a proven lie.
func (b *Book) Banned(node tasks.NodeID, now int64) bool {
	if l, lied := b.lies[node]; lied && now < l.Until {
		return true
	}
	return b.records[node].At(now).Banned()
}

// Verdict notes who agreed and who did not. It returns who is proven to have lied since the last call, and who is not
// any more because those who spoke against it are.
func (b *Book) Verdict(task tasks.TaskID, what string, votes []Vote, now int64) (lied, cleared []tasks.NodeID) {
	b.verdicts = min(b.verdicts+1, mostCount)
	won := 0
	for i := range votes {
		if votes[i].Won {
			won++
		}
	}
	for i := range votes {
		v := &votes[i]
		at := skill{v.Node, cmp.Or(v.What, what)}
		switch {
		case !v.Won:
			b.setSkill(at, Standing{Day: now / dayMillis})
		case won > 1:
			b.setSkill(at, b.skills[at].Agree(v.Told, now))
		}
	}
	if won == len(votes) || won == 0 {
		return nil, nil
	}
	c := Case{Task: task, What: what, At: now}
	for i := range votes {
		c.Sides = append(c.Sides, Side{Node: votes[i].Node, Group: votes[i].Group, Root: votes[i].Root[:], Won: votes[i].Won})
	}
	b.addCase(c)
	return b.judge(now)
}

func (b *Book) setSkill(at skill, s Standing) {
	b.skills[at] = s
	b.touched[at] = struct{}{}
	if len(b.skills) <= 2*b.most {
		return
	}
	// Forget those of whom least is known; a sixteenth at once.
	n := len(b.skills) / 16
	for k, v := range b.skills {
		if n > 0 && !v.Sole() && k != at {
			delete(b.skills, k)
			n--
		}
	}
	for k := range b.skills {
		if n > 0 && k != at {
			delete(b.skills, k)
			n--
		}
	}
}
