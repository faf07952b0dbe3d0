package disk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestAnswers(t *testing.T) {
	for _, path := range []string{t.TempDir(), "/no/such/folder"} { // an error is an answer
		if err := Answers(t.Context(), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	hung := make(chan struct{})
	defer close(hung)
	if err := answers(t.Context(), "/nas", 20*time.Millisecond, func() { <-hung }); !errors.Is(err, ErrHung) || !strings.Contains(err.Error(), "/nas") {
		t.Errorf("a drive that says nothing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := answers(ctx, "/nas", time.Hour, func() { <-hung }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
