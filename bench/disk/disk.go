// Package disk knows the drives of this machine: which one holds a folder, what it is, what it says of its own health
// and how fast it is. What may hang or crash (a dead network drive answers nobody) is done by Probe and Ask in a child
// process of the same program with a time limit.
package disk

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Kind is what a drive is.
type Kind string

// The kinds. What cannot be told is Unknown.
const (
	NVMe    Kind = "nvme"
	SSD     Kind = "ssd"
	HDD     Kind = "hdd"
	USB     Kind = "usb"     // anything behind a USB plug
	Card    Kind = "card"    // SD and eMMC
	Network Kind = "network" // another machine's drive
	Virtual Kind = "virtual" // of a virtual machine, or in memory
	Unknown Kind = "unknown"
)

// Drive is one drive as this machine sees it.
type Drive struct {
	// ID stays the same over restarts and plugs, where the drive tells a serial number; it is a hash and tells none.
	ID         string   `json:"id"`
	Name       string   `json:"name"` // of the system: "sda", "PhysicalDrive1", "disk2"; "server:/share"
	Path       string   `json:"path,omitempty"`
	Kind       Kind     `json:"kind"`
	Model      string   `json:"model,omitempty"`
	Bus        string   `json:"bus,omitempty"` // "usb", "sata", "virtio", "nfs4"
	Bytes      int64    `json:"bytes,omitempty"`
	Spinning   string   `json:"spinning"` // "yes", "no", "unknown": a virtual drive's word is not believed
	Removable  bool     `json:"removable,omitempty"`
	ReadOnly   bool     `json:"readOnly,omitempty"` // the drive, or the file system on it
	Mount      string   `json:"mount,omitempty"`    // of the file system asked about
	FileSystem string   `json:"fileSystem,omitempty"`
	Through    []string `json:"through,omitempty"` // what lies between: "loop0", "dm-0"
	Port       string   `json:"port,omitempty"`    // as the kernel's log names it: "usb 1-2", "ata3"
	Parts      []string `json:"parts,omitempty"`   // other names of it in the kernel's log: partitions, controllers
	Major      uint32   `json:"major,omitempty"`   // Linux: of the whole drive
	Minor      uint32   `json:"minor,omitempty"`
	Note       string   `json:"note,omitempty"` // what could not be learnt and why
}

// External reports whether the drive hangs on a plug that people pull.
func (d Drive) External() bool {
	return d.Kind == USB || d.Kind == Card && d.Removable || d.Bus == "firewire" || d.Bus == "thunderbolt"
}

// Title is the drive in a few words.
func (d Drive) Title() string {
	title := d.Name
	if d.Model != "" {
		title = d.Model + " (" + d.Name + ")"
	}
	return title
}

// Names reports whether the kernel's log means this drive by a device name or a port.
func (d Drive) Names(device, port string) bool {
	if port != "" && (port == d.Port || strings.HasPrefix(d.Port, port+".")) { // a hub's reset is one of all behind it
		return true
	}
	if device == "" {
		return false
	}
	for _, n := range append(append([]string{d.Name}, d.Parts...), d.Through...) {
		if device == n {
			return true
		}
	}
	return false
}

// identify makes an ID of what a drive says of itself, or of its place where it says nothing.
func identify(model, serial, place string) string {
	key := "serial\x00" + model + "\x00" + serial
	if serial == "" {
		key = "place\x00" + model + "\x00" + place
	}
	sum := sha256.Sum256([]byte("kith drive\x00" + key))
	return hex.EncodeToString(sum[:8])
}

// clean takes the padding out of what a drive says of itself.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
	if len(s) > 200 {
		s = s[:200]
	}
	return strings.Join(strings.Fields(s), " ")
}

// virtualMake reports whether a maker or model names a virtual machine.
func virtualMake(s string) bool {
	s = strings.ToLower(s)
	for _, name := range []string{"qemu", "vbox", "vmware", "virtual disk", "virtual hd", "msft virtual", "xen", "parallels", "google persistentdisk", "amazon elastic block store"} {
		if strings.Contains(s, name) {
			return true
		}
	}
	return false
}
