package gpu

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"kith/bench"
)

var cardName = regexp.MustCompile(`^card\d{1,3}$`)

// vendors by PCI id.
var vendors = map[string]string{"0x10de": bench.NVIDIA, "0x1002": bench.AMD, "0x8086": bench.Intel, "0x106b": bench.Apple}

var vendorNames = map[string]string{bench.NVIDIA: "NVIDIA", bench.AMD: "AMD", bench.Intel: "Intel", bench.Apple: "Apple"}

// parseDRM lists the cards that a Linux kernel shows below root. Virtual displays, which have no vendor that builds
// cards, are left out.
func parseDRM(root fs.FS) []Card {
	entries, err := fs.ReadDir(root, "sys/class/drm")
	if err != nil {
		return nil // a container, or a kernel without graphics
	}
	names := pciNames(root)
	var out []Card
	for _, e := range entries {
		if !cardName.MatchString(e.Name()) || len(out) >= maxCards {
			continue
		}
		dir := path.Join("sys/class/drm", e.Name(), "device")
		vendor, ok := vendors[strings.ToLower(text(root, dir+"/vendor"))]
		if !ok {
			continue
		}
		c := unknown()
		c.Vendor = vendor
		id := strings.TrimPrefix(strings.ToLower(text(root, dir+"/device")), "0x")
		c.Model = names(strings.TrimPrefix(strings.ToLower(text(root, dir+"/vendor")), "0x"), id)
		if c.Model == "" {
			c.Model = clip(text(root, dir+"/product_name"))
		}
		if c.Model == "" {
			c.Model = fmt.Sprintf("%s graphics, device %s", vendorNames[vendor], clip(id))
		}
		for line := range strings.Lines(string(read(root, dir+"/uevent"))) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch key {
			case "DRIVER":
				c.Driver = clip(value)
			case "PCI_SLOT_NAME":
				c.Bus = clip(value)
			}
		}
		if total := whole(text(root, dir+"/mem_info_vram_total"), 1<<50); total > 0 {
			c.VRAM = total
			if used := whole(text(root, dir+"/mem_info_vram_used"), total); used >= 0 {
				c.Free = total - used
			}
		}
		c.PCIeWidth = int(whole(text(root, dir+"/current_link_width"), 64))
		sensors(root, dir, &c)
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b Card) int { return strings.Compare(a.Bus, b.Bus) })
	return out
}

// sensors reads the card's own hwmon, where there is one: millidegrees and microwatts.
func sensors(root fs.FS, dir string, c *Card) {
	entries, err := fs.ReadDir(root, dir+"/hwmon")
	if err != nil {
		return
	}
	for _, e := range entries {
		at := path.Join(dir, "hwmon", e.Name())
		if v := decimal(text(root, at+"/temp1_input"), 200_000); v >= 0 {
			c.TempC = v / 1000
		}
		for _, name := range []string{"/power1_average", "/power1_input"} {
			if v := decimal(text(root, at+name), 5e9); v >= 0 {
				c.PowerW = v / 1e6
			}
		}
		if v := decimal(text(root, at+"/power1_cap"), 5e9); v > 0 {
			c.LimitW = v / 1e6
		}
	}
}

// pciNames looks names up in the list of PCI ids that most systems carry.
func pciNames(root fs.FS) func(vendor, device string) string {
	var data []byte
	for _, name := range []string{"usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids", "usr/share/pci.ids"} {
		if data = read(root, name); len(data) > 0 {
			break
		}
	}
	return func(vendor, device string) string { return lookup(string(data), vendor, device) }
}

// lookup finds a device in a list of PCI ids: a line of the vendor, then indented lines of its devices.
func lookup(list, vendor, device string) string {
	if len(vendor) != 4 || len(device) != 4 {
		return ""
	}
	inside := false
	for line := range strings.Lines(list) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "" || line[0] == '#' || strings.HasPrefix(line, "\t\t"):
		case line[0] == '\t':
			if inside && strings.HasPrefix(line[1:], device+" ") {
				name := strings.TrimSpace(line[6:])
				if _, inner, ok := strings.Cut(name, "["); ok { // "AD102 [GeForce RTX 4090]"
					name, _, _ = strings.Cut(inner, "]")
				}
				return clip(name)
			}
		default:
			if inside {
				return ""
			}
			inside = strings.HasPrefix(strings.ToLower(line), vendor+" ")
		}
	}
	return ""
}

func read(root fs.FS, name string) []byte {
	const most = 4 << 20
	f, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	var b []byte
	buf := make([]byte, 32<<10)
	for len(b) < most {
		n, err := f.Read(buf)
		b = append(b, buf[:n]...)
		if err != nil || n == 0 {
			break
		}
	}
	return b
}

func text(root fs.FS, name string) string { return strings.TrimSpace(string(read(root, name))) }

// parseSizeWords reads "8 GB" or "1536 MB"; what is neither is -1.
func parseSizeWords(s string) int64 {
	number, unit, _ := strings.Cut(strings.TrimSpace(s), " ")
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil || v < 0 || v > 1<<20 {
		return -1
	}
	switch strings.ToUpper(strings.TrimSpace(unit)) {
	case "GB":
		return v << 30
	case "MB":
		return v << 20
	}
	return -1
}
