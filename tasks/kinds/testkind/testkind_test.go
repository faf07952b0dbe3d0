package testkind

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"kith/tasks"
	"kith/tasks/kinds/kindtest"
)

func find(t *testing.T, name string) tasks.Kind {
	t.Helper()
	k, err := kindtest.Registry(All()).Kind(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func run(t *testing.T, ctx context.Context, name, params string) (fstest.MapFS, error) {
	t.Helper()
	k := find(t, name)
	canonical, err := k.Check([]byte(params))
	if err != nil {
		t.Fatal(err)
	}
	out := kindtest.NewOutput()
	err = k.Run(ctx, &tasks.Call{Phase: "run", Params: canonical, Index: 3, Out: out, Scratch: t.TempDir()})
	return out.FS(), err
}

func TestConform(t *testing.T) {
	for _, k := range All() {
		name := k.Describe().Name
		if name == "test.fail" || name == "test.crash" || name == "test.burn" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			kindtest.Conform(t, k, `{"tasks":3,"bytes":100}`)
		})
	}
	t.Run("test.burn", func(t *testing.T) { kindtest.Conform(t, find(t, "test.burn"), `{"millis":1}`) })
}

func TestNoop(t *testing.T) {
	out, err := run(t, t.Context(), "test.noop", "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out["out"].Data), "000003 6554461d0ccc3dbf\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	out, err = run(t, t.Context(), "test.noop", `{"bytes":100000}`)
	if err != nil || len(out["out"].Data) != 100000+24 {
		t.Errorf("%d bytes, %v", len(out["out"].Data), err)
	}
}

func TestBehaviour(t *testing.T) {
	if _, err := run(t, t.Context(), "test.fail", ""); !errors.Is(err, ErrFail) {
		t.Errorf("test.fail: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, name := range []string{"test.sleep", "test.burn"} {
		if _, err := run(t, ctx, name, `{"millis":3600000}`); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := run(t, ctx, "test.memory", `{"bytes":1099511627776}`); !errors.Is(err, context.Canceled) {
		t.Errorf("test.memory: %v", err)
	}
	begin := time.Now()
	if _, err := run(t, t.Context(), "test.sleep", `{"millis":5}`); err != nil || time.Since(begin) < 5*time.Millisecond {
		t.Errorf("test.sleep: %v after %v", err, time.Since(begin))
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	err := find(t, "test.disk").Run(t.Context(), &tasks.Call{Params: []byte(`{"bytes":70000}`), Out: kindtest.NewOutput(), Scratch: dir})
	info, statErr := os.Stat(filepath.Join(dir, "fill"))
	if err != nil || statErr != nil || info.Size() != 70000 {
		t.Errorf("%v, %v", err, statErr)
	}
}

func TestCrash(t *testing.T) {
	if os.Getenv("KITH_TEST_CRASH") != "" {
		_ = find(t, "test.crash").Run(t.Context(), &tasks.Call{})
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), "KITH_TEST_CRASH=1")
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != ExitCode {
		t.Errorf("got %v, want exit code %d", err, ExitCode)
	}
}

func TestCheck(t *testing.T) {
	for _, bad := range []string{`{"tasks":0}`, `{"tasks":1048577}`, `{"millis":-1}`, `{"millis":86400001}`, `{"bytes":-1}`, `{"bytes":1099511627777}`} {
		if _, err := find(t, "test.noop").Check([]byte(bad)); !errors.Is(err, tasks.ErrParams) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	if got, err := find(t, "test.noop").Check(nil); err != nil || !strings.HasPrefix(string(got), `{"tasks":1,`) {
		t.Errorf("%s, %v", got, err)
	}
}
