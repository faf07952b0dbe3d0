package disk

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
)

// fromDiskutil fills in what "diskutil info -plist" of macOS says.
func fromDiskutil(d *Drive, plist []byte) {
	v, err := flatPlist(plist)
	if err != nil {
		d.Note = "diskutil is not understood: " + err.Error()
		return
	}
	if whole := v["ParentWholeDisk"]; whole != "" {
		d.Name, d.Path = whole, "/dev/"+whole
	}
	if stores := v["APFSPhysicalStores/APFSPhysicalStore"]; stores != "" { // "disk0s2": on which drive the container lies
		d.Through = appendNew(d.Through, d.Name)
		d.Name = wholeDisk(stores)
		d.Path = "/dev/" + d.Name
	}
	d.Model = clean(v["MediaName"])
	if n, err := strconv.ParseInt(v["TotalSize"], 10, 64); err == nil && n > 0 {
		d.Bytes = n
	}
	switch v["SolidState"] {
	case "true":
		d.Spinning = "no"
	case "false":
		d.Spinning = "yes"
	}
	d.Removable = v["RemovableMediaOrExternalDevice"] == "true" || v["Ejectable"] == "true"
	d.ReadOnly = d.ReadOnly || v["WritableVolume"] == "false" && v["WritableMedia"] == "false"
	switch bus := v["BusProtocol"]; bus {
	case "USB":
		d.Kind, d.Bus = USB, "usb"
	case "PCI-Express", "Apple Fabric":
		d.Kind, d.Bus = NVMe, "nvme"
	case "Secure Digital":
		d.Kind, d.Bus = Card, "sd"
	case "Disk Image", "Virtual Interface":
		d.Kind, d.Bus = Virtual, "virtual"
	case "Thunderbolt":
		d.Bus = "thunderbolt"
	case "SATA":
		d.Bus = "sata"
	}
	if d.Kind == Unknown && d.Spinning == "yes" {
		d.Kind = HDD
	}
	if d.Kind == Unknown && d.Spinning == "no" {
		d.Kind = SSD
	}
	d.ID = identify(d.Model, v["DiskUUID"], d.Name)
}

// wholeDisk turns disk0s2 into disk0.
func wholeDisk(name string) string {
	if len(name) > 4 {
		if i := bytes.IndexByte([]byte(name[4:]), 's'); i > 0 {
			return name[:4+i]
		}
	}
	return name
}

var errPlist = errors.New("no property list")

// flatPlist reads the texts, numbers and switches of a property list; those in dictionaries within get the name of the
// outer key, a slash and their own, and of several with one name the first stays.
func flatPlist(data []byte) (map[string]string, error) {
	out := map[string]string{}
	dec := xml.NewDecoder(bytes.NewReader(data))
	var path []string // outer keys of dictionaries and arrays
	key, seen := "", false
	name := func() string {
		full := ""
		for _, p := range path {
			if p != "" {
				full += p + "/"
			}
		}
		return full + key
	}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			if !seen || len(path) > 0 {
				return nil, errPlist
			}
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "plist":
			case "dict", "array":
				if len(path) > 32 {
					return nil, errPlist
				}
				path, key, seen = append(path, key), "", true
			case "true", "false":
				set(out, name(), t.Name.Local)
			default:
				var text string
				if err := dec.DecodeElement(&text, &t); err != nil {
					return nil, err
				}
				if t.Name.Local == "key" {
					key = text
				} else {
					set(out, name(), text)
				}
			}
		case xml.EndElement:
			if n := t.Name.Local; (n == "dict" || n == "array") && len(path) > 0 {
				path = path[:len(path)-1]
			}
		}
	}
}

func set(m map[string]string, key, value string) {
	if _, there := m[key]; !there {
		m[key] = value
	}
}
