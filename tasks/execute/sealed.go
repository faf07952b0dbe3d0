package execute

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"kith/storage/dag"
	"kith/storage/seal"
)

// A sealed input is one file: the archive of a folder, encrypted by package seal. The archive is, for each file in byte
// order of its path, the length of the path, the path, the size and the content, with numbers as uvarints, and a zero at
// the end.

const maxPath = 4 << 10

// Seal stores the folder root encrypted under key and returns the root of the sealed form, which Run takes as an input
// together with that key. Sealing the same folder twice gives two different roots.
func (e *Executor) Seal(ctx context.Context, root dag.CID, key [32]byte) (dag.CID, error) {
	plain, fromPlain := io.Pipe()
	sealed, fromSealed := io.Pipe()
	go func() { fromPlain.CloseWithError(e.archive(ctx, fromPlain, root)) }()
	go func() { fromSealed.CloseWithError(seal.Seal(key, fromSealed, plain)) }()
	f, err := dag.AddFile(ctx, e.o.Blobs, sealed, dag.Options{})
	// Whoever still writes is told to stop.
	_ = sealed.CloseWithError(io.ErrClosedPipe)
	_ = plain.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		return dag.CID{}, fmt.Errorf("seal %s: %w", root, err)
	}
	return f.Root, nil
}

func (e *Executor) archive(ctx context.Context, to io.Writer, root dag.CID) error {
	w := bufio.NewWriterSize(to, seal.SegmentSize)
	var head []byte
	for f, err := range dag.Files(ctx, e.o.Blobs, root) {
		if err != nil {
			return err
		}
		head = binary.AppendUvarint(head[:0], uint64(len(f.Name)))
		head = append(head, f.Name...)
		head = binary.AppendUvarint(head, uint64(f.Size))
		if _, err := w.Write(head); err != nil {
			return err
		}
		r, err := dag.Open(ctx, e.o.Blobs, f.Root)
		if err != nil {
			return err
		}
		n, err := io.Copy(w, r)
		r.Close()
		if err != nil {
			return err
		}
		if n != f.Size {
			return fmt.Errorf("%w: %.200q has %d bytes, the folder says %d", dag.ErrMalformed, f.Name, n, f.Size)
		}
	}
	if err := w.WriteByte(0); err != nil {
		return err
	}
	return w.Flush()
}

// unseal decrypts a sealed input and hands every file to add, which must read all of it. The files together have at most
// most bytes. If it returns an error, what add got is not to be used.
func (e *Executor) unseal(ctx context.Context, root dag.CID, key [32]byte, most int64, add func(name string, size int64, r io.Reader) error) error {
	r, err := dag.Open(ctx, e.o.Blobs, root)
	if err != nil {
		return err
	}
	defer r.Close()
	plain, fromPlain := io.Pipe()
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		fromPlain.CloseWithError(seal.Open(key, fromPlain, r))
	}()
	err = unarchive(bufio.NewReaderSize(plain, seal.SegmentSize), most, add)
	_ = plain.CloseWithError(io.ErrClosedPipe)
	<-opened
	return err
}

func unarchive(r *bufio.Reader, most int64, add func(name string, size int64, r io.Reader) error) error {
	last := ""
	for {
		n, err := number(r)
		if err != nil {
			return ended(err)
		}
		if n == 0 {
			switch _, err := r.ReadByte(); {
			case err == nil:
				return fmt.Errorf("%w: more after the end of the archive", ErrInput)
			case errors.Is(err, io.EOF):
				return nil // and everything was authentic
			default:
				return err
			}
		}
		if n > maxPath {
			return fmt.Errorf("%w: a path of %d bytes", ErrInput, n)
		}
		path := make([]byte, n)
		if _, err := io.ReadFull(r, path); err != nil {
			return ended(err)
		}
		size, err := number(r)
		if err != nil {
			return ended(err)
		}
		name := string(path)
		if !fs.ValidPath(name) || !filepath.IsLocal(filepath.FromSlash(name)) || name <= last {
			return fmt.Errorf("%w: file name %.200q", ErrInput, name)
		}
		last = name
		if size > most {
			return fmt.Errorf("%w: more bytes than allowed", ErrInput)
		}
		most -= size
		content := &io.LimitedReader{R: r, N: size}
		if err := add(name, size, content); err != nil {
			return ended(err)
		}
		if content.N != 0 {
			return ended(io.ErrUnexpectedEOF)
		}
	}
}

// number reads a uvarint below 1<<63.
func number(r io.ByteReader) (v int64, err error) {
	for shift := 0; shift < 63; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: a number over 63 bits", ErrInput)
}

// ended turns an early end into what it means.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the archive is cut short", ErrInput)
	}
	return err
}

// unsealInline reads a sealed input into memory.
func (e *Executor) unsealInline(ctx context.Context, root dag.CID, key [32]byte, most int64) (map[string][]byte, error) {
	content := map[string][]byte{}
	err := e.unseal(ctx, root, key, most, func(name string, size int64, r io.Reader) error {
		if len(content) >= inlineFiles {
			return errManyFiles
		}
		b := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
		_, err := b.ReadFrom(r)
		content[name] = b.Bytes()
		return err
	})
	return content, err
}

// onlyWriter hides what else a writer can do, so that it is given whole buffers.
type onlyWriter struct{ io.Writer }

var errManyFiles = errors.New("too many files to hold inline")

// unsealToDir writes the files of a sealed input below dir.
func (e *Executor) unsealToDir(ctx context.Context, root dag.CID, key [32]byte, most int64, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return e.unseal(ctx, root, key, most, func(name string, _ int64, r io.Reader) error {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		done, err := e.o.Disk.File(ctx)
		if err != nil {
			return err
		}
		defer done()
		w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.CopyBuffer(onlyWriter{e.o.Disk.Writer(ctx, w)}, r, make([]byte, 256<<10))
		return errors.Join(err, w.Close())
	})
}
