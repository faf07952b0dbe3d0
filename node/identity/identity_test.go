package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestOpenMakesOneKeyAndKeepsIt(t *testing.T) {
	home := t.TempDir()
	if _, err := Load(home); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("load of nothing: %v", err)
	}
	a, fresh, err := Open(home)
	if err != nil || !fresh {
		t.Fatalf("open: fresh %v, %v", fresh, err)
	}
	b, fresh, err := Open(home)
	if err != nil || fresh || a.Node() != b.Node() {
		t.Fatalf("reopen: fresh %v, same %v, %v", fresh, a.Node() == b.Node(), err)
	}
	if info, err := os.Stat(filepath.Join(home, FileName)); err != nil || (runtime.GOOS != "windows" && info.Mode().Perm() != 0o600) {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
}

func TestDamagedKeyIsNeverReplaced(t *testing.T) {
	home := t.TempDir()
	if _, _, err := Open(home); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home, FileName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[bytes.LastIndex(good, []byte("\n-----END"))-8] ^= 1 // a letter of the seed
	for name, bad := range map[string][]byte{
		"empty": {}, "truncated": good[:len(good)/2], "flipped": flipped, "twice": append(good[:len(good):len(good)], good...),
		"huge": make([]byte, maxFile+1), "text": []byte("hello\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := Open(home)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v", err)
			}
			if now, _ := os.ReadFile(path); string(now) != string(bad) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestOpenKeyIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes say nothing on Windows")
	}
	home := t.TempDir()
	if _, _, err := Open(home); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home, FileName)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(home); !errors.Is(err, ErrPermissions) || !strings.Contains(err.Error(), "chmod 600") {
		t.Fatalf("got %v", err)
	}
}

func TestKeyNeverPrints(t *testing.T) {
	id, _, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	seed := fmt.Sprintf("%x", id.Key().Seed()[:4])
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(form, id); strings.Contains(got, seed) || strings.Contains(got, fmt.Sprint(id.Key()[0])+" ") {
			t.Errorf("%s prints %s", form, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	home := f.TempDir()
	if _, _, err := Open(home); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(home, FileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := parse("key", data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		_ = id.Node()
	})
}
