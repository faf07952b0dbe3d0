package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Wipe removes dir and all that work has left in it, however deep it lies and however closed its folders are. Nothing may
// run in it any more. That dir does not exist is no error.
func Wipe(dir string) error {
	if err := Empty(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return os.Remove(dir)
}

// Empty removes all that is in dir, but not dir itself.
//
// Folders are moved up and emptied one by one: work may have nested them deeper than paths can be long, or than files can
// be open at once.
func Empty(dir string) error {
	var errs []error
	moved := 0
	name := ".wipe-" + rand.Text()
	todo := []string{dir}
	for len(todo) > 0 {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		info, err := os.Lstat(d)
		if err != nil {
			errs = append(errs, err)
			break
		}
		if info.Mode().Perm()&0o700 != 0o700 {
			if err := os.Chmod(d, 0o700); err != nil {
				errs = append(errs, err)
			}
		}
		list, err := os.ReadDir(d)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var inner []string
		for _, e := range list {
			p := filepath.Join(d, e.Name())
			if !e.IsDir() {
				errs = append(errs, os.Remove(p))
				continue
			}
			to := p
			if d != dir {
				moved++
				to = filepath.Join(dir, fmt.Sprintf("%s-%d", name, moved))
				_ = os.Chmod(p, 0o700) // a folder is written to when it moves
				if err := os.Rename(p, to); err != nil {
					errs = append(errs, err)
					continue
				}
			}
			inner = append(inner, to)
		}
		if d != dir {
			errs = append(errs, os.Remove(d))
		}
		todo = append(todo, inner...)
	}
	return errors.Join(errs...)
}
