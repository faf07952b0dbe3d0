package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kith/storage/governor"
)

// kernelFile reads what was last written to a file of a group, and empties it: files of the kernel have no old end.
func kernelFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDrives(t *testing.T) {
	slow := governor.Cap{Major: 8, Minor: 16, ReadBytes: 5, WriteBytes: 4, ReadOps: 3, WritOps: 2}
	for _, c := range []struct {
		name     string
		own      string // folder of the tree, below the root
		groups   map[string]own
		file     string // where a limit of writes is seen
		set, off string
		together bool
	}{
		{"version 2", "u/kith-1-1-1", map[string]own{"io": {"u", true}}, "io.max", "8:16 rbps=5 wbps=4 riops=3 wiops=2", "8:16 rbps=max wbps=max riops=max wiops=max", false},
		{"version 1", "memory/kith-1-1-1", map[string]own{"blkio": {"blkio", false}}, "blkio.throttle.write_bps_device", "8:16 4", "8:16 0", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fake(t, map[string]string{"u/cgroup.subtree_control": "cpu memory\n", "blkio/x": "", c.own + "/x": ""})
			for name, g := range c.groups {
				c.groups[name] = own{filepath.Join(root, g.dir), g.v2}
			}
			tree := &Tree{dirs: []string{filepath.Join(root, c.own)}}
			tree.io.dir, tree.io.together = tree.openIO(root, c.groups, "kith-1-1-1")
			if tree.io.dir == "" || tree.io.together != c.together {
				t.Fatalf("got %q, together %v", tree.io.dir, tree.io.together)
			}
			for _, name := range []string{"io.max", "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device", "blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device", "cgroup.procs", "tasks"} {
				if err := os.WriteFile(filepath.Join(tree.io.dir, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			seen := func() string { return kernelFile(t, filepath.Join(tree.io.dir, c.file)) }
			if err := tree.LimitDrives([]governor.Cap{slow}); err != nil || seen() != c.set {
				t.Fatalf("%v", err)
			}
			lower := slow
			lower.WriteBytes = 1
			if err := tree.LimitDrives([]governor.Cap{lower}); err != nil || seen() != strings.Replace(strings.Replace(c.set, "wbps=4", "wbps=1", 1), "8:16 4", "8:16 1", 1) {
				t.Errorf("lowered: %v", err)
			}
			if err := tree.LimitDrives(nil); err != nil || seen() != c.off {
				t.Errorf("taken away: %v", err)
			}
			if err := tree.LimitDrives(nil); err != nil || seen() != "" {
				t.Errorf("taken away again: %v", err)
			}
			if err := errors.Join(tree.io.add("cgroup.procs", 4711), tree.io.host(4712), tree.io.host(4712)); err != nil {
				t.Fatal(err)
			}
			wants := map[string]string{"cgroup.procs": "", "tasks": ""}
			if c.together { // every process of every group
				wants = map[string]string{"cgroup.procs": "4711", "tasks": "4712"}
			}
			for name, want := range wants {
				if got := kernelFile(t, filepath.Join(tree.io.dir, name)); got != want {
					t.Errorf("%s holds %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestNoDrives: systems without the controller, or with one that is no use.
func TestNoDrives(t *testing.T) {
	root := fake(t, map[string]string{"both/kith-1-1-1/x": "", "u/cgroup.controllers": "cpu\n"})
	at := func(dir string) string { return filepath.Join(root, dir) }
	for name, groups := range map[string]map[string]own{
		"neither":                      {},
		"version 2 cannot hand it on":  {"io": {at("u"), true}},
		"version 2 without our groups": {"io": {at("other"), true}},
		"mounted with another":         {"blkio": {at("both"), false}},
		"no folder can be made":        {"blkio": {at("gone"), false}},
	} {
		tree := &Tree{dirs: []string{at("both/kith-1-1-1"), at("u/kith-1-1-1")}}
		tree.io.dir, tree.io.together = tree.openIO(root, groups, "kith-1-1-1")
		if err := tree.LimitDrives([]governor.Cap{{Major: 8, WriteBytes: 1}}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
