package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Pace of the event stream.
const (
	eventsEvery   = 250 * time.Millisecond // between two looks at the node, while somebody listens
	heartbeat     = 15 * time.Second
	maxStreams    = 32
	writeDeadline = 10 * time.Second // for one batch of events: a stalled page is cut, and connects again
)

// events takes snapshots of the node while somebody listens and keeps the newest of each name. A slow listener skips
// snapshots, it never queues them.
type events struct {
	take func() []snapshot

	mu      sync.Mutex
	latest  []event
	changed chan struct{} // closed and replaced when something is new
	streams int
	wake    chan struct{} // somebody listens
}

// snapshot is one thing to show; same says whether it may be left out because nothing but a clock moved.
type snapshot struct {
	name    string
	value   any
	compare any // what decides whether it changed; nil: value
}

type event struct {
	name    string
	data    []byte
	compare []byte
	version uint64
}

func newEvents(take func() []snapshot) *events {
	return &events{take: take, changed: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// run looks at the node until ctx ends.
func (e *events) run(ctx context.Context) {
	tick := time.NewTicker(eventsEvery)
	defer tick.Stop()
	for {
		e.mu.Lock()
		idle := e.streams == 0
		e.mu.Unlock()
		if idle {
			select {
			case <-ctx.Done():
				return
			case <-e.wake:
			}
		}
		e.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look takes a snapshot and tells the listeners if it differs.
func (e *events) look() {
	taken := e.take()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.latest == nil {
		e.latest = make([]event, len(taken))
	}
	news := false
	for i, s := range taken {
		data, err := json.Marshal(s.value)
		if err != nil {
			continue // the types of shapes.go always encode
		}
		compare := data
		if s.compare != nil {
			compare, _ = json.Marshal(s.compare)
		}
		if old := e.latest[i]; old.version == 0 || !bytes.Equal(old.compare, compare) {
			e.latest[i] = event{s.name, data, compare, old.version + 1}
			news = true
		}
	}
	if news {
		close(e.changed)
		e.changed = make(chan struct{})
	}
}

// since returns the events newer than seen, updates seen, and a channel that closes when there are more.
func (e *events) since(seen map[string]uint64) ([]event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []event
	for _, ev := range e.latest {
		if ev.version > seen[ev.name] {
			seen[ev.name] = ev.version
			out = append(out, ev)
		}
	}
	return out, e.changed
}

func (e *events) join() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.streams >= maxStreams {
		return false
	}
	e.streams++
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return true
}

func (e *events) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.streams--
}

// snapshot is what the stream shows.
func (s *Server) snapshot() []snapshot {
	status := s.observer.Status()
	still := status
	still.UptimeMillis = 0
	still.Owner.Sensors, still.Owner.Reasons = nil, slices.Clone(status.Owner.Reasons) // these move all the time, and come with the rest
	for i := range still.Owner.Reasons {
		still.Owner.Reasons[i].Until = 0
	}
	out := []snapshot{
		{name: "status", value: status, compare: still},
		{name: "peers", value: list(s.observer.Peers())},
		{name: "jobs", value: []Job{}},
		{name: "imports", value: []Import{}},
	}
	if p := s.ports.Load(); p != nil {
		out[2].value = list(p.Jobs.Jobs())
		out[3].value = list(p.Submitter.Imports())
	}
	return out
}

// stream sends events until the caller goes away or the node stops.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	if !s.events.join() {
		s.fail(w, Refuse(CodeConflict, "close some of them", "%d pages listen already", maxStreams))
		return
	}
	defer s.events.leave()
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	seen := map[string]uint64{}
	fmt.Fprint(w, "retry: 1000\n\n")
	for {
		batch, more := s.events.since(seen)
		_ = rc.SetWriteDeadline(time.Now().Add(writeDeadline))
		for _, ev := range batch {
			if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", ev.name, ev.data); err != nil {
				return
			}
		}
		if rc.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-more:
		case <-beat.C:
			fmt.Fprint(w, ": still here\n\n")
		}
	}
}
