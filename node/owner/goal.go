package owner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"kith/node/atomicfile"
	"kith/node/strict"
)

// ReadyFile is where the hours in which a node was ready for work are kept in the data folder.
const ReadyFile = "ready.json"

const (
	goalSpan  = 7 * 24 // hours that count
	keepEvery = 5 * time.Minute
	stayGap   = 5 * time.Minute // away for less than that, a node has stayed: its tasks wait
	keptStays = 64
	fewStays  = 5                // from which on the usual one is known
	fewHours  = 24 * time.Hour   // from which on the share is
	maxTick   = 15 * time.Second // more than that between two ticks is sleep, or a clock that jumped
)

// Ready counts the time in which this node was ready for work, over the last seven days, and how long it was at a time. Pauses
// of the owner's, sleep and switched off are alike: it cannot compute. It is safe for concurrent use.
type Ready struct {
	path string

	mu    sync.Mutex
	hours map[int64]int // seconds, by hour since 1970
	first int64         // when counting began, Unix seconds
	stays []int64       // seconds of the newest stays that are over, the newest last
	since int64         // when the present stay began, Unix seconds; 0: it is not there
	seen  int64         // when it was last there, Unix seconds
	last  time.Time
	kept  time.Time
}

// ready is the file.
type ready struct {
	Hours map[int64]int `json:"hours"`
	First int64         `json:"first,omitempty"`
	Stays []int64       `json:"stays,omitempty"`
	Since int64         `json:"since,omitempty"`
	Seen  int64         `json:"seen,omitempty"`
}

// OpenReady reads the count of a data folder. A file that cannot be read is begun anew: nothing depends on it.
func OpenReady(home string) (*Ready, error) {
	r := &Ready{path: filepath.Join(home, ReadyFile), hours: map[int64]int{}}
	data, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read the hours of readiness: %w", err)
	}
	f, err := parseReady(data)
	if err != nil {
		return r, err
	}
	r.hours, r.first, r.stays, r.since, r.seen = f.Hours, f.First, f.Stays, f.Since, f.Seen
	return r, nil
}

func parseReady(data []byte) (ready, error) {
	f := ready{Hours: map[int64]int{}}
	if err := strict.Decode(data, &f); err != nil {
		return ready{}, fmt.Errorf("hours of readiness: %w", err)
	}
	for h, s := range f.Hours {
		if h < 0 || s < 0 || s > 3600 || len(f.Hours) > 2*goalSpan {
			return ready{}, fmt.Errorf("hours of readiness: %d seconds in hour %d", s, h)
		}
	}
	if f.Hours == nil || len(f.Stays) > keptStays || f.First < 0 || f.Since < 0 || f.Seen < f.Since {
		return ready{}, fmt.Errorf("hours of readiness: %d stays, the last from %d to %d", len(f.Stays), f.Since, f.Seen)
	}
	for _, s := range f.Stays {
		if s < 0 || s > maxStay {
			return ready{}, fmt.Errorf("hours of readiness: a stay of %d seconds", s)
		}
	}
	return f, nil
}

// maxStay bounds what counts as one stay, in seconds: a year.
const maxStay = 365 * 24 * 3600

// Tick says whether the node is ready for work now. It is called every few seconds.
func (r *Ready) Tick(now time.Time, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := now.Sub(r.last)
	r.last = now
	if h := now.Unix() / 3600; is && gone > 0 && gone <= maxTick {
		r.hours[h] = min(3600, r.hours[h]+int(gone.Round(time.Second).Seconds()))
	}
	r.stayLocked(now.Unix(), is)
	for h := range r.hours {
		if h <= now.Unix()/3600-goalSpan || h > now.Unix()/3600+1 {
			delete(r.hours, h)
		}
	}
	if now.Sub(r.kept) >= keepEvery {
		r.kept = now
		_ = r.keepLocked() // tried again; Close reports
	}
}

// stayLocked goes on with the present stay, or ends it when the node was away for long.
func (r *Ready) stayLocked(now int64, is bool) {
	if r.first == 0 || r.first > now {
		r.first = now
	}
	if r.since > 0 && (now-r.seen > int64(stayGap.Seconds()) || r.seen > now) {
		if len(r.stays) == keptStays {
			r.stays = append(r.stays[:0], r.stays[1:]...)
		}
		r.stays = append(r.stays, min(r.seen-r.since, maxStay))
		r.since = 0
	}
	if is {
		if r.since == 0 {
			r.since = now
		}
		r.seen = now
	}
}

// Share is the part of the last seven days, or of the time since counting began, in which this node was ready, per mille and
// at least 1; 0: too little is known.
func (r *Ready) Share(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := min(now.Unix()-r.first, goalSpan*3600)
	if r.first == 0 || known < int64(fewHours.Seconds()) {
		return 0
	}
	sum := int64(0)
	for _, s := range r.hours {
		sum += int64(s)
	}
	return int(min(max(1000*sum/known, 1), 1000))
}

// Stays is how long this node is usually ready at a time: the median of its stays, of which the present one counts if it is
// longer; 0: too little is known.
func (r *Ready) Stays() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Clone(r.stays)
	if len(list) < fewStays {
		return 0
	}
	slices.Sort(list)
	median := list[len(list)/2]
	if present := r.seen - r.since; r.since > 0 && present > median {
		list = append(list, present)
		slices.Sort(list)
		median = list[len(list)/2]
	}
	return time.Duration(median) * time.Second
}

func (r *Ready) keepLocked() error {
	data, err := json.Marshal(ready{r.hours, r.first, r.stays, r.since, r.seen})
	if err != nil {
		return err
	}
	return atomicfile.Write(r.path, data, 0o600)
}

// Done is how long the node was ready in the last seven days.
func (r *Ready) Done() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := 0
	for _, s := range r.hours {
		sum += s
	}
	return time.Duration(sum) * time.Second
}

// Close writes the count down.
func (r *Ready) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keepLocked()
}
