package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const canConfine = true

// enter confines this process for good: to the folders in dir, or to none, if dir is empty, with the layers of want. It
// returns those that hold, and why the others do not.
func enter(dir string, want Layers) (have Layers, err error) {
	var errs []error
	try := func(l Layers, raise func() error) {
		if want&l == 0 {
			return
		}
		if err := raise(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l, err))
			return
		}
		have |= l
	}
	if want&LayerNamespaces != 0 {
		have |= LayerNamespaces // since the process was made
		try(LayerRoot, func() error { return ownRoot(dir) })
		if have&LayerRoot != 0 && dir != "" {
			dir = "/"
		}
	}
	lowerLimits()
	try(LayerPrivileges, dropPrivileges)
	try(LayerLandlock, func() error { return landlock(dir) })
	try(LayerSyscalls, func() error { return filterSyscalls(have&LayerRoot != 0) })
	return have, errors.Join(errs...)
}

// entered: no runner here begins its life confined.
func entered() (Layers, bool) { return 0, false }

// folders are what a confined process sees.
var folders = [...]struct {
	name     string
	writable bool
}{{InDir, false}, {OutDir, true}, {TmpDir, true}}

// ownRoot makes an empty read-only root with nothing but the folders of dir in it, and leaves the old one behind. The
// process must have a mount namespace of its own and the privilege to mount in it.
func ownRoot(dir string) error {
	// Copies of the folders' mounts that hang nowhere yet: they do not depend on paths that are covered below.
	var trees [len(folders)]int
	for i, f := range folders {
		if dir == "" {
			break
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, filepath.Join(dir, f.name), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			return fmt.Errorf("open_tree %s: %w", f.name, err)
		}
		defer unix.Close(fd)
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}
		if !f.writable {
			attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
		}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
			return fmt.Errorf("mount_setattr %s: %w", f.name, err)
		}
		trees[i] = fd
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	const covered = "/proc" // a folder that is always there
	if err := unix.Mount("kith", covered, "tmpfs", flags, "size=64k,nr_inodes=16,mode=0755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	if err := os.Chdir(covered); err != nil {
		return err
	}
	for i, f := range folders {
		if dir == "" {
			break
		}
		if err := os.Mkdir(f.name, 0o700); err != nil {
			return err
		}
		if err := unix.MoveMount(trees[i], "", unix.AT_FDCWD, f.name, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("move_mount %s: %w", f.name, err)
		}
	}
	// The old root is stacked on the new one and then let go.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("make root read-only: %w", err)
	}
	return nil
}

// lowerLimits bounds what no other limit does.
func lowerLimits() {
	for resource, most := range map[int]uint64{
		unix.RLIMIT_NOFILE: 65536, unix.RLIMIT_MEMLOCK: 0, unix.RLIMIT_MSGQUEUE: 0, unix.RLIMIT_SIGPENDING: 64, unix.RLIMIT_LOCKS: 0,
		unix.RLIMIT_RTPRIO: 0, unix.RLIMIT_NICE: 0,
	} {
		var l unix.Rlimit
		if unix.Getrlimit(resource, &l) == nil {
			l.Max = min(l.Max, most)
			l.Cur = min(l.Cur, l.Max)
			_ = unix.Setrlimit(resource, &l)
		}
	}
}

// allThreads makes a system call on every thread. Threads that start later inherit what it does.
func allThreads(trap, a1, a2, a3 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall(trap, a1, a2, a3); errno != 0 {
		return errno
	}
	return nil
}

// dropPrivileges gives up every capability, in every thread.
func dropPrivileges() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := allThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0); err != nil {
		return err
	}
	return allThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}

// landlock lets the process reach no file but those in the folders of dir, and nothing by plain TCP or abstract sockets
// where the kernel knows how. It does not see multipath TCP, UDP and others: the namespaces and the filter do. It hides
// what is in files and folders, but not that they exist.
func landlock(dir string) error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return errno
	}
	const (
		read  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
		write = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
			unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG
		first = unix.LANDLOCK_ACCESS_FS_EXECUTE | read | write | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
			unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	)
	rules := unix.LandlockRulesetAttr{Handled_access_fs: first}
	if abi >= 2 {
		rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		rules.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 5 {
		rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		rules.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(fd))
	for _, f := range folders {
		if dir == "" {
			break
		}
		allowed := uint64(read)
		if f.writable {
			allowed |= write | rules.Handled_access_fs&(unix.LANDLOCK_ACCESS_FS_REFER|unix.LANDLOCK_ACCESS_FS_TRUNCATE)
		}
		if err := landlockAllow(int(fd), filepath.Join(dir, f.name), allowed); err != nil {
			return fmt.Errorf("allow %s: %w", f.name, err)
		}
	}
	if err := allThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return err
	}
	return allThreads(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
}

func landlockAllow(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The kernel's struct is packed: 8 bytes and 4, which is how Go lays out these two fields too.
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// filterSyscalls lets every thread make only the system calls on the list, which is longer in a root of its own.
func filterSyscalls(ownRoot bool) error {
	program, err := syscallFilter(os.Getpid(), ownRoot)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // no_new_privs must be set where the filter is installed; the kernel takes it to all threads
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return errno
	}
	if r != 0 {
		return fmt.Errorf("thread %d did not take the filter", r)
	}
	return nil
}
