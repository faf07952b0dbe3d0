package owner

import (
	"math"
	"time"
)

// Reading is what one sensor says: a number, or why there is none.
type Reading struct {
	Known bool
	Value float64
	Text  string // for people: what was seen, or why nothing was
}

// Seen is a reading that was taken. What no sensor of its kind can say (NaN, less than nothing, more than most) is no
// reading.
func Seen(value, most float64, text string) Reading {
	if math.IsNaN(value) || value < 0 || value > most {
		return Unknown("the sensor says nonsense")
	}
	return Reading{Known: true, Value: value, Text: text}
}

// YesNo is a reading of a fact.
func YesNo(is bool, text string) Reading {
	r := Reading{Known: true, Text: text}
	if is {
		r.Value = 1
	}
	return r
}

// Unknown is a reading that could not be taken.
func Unknown(why string) Reading { return Reading{Text: why} }

// Readings are what all sensors say at one moment. The zero value knows nothing.
type Readings struct {
	Idle       Reading // seconds since the last key or move of the mouse
	FullScreen Reading // a program fills the screen
	Program    Reading // a chosen program runs
	Battery    Reading // the computer runs on its battery
	Metered    Reading // the network is metered
	Heat       Reading // degrees Celsius of the hottest sensor
	Foreign    Reading // share of the processors that other programs use, 0 to 1
	Pressure   Reading // share of the time in which some program waited for a processor, 0 to 1
	Disk       Reading // share of the data folder's disk that is used, 0 to 1
}

// clean makes what is nonsense unknown, wherever it came from.
func (r Readings) clean() Readings {
	for _, x := range []struct {
		at   *Reading
		most float64
	}{
		{&r.Idle, math.MaxInt32},
		{&r.FullScreen, 1},
		{&r.Program, 1},
		{&r.Battery, 1},
		{&r.Metered, 1},
		{&r.Heat, 150},
		{&r.Foreign, 1},
		{&r.Pressure, 1},
		{&r.Disk, 1},
	} {
		if x.at.Known {
			*x.at = Seen(x.at.Value, x.most, x.at.Text)
		}
	}
	return r
}

// Level is how far the node gives way.
type Level int

// The levels, mildest first.
const (
	Full    Level = iota // all that the owner gives
	Shrunk               // what he gives while he uses the computer
	Drained              // what runs may end, nothing new begins
	Halted               // what runs stands still, nothing new begins
	Ended                // everything was ended at once, nothing begins
)

// String names the level.
func (l Level) String() string {
	return [...]string{"full", "shrunk", "drained", "paused", "killed"}[l]
}

// Cause is why the node gives way.
type Cause string

// The causes.
const (
	ByOwner    Cause = "owner"
	ByKill     Cause = "kill"
	ByNotice   Cause = "notice"
	ByFile     Cause = "stop-file"
	ByStale    Cause = "stale-feed"
	BySnooze   Cause = "snooze"
	ByHours    Cause = "hours"
	ByActivity Cause = "activity"
	ByScreen   Cause = "full-screen"
	ByProgram  Cause = "program"
	ByBattery  Cause = "battery"
	ByMetered  Cause = "metered"
	ByHeat     Cause = "heat"
	ByLoad     Cause = "load"
	ByDisk     Cause = "disk"
)

// Why is one reason that holds.
type Why struct {
	Cause Cause
	Level Level
	Since time.Time
	Until time.Time // when it ends by itself, if that is known
	Text  string    // "on battery"
	Ends  string    // "1 min after power returns"
}
