package disk

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fakeSystem writes files below a new root; a text that begins with "-> " is a symbolic link.
func fakeSystem(t *testing.T, files map[string]string) Linux {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		at := filepath.Join(root, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(at), 0o755))
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			must(t, os.Symlink(target, at))
			continue
		}
		must(t, os.WriteFile(at, []byte(text+"\n"), 0o644))
	}
	return Linux{Root: root}
}

// blockDevice lists the files of a device at a place of the tree, with the links that lead to it.
func blockDevice(files map[string]string, place, dev string, more map[string]string) {
	files["sys/"+place+"/dev"] = dev
	files["sys/dev/block/"+dev] = "-> ../../" + place
	files["sys/class/block/"+filepath.Base(place)] = "-> ../../" + place
	for name, text := range more {
		files["sys/"+place+"/"+name] = text
	}
}

const mountinfo = "proc/self/mountinfo"

func TestOfLinux(t *testing.T) {
	const (
		usb  = "devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.3/1-2.3:1.0/host6/target6:0:0/6:0:0:0/block/sdb"
		sata = "devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sda"
		nvme = "devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1"
	)
	for _, c := range []struct {
		name  string
		mount string
		tree  func(map[string]string)
		at    string
		want  Drive // of the fields that are not zero here
	}{
		{
			"virtio root", "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw", func(f map[string]string) {
				blockDevice(f, "devices/pci0000:00/0000:00:02.0/virtio1/block/vda", "254:0", map[string]string{"size": "536870912", "queue/rotational": "1", "device/vendor": "0x1af4"})
			}, "/home/ann", Drive{Kind: Virtual, Name: "vda", Bus: "virtio", Spinning: "unknown", Bytes: 256 << 30, Mount: "/", FileSystem: "ext4", Major: 254},
		},
		{
			"partition of a SATA hard disk", "27 1 8:1 / / rw - ext4 /dev/sda1 rw", func(f map[string]string) {
				blockDevice(f, sata, "8:0", map[string]string{"size": "2048", "queue/rotational": "1", "device/vendor": "ATA     ", "device/model": "WDC WD40EFRX-68N", "device/wwid": "t10.ATA WDC"})
				blockDevice(f, sata+"/sda1", "8:1", map[string]string{"partition": "1"})
			}, "/x", Drive{Kind: HDD, Name: "sda", Bus: "sata", Port: "ata3", Spinning: "yes", Model: "WDC WD40EFRX-68N", Parts: []string{"sda1"}, Major: 8},
		},
		{
			"external disk on a hub", "27 1 8:17 / /media/my\\040disk rw - exfat /dev/sdb1 rw", func(f map[string]string) {
				blockDevice(f, usb, "8:16", map[string]string{"size": "2048", "queue/rotational": "1", "device/vendor": "Seagate", "device/model": "Expansion", "removable": "0"})
				blockDevice(f, usb+"/sdb1", "8:17", map[string]string{"partition": "1"})
			}, "/media/my disk/kith", Drive{Kind: USB, Name: "sdb", Bus: "usb", Port: "usb 1-2.3", Spinning: "yes", Model: "Seagate Expansion", Mount: "/media/my disk", Major: 8, Minor: 16},
		},
		{
			"nvme", "27 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw", func(f map[string]string) {
				blockDevice(f, nvme, "259:0", map[string]string{"size": "2048", "queue/rotational": "0", "device/model": "Samsung SSD 980 PRO 1TB", "device/serial": "S5GX"})
				blockDevice(f, nvme+"/nvme0n1p2", "259:2", map[string]string{"partition": "2"})
			}, "/", Drive{Kind: NVMe, Name: "nvme0n1", Spinning: "no", Parts: []string{"nvme0n1p2", "nvme0"}, Major: 259},
		},
		{
			"loop device on an external disk", "27 1 8:17 / /media/usb rw - ext4 /dev/sdb1 rw\n28 27 7:0 / /mnt/image ro - ext4 /dev/loop0 ro", func(f map[string]string) {
				blockDevice(f, usb, "8:16", map[string]string{"size": "2048", "queue/rotational": "1"})
				blockDevice(f, usb+"/sdb1", "8:17", map[string]string{"partition": "1"})
				blockDevice(f, "devices/virtual/block/loop0", "7:0", map[string]string{"loop/backing_file": "/media/usb/disk.img"})
			}, "/mnt/image/x", Drive{Kind: USB, Name: "sdb", Port: "usb 1-2.3", Through: []string{"loop0"}, Mount: "/mnt/image", ReadOnly: true},
		},
		{
			"encrypted volume", "27 1 253:0 / / rw - btrfs /dev/mapper/root rw", func(f map[string]string) {
				blockDevice(f, sata, "8:0", map[string]string{"size": "2048", "queue/rotational": "0"})
				blockDevice(f, sata+"/sda1", "8:1", map[string]string{"partition": "1"})
				blockDevice(f, "devices/virtual/block/dm-0", "253:0", map[string]string{"slaves/sda1": ""})
			}, "/x", Drive{Kind: SSD, Name: "sda", Port: "ata3", Through: []string{"dm-0"}, Parts: []string{"sda1"}},
		},
		{
			"btrfs, whose number is its own", "27 1 0:45 / / rw - btrfs /dev/sda1 rw", func(f map[string]string) {
				blockDevice(f, sata, "8:0", map[string]string{"queue/rotational": "0"})
				blockDevice(f, sata+"/sda1", "8:1", map[string]string{"partition": "1"})
			}, "/x", Drive{Kind: SSD, Name: "sda", Port: "ata3"},
		},
		{
			"container", "27 1 0:45 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/c/upper,workdir=/w\n28 27 254:0 / /var/lib/c rw - ext4 /dev/vda rw", func(f map[string]string) {
				blockDevice(f, "devices/virtio1/block/vda", "254:0", nil)
			}, "/data", Drive{Kind: Virtual, Name: "vda", Through: []string{"overlay"}, FileSystem: "overlay"},
		},
		{"container that hides its upper folder", "27 1 0:45 / / rw - overlay overlay rw,upperdir=/var/lib/c/upper", func(map[string]string) {}, "/data", Drive{Kind: Unknown, Name: "overlay", FileSystem: "overlay"}},
		{"no /sys", "27 1 8:1 / / rw - ext4 /dev/sda1 rw", func(map[string]string) {}, "/x", Drive{Kind: Unknown, Name: "/dev/sda1"}},
		{"network", "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n28 27 0:50 / /nas rw - nfs4 nas:/share rw", func(map[string]string) {}, "/nas/kith", Drive{Kind: Network, Name: "nas:/share", Bus: "nfs4"}},
		{"memory", "27 1 0:50 / /tmp rw - tmpfs tmpfs rw", func(map[string]string) {}, "/tmp/x", Drive{Kind: Virtual, Bus: "memory", Spinning: "no"}},
		{
			"card", "27 1 179:1 / / rw - ext4 /dev/mmcblk0p1 rw", func(f map[string]string) {
				blockDevice(f, "devices/mmc0/block/mmcblk0", "179:0", map[string]string{"removable": "1", "queue/rotational": "0"})
				blockDevice(f, "devices/mmc0/block/mmcblk0/mmcblk0p1", "179:1", map[string]string{"partition": "1"})
			}, "/x", Drive{Kind: Card, Name: "mmcblk0", Removable: true},
		},
		{
			"a later mount covers the earlier", "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n28 27 0:50 / /x rw - tmpfs tmpfs rw\n29 27 0:51 / /x rw - nfs nas:/y rw", func(map[string]string) {}, "/x/a", Drive{Kind: Network, Name: "nas:/y"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{mountinfo: c.mount}
			c.tree(files)
			d, err := fakeSystem(t, files).Of(c.at)
			must(t, err)
			w := c.want
			switch {
			case d.Kind != w.Kind, w.Name != "" && d.Name != w.Name, w.Bus != "" && d.Bus != w.Bus, w.Spinning != "" && d.Spinning != w.Spinning,
				w.Bytes != 0 && d.Bytes != w.Bytes, w.Mount != "" && d.Mount != w.Mount, w.FileSystem != "" && d.FileSystem != w.FileSystem,
				d.Port != w.Port, w.Model != "" && d.Model != w.Model, w.Parts != nil && !slices.Equal(d.Parts, w.Parts), !slices.Equal(d.Through, w.Through),
				d.ReadOnly != w.ReadOnly, d.Removable != w.Removable, w.Major != 0 && d.Major != w.Major, w.Minor != 0 && d.Minor != w.Minor, len(d.ID) != 16:
				t.Errorf("got  %+v\nwant %+v", d, w)
			}
			if d.Kind == Unknown && d.Note == "" {
				t.Error("unknown without a word why")
			}
		})
	}
}

