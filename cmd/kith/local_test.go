package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCodeFolder(t *testing.T) {
	base := t.TempDir()
	temp, file, shut := filepath.Join(base, "temp"), filepath.Join(base, "file"), filepath.Join(base, "shut")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(shut, 0o500); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ home, want string }{
		"there":                {base, filepath.Join(base, "code")},
		"not yet there":        {filepath.Join(base, "a", "b"), filepath.Join(base, "a", "b", "code")},
		"a file in its place":  {file, filepath.Join(temp, "code")},
		"somebody else's home": {filepath.Join(shut, "b"), filepath.Join(temp, "code")},
	} {
		t.Run(name, func(t *testing.T) {
			if c.home == filepath.Join(shut, "b") && os.WriteFile(filepath.Join(shut, "x"), nil, 0o600) == nil {
				t.Skip("nothing is shut to this user")
			}
			if got := code(c.home, temp); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	list, err := os.ReadDir(base)
	if err != nil || len(list) != 2 {
		t.Errorf("it left something: %v, %v", list, err)
	}
}
