package owner

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"kith/node/owner/hours"
)

func rules(t testing.TB) Rules {
	t.Helper()
	week, err := hours.Parse([]string{"mon-sun 08:00-20:00"})
	if err != nil {
		t.Fatal(err)
	}
	return Rules{
		Active: Shrunk, IdleAfter: 3 * time.Minute, FullScreen: true, Program: true, Battery: true, Metered: true,
		Hot: 85, Busy: 0.5, DiskStop: 0.9, Hours: week,
	}
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// moment is a reading of all sensors after some time, and what must hold then.
type moment struct {
	after time.Duration
	r     Readings
	want  []Cause
}

func known(x float64) Reading { return Reading{Known: true, Value: x} }

func TestJudge(t *testing.T) {
	away := known(3600)
	for _, c := range []struct {
		name    string
		moments []moment
	}{
		{"nothing", []moment{{0, Readings{Idle: away}, nil}}},
		{"no sensor at all", []moment{{0, Readings{}, nil}}},
		{"somebody comes and goes", []moment{
			{0, Readings{Idle: known(0)}, []Cause{ByActivity}},
			{time.Minute, Readings{Idle: known(60)}, []Cause{ByActivity}},
			{2 * time.Minute, Readings{Idle: known(180)}, nil},
		}},
		{"power out and back", []moment{
			{0, Readings{Battery: known(1)}, []Cause{ByBattery}},
			{time.Minute, Readings{Battery: known(0)}, []Cause{ByBattery}},
			{59 * time.Second, Readings{Battery: known(0)}, []Cause{ByBattery}},
			{time.Second, Readings{Battery: known(0)}, nil},
		}},
		{"power flutters", []moment{
			{0, Readings{Battery: known(1)}, []Cause{ByBattery}},
			{50 * time.Second, Readings{Battery: known(0)}, []Cause{ByBattery}},
			{50 * time.Second, Readings{Battery: known(1)}, []Cause{ByBattery}},
			{50 * time.Second, Readings{Battery: known(0)}, []Cause{ByBattery}},
			{50 * time.Second, Readings{Battery: known(0)}, []Cause{ByBattery}},
			{10 * time.Second, Readings{Battery: known(0)}, nil},
		}},
		{"heat within the band stays as it was", []moment{
			{0, Readings{Heat: known(80)}, nil},
			{time.Minute, Readings{Heat: known(85)}, []Cause{ByHeat}},
			{time.Hour, Readings{Heat: known(80)}, []Cause{ByHeat}},
			{time.Minute, Readings{Heat: known(75)}, []Cause{ByHeat}},
			{30 * time.Second, Readings{Heat: known(75)}, nil},
		}},
		{"a sensor that vanishes neither begins nor soon ends a pause", []moment{
			{0, Readings{Battery: known(1)}, []Cause{ByBattery}},
			{time.Minute, Readings{}, []Cause{ByBattery}},
			{9 * time.Minute, Readings{}, []Cause{ByBattery}},
			{time.Minute, Readings{}, nil},
		}},
		{"nonsense is no reading", []moment{
			{0, Readings{Idle: known(-1), Heat: known(math.NaN()), Battery: known(7), Foreign: known(math.Inf(1)), Disk: known(2)}, nil},
		}},
		{"own programs, and waiting for a processor", []moment{
			{0, Readings{Foreign: known(0.4)}, nil},
			{time.Second, Readings{Foreign: known(0.4), Pressure: known(0.5)}, []Cause{ByLoad}},
			{time.Minute, Readings{Foreign: known(0.35)}, []Cause{ByLoad}},
			{time.Minute, Readings{Foreign: known(0.1)}, []Cause{ByLoad}},
			{31 * time.Second, Readings{Foreign: known(0.1)}, nil},
			{time.Second, Readings{Foreign: known(0.6)}, []Cause{ByLoad}},
		}},
		{"disk", []moment{
			{0, Readings{Disk: known(0.9)}, []Cause{ByDisk}},
			{time.Second, Readings{Disk: known(0.895)}, []Cause{ByDisk}},
			{time.Second, Readings{Disk: known(0.88)}, nil},
		}},
		{"the end of the day", []moment{
			{7*time.Hour + 59*time.Minute, Readings{}, nil},
			{time.Minute, Readings{}, []Cause{ByHours}},
			{12*time.Hour - time.Minute, Readings{}, []Cause{ByHours}},
			{time.Minute, Readings{}, nil},
		}},
		{"many at once, each by itself", []moment{
			{0, Readings{Battery: known(1), FullScreen: known(1), Program: known(1), Metered: known(1), Idle: known(1)}, []Cause{ByBattery, ByScreen, ByMetered, ByProgram, ByActivity}},
			{time.Minute, Readings{Battery: known(1), FullScreen: known(0), Program: known(0), Metered: known(1), Idle: away}, []Cause{ByBattery, ByScreen, ByMetered, ByProgram}},
			{time.Minute, Readings{Battery: known(1), FullScreen: known(0), Program: known(0), Metered: known(0), Idle: away}, []Cause{ByBattery, ByMetered}},
			{time.Minute, Readings{Battery: known(0), FullScreen: known(0), Program: known(0), Metered: known(0), Idle: away}, []Cause{ByBattery}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := noon
			var held Latches
			var why []Why
			for i, m := range c.moments {
				now = now.Add(m.after)
				why, held = Judge(held, m.r, rules(t), now, now)
				var got []Cause
				for _, w := range why {
					got = append(got, w.Cause)
					if w.Text == "" || w.Ends == "" {
						t.Errorf("%s has no words: %+v", w.Cause, w)
					}
				}
				slices.Sort(got)
				want := slices.Sorted(slices.Values(m.want))
				if !slices.Equal(got, want) {
					t.Fatalf("moment %d: %v hold, want %v", i, got, want)
				}
			}
		})
	}
}

func TestCarelessOwner(t *testing.T) {
	everything := Readings{Idle: known(0), FullScreen: known(1), Program: known(1), Battery: known(1), Metered: known(1), Heat: known(120), Foreign: known(1), Disk: known(1)}
	if why, _ := Judge(nil, everything, Rules{Busy: 1}, noon, noon); len(why) != 0 {
		t.Errorf("an owner who cares for nothing is paused: %+v", why)
	}
}

// TestJudgeProperties throws readings of every sort, and clocks that jump, at the rules: what a sensor says now always
// holds, what it has not said for long never does, and no cause depends on another.
func TestJudgeProperties(t *testing.T) {
	all := rules(t)
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		one := func(values ...float64) Reading {
			if i := r.IntN(len(values) + 1); i < len(values) {
				return Reading{Known: r.IntN(4) > 0, Value: values[i]}
			}
			return Reading{}
		}
		now := noon
		var together, alone Latches
		calm := time.Duration(0) // since when nothing spoke for a battery, by steps forward
		for range 400 {
			step := time.Duration(r.IntN(90)) * time.Second
			if r.IntN(20) == 0 {
				step = -step // a clock that goes back
			}
			now = now.Add(step)
			all := all
			x := Readings{
				Idle: one(0, 10, 1e9, -1, math.NaN()), FullScreen: one(0, 1), Program: one(0, 1, 2), Battery: one(0, 1, math.Inf(-1)),
				Metered: one(0, 1), Heat: one(20, 80, 90, 1e9), Foreign: one(0, 0.4, 0.9), Pressure: one(0, 0.9), Disk: one(0.1, 0.95),
			}
			var why, lone []Why
			why, together = Judge(together, x, all, now, now)
			lone, alone = Judge(alone, Readings{Battery: x.Battery}, Rules{Battery: true}, now, now)
			has := func(list []Why) bool {
				return slices.ContainsFunc(list, func(w Why) bool { return w.Cause == ByBattery })
			}
			if has(why) != has(lone) {
				t.Fatalf("seed %d: other readings change whether the battery pauses", seed)
			}
			b := x.clean().Battery
			switch {
			case b.Known && b.Value == 1:
				calm = 0
				if !has(why) {
					t.Fatalf("seed %d: on battery and not paused", seed)
				}
			case step < 0:
				calm = 0
			default:
				calm += step
			}
			if calm > 12*time.Minute+90*time.Second && has(why) {
				t.Fatalf("seed %d: paused %v after the last word about a battery", seed, calm)
			}
			for i := 1; i < len(why); i++ {
				if why[i].Level > why[i-1].Level {
					t.Fatalf("seed %d: reasons out of order", seed)
				}
			}
		}
	}
}
