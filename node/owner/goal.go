package owner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	maxTick   = 15 * time.Second // more than that between two ticks is sleep, or a clock that jumped
)

// Ready counts the time in which this node was ready for work, over the last seven days. It is safe for concurrent use.
type Ready struct {
	path string

	mu    sync.Mutex
	hours map[int64]int // seconds, by hour since 1970
	last  time.Time
	kept  time.Time
}

// ready is the file.
type ready struct {
	Hours map[int64]int `json:"hours"`
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
	r.hours, err = parseReady(data)
	return r, err
}

func parseReady(data []byte) (map[int64]int, error) {
	var f ready
	if err := strict.Decode(data, &f); err != nil {
		return map[int64]int{}, fmt.Errorf("hours of readiness: %w", err)
	}
	out := map[int64]int{}
	for h, s := range f.Hours {
		if h < 0 || s < 0 || s > 3600 || len(f.Hours) > 2*goalSpan {
			return map[int64]int{}, fmt.Errorf("hours of readiness: %d seconds in hour %d", s, h)
		}
		out[h] = s
	}
	return out, nil
}

// Tick says whether the node is ready for work now. It is called every few seconds.
func (r *Ready) Tick(now time.Time, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := now.Sub(r.last)
	r.last = now
	if h := now.Unix() / 3600; is && gone > 0 && gone <= maxTick {
		r.hours[h] = min(3600, r.hours[h]+int(gone.Round(time.Second).Seconds()))
	}
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

func (r *Ready) keepLocked() error {
	data, err := json.Marshal(ready{r.hours})
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
