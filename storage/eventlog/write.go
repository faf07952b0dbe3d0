package eventlog

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kith/storage"
)

// write is the writing goroutine: it takes what is pending, writes it, syncs if anybody asked for that, and tells the
// callers, over and over.
func (l *Log) write() {
	defer close(l.stopped)
	l.mu.Lock()
	for {
		for len(l.pending.buf) == 0 && len(l.pending.calls) == 0 && !l.closing {
			l.wake.Wait()
		}
		if len(l.pending.buf) == 0 && len(l.pending.calls) == 0 {
			l.drained = true
			break
		}
		wait := l.pace.wait(time.Now())
		if wait > 0 && !l.closing {
			l.mu.Unlock()
			time.Sleep(wait)
			l.mu.Lock()
		}
		b := l.pending
		l.pending, l.spare = l.spare, batch{}
		l.pace.commit(time.Now(), len(b.calls), wait > 0)
		l.mu.Unlock()

		err := l.commit(&b)
		for i, c := range b.calls {
			if c.err == nil {
				c.err = err
			}
			if c.err != nil {
				c.seq = 0
			}
			c.done(c.seq, c.err)
			b.calls[i] = call{}
		}

		l.mu.Lock()
		if cap(b.buf) <= 4<<20 { // a burst's memory goes back
			l.spare = batch{buf: b.buf[:0], calls: b.calls[:0]}
		}
	}
	l.mu.Unlock()
	l.finish()
}

// finish syncs and leaves a mark that vouches for everything, so that later damage to the tail is told from a power cut.
func (l *Log) finish() {
	if l.broken == nil {
		err := l.sync()
		if err == nil {
			_, err = l.out.Write(appendRecord(nil, markBit, l.next-1, l.synced, nil))
		}
		if err == nil {
			err = l.out.Sync()
		}
		if err != nil && !storage.IsFull(err) { // a full disk only costs the mark
			l.broken = err
		}
	}
	if err := l.out.Close(); l.broken == nil {
		l.broken = err
	}
}

// commit writes a batch and, if asked, syncs it.
func (l *Log) commit(b *batch) error {
	l.mu.Lock()
	err := l.broken
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if len(b.buf) > 0 {
		if _, err := l.out.Write(b.buf); err != nil {
			return l.undo(b, err)
		}
		l.cur.size += int64(len(b.buf))
		l.mu.Lock()
		l.segments[len(l.segments)-1] = l.cur
		l.mu.Unlock()
	}
	if b.durable {
		if err := l.sync(); err != nil {
			return err
		}
	}
	if l.cur.size >= l.o.SegmentSize {
		l.rotate()
	}
	return nil
}

// sync makes everything written so far durable. After a failure nobody knows what the disk has: the log is broken.
func (l *Log) sync() error {
	l.mu.Lock()
	written := l.next - 1
	if len(l.pending.buf) > 0 {
		written = l.pending.first - 1
	}
	done := l.synced == written
	l.mu.Unlock()
	if done {
		return nil
	}
	err := l.out.Sync()
	if l.o.SyncDelay > 0 {
		time.Sleep(l.o.SyncDelay)
	}
	if err != nil {
		return l.breakWith(err)
	}
	l.mu.Lock()
	l.synced = written
	l.mu.Unlock()
	return nil
}

func (l *Log) breakWith(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = fmt.Errorf("%w: %w", ErrBroken, err)
	l.log.Error("event log stopped", slog.Any("error", err))
	return l.broken
}

// undo takes a half-written batch back and with it everything pending, whose sequence numbers follow on. After a full
// disk the log works again; after any other failure it is broken.
func (l *Log) undo(b *batch, cause error) error {
	if !storage.IsFull(cause) {
		return l.breakWith(cause)
	}
	if err := l.files.Truncate(segmentName(l.cur.first), l.cur.size); err != nil {
		return l.breakWith(errors.Join(cause, err))
	}
	err := fmt.Errorf("event log: %w: %w", storage.ErrFull, cause)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.pending.calls {
		if l.pending.calls[i].err == nil {
			l.pending.calls[i].err = err
		}
	}
	l.pending.buf = l.pending.buf[:0]
	l.next = b.first
	return err
}

// rotate begins the next segment after all of this one is durable. On a full disk the old one goes on growing; after any
// other failure the log is broken, which the next batch learns: this one is where it should be.
func (l *Log) rotate() {
	if l.sync() != nil {
		return
	}
	l.mu.Lock()
	first := l.synced + 1
	l.mu.Unlock()
	err := l.begin(first)
	switch {
	case err == nil:
	case storage.IsFull(err):
		l.log.Warn("no room for a new event log segment", slog.Any("error", err))
	default:
		l.breakWith(err)
	}
}

// begin makes a new segment the last one.
func (l *Log) begin(first uint64) error {
	name := segmentName(first)
	out, err := l.files.Append(name)
	if err != nil {
		return err
	}
	_, err = out.Write(appendHeader(nil, first))
	if err == nil {
		err = out.Sync()
	}
	if err == nil {
		err = l.files.SyncDir()
	}
	if err != nil {
		return errors.Join(err, out.Close(), l.files.Remove(name))
	}
	if l.out != nil {
		if err := l.out.Close(); err != nil {
			return errors.Join(err, out.Close())
		}
	}
	l.out, l.cur = out, segment{first: first, size: headerSize}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = append(l.segments, l.cur)
	return nil
}
