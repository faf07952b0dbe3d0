package node

import (
	"strings"
	"testing"

	"kith/node/api"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/submit"
)

func TestSearchText(t *testing.T) {
	found := submit.Searched{Asked: 21, Found: 40, Invited: 12, Coming: 9}
	for _, c := range []struct {
		name string
		e    submit.Explanation
		want string
	}{
		{"none", submit.Explanation{}, ""},
		{"the first", submit.Explanation{Searches: 1, Searching: true}, " Nodes nearby and the directory are being asked for more."},
		{"nobody", submit.Explanation{Searches: 1, Searched: submit.Searched{Asked: 3}}, " Asked 3 nodes and the directory for more: none was found."},
		{"some", submit.Explanation{Searches: 2, Searching: true, Searched: found}, " Asked 21 nodes and the directory for more: 40 found, 12 invited, 9 said they come."},
	} {
		if got := searchText(&c.e); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMovesInWords(t *testing.T) {
	from, to := tasks.NodeID{1}, tasks.NodeID{2}
	moved := func(list ...job.Moved) api.Moves {
		return moves(&job.Summary{Carried: int64(len(list)), Spared: 4000, Moved: list})
	}
	one := job.Moved{Task: job.Ref{Stage: 1, Index: 7}, Worker: to, From: []tasks.NodeID{from}, Done: 62, Total: 100}
	vague := one
	vague.Done, vague.Total = 0, 0
	for _, c := range []struct {
		name string
		m    api.Moves
		want string
	}{
		{"none", moved(), ""},
		{"one", moved(one), " At present stage 1 task 7 went on from 62 % on another node: " + to.Short() + ", after " + from.Short() + "."},
		{"nobody knows how far", moved(vague), "went on from where another node was ended: " + to.Short()},
		{"several", moved(one, one, one), "after " + from.Short() + " and 2 more."},
		{"earlier", api.Moves{Count: 2}, " 2 tasks went on at other nodes from where the first were ended."},
	} {
		if got := movesText(&c.m); got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if m := moved(one); m.Count != 1 || m.SparedMillis != 4000 || m.Now[0].At != 0.62 {
		t.Errorf("%+v", m)
	}
}
