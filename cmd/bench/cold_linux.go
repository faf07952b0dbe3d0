package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// cold has the system forget a file it keeps in memory, as after a boot. A program that was built a moment ago is there
// whole, and whole it would count as the memory of each process that runs it.
func cold(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}
