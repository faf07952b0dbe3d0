package disk

import "bytes"

// A STORAGE_DEVICE_DESCRIPTOR of Windows, little-endian: version, size, type, type modifier, removable, queueing, then
// the offsets of maker, model, revision and serial number, then the bus.
const (
	atRemovable = 10
	atVendor    = 12
	atProduct   = 16
	atSerial    = 24
	atBus       = 28
	descriptor  = 32
)

// buses are the names of STORAGE_BUS_TYPE.
var buses = map[uint32]string{
	1: "scsi", 2: "atapi", 3: "sata", 4: "firewire", 6: "fibre", 7: "usb", 8: "raid", 9: "iscsi", 10: "sas", 11: "sata",
	12: "sd", 13: "mmc", 14: "virtual", 15: "virtual", 16: "spaces", 17: "nvme", 18: "scm", 19: "ufs",
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// parseDescriptor fills in what a descriptor says. What it cannot read it leaves as it is.
func parseDescriptor(d *Drive, b []byte) {
	if len(b) < descriptor {
		return
	}
	text := func(at int) string {
		off := le32(b[at:])
		if off == 0 || off >= uint32(len(b)) {
			return ""
		}
		s, _, _ := bytes.Cut(b[off:], []byte{0})
		return clean(string(s))
	}
	d.Removable = d.Removable || b[atRemovable] != 0
	d.Model = clean(text(atVendor) + " " + text(atProduct))
	d.Bus = buses[le32(b[atBus:])]
	if serial := text(atSerial); serial != "" {
		d.ID = identify(d.Model, serial, "")
	}
}

// windowsKind tells the kind by bus, model and whether seeking costs time.
func windowsKind(d Drive) Kind {
	switch d.Bus {
	case "usb":
		return USB
	case "nvme":
		return NVMe
	case "sd", "mmc":
		return Card
	case "iscsi":
		return Network
	case "virtual":
		return Virtual
	}
	switch {
	case virtualMake(d.Model):
		return Virtual
	case d.Spinning == "yes":
		return HDD
	case d.Spinning == "no":
		return SSD
	}
	return Unknown
}
