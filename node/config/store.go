package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"kith/node/atomicfile"
	"kith/node/strict"
)

// Names of the files in the data folder, and bounds.
const (
	FileName    = "config.json"
	historyName = "config.history.json"

	maxFile    = 1 << 20 // bytes of either file
	maxHistory = 100     // changes that can be undone
	pollEvery  = 2 * time.Second
)

// ErrNoHistory: there is no change to undo, or to redo.
var ErrNoHistory = errors.New("there is nothing to take back")

// Store keeps the settings of one data folder. It is safe for concurrent use within one process.
type Store struct {
	path, historyPath string

	mu      sync.Mutex
	raw     Config // as in the file: zero where the default holds
	full    Config // raw, filled: asked for at every admission of a task
	seen    fs.FileInfo
	history history
	subs    map[int]func(before, now Config)
	nextSub int
	machine Machine
}

// history is the file of past states. States[At] is the present one.
type history struct {
	At     int      `json:"at"`
	States []Config `json:"states"`
}

// Open reads the settings of a data folder; a missing file means all defaults. A file that cannot be read as settings
// is an error that names line and column, and stays as it is.
func Open(home string) (*Store, error) {
	s := &Store{path: filepath.Join(home, FileName), historyPath: filepath.Join(home, historyName), subs: map[int]func(before, now Config){}}
	raw, info, err := s.read()
	if err != nil {
		return nil, err
	}
	s.raw, s.full, s.seen = raw, raw.Filled(), info
	s.history = s.readHistory()
	return s, nil
}

// Parse reads the text of a settings file and validates it.
func Parse(data []byte) (Config, error) {
	var c Config
	if err := strict.Decode(data, &c); err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

func (s *Store) read() (Config, fs.FileInfo, error) {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, nil, nil
	}
	if err != nil {
		return Config{}, nil, fmt.Errorf("read settings: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Config{}, nil, fmt.Errorf("settings file %s is no plain file; move it away to start from the defaults", s.path)
	}
	if info.Size() > maxFile {
		return Config{}, nil, fmt.Errorf("settings file %s is %d bytes, more than %d: that is no settings file; move it away", s.path, info.Size(), maxFile)
	}
	data, err := os.ReadFile(s.path)
	if err != nil {
		return Config{}, nil, fmt.Errorf("read settings: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return Config{}, nil, fmt.Errorf("settings file %s: %w (edit it, or move it away to start from the defaults)", s.path, err)
	}
	c.Version = 0 // only the file says it
	return c, info, nil
}

// readHistory returns the history, or a fresh one if the file is missing, damaged or speaks of other settings than the
// present ones: undo is a convenience and must never stop a start.
func (s *Store) readHistory() history {
	var h history
	if data, err := os.ReadFile(s.historyPath); err == nil && len(data) <= maxFile*8 {
		if strict.Decode(data, &h) == nil && h.At >= 0 && h.At < len(h.States) {
			if reflect.DeepEqual(h.States[h.At], s.raw) {
				return h
			}
			// The file was edited by hand: the state before the edit stays undoable.
			return history{At: h.At + 1, States: append(h.States[:h.At+1:h.At+1], s.raw)}
		}
	}
	return history{States: []Config{s.raw}}
}

// Get returns the settings in effect, defaults filled in.
func (s *Store) Get() Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}

// Raw returns the settings as they stand in the file: zero where the default holds.
func (s *Store) Raw() Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw
}

// Set changes settings, all or none, and returns the keys whose value in effect changed. The empty text sets a default
// again. The change is on disk when Set returns.
func (s *Store) Set(values map[string]string) ([]string, error) {
	s.mu.Lock()
	next := s.raw
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	slices.Sort(keys) // the same first error every time
	for _, k := range keys {
		err := next.SetText(k, values[k])
		if err == nil {
			err = s.machine.bound(next, k)
		}
		if err != nil {
			s.mu.Unlock()
			return nil, err
		}
	}
	h := history{At: s.history.At + 1, States: append(slices.Clip(s.history.States[:s.history.At+1]), next)}
	if over := len(h.States) - maxHistory - 1; over > 0 {
		h = history{At: h.At - over, States: h.States[over:]}
	}
	return s.becomeAndUnlock(next, h)
}

