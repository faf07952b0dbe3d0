package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

const role = "KITH_PROBE_TEST"

// TestMain makes the test binary its own child.
func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(m.Run())
	case "json":
		fmt.Print(`{"n": 7}`)
	case "two":
		fmt.Print(`{"n": 7}{"n": 8}`)
	case "hang":
		Orphan()
		// A grandchild that would outlive its parent.
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), role+"=sleep")
		_ = c.Start()
		fmt.Fprintf(os.Stderr, "hanging with %d\n", c.Process.Pid)
		time.Sleep(time.Hour)
	case "sleep":
		time.Sleep(time.Hour)
	case "crash":
		fmt.Fprintln(os.Stderr, "first line\nNVRM: GPU has fallen off the bus")
		os.Exit(139)
	case "flood":
		for range 2 * maxOutput / 1024 {
			fmt.Print(strings.Repeat("x", 1024))
		}
	}
	os.Exit(0)
}

func child(what string) Command {
	return Command{Path: os.Args[0], Env: []string{role + "=" + what}, Limit: 30 * time.Second}
}

func TestRun(t *testing.T) {
	var v struct{ N int }
	if err := JSON(t.Context(), child("json"), &v); err != nil || v.N != 7 {
		t.Fatalf("got %+v, %v", v, err)
	}
	tests := []struct {
		name string
		c    Command
		want error
		text string
	}{
		{"crash", child("crash"), ErrCrashed, "fallen off the bus"},
		{"flood", child("flood"), ErrOutput, "more than"},
		{"two values", child("two"), ErrOutput, ""},
		{"no answer", child("nothing"), ErrOutput, ""},
		{"not installed", Command{Path: "kith-no-such-tool", Limit: time.Second}, ErrMissing, "kith-no-such-tool"},
	}
	for _, tt := range tests {
		err := JSON(t.Context(), tt.c, &v)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want %v with %q", tt.name, err, tt.want, tt.text)
		}
	}
}

func TestHangingChildIsEndedWithItsChildren(t *testing.T) {
	c := child("hang")
	c.Limit = 500 * time.Millisecond
	_, err := Run(t.Context(), c)
	if !errors.Is(err, ErrTimeout) {
		t.Fatalf("got %v, want %v", err, ErrTimeout)
	}
	if runtime.GOOS == "linux" {
		var pid int
		if _, serr := fmt.Sscanf(err.Error()[strings.Index(err.Error(), "hanging with"):], "hanging with %d", &pid); serr != nil {
			t.Fatalf("no grandchild in %v", err)
		}
		for range 200 {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil || strings.Contains(string(status), ") Z ") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("grandchild %d lives", pid)
	}
}

func TestCancelEndsTheChild(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := Run(ctx, child("hang")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
