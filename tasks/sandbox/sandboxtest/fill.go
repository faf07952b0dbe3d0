package sandboxtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kith/tasks"
)

// fill fills the disk where it is hard to see, up to a bound: a test must not depend on what it tests.
func fill(c *tasks.Call, num int) error {
	name := func(i int) string { return filepath.Join(c.Scratch, strconv.Itoa(i)) }
	switch c.Phase {
	case "fill fast": // as fast as it goes, 4 GiB at most
		piece := make([]byte, 1<<20)
		for i := range 4096 {
			if err := os.WriteFile(name(i), piece, 0o600); err != nil {
				return err
			}
		}
		return nil
	case "fill folders fast":
		for i := range 200_000 {
			if err := os.Mkdir(name(i), 0o700); err != nil {
				return err
			}
		}
		return nil
	case "fill closed": // to all but those who know the names
		dir := filepath.Join(c.Scratch, "closed")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o300)); err != nil {
			return err
		}
		return fillFolder(dir)
	case "fill deep": // where no path leads
		dir := strings.Repeat("d", 200)
		for range 100 {
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Chdir(dir)); err != nil {
				return err
			}
		}
		return fillFolder(".")
	case "fill inodes":
		for i := range 20_000 {
			if err := os.WriteFile(name(i), nil, 0o600); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	case "fill folders":
		for i := range 20_000 {
			if err := os.Mkdir(name(i), 0o700); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	case "fill output": // with num files, past the task's own output
		dir := filepath.Join(filepath.Dir(c.Scratch), "out")
		for i := range num {
			if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600); err != nil {
				return err
			}
		}
		return write(c, 1<<20) // which makes the rest of the folder part of the result
	case "hole":
		f, err := os.Create(name(0))
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("x"), 1<<40)
		return errors.Join(err, f.Close())
	}
	return fmt.Errorf("no phase %q", c.Phase)
}

// fillFolder fills dir with files of 1 MiB, 200 at most.
func fillFolder(dir string) error {
	for i := range 200 {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), make([]byte, 1<<20), 0o600); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// tamper reads what was prepared and tries to change it.
func tamper(c *tasks.Call) error {
	name := filepath.Join(c.Prepared, "code")
	code, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	other := filepath.Join(c.Scratch, "other")
	if err := os.WriteFile(other, []byte("bad"), 0o600); err != nil {
		return err
	}
	open := func(flag int) error {
		f, err := os.OpenFile(name, flag, 0o600)
		if err == nil {
			err = f.Close()
		}
		return err
	}
	var did []string
	for what, try := range map[string]func() error{
		"write":    func() error { return os.WriteFile(name, []byte("bad"), 0o600) },
		"open":     func() error { return open(os.O_RDWR) },
		"append":   func() error { return open(os.O_WRONLY | os.O_APPEND) },
		"truncate": func() error { return os.Truncate(name, 1) },
		"remove":   func() error { return os.Remove(name) },
		"rename":   func() error { return os.Rename(name, name+"2") },
		"replace":  func() error { return os.Rename(other, name) },
		"add":      func() error { return os.WriteFile(filepath.Join(c.Prepared, "more"), nil, 0o600) },
		"link":     func() error { return os.Link(name, filepath.Join(c.Scratch, "link")) },
		"move out": func() error { return os.Rename(c.Prepared, filepath.Join(c.Scratch, "mine")) },
	} {
		if try() == nil {
			did = append(did, what)
		}
	}
	return errors.Join(put(c, "n", code), put(c, "did", []byte(strings.Join(did, ", "))))
}
