// Package health holds the lasting problems of a node as values that the page, the API and the command show, with a
// severity and a remedy, instead of log lines that scroll away. A problem is set when it begins, cleared when it ends,
// and logged once at each.
package health

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Severity orders problems.
type Severity string

// Severities, mildest first.
const (
	Low    Severity = "low"    // works, could be better
	Medium Severity = "medium" // works less than it should
	High   Severity = "high"   // something does not work
)

var rank = map[Severity]int{Low: 0, Medium: 1, High: 2}

// Warnable is a problem a node can have. Values are made once, as package variables of whoever notices the problem.
type Warnable struct {
	Code     string // stable, for programs: "disk-nearly-full"
	Severity Severity
	Title    string // a few words
	Text     string // a sentence; %-verbs take the arguments of Set
	Remedy   string // what a person can do
}

// Problem is a Warnable that holds right now.
type Problem struct {
	*Warnable
	Text  string // with the arguments filled in
	Since time.Time
}

// Tracker knows which problems hold. It is safe for concurrent use.
type Tracker struct {
	log *slog.Logger

	mu     sync.Mutex
	active map[string]Problem
}

// NewTracker returns a tracker that logs to log each problem as it begins and ends.
func NewTracker(log *slog.Logger) *Tracker {
	return &Tracker{log: log, active: map[string]Problem{}}
}

// Set says that w holds. Setting it again changes its text and keeps its beginning.
func (t *Tracker) Set(w *Warnable, args ...any) {
	text := w.Text
	if len(args) > 0 {
		text = fmt.Sprintf(w.Text, args...)
	}
	t.mu.Lock()
	p, held := t.active[w.Code]
	if !held {
		p = Problem{Warnable: w, Since: time.Now()}
	}
	p.Text = text
	t.active[w.Code] = p
	t.mu.Unlock()
	if !held {
		level := slog.LevelWarn
		if w.Severity == Low {
			level = slog.LevelInfo
		}
		t.log.Log(context.Background(), level, "Problem began", slog.String("code", w.Code), slog.String("text", text), slog.String("remedy", w.Remedy))
	}
}

// Clear says that w does not hold, or no longer.
func (t *Tracker) Clear(w *Warnable) {
	t.mu.Lock()
	_, held := t.active[w.Code]
	delete(t.active, w.Code)
	t.mu.Unlock()
	if held {
		t.log.Info("Problem ended", slog.String("code", w.Code))
	}
}

// When sets w if it holds and clears it otherwise.
func (t *Tracker) When(holds bool, w *Warnable, args ...any) {
	if holds {
		t.Set(w, args...)
	} else {
		t.Clear(w)
	}
}

// Active lists what holds now: worst first, then oldest first.
func (t *Tracker) Active() []Problem {
	t.mu.Lock()
	out := make([]Problem, 0, len(t.active))
	for _, p := range t.active {
		out = append(out, p)
	}
	t.mu.Unlock()
	slices.SortFunc(out, func(a, b Problem) int {
		return cmp.Or(rank[b.Severity]-rank[a.Severity], a.Since.Compare(b.Since), cmp.Compare(a.Code, b.Code))
	})
	return out
}
