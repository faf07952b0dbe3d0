package meter

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNow(t *testing.T) {
	a := Now()
	x := 1.0
	for i := range 50_000_000 {
		x = x*1.0000001 + float64(i&1)
	}
	if b := Now(); b.CPU <= a.CPU || b.Memory < 100<<10 || x == 0 {
		t.Fatalf("before %+v, after %+v", a, b)
	}
}

func TestDiskAndFolder(t *testing.T) {
	dir := t.TempDir()
	d, err := DiskOf(dir)
	if err != nil || d.Total <= 0 || d.Free < 0 || d.Free > d.Total {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := DiskOf(filepath.Join(dir, "missing")); err == nil {
		t.Fatal("a missing folder has a disk")
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	if err := sparse.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	if n := FolderSize(dir); n < 90_000 || n > 1<<29 {
		t.Errorf("folder has %d bytes", n)
	}
}
