package wasm

import (
	"io/fs"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"
)

// maxOpen is how many files a module may hold open at once, all folders together.
const maxOpen = 1024

// folders gives a module its three folders, and a fourth if keep names one. The host would follow a link that leads out of
// one of them, so there are no links to be made. progress, if not nil, hears of what is read of the input, but for the module.
func folders(in fs.FS, out, tmp, keep string, progress func(done, total int64)) wazero.FSConfig {
	type mount struct {
		path string
		fs   sys.FS
	}
	mounts := []mount{{"/in", &sysfs.ReadFS{FS: &sysfs.AdaptFS{FS: in}}}, {"/out", sysfs.DirFS(out)}, {"/tmp", sysfs.DirFS(tmp)}}
	if keep != "" {
		mounts = append(mounts, mount{"/checkpoint", sysfs.DirFS(keep)})
	}
	open := new(int)
	c := wazero.NewFSConfig()
	reads := newReads(in, progress)
	for _, m := range mounts {
		c = c.(sysfs.FSConfig).WithSysFSMount(&folder{m.fs, open, reads}, m.path)
		reads = nil // the first is the input
	}
	return c
}

// folder is a folder of a module, which has but one thread.
type folder struct {
	sys.FS
	open  *int
	reads *reads // nil: nobody wants to know
}

// reads counts what a module reads of its input. What it reads twice counts twice, as far as the whole.
type reads struct {
	done, total int64
	progress    func(done, total int64)
}

func newReads(in fs.FS, progress func(done, total int64)) *reads {
	if progress == nil {
		return nil
	}
	r := &reads{progress: progress}
	if err := fs.WalkDir(in, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == ModuleFile {
			return err
		}
		info, err := d.Info()
		if err == nil {
			r.total += info.Size()
		}
		return err
	}); err != nil || r.total == 0 {
		return nil
	}
	return r
}

func (r *reads) add(n int) {
	if r != nil && n > 0 {
		r.done = min(r.done+int64(n), r.total)
		r.progress(r.done, r.total)
	}
}

// Symlink implements sys.FS.
func (*folder) Symlink(string, string) sys.Errno { return sys.EPERM }

// Rmdir implements sys.FS. The folder itself stays.
func (f *folder) Rmdir(path string) sys.Errno {
	if p := strings.TrimSuffix(path, "/"); p == "." || p == "" {
		return sys.EPERM
	}
	return f.FS.Rmdir(path)
}

// OpenFile implements sys.FS.
func (f *folder) OpenFile(path string, flag sys.Oflag, perm fs.FileMode) (sys.File, sys.Errno) {
	if *f.open >= maxOpen {
		return nil, sys.EAGAIN // WASI has better words for it, the library does not
	}
	file, errno := f.FS.OpenFile(path, flag, perm)
	if errno != 0 {
		return nil, errno
	}
	*f.open++
	o := &openFile{File: file, open: f.open}
	if strings.TrimPrefix(path, "/") != ModuleFile {
		o.reads = f.reads
	}
	return o, 0
}

type openFile struct {
	sys.File
	open  *int // nil when closed
	reads *reads
}

// Read implements sys.File.
func (f *openFile) Read(buf []byte) (int, sys.Errno) {
	n, errno := f.File.Read(buf)
	f.reads.add(n)
	return n, errno
}

// Pread implements sys.File.
func (f *openFile) Pread(buf []byte, off int64) (int, sys.Errno) {
	n, errno := f.File.Pread(buf, off)
	f.reads.add(n)
	return n, errno
}

// Close implements sys.File.
func (f *openFile) Close() sys.Errno {
	if f.open != nil {
		*f.open--
		f.open = nil
	}
	return f.File.Close()
}
