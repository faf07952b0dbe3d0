package execute_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"kith/storage/dag"
	"kith/storage/seal"
	"kith/tasks/execute"
)

func TestSealedInput(t *testing.T) {
	b := open(t, nil)
	key, other := [32]byte{1}, [32]byte{2}
	many := map[string]string{}
	for i := range 1500 {
		many[strings.Repeat("d/", i%3)+fmt.Sprint(i)] = "x"
	}
	for name, files := range map[string]map[string]string{
		"small": {"a": "1", "d/b": "22", "d/e": ""},
		"none":  {},
		"large": {"big": strings.Repeat("0123456789", 100_000), "small": "s"},
		"many":  many,
	} {
		t.Run(name, func(t *testing.T) {
			root := b.add(t, files)
			sealed, err := b.Seal(t.Context(), root, key)
			if err != nil {
				t.Fatal(err)
			}
			a := assign("pass", "", sealed)
			a.Keys = [][]byte{key[:]}
			out, err := b.Run(t.Context(), a, nil)
			if err != nil {
				t.Fatal(err)
			}
			if out.Root != root {
				t.Fatalf("got %s, want %s", out.Root, root)
			}
			for what, keys := range map[string][][]byte{"wrong key": {other[:]}, "short key": {key[:31]}, "no key": nil} {
				a.Keys = keys
				if _, err := b.Run(t.Context(), a, nil); err == nil {
					t.Errorf("%s: no error", what)
				}
			}
		})
	}
}

func TestForgedArchive(t *testing.T) {
	b := open(t, func(o *execute.Options) { o.MaxInput = 10_000 })
	key := [32]byte{1}
	for what, plain := range map[string]string{
		"nothing":      "",
		"no end":       "\x01a\x01x",
		"short":        "\x01a\x05x\x00",
		"short name":   "\x7fa",
		"after end":    "\x00x",
		"order":        "\x01b\x01x\x01a\x01x\x00",
		"twice":        "\x01a\x01x\x01a\x01x\x00",
		"escape":       "\x04../a\x01x\x00",
		"long":         "\x01a\xff\xff\xff\xff\xff\xff\xff\xff\x7fx\x00",
		"long number":  strings.Repeat("\xff", 11),
		"long path":    "\xff\xff\x01" + strings.Repeat("a", 1<<15) + "\x01x\x00",
		"beyond limit": "\x01a\x90\x4e" + strings.Repeat("x", 10_000) + "\x00",
	} {
		var sealed strings.Builder
		if err := seal.Seal(key, &sealed, strings.NewReader(plain)); err != nil {
			t.Fatal(err)
		}
		f, err := dag.AddFile(t.Context(), b.blobs, strings.NewReader(sealed.String()), dag.Options{})
		if err != nil {
			t.Fatal(err)
		}
		a := assign("pass", "", f.Root)
		a.Keys = [][]byte{key[:]}
		if _, err := b.Run(t.Context(), a, nil); !errors.Is(err, execute.ErrInput) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	f.Add([]byte("\x01a\x01x\x03d/b\x00\x00"))
	f.Add([]byte("\x00"))
	b := open(f, nil)
	key := [32]byte{1}
	f.Fuzz(func(t *testing.T, plain []byte) {
		var sealed strings.Builder
		if err := seal.Seal(key, &sealed, strings.NewReader(string(plain))); err != nil {
			t.Fatal(err)
		}
		file, err := dag.AddFile(t.Context(), b.blobs, strings.NewReader(sealed.String()), dag.Options{})
		if err != nil {
			t.Fatal(err)
		}
		a := assign("pass", "", file.Root)
		a.Keys = [][]byte{key[:]}
		out, err := b.Run(t.Context(), a, nil)
		if err != nil {
			return
		}
		// What opens is a folder like any other, and survives the way back.
		if err := b.blobs.PutMany(t.Context(), out.Blocks); err != nil {
			t.Fatal(err)
		}
		again, err := b.Seal(t.Context(), out.Root, key)
		if err != nil {
			t.Fatal(err)
		}
		a.Inputs[0] = again
		second, err := b.Run(t.Context(), a, nil)
		if err != nil || second.Root != out.Root || !maps.Equal(b.files(t, out.Root), b.files(t, second.Root)) {
			t.Fatalf("%s became %s, %v", out.Root, second.Root, err)
		}
	})
}
