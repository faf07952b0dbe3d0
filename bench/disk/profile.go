package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"kith/bench"
	"kith/storage/governor"
)

// Report is all that is known of one drive.
type Report struct {
	Drive  Drive  `json:"drive"`
	SMART  SMART  `json:"smart"`
	Speed  Result `json:"speed,omitzero"`
	Failed string `json:"failed,omitempty"` // why there is no speed
	Make   *Make  `json:"make,omitempty"`   // if its make is known for something
	Dir    string `json:"dir"`              // where it was measured
}

// Budget is how long one drive is measured.
func Budget(m bench.Mode) time.Duration {
	if m == bench.Full {
		return 20 * time.Second
	}
	return 3 * time.Second
}

// Study learns all there is to know of the drive that holds dir: what it is, its health, and within the time of the mode
// its speed. What cannot be learnt is said in the report. progress may be nil.
func Study(ctx context.Context, p Prober, dir string, mode bench.Mode, progress func(step string, share float64)) Report {
	r := Look(ctx, dir)
	if r.Drive.ReadOnly {
		r.Failed = ErrReadOnly.Error()
		return r
	}
	o := Options{Dir: dir, Budget: Budget(mode)}
	if mode == bench.Full {
		o.Size = 4 << 30 // consumer drives hide their true speed behind a cache of some gigabytes
	}
	if progress != nil {
		o.Progress = func(step string, share float64, _ int64) { progress(step, share) }
	}
	var err error
	if r.Speed, err = p.Probe(ctx, o); err != nil {
		r.Failed = err.Error()
		if errors.Is(err, os.ErrPermission) {
			r.Failed += "; this account may not write there"
		}
	}
	return r
}

// Look learns what a drive is and says, and measures nothing.
func Look(ctx context.Context, dir string) Report {
	r := Report{Dir: dir}
	var err error
	if r.Drive, err = Of(dir); err != nil {
		r.Drive = Drive{ID: identify("", "", filepath.VolumeName(dir)+dir), Name: filepath.Base(dir), Kind: Unknown, Spinning: "unknown", Note: err.Error()}
	}
	r.SMART = Ask(ctx, r.Drive)
	if r.Drive.Model == "" {
		r.Drive.Model = r.SMART.Model
	}
	if m, ok := KnownMake(r.Drive); ok {
		r.Make = &m
	}
	return r
}

// Governed is the drive as its governor wants to know it.
func (r Report) Governed() governor.Drive {
	d := governor.Drive{
		Solid: r.Drive.Spinning == "no" || r.Drive.Kind == NVMe || r.Drive.Kind == Virtual, NVMe: r.Drive.Kind == NVMe,
		External: r.Drive.External(), Network: r.Drive.Kind == Network, Cliff: r.Speed.Cliff, Hot: r.SMART.Hot,
	}
	if r.Failed == "" || len(r.Speed.Wrong) > 0 {
		if x, ok := Best(r.Speed.SeqRead); ok {
			d.ReadBytes = x.Bytes
		}
		if x, ok := Best(r.Speed.SeqWrite); ok {
			d.WriteBytes = x.Bytes
		}
		if x, ok := Best(r.Speed.RandRead); ok {
			d.ReadOps = x.Requests
		}
		if x, ok := Best(r.Speed.RandWrite); ok {
			d.WriteOps = x.Requests
		}
		d.SyncMillis = float64(r.Speed.SyncSlow) / float64(time.Millisecond)
	}
	switch r.SMART.Verdict {
	case Dying:
		d.Failing = r.SMART.Why[0]
	case Warning:
		d.Worn = r.SMART.Why[0]
	}
	if len(r.Speed.Wrong) > 0 {
		d.Failing = "it lost data while it was measured: " + r.Speed.Wrong[0]
	}
	if r.Make != nil && !r.Make.Note {
		d.Fragile = r.Make.Words
	}
	return d
}

