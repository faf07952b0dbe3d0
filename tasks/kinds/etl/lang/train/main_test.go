package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestReproducible: the committed table is what the texts give, on every machine.
func TestReproducible(t *testing.T) {
	to := filepath.Join(t.TempDir(), "table.bin")
	if err := run(".", to); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../table.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("table.bin is not what the texts give: run go generate in the folder above")
	}
}

func TestLog2(t *testing.T) {
	for x, want := range map[uint64]int{1: 0, 2: 1 << 16, 3: 103872, 10: 217705, 1 << 63: 63 << 16} {
		if got := log2(x); got != want {
			t.Errorf("log2(%d) = %d/65536, want %d", x, got, want)
		}
	}
}
