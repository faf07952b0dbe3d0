package disk

import (
	"context"
	"fmt"
	"os"
	"time"
)

// answerLimit is how long a drive may take to say whether it has a folder: a sleeping disk needs ten seconds to spin up.
const answerLimit = 20 * time.Second

// Answers reports whether the drive of a path answers at all: nil if it says anything, ErrHung if it does not within
// twenty seconds, as a network drive whose server is gone. The one question then stays open until the drive answers or the
// process ends, so ask before anything else touches the path, and not often.
func Answers(ctx context.Context, path string) error {
	return answers(ctx, path, answerLimit, func() { _, _ = os.Stat(path) })
}

func answers(ctx context.Context, path string, limit time.Duration, ask func()) error {
	said := make(chan struct{})
	go func() { defer close(said); ask() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-said:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return fmt.Errorf("%w: %s said nothing for %v; is its server or plug there?", ErrHung, path, limit)
	}
}
