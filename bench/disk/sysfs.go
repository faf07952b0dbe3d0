package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Linux reads the drives of a Linux system below a root folder: "/" for this one, another one in tests.
type Linux struct{ Root string }

const (
	maxHops  = 8  // loop devices on partitions on loop devices…
	maxLinks = 40 // symbolic links in one path
)

// Of returns the drive that holds a file or folder, which need not exist. It reads /proc and /sys alone; where /sys says
// nothing, Note says so.
func (l Linux) Of(at string) (Drive, error) {
	at, err := filepath.Abs(at)
	if err != nil {
		return Drive{}, err
	}
	return l.of(l.resolve(at), 0)
}

// resolve follows the symbolic links of as much of a path as there is. A link on a dead network drive cannot be read
// without hanging, so nothing below one is looked at.
func (l Linux) resolve(at string) string {
	if l.Root != "/" {
		return filepath.ToSlash(at)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	resolved, links := "/", 0
	parts := strings.Split(strings.Trim(at, "/"), "/")
	for i := 0; i < len(parts); i++ {
		next := path.Join(resolved, parts[i])
		if m, err := mountOf(string(mounts), next); err == nil && networkFS(m.fs) {
			return path.Join(append([]string{resolved}, parts[i:]...)...)
		}
		target, err := os.Readlink(next)
		if err != nil {
			resolved = next
			continue
		}
		if links++; links > maxLinks {
			return at // a loop of links
		}
		if !path.IsAbs(target) {
			target = path.Join(resolved, target)
		}
		parts = append(strings.Split(strings.Trim(path.Clean(target), "/"), "/"), parts[i+1:]...)
		resolved, i = "/", -1
	}
	return resolved
}

func (l Linux) of(at string, hop int) (Drive, error) {
	if hop > maxHops {
		return Drive{}, fmt.Errorf("the drive of %s: over %d devices on top of each other", at, maxHops)
	}
	text, err := os.ReadFile(filepath.Join(l.Root, "proc/self/mountinfo"))
	if err != nil {
		return Drive{}, fmt.Errorf("the drive of %s: %w", at, err)
	}
	m, err := mountOf(string(text), at)
	if err != nil {
		return Drive{}, err
	}
	d := Drive{Mount: m.point, FileSystem: m.fs, ReadOnly: m.readOnly, Spinning: "unknown", Kind: Unknown, Name: m.source}
	switch {
	case networkFS(m.fs):
		d.Kind, d.Bus, d.ID = Network, m.fs, identify("network", "", m.source)
		return d, nil
	case memoryFS(m.fs):
		d.Kind, d.Bus, d.Name, d.Spinning = Virtual, "memory", m.fs, "no"
		d.ID = identify("memory", "", m.point)
		return d, nil
	case m.fs == "overlay":
		// Within a container the upper folder is one of the host, which is not to be seen from here.
		upper := optionValue(m.options, "upperdir")
		if on, err := mountOf(string(text), upper); upper != "" && err == nil && on != m {
			under, err := l.of(upper, hop+1)
			under.Mount, under.FileSystem, under.ReadOnly = m.point, m.fs, m.readOnly || under.ReadOnly
			under.Through = append([]string{"overlay"}, under.Through...)
			return under, err
		}
	}
	dir, err := l.block(m)
	if err != nil {
		d.ID = identify("", "", fmt.Sprintf("%d:%d %s", m.major, m.minor, m.source))
		d.Note = "this system does not show its devices: " + err.Error()
		return d, nil
	}
	return l.describe(d, dir, hop)
}

// block finds the folder of a mount's device below /sys.
func (l Linux) block(m mount) (string, error) {
	dir, err := l.real(fmt.Sprintf("sys/dev/block/%d:%d", m.major, m.minor))
	if err == nil || !strings.HasPrefix(m.source, "/dev/") {
		return dir, err
	}
	// Btrfs and others have a device number of their own; the source names a real one.
	return l.real("sys/class/block/" + strings.ReplaceAll(strings.TrimPrefix(m.source, "/dev/"), "/", "!"))
}

// real resolves the links of a path below the root.
func (l Linux) real(name string) (string, error) {
	at, err := filepath.EvalSymlinks(filepath.Join(l.Root, filepath.FromSlash(name)))
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = fmt.Errorf("no /%s here: %w", name, pe.Err)
		}
		return "", err
	}
	return at, nil
}