// Device is the drive as a part of the machine's profile.
func (r Report) Device() bench.Device {
	d := bench.Device{Part: bench.Drive, Name: r.Drive.Name, Model: r.Drive.Model, Kind: string(r.Drive.Kind)}
	fact := func(name, value string) {
		if value != "" && value != "0" {
			d.Facts = append(d.Facts, bench.Fact{Name: name, Value: value})
		}
	}
	grade, why := governor.Rate(r.Governed())
	fact("id", r.Drive.ID)
	fact("bus", r.Drive.Bus)
	fact("bytes", strconv.FormatInt(r.Drive.Bytes, 10))
	fact("mount", r.Drive.Mount)
	fact("file system", r.Drive.FileSystem)
	fact("spinning", r.Drive.Spinning)
	fact("grade", string(grade))
	fact("why", why[0])
	fact("health", string(r.SMART.Verdict))
	if len(r.SMART.Why) > 0 {
		fact("health, why", r.SMART.Why[0])
	}
	fact("celsius", strconv.Itoa(r.SMART.Celsius))
	if r.Make != nil {
		fact("make", r.Make.Words+" ("+r.Make.Source+")")
	}
	fact("note", r.Drive.Note)
	flag := func(holds bool, f bench.Flag) {
		if holds {
			d.Flags = append(d.Flags, f)
		}
	}
	g := r.Governed()
	flag(r.SMART.Verdict == Dying, bench.FlagSMARTFail)
	flag(r.SMART.Verdict == Warning, bench.FlagSMARTWarn)
	flag(r.Drive.ReadOnly, bench.FlagReadOnly)
	flag(grade == governor.Fragile, bench.FlagFragile)
	flag(len(r.Speed.Wrong) > 0, bench.FlagIOErrors)
	flag(g.Hot != "" || r.Speed.Cliff > 0 && r.Speed.Cliff < steepEnough, bench.FlagThrottling)
	d.Measurements = r.measurements()
	return d
}

// measurements lists every figure, the ones the score reads first.
func (r Report) measurements() []bench.Measurement {
	at, took := r.Speed.At.Add(r.Speed.Took).UnixMilli(), r.Speed.Took.Milliseconds()
	failed := r.Failed
	one := func(name string, unit bench.Unit, value, confidence float64, words string) bench.Measurement {
		m := bench.Measurement{Name: name, Value: value, Unit: unit, Method: r.Speed.Method + words, At: at, TookMillis: took, Confidence: confidence}
		if value <= 0 {
			m.Value, m.Confidence, m.Ungraded = 0, 0, failed
			if m.Ungraded == "" {
				m.Ungraded = bench.ErrNoSamples.Error()
			}
		}
		return m
	}
	var out []bench.Measurement
	for _, s := range []struct {
		name string
		list []Rate
		unit bench.Unit
	}{
		{bench.SeqRead, r.Speed.SeqRead, bench.ByteRate},
		{bench.SeqWrite, r.Speed.SeqWrite, bench.ByteRate},
		{bench.RandRead, r.Speed.RandRead, bench.PerSecond},
		{bench.RandWrite, r.Speed.RandWrite, bench.PerSecond},
	} {
		value := func(x Rate) float64 {
			if s.unit == bench.ByteRate {
				return x.Bytes
			}
			return x.Requests
		}
		best, _ := Best(s.list)
		out = append(out, one(s.name, s.unit, value(best), best.Confidence, fmt.Sprintf(", depth %d", best.Depth)))
		for _, x := range s.list {
			out = append(out, one(fmt.Sprintf("%s.depth%d", s.name, x.Depth), s.unit, value(x), x.Confidence, fmt.Sprintf(", depth %d", x.Depth)))
		}
	}
	out = append(out, one(bench.Fsync, bench.Seconds, r.Speed.SyncMedian.Seconds(), 1, fmt.Sprintf(", median of %d", r.Speed.Syncs)))
	if r.Speed.SyncSlow > 0 {
		out = append(out, one(bench.Fsync+".slow", bench.Seconds, r.Speed.SyncSlow.Seconds(), 1, ", 99 of 100 were faster"))
	}
	if r.Speed.Cliff > 0 {
		out = append(out, one("write.sustained", bench.Ratio, r.Speed.Cliff, 1, ", share of the writing speed that is left at the end"))
	}
	return out
}
