package disk

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Controls of the storage stack, from winioctl.h.
const (
	ioctlDeviceNumber  = 0x2D1080 // IOCTL_STORAGE_GET_DEVICE_NUMBER
	ioctlQueryProperty = 0x2D1400 // IOCTL_STORAGE_QUERY_PROPERTY
	ioctlLength        = 0x7405C  // IOCTL_DISK_GET_LENGTH_INFO
	propertyDevice     = 0        // StorageDeviceProperty
	propertySeek       = 7        // StorageDeviceSeekPenaltyProperty
)

// Of returns the drive that holds a file or folder.
func Of(at string) (Drive, error) {
	at, err := filepath.Abs(at)
	if err != nil {
		return Drive{}, err
	}
	name, err := windows.UTF16PtrFromString(at)
	if err != nil {
		return Drive{}, fmt.Errorf("the drive of %s: %w", at, err)
	}
	point := make([]uint16, windows.MAX_LONG_PATH)
	if err := windows.GetVolumePathName(name, &point[0], uint32(len(point))); err != nil {
		return Drive{}, fmt.Errorf("the drive of %s: %w", at, err)
	}
	mount := windows.UTF16ToString(point)
	d := Drive{Mount: mount, Name: strings.TrimSuffix(mount, `\`), Kind: Unknown, Spinning: "unknown"}
	switch windows.GetDriveType(&point[0]) {
	case windows.DRIVE_REMOTE:
		d.Kind, d.Bus, d.ID = Network, "smb", identify("network", "", mount)
		return d, nil
	case windows.DRIVE_RAMDISK:
		d.Kind, d.Bus, d.ID = Virtual, "memory", identify("memory", "", mount)
		return d, nil
	case windows.DRIVE_REMOVABLE:
		d.Removable = true
	}
	fs := make([]uint16, 64)
	var serial, longest, flags uint32
	if windows.GetVolumeInformation(&point[0], nil, 0, &serial, &longest, &flags, &fs[0], uint32(len(fs))) == nil {
		d.FileSystem = windows.UTF16ToString(fs)
		d.ReadOnly = flags&windows.FILE_READ_ONLY_VOLUME != 0
	}
	d.ID = identify("", strconv.FormatUint(uint64(serial), 16), mount)
	volume := make([]uint16, 64)
	if err := windows.GetVolumeNameForVolumeMountPoint(&point[0], &volume[0], uint32(len(volume))); err != nil {
		d.Note = "this system does not tell its volume: " + err.Error()
		return d, nil
	}
	h, err := openDevice(strings.TrimSuffix(windows.UTF16ToString(volume), `\`))
	if err != nil {
		d.Note = "the volume cannot be asked: " + err.Error()
		return d, nil
	}
	defer windows.CloseHandle(h)
	fromHandle(&d, h)
	return d, nil
}

// openDevice opens a volume or drive without the right to read it, which needs no administrator.
func openDevice(path string) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	return windows.CreateFile(name, 0, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, 0, 0)
}

func control(h windows.Handle, code uint32, in, out []byte) ([]byte, error) {
	var n uint32
	var from *byte
	if len(in) > 0 {
		from = &in[0]
	}
	if err := windows.DeviceIoControl(h, code, from, uint32(len(in)), &out[0], uint32(len(out)), &n, nil); err != nil {
		return nil, err
	}
	return out[:n], nil
}

// fromHandle asks the drive below a volume what it is.
func fromHandle(d *Drive, h windows.Handle) {
	var number struct{ deviceType, deviceNumber, partition uint32 }
	raw := make([]byte, unsafe.Sizeof(number))
	if got, err := control(h, ioctlDeviceNumber, nil, raw); err == nil && len(got) >= 8 {
		d.Name = "PhysicalDrive" + strconv.FormatUint(uint64(le32(got[4:])), 10)
		d.Path = `\\.\` + d.Name
	}
	query := make([]byte, 12) // property, type of query, and room for a parameter
	query[0] = propertyDevice
	if got, err := control(h, ioctlQueryProperty, query, make([]byte, 4096)); err == nil {
		parseDescriptor(d, got)
	} else {
		d.Note = "the drive does not describe itself: " + err.Error()
	}
	query[0] = propertySeek
	if got, err := control(h, ioctlQueryProperty, query, make([]byte, 64)); err == nil && len(got) >= 9 {
		d.Spinning = "no"
		if got[8] != 0 {
			d.Spinning = "yes"
		}
	}
	if got, err := control(h, ioctlLength, nil, make([]byte, 8)); err == nil && len(got) == 8 {
		d.Bytes = int64(uint64(le32(got)) | uint64(le32(got[4:]))<<32)
	}
	d.Kind = windowsKind(*d)
}
