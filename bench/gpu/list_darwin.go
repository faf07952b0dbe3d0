package gpu

import (
	"context"

	"golang.org/x/sys/unix"

	"kith/bench/probe"
)

// systemCards lists the cards that macOS names.
func systemCards(ctx context.Context) ([]Card, error) {
	out, err := probe.Run(ctx, probe.Command{Path: "/usr/sbin/system_profiler", Args: []string{"SPDisplaysDataType", "-json"}, Limit: listLimit})
	if err != nil {
		return nil, err
	}
	memory, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		memory = 0
	}
	return parseProfiler(out, int64(min(memory, 1<<50)))
}
