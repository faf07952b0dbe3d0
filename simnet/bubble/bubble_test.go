package bubble

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == Arg {
		Main(func(_ context.Context, hours int) (time.Time, error) {
			if hours < 0 {
				return time.Time{}, errors.New("no time machine")
			}
			time.Sleep(time.Duration(hours) * time.Hour)
			return time.Now(), nil
		})
	}
	os.Exit(m.Run())
}

// A program outside go test gets virtual time: a hundred years pass at once, and an error comes back as one.
func TestRun(t *testing.T) {
	var at time.Time
	if err := Run(t.Context(), 876_000, &at); err != nil {
		t.Fatal(err)
	}
	if at.UTC().Year() != 2099 {
		t.Errorf("it is %s", at)
	}
	if err := Run(t.Context(), -1, &at); err == nil || !strings.Contains(err.Error(), "no time machine") {
		t.Errorf("got %v", err)
	}
	if err := Run(t.Context(), "what", &at); err == nil {
		t.Error("nonsense was accepted")
	}
}
