package disk

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// mount is one line of /proc/self/mountinfo.
type mount struct {
	major, minor uint32
	point        string // where
	readOnly     bool
	fs           string // file system
	source       string // "/dev/sda1", "server:/share"
	options      string // of the file system
}

// parseMount reads one line.
func parseMount(line string) (mount, error) {
	left, right, ok := strings.Cut(line, " - ")
	before, after := strings.Fields(left), strings.Fields(right)
	if !ok || len(before) < 6 || len(after) < 2 {
		return mount{}, fmt.Errorf("no line of mountinfo: %.200q", line)
	}
	var m mount
	major, minor, _ := strings.Cut(before[2], ":")
	a, errA := strconv.ParseUint(major, 10, 32)
	b, errB := strconv.ParseUint(minor, 10, 32)
	if errA != nil || errB != nil {
		return mount{}, fmt.Errorf("no device number in mountinfo: %.200q", before[2])
	}
	m.major, m.minor = uint32(a), uint32(b)
	m.point, m.fs, m.source = unescape(before[4]), after[0], unescape(after[1])
	if len(after) > 2 {
		m.options = unescape(after[2])
	}
	m.readOnly = hasOption(before[5], "ro") || hasOption(m.options, "ro")
	return m, nil
}

func hasOption(list, name string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == name {
			return true
		}
	}
	return false
}

func optionValue(list, name string) string {
	for o := range strings.SplitSeq(list, ",") {
		if v, ok := strings.CutPrefix(o, name+"="); ok {
			return v
		}
	}
	return ""
}

// unescape turns \040 and the like into what they stand for.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountOf finds the mount that holds an absolute path without symbolic links. Of two at one point the later one covers
// the other. It touches nothing but the text, so that a dead network drive cannot hold it up.
func mountOf(mountinfo, at string) (mount, error) {
	at = path.Clean(at)
	var best mount
	found := false
	for line := range strings.SplitSeq(mountinfo, "\n") {
		if line == "" {
			continue
		}
		m, err := parseMount(line)
		if err != nil {
			continue // one odd line must not hide the others
		}
		if inside(at, m.point) && (!found || len(m.point) >= len(best.point)) {
			best, found = m, true
		}
	}
	if !found {
		return mount{}, fmt.Errorf("no mount holds %s", at)
	}
	return best, nil
}

func inside(at, point string) bool {
	return point == "/" || at == point || strings.HasPrefix(at, strings.TrimSuffix(point, "/")+"/")
}

// networkFS reports whether a file system lives on another machine.
func networkFS(fs string) bool {
	switch fs {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "lustre", "ncpfs", "webdav", "afpfs", "davfs":
		return true
	}
	return false
}

// memoryFS reports whether a file system lives in memory.
func memoryFS(fs string) bool {
	return fs == "tmpfs" || fs == "ramfs" || fs == "devtmpfs" || fs == "rootfs"
}
