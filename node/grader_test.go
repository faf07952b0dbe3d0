package node

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/bench"
	"kith/node/api"
	"kith/node/config"
	"kith/node/grading"
	"kith/node/owner"
	"kith/p2p"
	"kith/tasks"
	"kith/tasks/wire"
)

// middling is a measurement in which every figure of processor and memory has fifty points, of a machine with a card of
// some class.
func middling(fp16 float64) bench.Profile {
	p := bench.Profile{Version: bench.ProfileVersion, Hardware: "test", At: time.Now().UnixMilli(), Kernels: "k"}
	byPart := map[bench.Part]*bench.Device{bench.CPU: {Part: bench.CPU, Name: "cpu"}, bench.Memory: {Part: bench.Memory, Name: "memory"}}
	for _, s := range bench.Scales() {
		if d := byPart[s.Part]; d != nil {
			d.Measurements = append(d.Measurements, bench.Begin(s.Name, s.Unit, "test").Value(s.Fifty))
		}
	}
	card := bench.Device{Part: bench.GPU, Name: "gpu0", Kind: bench.NVIDIA, Measurements: []bench.Measurement{
		bench.Begin(bench.VRAM, bench.Bytes, "test").Value(24e9), bench.Begin(bench.FP16Matmul, bench.FLOPS, "test").Value(fp16),
	}}
	p.Devices = append(p.Devices, card, *byPart[bench.CPU], *byPart[bench.Memory])
	return p
}

func (r *running) capability(t *testing.T) wire.Capability {
	t.Helper()
	l := r.live.Load()
	c, err := wire.OpenCapability(l.network.name, time.Now().UnixMilli(), l.network.advert.Record())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGradeIsAdvertised(t *testing.T) {
	first, donors := meet(t, 1)
	r := donors[0]
	if c := r.capability(t); c.Class != tasks.CPU || c.Band != 0 {
		t.Errorf("before any measurement it says class %s, band %d", c.Class, c.Band)
	}
	r.grader.measure = func(ctx context.Context, o grading.Options, _ grading.Request, progress func(grading.Progress)) (bench.Profile, error) {
		progress(grading.Progress{Part: bench.CPU})
		p := middling(100e12)
		p.Devices = append(p.Devices, o.Network(ctx, bench.Quick))
		return p, nil
	}
	var steps int
	report, err := r.api.Bench(t.Context(), grading.Request{}, func(grading.Progress) { steps++ })
	if err != nil || steps != 1 {
		t.Fatalf("%+v after %d steps, %v", report, steps, err)
	}
	network := report.Profile.Of(bench.Network)[0]
	for _, name := range []string{bench.RTT, bench.Down, bench.Up} {
		if m, _ := network.Get(name); !m.Graded() || m.Value <= 0 {
			t.Errorf("the way to the other node: %+v", m)
		}
	}
	c := r.capability(t)
	if c.Class != tasks.HighGPU || c.Band != report.Grade.Band || c.Band == 0 {
		t.Errorf("it says class %s, band %d; the grade is %+v", c.Class, c.Band, report.Grade)
	}
	if s, err := r.api.Status(t.Context()); err != nil || s.Grade.Band != c.Band || s.Grade.At == 0 || len(s.Grade.Terms) != 6 {
		t.Errorf("the status says %+v, %v", s.Grade, err)
	}
	// Offers of every class up to its own reach it now.
	for _, class := range []tasks.DeviceClass{tasks.CPU, tasks.WeakGPU, tasks.HighGPU} {
		if len(r.live.Load().network.topics.joined[class]) == 0 {
			t.Errorf("it does not listen to %s", class)
		}
	}
	// Whoever looks for a class and band finds it in the directory.
	l := first.live.Load()
	eventually(t, "the directory names the node under its grade", func() bool {
		found := false
		for _, class := range []tasks.DeviceClass{tasks.HighGPU, tasks.CPU} {
			key := wire.ProviderKey(l.network.name, class, c.Band, c.Cell, wire.Bucket(r.Self()))
			found = false
			_ = l.network.dht.FindProviders(t.Context(), key, 5, func(id p2p.ID, _ []string) bool {
				found = found || tasks.NodeID(id) == r.Self()
				return true
			})
			if !found {
				return false
			}
		}
		return found
	})
	// Weights are the owner's.
	if _, err := r.api.Set(t.Context(), map[string]string{"grade.weights": "0,1,0,0,0,0"}); err != nil {
		t.Fatal(err)
	}
	if g, err := r.api.Grade(t.Context()); err != nil || g.Grade.Score != 50 {
		t.Errorf("by the processor alone: %+v, %v", g.Grade, err)
	}
	if _, err := r.api.Set(t.Context(), map[string]string{"grade.weights": "0,0,0,0,0,0"}); err == nil {
		t.Error("weights that let nothing count were taken")
	}
}

func TestGradeSurvivesARestart(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.grader.measure = func(context.Context, grading.Options, grading.Request, func(grading.Progress)) (bench.Profile, error) {
		return middling(1e12), nil
	}
	report, err := r.api.Bench(t.Context(), grading.Request{}, func(grading.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, r.home, nil)
	c := again.capability(t)
	if c.Band != report.Grade.Band || c.Class != tasks.WeakGPU {
		t.Errorf("after a restart: class %s, band %d, want band %d", c.Class, c.Band, report.Grade.Band)
	}
	if g, err := again.api.Grade(t.Context()); err != nil || g.Profile.Of(bench.Uptime)[0].Measurements[0].Name != bench.Availability {
		t.Errorf("%+v, %v", g, err)
	}
}

// endless is a measurement that only ctx ends.
func endless(begun chan<- struct{}) func(context.Context, grading.Options, grading.Request, func(grading.Progress)) (bench.Profile, error) {
	return func(ctx context.Context, _ grading.Options, _ grading.Request, _ func(grading.Progress)) (bench.Profile, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return bench.Profile{}, ctx.Err()
	}
}

func TestKillEndsAMeasurement(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	begun := make(chan struct{}, 1)
	r.grader.measure = endless(begun)
	done := make(chan error, 1)
	go func() {
		_, err := r.api.Bench(context.Background(), grading.Request{}, func(grading.Progress) {})
		done <- err
	}()
	<-begun
	if _, err := r.api.Bench(t.Context(), grading.Request{}, func(grading.Progress) {}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("two at a time: %v", err)
	}
	if _, err := r.api.Owner(t.Context(), "kill"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "owner stopped") {
		t.Errorf("got %v", err)
	}
	if _, err := r.api.Bench(t.Context(), grading.Request{}, func(grading.Progress) {}); err == nil {
		t.Error("a stopped node was measured")
	}
	if g, err := r.api.Grade(t.Context()); err != nil || g.Profile != nil || g.Grade.Band != 0 {
		t.Errorf("something was kept: %+v, %v", g.Grade, err)
	}
}

func TestMeasuringYields(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	begun := make(chan struct{}, 1)
	r.grader.measure = endless(begun)
	asleep := make(chan bool, 2)
	asleep <- true
	r.grader.sleeping = func() bool {
		select {
		case s := <-asleep:
			return s
		default:
			return false // somebody came back
		}
	}
	if err := r.grader.quietly(t.Context()); !errors.Is(err, errNeeded) {
		t.Errorf("got %v, want %v", err, errNeeded)
	}
}

// TestSchedule lets months pass: the machine is measured once nobody has needed it for a while, not while it is busy, and
// again when the grade has aged.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home := t.TempDir()
		settings, err := config.Open(home)
		if err != nil {
			t.Fatal(err)
		}
		n := &Node{o: Options{Home: home}, log: slog.New(slog.DiscardHandler), settings: settings}
		var runs atomic.Int64
		var asleep, busy, broken atomic.Bool
		asleep.Store(true)
		busy.Store(true)
		hardware := grading.Hardware(t.Context())
		g := &grader{node: n, log: n.log, sleeping: asleep.Load, busy: busy.Load, measure: func(context.Context, grading.Options, grading.Request, func(grading.Progress)) (bench.Profile, error) {
			runs.Add(1)
			if broken.Load() {
				return bench.Profile{}, errors.New("the probe broke")
			}
			p := middling(1e12)
			p.Hardware = hardware
			return p, nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = g.Serve(ctx) }()
		after := func(d time.Duration, want int64, what string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := runs.Load(); got != want {
				t.Errorf("%s: measured %d times, want %d", what, got, want)
			}
		}
		after(time.Hour, 0, "other programs need the machine")
		busy.Store(false)
		asleep.Store(false)
		after(time.Hour, 0, "its owner uses it")
		asleep.Store(true)
		after(9*time.Minute, 0, "idle, but not for long")
		broken.Store(true)
		after(2*time.Minute, 1, "idle for ten minutes")
		after(30*time.Minute, 1, "soon after a failure")
		broken.Store(false)
		after(2*time.Hour, 2, "later")
		after(29*24*time.Hour, 2, "while the grade is fresh")
		after(2*24*time.Hour, 3, "when it has aged")
		g.mu.Lock()
		g.now.Hardware = "another machine"
		g.mu.Unlock()
		after(time.Hour, 4, "when the hardware has changed")
		if _, err := settings.Set(map[string]string{"grade.auto": "off"}); err != nil {
			t.Fatal(err)
		}
		after(60*24*time.Hour, 4, "when its owner wants none of it")
		cancel()
		<-done
	})
}

