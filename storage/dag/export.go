package dag

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Export writes the files of a stored folder below dir, which is created if need be. Each file is written under a
// temporary name and then renamed, so a file under its own name is whole; what an interrupted export left is kept and
// the rest is added. An existing file with other content is an error (fs.ErrExist) that names it, and is never touched
// unless it is empty. Nothing outside dir is written, whatever the names or symbolic links say; a name that this system
// does not allow is an error that says so. progress, which may be nil, gets the bytes done so far and in all.
func Export(ctx context.Context, get Getter, root CID, dir string, progress func(done, total int64)) error {
	top, err := Lookup(ctx, get, root, "")
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	to, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer to.Close()
	x := &export{ctx: ctx, get: get, to: to, total: top.Size, progress: progress}
	if err := x.folder(root, ".", 0); err != nil {
		return fmt.Errorf("export to %s: %w", dir, err)
	}
	return nil
}

type export struct {
	ctx         context.Context
	get         Getter
	to          *os.Root
	done, total int64
	progress    func(done, total int64)
}

func (x *export) folder(root CID, at string, depth int) error {
	if depth >= maxDepth {
		return fmt.Errorf("%w: %s is over %d folders deep", ErrMalformed, root, maxDepth)
	}
	for e, err := range ReadDir(x.ctx, x.get, root) {
		if err != nil {
			return err
		}
		name := path.Join(at, e.Name)
		if err := checkFileName(e.Name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if e.Dir {
			if err = x.to.Mkdir(name, 0o755); err == nil || errors.Is(err, fs.ErrExist) {
				err = x.folder(e.Root, name, depth+1)
			}
		} else {
			err = x.file(e, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *export) file(e Entry, name string) error {
	r, err := Open(x.ctx, x.get, e.Root)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	defer r.Close()
	if r.Size() != e.Size {
		return fmt.Errorf("%q: %w: %d bytes, its folder says %d", name, ErrMalformed, r.Size(), e.Size)
	}
	info, err := x.to.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Mode().IsRegular() && info.Size() == 0 && e.Size > 0:
		return x.write(r, name)
	case err != nil:
		return err
	}
	same := false
	if info.Mode().IsRegular() && info.Size() == e.Size {
		if same, err = x.same(r, name); err != nil {
			return err
		}
	}
	if !same {
		return fmt.Errorf("%q: %w with other content; choose an empty folder or move it away", name, fs.ErrExist)
	}
	return nil
}

// write creates a file.
func (x *export) write(r *Reader, name string) error {
	// The same name each time, so that an interrupted export leaves at most one behind, and the next takes it over.
	sum := sha256.Sum256([]byte(name))
	temp := path.Join(path.Dir(name), fmt.Sprintf(".%x.kith-part", sum[:8]))
	out, err := x.to.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.MultiWriter(out, x), r)
	if err = errors.Join(err, out.Close()); err == nil {
		err = x.to.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%q: %w", name, err), x.to.Remove(temp))
	}
	return nil
}

// same compares an existing file.
func (x *export) same(r *Reader, name string) (bool, error) {
	in, err := x.to.Open(name)
	if err != nil {
		return false, err
	}
	defer in.Close()
	_, err = io.Copy(io.MultiWriter(&equal{in: in}, x), r)
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	return err == nil, err
}

// Write counts progress.
func (x *export) Write(p []byte) (int, error) {
	x.done += int64(len(p))
	if x.progress != nil {
		x.progress(x.done, x.total)
	}
	return len(p), context.Cause(x.ctx)
}

var errDiffers = errors.New("differs")

// equal is a writer that compares.
type equal struct {
	in  io.Reader
	buf []byte
}

func (e *equal) Write(p []byte) (int, error) {
	e.buf = append(e.buf[:0], p...)
	if _, err := io.ReadFull(e.in, e.buf); err != nil {
		return 0, err
	}
	if !bytes.Equal(e.buf, p) {
		return 0, errDiffers
	}
	return len(p), nil
}

// checkWindowsName reports why Windows cannot have a file of this name.
func checkWindowsName(name string) error {
	if strings.ContainsAny(name, `<>:"\|?*`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return errors.New(`not allowed on Windows: control characters and < > : " \ | ? * in a file name`)
	}
	if strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return errors.New("not allowed on Windows: a file name that ends in a dot or a space")
	}
	stem, _, _ := strings.Cut(name, ".")
	switch stem = strings.ToUpper(strings.TrimRight(stem, " ")); stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return fmt.Errorf("not allowed on Windows: the reserved name %s", stem)
	}
	if (strings.HasPrefix(stem, "COM") || strings.HasPrefix(stem, "LPT")) && strings.Contains("0123456789¹²³", stem[3:]) && len(stem) > 3 {
		return fmt.Errorf("not allowed on Windows: the reserved name %s", stem)
	}
	return nil
}
