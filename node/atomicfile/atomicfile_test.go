package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestWriteReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a file 🙂.json")
	for i := range 3 {
		want := fmt.Sprint("version ", i)
		if err := Write(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	left(t, filepath.Dir(path), 1)
}

func TestCreateNeverReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = Create(path, []byte{byte('0' + i)}, 0o600) })
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		if err == nil {
			if won >= 0 {
				t.Fatal("two creators won")
			}
			won = i
		} else if !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	if got, _ := os.ReadFile(path); won < 0 || string(got) != fmt.Sprint(won) {
		t.Fatalf("creator %d won, file holds %q", won, got)
	}
	left(t, filepath.Dir(path), 1)
}

func TestWriteFailsWhole(t *testing.T) {
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "no", "such", "folder"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	left(t, dir, 0)
}

// left checks that no temporary file stayed behind.
func left(t *testing.T, dir string, want int) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != want {
		t.Fatalf("%d entries in the folder, want %d (%v)", len(entries), want, err)
	}
}