func TestNobodyHere(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	if !r.grader.nobodyHere() {
		t.Error("an idle node thinks that somebody needs it")
	}
	if _, err := r.api.Owner(t.Context(), "pause"); err != nil {
		t.Fatal(err)
	}
	if r.grader.nobodyHere() {
		t.Error("a paused node thinks it may measure by itself")
	}
	if _, err := r.api.Owner(t.Context(), "resume"); err != nil {
		t.Fatal(err)
	}
	r.owner.Hold(owner.Why{Cause: owner.ByActivity, Level: owner.Shrunk})
	if r.grader.nobodyHere() {
		t.Error("a node whose owner is at the keyboard thinks it may measure by itself")
	}
	r.owner.Drop(owner.ByActivity)
	// A job that nobody does keeps it awake.
	if _, err := r.api.Submit(t.Context(), api.Submit{Ops: []api.Op{{Kind: "test.noop"}}, K: 2, Sensitivity: tasks.Public}, func(api.Import) {}); err != nil {
		t.Fatal(err)
	}
	if r.grader.nobodyHere() {
		t.Error("a node with a job thinks that nobody needs it")
	}
}

func TestDeviceClassesAreThoseOfTheWire(t *testing.T) {
	for i, c := range []bench.Class{bench.ClassCPU, bench.ClassWeakGPU, bench.ClassHighGPU} {
		if deviceClasses[i] != tasks.DeviceClass(c) || c.Rank() != i {
			t.Errorf("class %d is %s here and %s there", i, deviceClasses[i], c)
		}
	}
	rows := bench.Classes()
	FillClasses(rows)
	if !strings.Contains(strings.Join(rows[0].Kinds, " "), "etl.dedup") {
		t.Errorf("the table says %+v", rows[0])
	}
}
