package disk

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Of returns the drive that holds a file or folder.
func Of(at string) (Drive, error) {
	at, err := filepath.Abs(at)
	if err != nil {
		return Drive{}, err
	}
	for ; ; at = filepath.Dir(at) { // it need not exist
		if _, err := filepath.EvalSymlinks(at); err == nil || at == filepath.Dir(at) {
			break
		}
	}
	var s unix.Statfs_t
	if err := unix.Statfs(at, &s); err != nil {
		return Drive{}, fmt.Errorf("the drive of %s: %w", at, err)
	}
	source, fs := unix.ByteSliceToString(s.Mntfromname[:]), unix.ByteSliceToString(s.Fstypename[:])
	d := Drive{Mount: unix.ByteSliceToString(s.Mntonname[:]), FileSystem: fs, Kind: Unknown, Spinning: "unknown", Name: source, ReadOnly: s.Flags&unix.MNT_RDONLY != 0}
	if networkFS(fs) {
		d.Kind, d.Bus, d.ID = Network, fs, identify("network", "", source)
		return d, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// A volume of APFS lies on a container on a drive: ask about the whole drive too.
	text, err := exec.CommandContext(ctx, "diskutil", "info", "-plist", source).Output()
	if err != nil {
		d.ID = identify("", "", source)
		d.Note = "diskutil does not answer: " + err.Error()
		return d, nil
	}
	fromDiskutil(&d, text)
	if whole := strings.TrimPrefix(d.Path, "/dev/"); whole != "" && whole != strings.TrimPrefix(source, "/dev/") {
		if text, err := exec.CommandContext(ctx, "diskutil", "info", "-plist", whole).Output(); err == nil {
			fromDiskutil(&d, text)
		}
	}
	return d, nil
}
