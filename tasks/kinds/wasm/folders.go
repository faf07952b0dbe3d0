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

// folders gives a module its three folders, and a fourth if keep names one. The host would follow a link that leads out of one of them, so there are no
// links to be made.
func folders(in fs.FS, out, tmp, keep string) wazero.FSConfig {
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
	for _, m := range mounts {
		c = c.(sysfs.FSConfig).WithSysFSMount(&folder{m.fs, open}, m.path)
	}
	return c
}

// folder is a folder of a module, which has but one thread.
type folder struct {
	sys.FS
	open *int
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
	return &openFile{file, f.open}, 0
}

type openFile struct {
	sys.File
	open *int // nil when closed
}

// Close implements sys.File.
func (f *openFile) Close() sys.Errno {
	if f.open != nil {
		*f.open--
		f.open = nil
	}
	return f.File.Close()
}
