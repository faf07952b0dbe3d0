//go:build unix

package badgerstore

import (
	"io/fs"
	"syscall"
)

// allocated is what a file really takes: Badger's are sparse.
func allocated(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return info.Size()
}