// Undo takes the last change back and returns the keys whose value in effect changed.
func (s *Store) Undo() ([]string, error) { return s.step(-1) }

// Redo repeats the change that Undo took back.
func (s *Store) Redo() ([]string, error) { return s.step(+1) }

// CanUndo reports whether there is a change to take back.
func (s *Store) CanUndo() bool { return s.has(-1) }

// CanRedo reports whether an undone change can be repeated.
func (s *Store) CanRedo() bool { return s.has(+1) }

func (s *Store) has(step int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.history.At + step
	return at >= 0 && at < len(s.history.States)
}

func (s *Store) step(by int) ([]string, error) {
	s.mu.Lock()
	h := s.history
	h.At += by
	if h.At < 0 || h.At >= len(h.States) {
		s.mu.Unlock()
		return nil, ErrNoHistory
	}
	return s.becomeAndUnlock(h.States[h.At], h)
}

// becomeAndUnlock writes next and its history, then tells the subscribers without holding the lock.
func (s *Store) becomeAndUnlock(next Config, h history) ([]string, error) {
	before := s.raw
	if reflect.DeepEqual(before, next) {
		s.mu.Unlock()
		return nil, nil
	}
	err := next.Validate()
	if err == nil {
		err = s.write(next, h)
	}
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	s.raw, s.full, s.history = next, next.Filled(), h
	changed := differ(before, next)
	subs := s.subscribersLocked()
	s.mu.Unlock()
	if len(changed) > 0 {
		for _, fn := range subs {
			fn(before.Filled(), next.Filled())
		}
	}
	return changed, nil
}

func (s *Store) write(c Config, h history) error {
	c.Version = Version
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode settings: %w", err)
	}
	past, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode history of settings: %w", err)
	}
	// The history first: a kill in between leaves a history whose present is not the file's, which readHistory mends.
	if err := atomicfile.Write(s.historyPath, past, 0o600); err != nil {
		return err
	}
	if err := atomicfile.Write(s.path, append(data, '\n'), 0o600); err != nil {
		return err
	}
	s.seen, _ = os.Stat(s.path)
	return nil
}

// differ lists the keys whose value in effect differs.
func differ(a, b Config) []string {
	va, vb := reflect.ValueOf(a.Filled()), reflect.ValueOf(b.Filled())
	var out []string
	for _, f := range table {
		if !reflect.DeepEqual(va.FieldByIndex(f.index).Interface(), vb.FieldByIndex(f.index).Interface()) {
			out = append(out, f.Key)
		}
	}
	return out
}

// Subscribe calls fn after every change with the settings before and now, one change at a time per caller of Set. fn
// must not call Set, Undo or Redo. The returned function ends the subscription.
func (s *Store) Subscribe(fn func(before, now Config)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.nextSub
	s.nextSub++
	s.subs[id] = fn
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, id)
	}
}

func (s *Store) subscribersLocked() []func(before, now Config) {
	ids := make([]int, 0, len(s.subs))
	for id := range s.subs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	out := make([]func(before, now Config), len(ids))
	for i, id := range ids {
		out[i] = s.subs[id]
	}
	return out
}

// Serve notices edits of the file by hand and brings them into effect until ctx ends. An edit that is not valid is
// logged once and changes nothing.
func (s *Store) Serve(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			s.reload()
		}
	}
}

func (s *Store) reload() {
	info, err := os.Stat(s.path)
	s.mu.Lock()
	if err != nil || (s.seen != nil && info.ModTime().Equal(s.seen.ModTime()) && info.Size() == s.seen.Size()) {
		s.mu.Unlock()
		return
	}
	s.seen = info
	next, _, err := s.read()
	if err != nil {
		s.mu.Unlock()
		slog.Warn("Edited settings are not valid and were not taken", slog.String("file", s.path), slog.Any("error", err))
		return
	}
	before := s.raw
	s.raw, s.full = next, next.Filled()
	s.history = s.readHistory()
	subs := s.subscribersLocked()
	s.mu.Unlock()
	if len(differ(before, next)) > 0 {
		slog.Info("Settings file was edited", slog.Any("changed", differ(before, next)))
		for _, fn := range subs {
			fn(before.Filled(), next.Filled())
		}
	}
}
