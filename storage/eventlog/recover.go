package eventlog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"kith/storage"
)

// recover finds the segments, drops an unfinished tail and opens the last segment for writing.
func (l *Log) recover() error {
	names, err := l.files.List()
	if err != nil {
		return err
	}
	var newest uint64 // of the snapshots
	for _, name := range names {
		if first, ok := parseName(name, logSuffix); ok {
			l.segments = append(l.segments, segment{first: first})
		} else if seq, ok := parseName(name, snapshotSuffix); ok {
			newest = max(newest, seq)
		} else if strings.HasSuffix(name, tempSuffix) {
			if err := l.files.Remove(name); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(l.segments, func(a, b segment) int { return strings.Compare(segmentName(a.first), segmentName(b.first)) })
	if len(l.segments) == 0 {
		l.next, l.synced = newest+1, newest
		return l.begin(l.next)
	}
	if err := l.openLast(); err != nil {
		return err
	}
	if l.next <= newest { // the log was deleted but not the snapshot that stands for it
		l.next, l.synced = newest+1, newest
		return l.begin(l.next)
	}
	return nil
}

// openLast checks the last segment, which alone may end in a tail that never became durable.
func (l *Log) openLast() error {
	last := &l.segments[len(l.segments)-1]
	name := segmentName(last.first)
	in, err := l.files.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	s := segmentReader{in: bufio.NewReaderSize(in, 256<<10), next: last.first}
	damage := s.header(last.first)
	for damage == nil {
		_, damage = s.record()
	}
	if errors.Is(damage, errRecord) {
		if err := l.dropTail(name, last.first, &s, damage); err != nil {
			return err
		}
	} else if !errors.Is(damage, io.EOF) {
		return damage
	}
	out, err := l.files.Append(name)
	if err != nil {
		return err
	}
	l.out = out
	if s.good == 0 {
		if _, err := out.Write(appendHeader(nil, last.first)); err != nil {
			return err
		}
		s.good = headerSize
	}
	// After a mere kill the tail is in the page cache only.
	if err := errors.Join(out.Sync(), l.files.SyncDir()); err != nil {
		return err
	}
	last.size = s.good
	l.cur = *last
	l.next, l.synced = s.next, s.next-1
	return nil
}

// dropTail cuts a segment after its last sound record, unless a later record vouches for what would be lost.
func (l *Log) dropTail(name string, first uint64, s *segmentReader, damage error) error {
	in, err := l.files.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := io.CopyN(io.Discard, in, s.good); err != nil {
		return err
	}
	tail, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if vouched(tail, max(s.next, first)) || s.good == 0 && foreign(tail) {
		return fmt.Errorf("%w: %s at offset %d: %w", storage.ErrCorrupt, name, s.good, damage)
	}
	if err := l.files.Truncate(name, s.good); err != nil {
		return err
	}
	l.recovered = Recovery{File: name, Offset: s.good, Bytes: int64(len(tail))}
	l.log.Warn("dropped the unfinished end of the event log", slog.String("file", name), slog.Int64("offset", s.good), slog.Int("bytes", len(tail)))
	return nil
}

// foreign reports whether the beginning of a segment without a sound header was never written by us. A power cut leaves
// a header out, cuts it short or leaves zeros where it belongs.
func foreign(b []byte) bool {
	return len(b) >= headerSize && len(bytes.Trim(b[:headerSize], "\x00")) > 0
}

// Replay calls fn for every record from sequence number from on, in order, up to the last one written when Replay was
// called. rec is valid only during the call. An error of fn ends it and is returned as it is. Records that snapshots
// have replaced are storage.ErrNotFound, damage is storage.ErrCorrupt with file and offset.
func (l *Log) Replay(from uint64, fn func(seq uint64, rec []byte) error) error {
	l.mu.Lock()
	segments := slices.Clone(l.segments)
	l.mu.Unlock()
	from = max(from, 1)
	if from < segments[0].first {
		return fmt.Errorf("event log: records before %d: %w", segments[0].first, storage.ErrNotFound)
	}
	for i, seg := range segments {
		last := i == len(segments)-1
		if !last && segments[i+1].first <= from {
			continue
		}
		next, err := l.replaySegment(seg, last, from, fn)
		if err != nil {
			return err
		}
		if !last && next != segments[i+1].first {
			return fmt.Errorf("event log: %w: records %d to %d are missing after %s", storage.ErrCorrupt, next, segments[i+1].first-1, segmentName(seg.first))
		}
	}
	return nil
}

func (l *Log) replaySegment(seg segment, last bool, from uint64, fn func(uint64, []byte) error) (next uint64, err error) {
	name := segmentName(seg.first)
	file, err := l.files.Open(name)
	if err != nil {
		return 0, fmt.Errorf("event log: %w", err)
	}
	defer file.Close()
	var in io.Reader = file
	if last {
		in = io.LimitReader(file, seg.size)
	}
	s := segmentReader{in: bufio.NewReaderSize(in, 256<<10)}
	damage := s.header(seg.first)
	for damage == nil {
		var r record
		if r, damage = s.record(); damage != nil {
			break
		}
		if !r.mark && r.seq >= from {
			if err := fn(r.seq, r.content); err != nil {
				return 0, err
			}
		}
	}
	if errors.Is(damage, errRecord) {
		return 0, fmt.Errorf("event log: %w: %s at offset %d: %w", storage.ErrCorrupt, name, s.good, damage)
	}
	if !errors.Is(damage, io.EOF) {
		return 0, fmt.Errorf("event log: %s: %w", name, damage)
	}
	if last && s.good != seg.size {
		return 0, fmt.Errorf("event log: %w: %s ends at %d of %d bytes", storage.ErrCorrupt, name, s.good, seg.size)
	}
	return s.next, nil
}
