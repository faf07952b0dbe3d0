package thermal

import (
	"context"
	"time"

	"kith/bench/probe"
)

// Read is the Reader of this machine.
func Read(ctx context.Context) (Reading, error) {
	out, err := probe.Run(ctx, probe.Command{Path: "/usr/bin/pmset", Args: []string{"-g", "therm"}, Limit: 5 * time.Second})
	if err != nil {
		return Reading{}, err
	}
	return parsePmset(string(out))
}