// read returns a small file of a device's folder, trimmed; "" if there is none.
func read(dir, name string) string {
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil || len(data) > 64<<10 {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// describe fills d from the folder of a device, going down through partitions, loop devices and volumes.
func (l Linux) describe(d Drive, dir string, hop int) (Drive, error) {
	if read(dir, "partition") != "" {
		d.Parts = append(d.Parts, filepath.Base(dir))
		dir = filepath.Dir(dir)
	}
	name := strings.ReplaceAll(filepath.Base(dir), "!", "/")
	if file := read(dir, "loop/backing_file"); file != "" {
		under, err := l.of(file, hop+1)
		if err != nil {
			return under, err
		}
		under.Through = append([]string{name}, under.Through...)
		under.Mount, under.FileSystem, under.ReadOnly = d.Mount, d.FileSystem, d.ReadOnly || under.ReadOnly || read(dir, "ro") == "1"
		return under, nil
	}
	if slaves, err := os.ReadDir(filepath.Join(dir, "slaves")); err == nil && len(slaves) > 0 {
		if hop > maxHops {
			return d, fmt.Errorf("the drive %s: over %d devices on top of each other", name, maxHops)
		}
		below, err := l.real("sys/class/block/" + slaves[0].Name())
		if err == nil {
			d.Through = append(d.Through, name)
			if len(slaves) > 1 {
				d.Note = fmt.Sprintf("%s spreads over %d drives; this is the first", name, len(slaves))
			}
			return l.describe(d, below, hop+1)
		}
	}
	return l.whole(d, dir, name), nil
}

// whole fills in what is to be known of a whole drive.
func (l Linux) whole(d Drive, dir, name string) Drive {
	d.Name, d.Path = name, "/dev/"+name
	d.Major, d.Minor = numbers(read(dir, "dev"))
	if sectors, err := strconv.ParseInt(read(dir, "size"), 10, 64); err == nil && sectors >= 0 && sectors < 1<<53 {
		d.Bytes = sectors * 512
	}
	d.Model = clean(read(dir, "device/vendor") + " " + read(dir, "device/model"))
	d.Model = strings.TrimPrefix(d.Model, "ATA ")
	if strings.HasPrefix(d.Model, "0x") { // a PCI number, of virtio
		d.Model = ""
	}
	d.Removable = read(dir, "removable") == "1"
	d.ReadOnly = d.ReadOnly || read(dir, "ro") == "1"
	switch read(dir, "queue/rotational") {
	case "0":
		d.Spinning = "no"
	case "1":
		d.Spinning = "yes"
	}
	for _, part := range children(dir) {
		if read(filepath.Join(dir, part), "partition") != "" {
			d.Parts = appendNew(d.Parts, part)
		}
	}
	place, err := filepath.Rel(l.Root, dir)
	if err != nil {
		place = dir
	}
	d.Kind, d.Bus, d.Port = kindOf(name, filepath.ToSlash(place), d)
	if d.Kind == Virtual {
		d.Spinning = "unknown" // hypervisors call solid drives spinning
	}
	if name, ok := strings.CutPrefix(d.Name, "nvme"); ok { // the controller has a name of its own
		number, _, _ := strings.Cut(name, "n")
		d.Parts = appendNew(d.Parts, "nvme"+number)
	}
	serial := ""
	for _, file := range []string{"device/serial", "serial", "wwid", "device/wwid", "device/vpd_pg80", "device/cid"} {
		if serial = clean(read(dir, file)); serial != "" {
			break
		}
	}
	d.ID = identify(d.Model, serial, name)
	return d
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

func children(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func numbers(dev string) (major, minor uint32) {
	a, b, _ := strings.Cut(dev, ":")
	x, errX := strconv.ParseUint(a, 10, 32)
	y, errY := strconv.ParseUint(b, 10, 32)
	if errX != nil || errY != nil {
		return 0, 0
	}
	return uint32(x), uint32(y)
}

// kindOf tells the kind, the bus and the port of a drive by its name and its place in the tree of devices.
func kindOf(name, place string, d Drive) (Kind, string, string) {
	parts := strings.Split(place, "/")
	port := ""
	for i, p := range parts {
		// "usb1/1-2/1-2.3/1-2.3:1.0": the deepest name without a colon is the plug.
		if strings.HasPrefix(p, "usb") && i+1 < len(parts) {
			for _, q := range parts[i+1:] {
				if q == "" || q[0] < '0' || q[0] > '9' || strings.Contains(q, ":") || !strings.Contains(q, "-") {
					break
				}
				port = "usb " + q
			}
			return USB, "usb", port
		}
		if strings.HasPrefix(p, "ata") && len(p) > 3 && p[3] >= '0' && p[3] <= '9' {
			port = p
		}
	}
	switch {
	case virtualMake(d.Model):
		return Virtual, "virtual", port
	case strings.HasPrefix(name, "nvme"):
		return NVMe, "nvme", port
	case strings.HasPrefix(name, "mmcblk"):
		return Card, "mmc", port
	case strings.Contains(place, "/virtio"), strings.HasPrefix(name, "vd"):
		return Virtual, "virtio", port
	case strings.HasPrefix(name, "xvd"), strings.HasPrefix(name, "zram"), strings.HasPrefix(name, "ram"), strings.HasPrefix(name, "pmem"):
		return Virtual, "memory", port
	case strings.HasPrefix(name, "nbd"), strings.HasPrefix(name, "rbd"), strings.HasPrefix(name, "drbd"), strings.Contains(place, "/session"):
		return Network, "block", port
	}
	bus := "scsi"
	if port != "" {
		bus = "sata"
	}
	switch d.Spinning {
	case "yes":
		return HDD, bus, port
	case "no":
		return SSD, bus, port
	}
	return Unknown, bus, port
}
