package owner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"kith/node/atomicfile"
	"kith/node/strict"
)

// ComfortFile is where the measurements are kept in the data folder.
const ComfortFile = "comfort.json"

// Promise is the time within which the node gets out of the way of whoever sits down at the computer: from the first key
// to less than two percent of the processors.
const Promise = 250 * time.Millisecond

// Comfort measures how fast the node yields and lowers what it takes when it breaks its promise. The zero value has
// measured nothing. It is a value: Yielded returns the next one.
type Comfort struct {
	Share  float64         // of the caps that is taken; 0: all
	Recent []time.Duration // the last yields, oldest first
	Counts [len(edges) + 1]int64
	good   int // in a row
}

// edges are the upper ends of the histogram's classes; the last class has none.
var edges = [...]time.Duration{
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond,
	250 * time.Millisecond, 350 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
}

// Edges returns the upper ends of the classes of Counts; the last class has none.
func Edges() []time.Duration { return edges[:] }

const (
	remembered = 100  // yields that p99 is taken over
	lowest     = 0.25 // share that is always left
	lower      = 0.8  // what a broken promise makes of the share
	higher     = 0.05 // what trust gives back
	trustAfter = 10   // yields in time before it does
)

// Yielded takes one more measurement.
func (c Comfort) Yielded(took time.Duration) Comfort {
	took = max(took, 0)
	c.Share = c.share()
	c.Recent = append(slices.Clone(c.Recent[max(0, len(c.Recent)-remembered+1):]), took)
	at, _ := slices.BinarySearch(edges[:], took)
	c.Counts[at]++
	if took > Promise {
		c.good = 0
		c.Share = max(lowest, c.Share*lower)
		return c
	}
	if c.good++; c.good >= trustAfter {
		c.good = 0
		c.Share = min(1, c.Share+higher)
	}
	return c
}

func (c Comfort) share() float64 {
	if !(c.Share > 0) {
		return 1
	}
	return min(c.Share, 1)
}

// Quantile is the time within which so much of the remembered yields were done, 0 if there are none.
func (c Comfort) Quantile(q float64) time.Duration {
	if len(c.Recent) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(c.Recent))
	return sorted[min(len(sorted)-1, max(0, int(math.Ceil(q*float64(len(sorted))))-1))]
}

// Scale lowers the caps on the processors to the share.
func (c Comfort) Scale(caps Caps, machine int) Caps {
	if s := c.share(); s < 1 {
		caps.CPU = caps.Processors(machine) / float64(max(machine, 1)) * s
	}
	return caps
}

// Yields is how many were measured.
func (c Comfort) Yields() (n int64) {
	for _, k := range c.Counts {
		n += k
	}
	return n
}

// comfort is the file.
type comfort struct {
	Share  float64 `json:"share"`
	Good   int     `json:"good"`
	Recent []int64 `json:"recentMicros"`
	Counts []int64 `json:"counts"` // by class; a file with other classes has none to go on from
}

// readComfort reads what was measured before. A file that cannot be read is begun anew: the measurements come again.
func readComfort(path string) (Comfort, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Comfort{}, nil
	}
	if err != nil {
		return Comfort{}, fmt.Errorf("read how fast the node yields: %w", err)
	}
	return parseComfort(data)
}

func parseComfort(data []byte) (Comfort, error) {
	var f comfort
	if err := strict.Decode(data, &f); err != nil {
		return Comfort{}, fmt.Errorf("how fast the node yields: %w", err)
	}
	var c Comfort
	if !(f.Share >= 0 && f.Share <= 1) || f.Good < 0 || f.Good >= trustAfter || len(f.Recent) > remembered || len(f.Counts) != len(c.Counts) {
		return Comfort{}, fmt.Errorf("how fast the node yields: a share of %v, %d measurements, %d classes", f.Share, len(f.Recent), len(f.Counts))
	}
	for i, n := range f.Counts {
		if n < 0 || n > math.MaxInt64/int64(len(f.Counts)) {
			return Comfort{}, fmt.Errorf("how fast the node yields: %d measurements in class %d", n, i)
		}
		c.Counts[i] = n
	}
	for _, us := range f.Recent {
		if us < 0 || us > time.Hour.Microseconds() {
			return Comfort{}, fmt.Errorf("how fast the node yields: a measurement of %d µs", us)
		}
		c.Recent = append(c.Recent, time.Duration(us)*time.Microsecond)
	}
	if c.good = f.Good; f.Share > 0 {
		c.Share = max(lowest, f.Share)
	}
	return c, nil
}

// keep writes the measurements down.
func (c Comfort) keep(path string) error {
	f := comfort{Share: c.Share, Good: c.good, Recent: []int64{}, Counts: c.Counts[:]}
	for _, d := range c.Recent {
		f.Recent = append(f.Recent, min(d, time.Hour).Microseconds())
	}
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode how fast the node yields: %w", err)
	}
	return atomicfile.Write(path, append(data, '\n'), 0o600)
}
