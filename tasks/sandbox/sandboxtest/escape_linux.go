package sandboxtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"kith/tasks"
)

// call makes a system call that a confined program has no use for. The arguments are such that it does nothing even
// where it is allowed; what counts is whether the kernel looks at them at all.
func call(trap uintptr, args ...uintptr) func(*Host, *tasks.Call) error {
	return func(*Host, *tasks.Call) error {
		var a [6]uintptr
		copy(a[:], args)
		_, _, errno := unix.RawSyscall6(trap, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno == unix.EPERM || errno == unix.ENOSYS {
			return errno
		}
		return nil
	}
}

func socket(family, kind, protocol int) func(*Host, *tasks.Call) error {
	return func(*Host, *tasks.Call) error {
		fd, err := unix.Socket(family, kind, protocol)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

func procFile(name string) func(*Host, *tasks.Call) error {
	return read(func(h *Host) string { return fmt.Sprintf("/proc/%d/%s", h.PID, name) })
}

// nowhere is a pointer, a number or an id that stands for nothing.
const nowhere = 1 << 30

// ofSystem are the attempts that only this system offers.
var ofSystem = []attempt{
	{"connect to an abstract socket", network, func(h *Host, _ *tasks.Call) error {
		conn, err := net.Dial("unix", "@"+h.Unix)
		if err != nil {
			return err
		}
		return conn.Close()
	}},
	{"raw socket", network | privileges, socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
	{"packet socket", network | privileges, socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
	{"netlink socket", syscalls, socket(unix.AF_NETLINK, unix.SOCK_RAW, 0)},
	{"socket to the hypervisor", syscalls, socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
	{"crypto socket", syscalls, socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
	{"pair of sockets", syscalls, call(unix.SYS_SOCKETPAIR, nowhere)},

	{"read the environment of another process", files | namespaces, procFile("environ")},
	{"read the memory of another process", files | namespaces, procFile("mem")},
	{"read the command of another process", files, procFile("cmdline")},
	{"read the root of another process", files | namespaces, procFile("root/etc/passwd")},
	{"read by way of its own root in /proc", files, read(func(h *Host) string { return "/proc/self/root" + h.Secret })},
	{"read its own program", files, read(func(*Host) string { return "/proc/self/exe" })},
	{"read the kernel's settings", files, read(func(*Host) string { return "/proc/sys/kernel/hostname" })},
	{"read the system's devices", files, read(func(*Host) string { return "/sys/class/dmi/id/sys_vendor" })},
	{"open a device", files, func(*Host, *tasks.Call) error { f, err := os.Open("/dev/zero"); return after(f, err) }},
	{"open the terminal", files, func(*Host, *tasks.Call) error { f, err := os.Open("/dev/tty"); return after(f, err) }},
	{"cut a key by opening it for nothing", root | syscalls, cut(func(h *Host) string { return h.Secret }, unix.O_ACCMODE)},
	{"cut an input by opening it for reading", root | syscalls, cut(func(h *Host) string { return filepath.Join(h.In, "data") }, unix.O_RDONLY)},
	{"change the mode of an open input", root | syscalls, func(h *Host, _ *tasks.Call) error {
		f, err := os.Open(filepath.Join(h.In, "data"))
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Chmod(0o777)
	}},
	{"make a device", syscalls | landlock | privileges | namespaces, func(_ *Host, c *tasks.Call) error {
		return unix.Mknod(filepath.Join(c.Scratch, "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
	}},
	{"make a pipe with a name", syscalls | landlock, func(_ *Host, c *tasks.Call) error {
		return unix.Mknod(filepath.Join(c.Scratch, "fifo"), unix.S_IFIFO|0o600, 0)
	}},

	{"mount", syscalls, call(unix.SYS_MOUNT)},
	{"mount by the new calls", syscalls, call(unix.SYS_FSOPEN)},
	{"clone a mount", syscalls, call(unix.SYS_OPEN_TREE, nowhere)},
	{"unmount", syscalls, call(unix.SYS_UMOUNT2)},
	{"pivot_root", syscalls, call(unix.SYS_PIVOT_ROOT)},
	{"chroot", syscalls, call(unix.SYS_CHROOT)},
	{"make a user namespace", syscalls, call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)},
	{"make a network namespace", syscalls, call(unix.SYS_UNSHARE, unix.CLONE_NEWNET)},
	{"enter a namespace", syscalls, call(unix.SYS_SETNS, nowhere)},
	{"thread in a new namespace", syscalls, call(unix.SYS_CLONE, unix.CLONE_NEWUSER|unix.CLONE_THREAD)},
	{"trace a process", syscalls, call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, nowhere)},
	{"read memory across processes", syscalls, call(unix.SYS_PROCESS_VM_READV, nowhere)},
	{"write memory across processes", syscalls, call(unix.SYS_PROCESS_VM_WRITEV, nowhere)},
	{"take a file of another process", syscalls, call(unix.SYS_PIDFD_GETFD, nowhere)},
	{"get hold of a process", syscalls, call(unix.SYS_PIDFD_OPEN, nowhere)},
	{"signal everybody", syscalls, call(unix.SYS_KILL, nowhere)},
	{"signal the threads of others", syscalls, call(unix.SYS_TGKILL, nowhere, nowhere)},
	{"fork", syscalls, call(unix.SYS_CLONE, unix.CLONE_NEWUSER|unix.CLONE_SIGHAND)}, // which the kernel itself would call EINVAL
	{"fork by the new call", syscalls, call(unix.SYS_CLONE3)},
	{"program without a file", syscalls, call(unix.SYS_MEMFD_CREATE)},
	{"execute a file by its number", syscalls, call(unix.SYS_EXECVEAT, nowhere)},
	{"outlive the parent", syscalls, call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG)},
	{"take back capabilities", syscalls, call(unix.SYS_CAPSET)},
	{"become another user", syscalls, call(unix.SYS_SETRESUID, ^uintptr(0), ^uintptr(0), ^uintptr(0))},
	{"raise a limit", syscalls, call(unix.SYS_PRLIMIT64, 0, nowhere)},
	{"real-time priority", syscalls, call(unix.SYS_SCHED_SETSCHEDULER, nowhere)},
	{"priority", syscalls, call(unix.SYS_SETPRIORITY, nowhere)},

	{"push characters into a terminal (TIOCSTI)", syscalls, call(unix.SYS_IOCTL, 0, unix.TIOCSTI)},
	{"io_uring", syscalls, call(unix.SYS_IO_URING_SETUP)},
	{"bpf", syscalls, call(unix.SYS_BPF, nowhere)},
	{"keyctl", syscalls, call(unix.SYS_KEYCTL, nowhere)},
	{"add a key", syscalls, call(unix.SYS_ADD_KEY)},
	{"userfaultfd", syscalls, call(unix.SYS_USERFAULTFD, nowhere)},
	{"performance counters", syscalls, call(unix.SYS_PERF_EVENT_OPEN)},
	{"watch files", syscalls, call(unix.SYS_INOTIFY_ADD_WATCH, nowhere)},
	{"open a file by its handle", syscalls, call(unix.SYS_OPEN_BY_HANDLE_AT, nowhere)},
	{"shared memory segments", syscalls, call(unix.SYS_SHMGET, nowhere)},
	{"message queues", syscalls, call(unix.SYS_MQ_OPEN)},
	{"load a kernel module", syscalls, call(unix.SYS_FINIT_MODULE, nowhere)},
	{"load another kernel", syscalls, call(unix.SYS_KEXEC_LOAD, nowhere, nowhere)},
	{"reboot", syscalls, call(unix.SYS_REBOOT)}, // without the magic numbers
	{"set the clock", syscalls, call(unix.SYS_CLOCK_SETTIME, nowhere)},
	{"set the host's name", syscalls, call(unix.SYS_SETHOSTNAME, 0, nowhere)},
	{"swap", syscalls, call(unix.SYS_SWAPON)},
	{"read the kernel's log", syscalls, call(unix.SYS_SYSLOG, nowhere)},
	{"another personality", syscalls, call(unix.SYS_PERSONALITY, 0xffffffff)},
	{"another filter's notifications", syscalls, call(unix.SYS_SECCOMP, nowhere)},
	{"reserve disk past the end of a file", syscalls, call(unix.SYS_FALLOCATE, nowhere)},
	{"lock memory", syscalls, call(unix.SYS_MLOCKALL, nowhere)},
	{"system calls of another kind (x32)", syscalls, call(1<<30 + unix.SYS_GETPID)},
}

// cut opens a file so that it is cut, for nothing else.
func cut(name func(*Host) string, mode int) func(*Host, *tasks.Call) error {
	return func(h *Host, _ *tasks.Call) error {
		fd, err := unix.Open(name(h), mode|unix.O_TRUNC|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

func after(f *os.File, err error) error {
	if err != nil {
		return err
	}
	return f.Close()
}
