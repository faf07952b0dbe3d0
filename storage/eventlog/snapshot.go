package eventlog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"log/slog"
	"slices"

	"kith/storage"
)

// A snapshot file is a header, the content and a CRC-32C of both. All numbers are little-endian.
const (
	snapshotMagic  = "kithsnp1"
	snapshotHeader = 8 + 8 // magic, sequence number
	keepSnapshots  = 2
)

const (
	logSuffix      = ".log"
	snapshotSuffix = ".snap"
	tempSuffix     = ".tmp"
)

func snapshotName(seq uint64) string { return fmt.Sprintf("%020d%s", seq, snapshotSuffix) }

// WriteSnapshot stores what write writes as the state after all records up to seq. When it returns nil the snapshot is
// durable; the two newest are kept, and segments that the older one makes needless are removed. Appends go on meanwhile.
func (l *Log) WriteSnapshot(seq uint64, write func(io.Writer) error) error {
	l.snapshots.Lock()
	defer l.snapshots.Unlock()
	if last := l.Last(); seq > last {
		return fmt.Errorf("event log: snapshot of record %d, but the last one is %d", seq, last)
	}
	// A snapshot must never outlive the records it stands for: their numbers would be given out again.
	if err := l.Sync(context.Background()); err != nil {
		return err
	}
	temp := snapshotName(seq) + tempSuffix
	if err := l.writeSnapshot(temp, seq, write); err != nil {
		err = errors.Join(err, l.files.Remove(temp))
		if storage.IsFull(err) {
			err = fmt.Errorf("%w: %w", storage.ErrFull, err)
		}
		return fmt.Errorf("event log: snapshot: %w", err)
	}
	if err := errors.Join(l.files.Rename(temp, snapshotName(seq)), l.files.SyncDir()); err != nil {
		return fmt.Errorf("event log: snapshot: %w", err)
	}
	return l.prune()
}

func (l *Log) writeSnapshot(name string, seq uint64, write func(io.Writer) error) error {
	out, err := l.files.Append(name)
	if err != nil {
		return err
	}
	defer out.Close()
	sum := crc32.New(castagnoli)
	buf := bufio.NewWriterSize(io.MultiWriter(out, sum), 256<<10)
	buf.WriteString(snapshotMagic)
	buf.Write(binary.LittleEndian.AppendUint64(nil, seq))
	if err := write(buf); err != nil {
		return err
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	if _, err := out.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32())); err != nil {
		return err
	}
	return out.Sync()
}

// Snapshot opens the newest sound snapshot, or returns storage.ErrNotFound. The caller closes r and goes on with
// Replay(seq+1, …). A damaged snapshot is reported and the one before it used, whose records the log still has.
func (l *Log) Snapshot() (seq uint64, r io.ReadCloser, err error) {
	seqs, err := l.listSnapshots()
	if err != nil {
		return 0, nil, err
	}
	var damage error
	for _, seq := range seqs {
		r, err := l.openSnapshot(seq)
		if err == nil {
			return seq, r, nil
		}
		l.log.Error("damaged snapshot", slog.String("file", snapshotName(seq)), slog.Any("error", err))
		damage = errors.Join(damage, err)
	}
	if damage != nil {
		return 0, nil, fmt.Errorf("event log: no sound snapshot: %w", damage)
	}
	return 0, nil, fmt.Errorf("event log: snapshot: %w", storage.ErrNotFound)
}

// listSnapshots returns their sequence numbers, newest first.
func (l *Log) listSnapshots() ([]uint64, error) {
	names, err := l.files.List()
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	var seqs []uint64
	for _, name := range names {
		if seq, ok := parseName(name, snapshotSuffix); ok {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	slices.Reverse(seqs)
	return seqs, nil
}

// openSnapshot reads the file twice: once for its checksum, and again by the caller.
func (l *Log) openSnapshot(seq uint64) (io.ReadCloser, error) {
	name := snapshotName(seq)
	size, err := l.checkSnapshot(name, seq)
	if err != nil {
		return nil, err
	}
	file, err := l.files.Open(name)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(file, 256<<10)
	if _, err := in.Discard(snapshotHeader); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(in, size), file}, nil
}

// checkSnapshot returns the bytes of content.
func (l *Log) checkSnapshot(name string, seq uint64) (int64, error) {
	corrupt := func(what string) error { return fmt.Errorf("%w: %s: %s", storage.ErrCorrupt, name, what) }
	file, err := l.files.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	sum := trailing{hash: crc32.New(castagnoli)}
	in := bufio.NewReaderSize(file, 256<<10)
	head := make([]byte, snapshotHeader)
	if _, err := io.ReadFull(in, head); err != nil {
		return 0, corrupt("cut off")
	}
	if !bytes.Equal(head, binary.LittleEndian.AppendUint64([]byte(snapshotMagic), seq)) {
		return 0, corrupt("header")
	}
	sum.Write(head)
	n, err := io.Copy(&sum, in)
	if err != nil {
		return 0, err
	}
	if n < crc32.Size || sum.hash.Sum32() != binary.LittleEndian.Uint32(sum.last) {
		return 0, corrupt("checksum")
	}
	return n - crc32.Size, nil
}

// trailing hashes all but the last four bytes written to it.
type trailing struct {
	hash hash.Hash32
	last []byte
}

func (t *trailing) Write(p []byte) (int, error) {
	t.last = append(t.last, p...)
	if extra := len(t.last) - crc32.Size; extra > 0 {
		t.hash.Write(t.last[:extra])
		t.last = append(t.last[:0], t.last[extra:]...)
	}
	return len(p), nil
}

// prune removes snapshots but the newest two, and segments that end before the older of them.
func (l *Log) prune() error {
	seqs, err := l.listSnapshots()
	if err != nil || len(seqs) < keepSnapshots {
		return err
	}
	for _, seq := range seqs[keepSnapshots:] {
		if err := l.files.Remove(snapshotName(seq)); err != nil {
			return fmt.Errorf("event log: %w", err)
		}
	}
	floor := seqs[keepSnapshots-1]
	l.mu.Lock()
	n := 0
	for n+1 < len(l.segments) && l.segments[n+1].first <= floor+1 {
		n++
	}
	needless := slices.Clone(l.segments[:n])
	l.segments = slices.Delete(l.segments, 0, n)
	l.mu.Unlock()
	for _, seg := range needless {
		if err := l.files.Remove(segmentName(seg.first)); err != nil {
			return fmt.Errorf("event log: %w", err)
		}
	}
	return nil
}
