package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const childEnv = "KITH_DISK_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "probe":
		os.Exit(Main())
	case "hang": // a drive that never answers
		fmt.Println(`{"progress":{"step":"read in sequence, depth 1","share":0.5,"requests":7}}`)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case "die":
		fmt.Fprintln(os.Stderr, "bus error")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// as is this test binary as a child.
func as(mode string) func() (*exec.Cmd, error) {
	return func() (*exec.Cmd, error) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+mode)
		return cmd, nil
	}
}

// ram is a test file in memory that can misbehave.
type ram struct {
	mu    sync.Mutex
	data  []byte
	reads int
	after int // misbehave from this read or write on
	read  func(b []byte, off int64) error
	write func(b []byte, off int64) error
	sync  error
	pause time.Duration
}

func (r *ram) ReadAt(b []byte, off int64) (int, error) {
	time.Sleep(r.pause)
	r.mu.Lock()
	defer r.mu.Unlock()
	if off+int64(len(b)) > int64(len(r.data)) {
		return 0, io.EOF
	}
	copy(b, r.data[off:])
	if r.reads++; r.read != nil && r.reads > r.after {
		return len(b), r.read(b, off)
	}
	return len(b), nil
}

func (r *ram) WriteAt(b []byte, off int64) (int, error) {
	time.Sleep(r.pause)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.write != nil {
		if err := r.write(b, off); err != nil {
			return 0, err
		}
	}
	if end := int(off) + len(b); end > len(r.data) {
		r.data = append(r.data, make([]byte, end-len(r.data))...)
	}
	copy(r.data[off:], b)
	return len(b), nil
}

func (r *ram) Sync() error  { return r.sync }
func (r *ram) Close() error { return nil }

func inRAM(r *ram, budget time.Duration) Options {
	return Options{
		Dir: "x", Budget: budget, Size: 16 << 20, Depths: []int{1, 4},
		Open:  func(string) (File, bool, error) { return r, true, nil },
		Space: func(string) (int64, error) { return 1 << 40, nil },
	}
}

func TestMeasure(t *testing.T) {
	var steps []string
	o := inRAM(&ram{}, 400*time.Millisecond)
	o.Progress = func(step string, share float64, n int64) {
		if share < 0 || share > 1 || n < 0 {
			t.Errorf("%s %v %d", step, share, n)
		}
		steps = append(steps, step)
	}
	r, err := Measure(t.Context(), o)
	must(t, err)
	if len(r.SeqRead) != 2 || len(r.SeqWrite) != 2 || len(r.RandRead) != 2 || len(r.RandWrite) != 2 || r.RandRead[1].Depth != 4 || r.Syncs < 5 || !r.Direct ||
		r.Size != 16<<20 || r.Verified == 0 || len(r.Wrong) > 0 || len(r.Failed) > 0 || r.Fill <= 0 || len(steps) == 0 {
		t.Errorf("%+v", r)
	}
	for _, list := range [][]Rate{r.SeqRead, r.SeqWrite, r.RandRead, r.RandWrite} {
		for _, x := range list {
			if x.Bytes <= 0 || x.Requests <= 0 || x.Median > x.Slow || x.Confidence < 0 || x.Confidence > 1 {
				t.Errorf("%+v", x)
			}
		}
	}
}

// TestMeasureFindsWhatIsWrong: whatever a drive does to the data, it is noticed.
func TestMeasureFindsWhatIsWrong(t *testing.T) {
	flip := func(b []byte, _ int64) error { b[len(b)-1] ^= 1; return nil }
	first := map[int64][]byte{}
	for _, c := range []struct {
		name string
		ram  *ram
		is   error
		want string
	}{
		{"a flipped bit", &ram{read: flip, after: 3}, ErrWrong, "is damaged"},
		{"another page", &ram{read: func(b []byte, _ int64) error { copy(b, b[page:min(2*page, len(b))]); b[8]++; return nil }}, ErrWrong, "holds page"},
		{"zeros", &ram{read: func(b []byte, _ int64) error { clear(b); return nil }}, ErrWrong, "something else"},
		{"an old version", &ram{read: func(b []byte, off int64) error {
			if old, ok := first[off]; ok && len(b) == chunk {
				copy(b, old)
			} else if len(b) == chunk {
				first[off] = append([]byte(nil), b...)
			}
			return nil
		}}, ErrWrong, "another time"},
		{"reads fail", &ram{read: func([]byte, int64) error { return syscall.EIO }, after: 5}, ErrWrong, "input/output error"},
		{"writes fail", &ram{write: func(_ []byte, off int64) error {
			if off > 8<<20 {
				return syscall.EIO
			}
			return nil
		}}, ErrWrong, "input/output error"},
		{"syncs fail", &ram{sync: syscall.EIO}, ErrWrong, "sync"},
		{"it fills up", &ram{write: func(_ []byte, off int64) error {
			if off > 3<<20 {
				return syscall.ENOSPC
			}
			return nil
		}}, ErrNoRoom, "no space"},
		{"it vanishes", &ram{write: func(_ []byte, off int64) error {
			if off > 3<<20 {
				return syscall.ENODEV
			}
			return nil
		}}, ErrWrong, "no such device"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Measure(t.Context(), inRAM(c.ram, 300*time.Millisecond))
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %v with %q", err, c.is, c.want)
			}
			if errors.Is(err, ErrWrong) && len(r.Wrong) == 0 {
				t.Error("nothing is noted")
			}
		})
	}
}

