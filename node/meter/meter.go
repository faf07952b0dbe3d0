// Package meter reads what this process uses of the machine: processor time, memory and disk space.
package meter

import (
	"io/fs"
	"path/filepath"
	"runtime/metrics"
	"time"
)

// Use is what the process and its ended children have used so far.
type Use struct {
	CPU    time.Duration // processor time, user and system
	Memory int64         // resident bytes of the process itself, mapped files left out
}

// Disk is the space of the file system that holds a folder, in bytes.
type Disk struct{ Free, Total int64 }

// FolderSize adds up the files below a folder, in bytes. Files that vanish meanwhile count as nothing.
func FolderSize(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be read is not counted
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += allocated(info)
		}
		return nil
	})
	return sum
}

// goMemory is what the Go runtime holds, where the system offers no better number.
func goMemory() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}
