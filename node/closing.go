package node

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Times of a stop. Together they stay below what service managers allow. The things to close share one budget, because a
// machine that stands still does so for whichever of them is closing; what comes after a slow one still gets a moment.
const (
	partsTimeout = 3 * time.Second  // for everything supervised to return
	closeBudget  = 10 * time.Second // for everything to close, one after the other
	closeAtLeast = time.Second      // for each, also when the budget is spent
)

// closing is a list of things to close, the last opened first.
type closing struct {
	log   *slog.Logger
	items []closer
}

type closer struct {
	name  string
	close func() error
}

// add puts something on the list.
func (c *closing) add(name string, close func() error) {
	c.items = append(c.items, closer{name, close})
}

// run closes everything in reverse. What does not close in time is named and left behind: nothing here may keep the
// rest from closing.
func (c *closing) run() error {
	var errs []error
	end := time.Now().Add(closeBudget)
	for i := len(c.items) - 1; i >= 0; i-- {
		it := c.items[i]
		left := max(closeAtLeast, time.Until(end))
		done := make(chan error, 1)
		go func() { done <- it.close() }()
		select {
		case err := <-done:
			if err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", it.name, err))
			}
		case <-time.After(left):
			errs = append(errs, fmt.Errorf("%s did not close within %s", it.name, left.Round(time.Millisecond)))
		}
	}
	c.items = nil
	for _, err := range errs {
		c.log.Warn("A part did not close well", slog.Any("error", err))
	}
	return errors.Join(errs...)
}
