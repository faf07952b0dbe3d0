package sandbox

import (
	"errors"
	"io"
	"os"
)

// Bare reports whether a folder has nothing in it.
func Bare(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}
