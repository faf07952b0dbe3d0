package sensors

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// run runs a program of the system and returns what it prints.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w %.100s", name, err, strings.TrimSpace(said.String()))
	}
	return out, nil
}