func TestOfLinuxBadInput(t *testing.T) {
	loop := map[string]string{mountinfo: "27 1 7:0 / / rw - ext4 /dev/loop0 rw"}
	blockDevice(loop, "devices/virtual/block/loop0", "7:0", map[string]string{"loop/backing_file": "/disk.img"})
	for name, files := range map[string]map[string]string{
		"no /proc":              {},
		"no mount":              {mountinfo: "garbage"},
		"a loop of loop drives": loop,
	} {
		if d, err := fakeSystem(t, files).Of("/x"); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	odd := map[string]string{mountinfo: "27 1 8:0 / / rw - ext4 /dev/sda rw"}
	blockDevice(odd, "devices/x/block/sda", "8:0", map[string]string{"size": "-5", "queue/rotational": "NaN", "device/model": "\x1b[31m\xff evil"})
	d, err := fakeSystem(t, odd).Of("/x")
	if err != nil || d.Bytes != 0 || d.Kind != Unknown || strings.Contains(d.Model, "\x1b") || strings.Contains(d.Model, "\xff") {
		t.Errorf("%+v %v", d, err)
	}
}

// TestOfHere: the drive of this folder is told, whatever this machine is, and a path that does not exist has the drive it
// would be on.
func TestOfHere(t *testing.T) {
	dir := t.TempDir()
	a, err := Of(dir)
	must(t, err)
	b, err := Of(filepath.Join(dir, "not", "there"))
	must(t, err)
	if a.ID != b.ID || a.Mount == "" || a.FileSystem == "" {
		t.Errorf("%+v\n%+v", a, b)
	}
	link := filepath.Join(dir, "link")
	must(t, os.Symlink(link, link))
	if _, err := Of(filepath.Join(link, "x")); err != nil {
		t.Errorf("a link to itself: %v", err)
	}
}

func TestNames(t *testing.T) {
	d := Drive{Name: "sdb", Parts: []string{"sdb1"}, Through: []string{"dm-0"}, Port: "usb 1-2.3"}
	for _, c := range []struct {
		device, port string
		want         bool
	}{{"sdb", "", true}, {"sdb1", "", true}, {"dm-0", "", true}, {"sdb2", "", false}, {"sd", "", false}, {"", "usb 1-2.3", true}, {"", "usb 1-2", true}, {"", "usb 1-3", false}, {"", "usb 1-2.31", false}, {"", "", false}} {
		if got := d.Names(c.device, c.port); got != c.want {
			t.Errorf("%q %q: %v", c.device, c.port, got)
		}
	}
}

func TestDescriptor(t *testing.T) {
	text := "Seagate \x00Expansion Desk\x00  SER123\x00"
	b := make([]byte, 64)
	b[atRemovable] = 1
	binary.LittleEndian.PutUint32(b[atVendor:], 64)
	binary.LittleEndian.PutUint32(b[atProduct:], 64+9)
	binary.LittleEndian.PutUint32(b[atSerial:], 64+9+15)
	binary.LittleEndian.PutUint32(b[atBus:], 7)
	d := Drive{Spinning: "yes"}
	parseDescriptor(&d, append(b, text...))
	if d.Model != "Seagate Expansion Desk" || d.Bus != "usb" || !d.Removable || d.ID != identify("Seagate Expansion Desk", "SER123", "") || windowsKind(d) != USB {
		t.Errorf("%+v", d)
	}
	for n := range b {
		parseDescriptor(&Drive{}, b[:n]) // cut short anywhere
	}
	binary.LittleEndian.PutUint32(b[atProduct:], 1<<31)
	parseDescriptor(&Drive{}, b)
	for want, d := range map[Kind]Drive{
		NVMe: {Bus: "nvme"}, SSD: {Bus: "sata", Spinning: "no"}, HDD: {Bus: "raid", Spinning: "yes"}, Virtual: {Bus: "scsi", Model: "VMware Virtual disk"}, Unknown: {Spinning: "unknown"}, Network: {Bus: "iscsi"}, Card: {Bus: "sd"},
	} {
		if got := windowsKind(d); got != want {
			t.Errorf("%+v is %s, want %s", d, got, want)
		}
	}
}

func TestDiskutil(t *testing.T) {
	const head = `<?xml version="1.0"?><!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "x"><plist version="1.0"><dict>`
	internal := head + `<key>APFSPhysicalStores</key><array><dict><key>APFSPhysicalStore</key><string>disk0s2</string></dict></array>
<key>BusProtocol</key><string>Apple Fabric</string><key>MediaName</key><string>APPLE SSD AP0512Q</string><key>SolidState</key><true/>
<key>ParentWholeDisk</key><string>disk3</string><key>TotalSize</key><integer>494384795648</integer><key>WritableVolume</key><true/></dict></plist>`
	d := Drive{Kind: Unknown, Spinning: "unknown"}
	fromDiskutil(&d, []byte(internal))
	if d.Kind != NVMe || d.Name != "disk0" || d.Model != "APPLE SSD AP0512Q" || d.Bytes != 494384795648 || d.Spinning != "no" || !slices.Equal(d.Through, []string{"disk3"}) {
		t.Errorf("%+v", d)
	}
	d = Drive{Kind: Unknown}
	fromDiskutil(&d, []byte(head+`<key>BusProtocol</key><string>USB</string><key>SolidState</key><false/><key>ParentWholeDisk</key><string>disk4</string><key>RemovableMediaOrExternalDevice</key><true/></dict></plist>`))
	if d.Kind != USB || d.Spinning != "yes" || !d.Removable || d.Path != "/dev/disk4" {
		t.Errorf("%+v", d)
	}
	for _, bad := range []string{"", "x", "<plist>", "<plist><dict><key>", "<plist/>", head + strings.Repeat("<dict>", 1000)} {
		d := Drive{}
		if fromDiskutil(&d, []byte(bad)); d.Note == "" {
			t.Errorf("%.40q is understood", bad)
		}
	}
}

func FuzzParseMount(f *testing.F) {
	f.Add(`27 1 254:0 / /a\040b rw,relatime shared:1 - ext4 /dev/vda rw,discard`, "/a b/c")
	f.Add("28 27 0:26 / / ro,nosuid - tmpfs tmpfs", "/x")
	f.Fuzz(func(t *testing.T, text, at string) {
		m, err := mountOf(text, "/"+at)
		if err == nil && m.point == "" && !strings.Contains(text, " - ") {
			t.Errorf("%+v", m)
		}
	})
}

func FuzzDiskutil(f *testing.F) {
	f.Add([]byte(`<plist><dict><key>a</key><array><dict><key>b</key><true/></dict></array></dict></plist>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fromDiskutil(&Drive{}, data)
	})
}

func FuzzDescriptor(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := Drive{}
		parseDescriptor(&d, data)
		windowsKind(d)
	})
}
