// Package thermal reads how hot a processor is before, during and after load, how far that is from where it slows down,
// and whether it slowed down. Many machines have no sensor that may be read: that is a state of its own, and then the
// clock under load alone says whether the machine throttles.
package thermal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kith/bench"
)

// Reading is the state of a processor's heat at one moment.
type Reading struct {
	TempC     float64 // hottest sensor of the processor; only with Sensor
	CritC     float64 // where it slows down or ends; 0: not told
	Sensor    string  // which sensor that was; "": none can be read
	Throttles int64   // how often it slowed down for heat since it was started; −1: not told
	Limit     float64 // share of its speed that the system allows, 0 to 1; −1: not told
}

// ErrNoSensor: this machine has no sensor that a program may read.
var ErrNoSensor = errors.New("no sensor that may be read: a virtual machine, a container, or a system that keeps them to itself")

// Reader reads the state. It must be quick and safe for concurrent use.
type Reader func(ctx context.Context) (Reading, error)

// Watch observes a load.
type Watch struct {
	read   Reader
	before Reading
	err    error

	cancel context.CancelFunc
	done   sync.WaitGroup

	mu  sync.Mutex
	hot Reading // the hottest of all
	n   int
}

// Start reads the state at rest and then again every so often until Stop.
func Start(ctx context.Context, read Reader, every time.Duration) *Watch {
	w := &Watch{read: read}
	w.before, w.err = read(ctx)
	ctx, w.cancel = context.WithCancel(ctx)
	w.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			r, err := read(ctx)
			if err != nil {
				continue
			}
			w.mu.Lock()
			if w.n == 0 || r.TempC > w.hot.TempC {
				w.hot = r
			}
			w.n++
			w.mu.Unlock()
		}
	})
	return w
}

// Stop ends the watch and says what the load did. single and load are the clock of one busy core and of all, as measured
// meanwhile; either may be ungraded. It waits for after, in which the machine cools down, before the last reading.
func (w *Watch) Stop(ctx context.Context, single, load bench.Measurement, after time.Duration) bench.Device {
	w.cancel()
	w.done.Wait()
	select {
	case <-ctx.Done():
	case <-time.After(after):
	}
	last, lastErr := w.read(ctx)
	d := bench.Device{Part: bench.Thermal, Name: "thermal", Measurements: []bench.Measurement{}}
	temp := func(name, method string, r Reading, err error) {
		m := bench.Begin(name, bench.Celsius, method)
		switch {
		case err != nil:
			d.Measurements = append(d.Measurements, m.Fail(err))
		case r.Sensor == "":
			d.Measurements = append(d.Measurements, m.Fail(ErrNoSensor))
		default:
			d.Measurements = append(d.Measurements, m.Name(method+", "+r.Sensor).Value(r.TempC))
		}
	}
	hot, hotErr := w.hot, error(nil)
	switch {
	case w.n == 0 && w.err != nil:
		hotErr = w.err
	case w.n == 0:
		hotErr = bench.ErrNoSamples
	}
	temp("temperature.before", "at rest", w.before, w.err)
	temp("temperature.load", "hottest under load", hot, hotErr)
	temp("temperature.after", fmt.Sprintf("%s after the load", after), last, lastErr)
	room := bench.Begin("headroom", bench.Celsius, "from the hottest under load to where the processor slows down")
	switch {
	case hotErr != nil:
		d.Measurements = append(d.Measurements, room.Fail(hotErr))
	case hot.Sensor == "":
		d.Measurements = append(d.Measurements, room.Fail(ErrNoSensor))
	case hot.CritC <= 0:
		d.Measurements = append(d.Measurements, room.Fail(errors.New("the sensor does not tell where the processor slows down")))
	default:
		d.Measurements = append(d.Measurements, room.Value(hot.CritC-hot.TempC))
	}
	risk := w.risk(hot, hotErr, last, lastErr, single, load)
	if risk.Value >= 0.5 {
		d.Flags = append(d.Flags, bench.FlagThrottling)
	}
	d.Measurements = append(d.Measurements, risk)
	return d
}

// Where a machine is at risk.
const (
	safeRoom = 15.0 // degrees of headroom with which nothing is at risk; with none, all is
	safeDrop = 0.70 // share of the single core's clock that all cores together keep on a sound machine
	deepDrop = 0.35 // share at which a machine certainly throttles
)

// risk is 0 for a machine that stays as fast as it began, 1 for one that slowed down for heat.
func (w *Watch) risk(hot Reading, hotErr error, last Reading, lastErr error, single, load bench.Measurement) bench.Measurement {
	m := bench.Begin(bench.ThrottleRisk, bench.Ratio, "")
	worst, method := 0.0, ""
	consider := func(r float64, what string) {
		if method != "" {
			method += ", "
		}
		method += what
		worst = max(worst, min(1, max(0, r)))
	}
	if w.err == nil && lastErr == nil && w.before.Throttles >= 0 && last.Throttles >= 0 {
		if n := last.Throttles - w.before.Throttles; n > 0 {
			consider(1, fmt.Sprintf("slowed down for heat %d times", n))
		} else {
			consider(0, "did not slow down for heat")
		}
	}
	if hotErr == nil && hot.Limit >= 0 {
		consider((1-hot.Limit)*2, "the limit the system sets")
	}
	if hotErr == nil && hot.Sensor != "" && hot.CritC > 0 {
		consider((safeRoom-(hot.CritC-hot.TempC))/safeRoom, "headroom")
	}
	if single.Graded() && load.Graded() && single.Value > 0 {
		consider((safeDrop-load.Value/single.Value)/(safeDrop-deepDrop), "clock under load")
	}
	if method == "" {
		return m.Name("nothing to judge by").Fail(ErrNoSensor)
	}
	return m.Name(method).Value(worst)
}
