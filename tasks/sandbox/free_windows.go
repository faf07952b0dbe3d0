package sandbox

import "golang.org/x/sys/windows"

// free tells what the file system of dir has free. Windows does not count entries.
func free(dir string) (space, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return space{}, err
	}
	var all uint64
	err = windows.GetDiskFreeSpaceEx(path, nil, nil, &all)
	return space{bytes: int64(all)}, err
}