func TestMeasureBadInput(t *testing.T) {
	o := inRAM(&ram{}, time.Second)
	for name, c := range map[string]struct {
		change func(*Options)
		is     error
	}{
		"3 MB free":       {func(o *Options) { o.Space = func(string) (int64, error) { return 3 << 20, nil } }, ErrNoRoom},
		"nothing free":    {func(o *Options) { o.Space = func(string) (int64, error) { return 0, nil } }, ErrNoRoom},
		"negative":        {func(o *Options) { o.Space = func(string) (int64, error) { return -1, nil } }, ErrNoRoom},
		"no permission":   {func(o *Options) { o.Open = func(string) (File, bool, error) { return nil, false, syscall.EACCES } }, os.ErrPermission},
		"read-only":       {func(o *Options) { o.Open = func(string) (File, bool, error) { return nil, false, syscall.EROFS } }, syscall.EROFS},
		"no such folder":  {func(o *Options) { o.Dir, o.Open, o.Space = "/no/such/folder", nil, nil }, os.ErrNotExist},
		"cannot be asked": {func(o *Options) { o.Space = func(string) (int64, error) { return 0, syscall.EIO } }, syscall.EIO},
	} {
		bad := o
		c.change(&bad)
		if _, err := Measure(t.Context(), bad); !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Measure(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// A drive so slow that hardly anything fits the time still gets figures.
	o = inRAM(&ram{pause: 20 * time.Millisecond}, 200*time.Millisecond)
	if r, err := Measure(t.Context(), o); err != nil || len(r.RandRead) != 2 {
		t.Errorf("slow: %+v %v", r, err)
	}
}

func TestCliff(t *testing.T) {
	steps := func(n int, of func(i int) float64) (out []float64) {
		for i := range n {
			out = append(out, of(i))
		}
		return out
	}
	for name, c := range map[string]struct {
		steps    []float64
		lo, hi   float64
		from, to int64
	}{
		"too short":   {steps(5, func(int) float64 { return 100 }), 0, 0, 0, 0},
		"steady":      {steps(60, func(i int) float64 { return 100 + float64(i%7) }), 0.9, 1, 0, 0},
		"falls":       {steps(60, func(i int) float64 { return map[bool]float64{true: 100, false: 10}[i < 30] }), 0.09, 0.11, 2900, 3100},
		"one hiccup":  {steps(60, func(i int) float64 { return map[bool]float64{true: 0, false: 100}[i == 30] }), 0.9, 1, 0, 0},
		"stands":      {steps(60, func(int) float64 { return 0 }), 0, 0, 0, 0},
		"gets faster": {steps(60, func(i int) float64 { return float64(10 + i) }), 0.99, 1, 0, 0},
	} {
		left, at := cliff(c.steps)
		if left < c.lo || left > c.hi || at < c.from || at > c.to {
			t.Errorf("%s: %.2f at %d", name, left, at)
		}
	}
}

// TestProbe measures the drive of this machine in a child process, and leaves nothing behind.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	r, err := Prober{Command: as("probe")}.Probe(t.Context(), Options{Dir: dir, Budget: time.Second, Size: 16 << 20, Depths: []int{1, 4}})
	must(t, err)
	if len(r.SeqRead) != 2 || len(r.RandWrite) != 2 || r.Syncs == 0 || r.Method == "" {
		t.Errorf("%+v", r)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestProbeBadInput(t *testing.T) {
	p := Prober{Command: as("probe"), Stall: 300 * time.Millisecond}
	if _, err := p.Probe(t.Context(), Options{Dir: "/no/such/folder"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such folder: %v", err)
	}
	p.Command = as("hang")
	if _, err := p.Probe(t.Context(), Options{Dir: t.TempDir()}); !errors.Is(err, ErrHung) || !strings.Contains(err.Error(), "read in sequence") {
		t.Errorf("hangs: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Probe(ctx, Options{Dir: t.TempDir()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	p.Command = as("die")
	if _, err := p.Probe(t.Context(), Options{Dir: t.TempDir()}); !errors.Is(err, errDied) || !strings.Contains(err.Error(), "bus error") {
		t.Errorf("dies: %v", err)
	}
	p.Command = func() (*exec.Cmd, error) { return exec.Command("/no/such/program"), nil }
	if _, err := p.Probe(t.Context(), Options{Dir: t.TempDir()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
}
