//go:build unix

package sandbox

import "golang.org/x/sys/unix"

// free tells what the file system of dir has free.
func free(dir string) (space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return space{}, err
	}
	return space{int64(s.Bfree) * int64(s.Bsize), int64(s.Ffree)}, nil
}
