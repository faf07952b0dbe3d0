package lock

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestOneOwner(t *testing.T) {
	home := t.TempDir()
	if Held(home) {
		t.Fatal("an empty folder is locked")
	}
	l, err := Take(home)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(home); !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Fatalf("got %v", err)
	}
	if !Held(home) {
		t.Fatal("not held")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if Held(home) {
		t.Fatal("held after Close")
	}
	if l, err = Take(home); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}
