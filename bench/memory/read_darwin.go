package memory

import "golang.org/x/sys/unix"

// Read asks the system. It never fails: what cannot be found out is zero.
func Read() Info {
	total, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return Info{}
	}
	i := Info{Total: int64(min(total, 1<<50))}
	for _, name := range []string{"vm.page_free_count", "vm.page_purgeable_count", "vm.page_pageable_external_count"} { // the last is the file cache
		if pages, err := unix.SysctlUint32(name); err == nil {
			i.Available += int64(pages) * int64(unix.Getpagesize())
		}
	}
	i.Available = min(i.Available, i.Total)
	return i
}
