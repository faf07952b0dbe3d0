package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"kith/tasks"
)

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), []byte("1234"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, left, err := measure(dir, 20, 6, tasks.ScratchLimit, true); n != 20 || left != 0 || err != nil {
		t.Errorf("got %d, %d left, %v", n, left, err)
	}
	for name, run := range map[string]func() (int64, int, error){
		"bytes":         func() (int64, int, error) { return measure(dir, 19, 6, tasks.ScratchLimit, false) },
		"files, inodes": func() (int64, int, error) { return measure(dir, 20, 5, tasks.ScratchLimit, false) },
		"not of its own": func() (int64, int, error) {
			return measure(filepath.Join(dir, "none"), 20, 5, tasks.ScratchLimit, false)
		},
	} {
		_, _, err := run()
		var why tasks.Reason
		if err == nil || name != "not of its own" && (!errors.As(err, &why) || why.Code != tasks.ScratchLimit) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := os.Symlink("0", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	if _, _, err := measure(dir, 100, 10, tasks.OutputLimit, true); err == nil {
		t.Error("a link in an output")
	}
	if _, _, err := measure(dir, 100, 10, tasks.ScratchLimit, false); err != nil {
		t.Errorf("a link in scratch: %v", err)
	}
}
