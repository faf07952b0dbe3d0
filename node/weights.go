package node

import (
	"strconv"
	"strings"

	"kith/tasks"
)

// weight is how many times the usual part of the slots a kind of work gets for a submitter: what the owner's list says
// of the submitter, times what it says of the kind, by the longest name that matches.
func weight(list []string, submitter tasks.NodeID, kind string) int {
	of, family, longest := 1, 1, -1
	for _, entry := range list {
		name, number, _ := strings.Cut(entry, "=")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			continue // the settings refuse it
		}
		prefix, wild := strings.CutSuffix(name, "*")
		switch {
		case name == submitter.String():
			of = n
		case (name == kind || wild && strings.HasPrefix(kind, prefix)) && len(name) > longest:
			family, longest = n, len(name)
		}
	}
	return of * family
}
