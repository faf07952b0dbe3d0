package node

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Times of a stop. Together they stay below what service managers and impatient people allow.
const (
	partsTimeout = 3 * time.Second // for everything supervised to return
	closeTimeout = 2 * time.Second // for each thing to close
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
	for i := len(c.items) - 1; i >= 0; i-- {
		it := c.items[i]
		done := make(chan error, 1)
		go func() { done <- it.close() }()
		select {
		case err := <-done:
			if err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", it.name, err))
			}
		case <-time.After(closeTimeout):
			errs = append(errs, fmt.Errorf("%s did not close within %s", it.name, closeTimeout))
		}
	}
	c.items = nil
	for _, err := range errs {
		c.log.Warn("A part did not close well", slog.Any("error", err))
	}
	return errors.Join(errs...)
}
