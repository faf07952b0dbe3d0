package governor

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseKernel(t *testing.T) {
	for _, c := range []struct {
		line, device, port string
		cause              Cause
	}{
		{"3,1200,5140900,-;blk_update_request: I/O error, dev sdb, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 0", "sdb", "", IOError},
		{"3,1201,5140901,-;I/O error, dev nvme0n1, sector 1953524992 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2", "nvme0n1", "", IOError},
		{"3,1202,5140902,-;print_req_error: critical medium error, dev sda, sector 12345", "sda", "", MediumError},
		{"3,1203,5140903,-;Buffer I/O error on dev sdb1, logical block 0, lost async page write", "sdb1", "", IOError},
		{"6,1204,5140904,-;sd 6:0:0:0: [sdc] tag#0 Sense Key : Medium Error [current] ", "sdc", "", MediumError},
		{"2,1205,5140905,-;EXT4-fs error (device sdb1): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0", "sdb1", "", IOError},
		{"2,1206,5140906,-;EXT4-fs (sdb1): Remounting filesystem read-only", "sdb1", "", ReadOnly},
		{"1,1207,5140907,-;XFS (dm-0): metadata I/O error in \"xfs_trans_read_buf_map\" at daddr 0x1", "dm-0", "", IOError},
		{"3,1208,5140908,-;BTRFS error (device sda2): bdev /dev/sda2 errs: wr 0, rd 1", "sda2", "", IOError},
		{"6,1209,5140909,-;usb 1-2.3: reset high-speed USB device number 5 using xhci_hcd", "", "usb 1-2.3", LinkReset},
		{"6,1210,5140910,c+usb:1-2;usb 2-1: USB disconnect, device number 3", "", "usb 2-1", Vanished},
		{"3,1211,5140911,-;ata3.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen", "", "ata3", LinkReset},
		{"6,1212,5140912,-;ata3: hard resetting link", "", "ata3", LinkReset},
		{"4,1213,5140913,-;nvme nvme0: I/O 123 QID 4 timeout, aborting", "nvme0", "", LinkReset},
		{"4,1214,5140914,-;nvme nvme1: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10", "nvme1", "", LinkReset},
		{"3,1215,5140915,-;FAT-fs (sdd1): error, fat_get_cluster: invalid cluster chain (i_pos 0)", "sdd1", "", IOError},
		{"3,1216,5140916,-;I/O error, dev loop0, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0\n SUBSYSTEM=block\n DEVICE=b7:0", "loop0", "", IOError},
	} {
		e, ok := ParseKernel(c.line)
		if !ok || e.Cause != c.cause || e.Device != c.device || e.Port != c.port || e.Micros < 5140900 || e.Text == "" {
			t.Errorf("%s\n  gives %+v %v", c.line, e, ok)
		}
	}
	for _, line := range []string{
		"", ";", "x", "6,1,2,-;", "6,1,-2,-;I/O error, dev sda, sector 1", "6,339,5140900,-;NET: Registered PF_INET protocol family",
		"14,5,6,-;I/O error, dev sda, sector 1", // written by a program
		"6,1,2,-;usb 1-2: new high-speed USB device number 5 using xhci_hcd", "6,1,2,-;usb : reset ", "6,1,2,-;I/O error, dev , sector 5",
		"6,1,2,-;EXT4-fs (vda): mounted filesystem with ordered data mode", "6,1,2,-;nvme nvme0: 4/0/0 default/read/poll queues",
		"6,1,2,-;ata1: SATA link up 6.0 Gbps (SStatus 133 SControl 300)",
	} {
		if e, ok := ParseKernel(line); ok {
			t.Errorf("%q gives %+v", line, e)
		}
	}
}

func FuzzParseKernel(f *testing.F) {
	f.Add("3,1200,5140900,-;blk_update_request: I/O error, dev sdb, sector 2048")
	f.Add("2,1205,5140905,-;EXT4-fs error (device sdb1): x\n KEY=v")
	f.Add("6,1,2,-;usb 1-2: reset \xff\x00")
	f.Fuzz(func(t *testing.T, line string) {
		e, ok := ParseKernel(line)
		if !ok {
			if e.Cause != "" || e.Device != "" {
				t.Errorf("not ok and yet %+v", e)
			}
			return
		}
		if _, known := effects[e.Cause]; !known || e.Device == "" && e.Port == "" || len(e.Device) > 64 || len(e.Port) > 68 || e.Micros < 0 || !utf8.ValidString(e.Text) {
			t.Errorf("%+v", e)
		}
		if strings.ContainsAny(e.Device+e.Port, "/\n") || strings.Contains(e.Text, "\n") {
			t.Errorf("a name that is no name: %+v", e)
		}
	})
}
