package node

import (
	"testing"

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
