package storage_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kith/storage"
	"kith/storage/dag"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := storage.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := storage.Lock(path); !errors.Is(err, storage.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("taken twice: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := storage.Lock(path)
	if err != nil {
		t.Fatalf("after it was given back: %v", err)
	}
	again.Close()
	if _, err := storage.Lock(filepath.Join(path, "below a file")); err == nil || errors.Is(err, storage.ErrLocked) {
		t.Errorf("no such folder: %v", err)
	}
}

func TestIsFull(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, storage.ErrFull, fmt.Errorf("x: %w", &fs.PathError{Op: "write", Path: "p", Err: syscall.ENOSPC})} {
		if !storage.IsFull(err) {
			t.Errorf("%v is not full", err)
		}
	}
	for _, err := range []error{nil, os.ErrPermission, syscall.EIO} {
		if storage.IsFull(err) {
			t.Errorf("%v is full", err)
		}
	}
}

func TestCheckBlock(t *testing.T) {
	block := func(n int) storage.Block {
		data := make([]byte, n)
		return storage.Block{CID: dag.Sum(dag.Raw, dag.SHA256, data), Data: data}
	}
	if err := storage.CheckBlock(block(dag.MaxBlock)); err != nil {
		t.Error(err)
	}
	if err := storage.CheckBlock(block(dag.MaxBlock + 1)); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := storage.CheckBlock(storage.Block{}); !errors.Is(err, dag.ErrCID) {
		t.Errorf("no CID: %v", err)
	}
	b := block(10)
	b.Data = b.Data[1:]
	if err := storage.CheckBlock(b); !errors.Is(err, dag.ErrMismatch) {
		t.Errorf("other content: %v", err)
	}
}
