//go:build linux

// Only here is there a folder like /proc, in which nothing can be written.

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"kith/bench/disk"
	"kith/node/api"
	"kith/storage/governor"
)

// TestDrivesAndSoak: the real program measures the drive of a data folder, soaks it, and remembers the verdict.
func TestDrivesAndSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("works a drive for seconds")
	}
	home := t.TempDir()
	on := t.TempDir()
	var r disk.SoakReport
	text := attempt{"soak", []string{"soak", on, "--minutes", "0.03", "--size", "4MiB", "--json"}, 0, nil}.in(t, home)
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Verdict != "sound" || !r.Done || r.Verified == 0 || r.Limits.WriteBytes == 0 {
		t.Fatalf("%v: %s", err, text)
	}
	if left, err := os.ReadDir(filepath.Join(on, disk.SoakDir)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
	var d api.Drive
	text = attempt{"measure", []string{"drives", home, "--measure", "--json"}, 0, nil}.in(t, home)
	if err := json.Unmarshal([]byte(text), &d); err != nil || d.Speed == nil || d.Grade == governor.Ungraded || len(d.Decisions) < 2 {
		t.Fatalf("%v: %s", err, text)
	}
	var list api.DriveList
	text = attempt{"again", []string{"drives", "--json"}, 0, nil}.in(t, home)
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Drives) != 1 || list.Drives[0].Grade != d.Grade {
		t.Fatalf("not remembered: %v: %s", err, text)
	}
	attempt{"read-only", []string{"soak", "/proc"}, 5, []string{"not enough free space"}}.in(t, home)
}
