package job

import (
	"bytes"
	"slices"
	"strings"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/verify"
)

// Results of a stage with a comparison of its own (tasks.Stage.Comparison) need not be the same bytes to agree. Whether
// two outputs do is found by the driver, in the sandbox, when a verdict depends on it: Actions.Compare asks, Compared
// answers. Like commits and reveals the answers are not logged: after a restart the same questions are asked again.

// CompareTask asks which pairs of a task's outputs agree. The smaller root stands first in each.
type CompareTask struct {
	Task  Ref
	Pairs [][2]dag.CID
}

// how is the way in which results of a stage are compared.
func (s *State) how(stage int) tasks.Comparison {
	if h := s.stages[stage].Comparison; h != "" {
		return h
	}
	return tasks.Bitwise
}

// agree is what is known of two outputs of a task.
func (t *task) agree(a, b dag.CID) verify.Agreement { return t.known[[2]dag.CID{a, b}] }

// Floats writes equivalence classes, "kind:class" each, as Place.Floats has them.
func Floats(classes []string) string {
	list := slices.Clone(classes)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}

// ClassOf finds the class of a kind in Place.Floats; "" if none is named.
func ClassOf(floats, kind string) string {
	for f := range strings.SplitSeq(floats, " ") {
		if name, class, ok := strings.Cut(f, ":"); ok && name == kind {
			return class
		}
	}
	return ""
}

// replicas is a task's replicas as package verify sees them.
func (s *State) replicas(ref Ref, t *task, list []verify.Replica) []verify.Replica {
	steps := s.stages[ref.Stage].Steps
	numeric := s.how(ref.Stage) == tasks.Numeric && len(steps) > 0
	for i := range t.reps {
		r := &t.reps[i]
		p := &s.places[r.place]
		v := verify.Replica{Lease: r.lease, Worker: s.workers[r.worker].id, Group: p.Group, Account: p.Account, State: r.state.verify(), Root: r.root}
		if numeric && !r.told { // a vote that an audit begins with has the root that was accepted, not its own
			v.Equals = ClassOf(p.Floats, steps[len(steps)-1].Kind)
		}
		if r.from != nil {
			v.Past, v.Equals = s.origins(r), "" // of machines of several classes, for all that is known
		}
		list = append(list, v)
	}
	return list
}

// hopeful is how many independent results agree, if those that are not compared yet do.
func (s *State) hopeful(ref Ref, t *task) int {
	if how := s.how(ref.Stage); how != tasks.Bitwise {
		b := s.countOf(t, verify.Hopeful(how, s.replicas(ref, t, nil), t.agree))
		return b.votes()
	}
	b := s.count(t)
	return b.votes()
}

// askCompare asks for what a verdict depends on, once.
func (s *State) askCompare(ref Ref, t *task, pairs [][2]dag.CID, a *Actions) {
	if !t.comparing {
		t.comparing = true
		a.Compare = append(a.Compare, CompareTask{Task: ref, Pairs: pairs})
	}
}

// compared folds the answer.
func (s *State) compared(ev *Compared, now int64, a *Actions) {
	t := s.at(ev.Task)
	if t == nil || !t.phase.active() || !t.comparing || len(ev.Pairs) != len(ev.Agree) {
		return
	}
	if ev.Failed {
		s.uncompared = append(s.uncompared, ev.Task)
		return
	}
	t.comparing = false
	if t.known == nil {
		t.known = map[[2]dag.CID]verify.Agreement{}
	}
	for i, pair := range ev.Pairs {
		if bytes.Compare(pair[0][:], pair[1][:]) >= 0 {
			continue // not one that was asked for
		}
		t.known[pair] = verify.Differ
		if ev.Agree[i] {
			t.known[pair] = verify.Agree
		}
	}
	t.seq = 0
	s.advance(ev.Task, t, now, a)
}

// recompare asks again for the comparisons that failed.
func (s *State) recompare(now int64, a *Actions) {
	list := s.uncompared
	s.uncompared = nil
	for _, ref := range list {
		if t := s.at(ref); t != nil && t.phase.active() && t.comparing {
			t.comparing = false
			s.advance(ref, t, now, a)
		}
	}
}

// party is the root under which a result that lost counts: the smallest of those that lost with it and agree.
func (t *task) party(root dag.CID, losers []dag.CID) dag.CID {
	least := root
	for _, o := range losers {
		pair := [2]dag.CID{o, root}
		if bytes.Compare(root[:], o[:]) < 0 {
			pair = [2]dag.CID{root, o}
		}
		if t.known[pair] == verify.Agree && bytes.Compare(o[:], least[:]) < 0 {
			least = o
		}
	}
	return least
}
