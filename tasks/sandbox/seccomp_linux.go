//go:build linux && (amd64 || arm64)

package sandbox

import (
	"golang.org/x/sys/unix"
)

// allowed are the system calls that a Go program needs to compute and to work with files that it may reach anyway, the
// most frequent first. Everything that makes sockets, processes, programs, mounts, namespaces or keys, that traces,
// loads or tunes, is not on it, nor is what acts on devices (ioctl) or makes files that are no files (mknod, symlink).
var allowed = [...]uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_FUTEX, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_CTL, unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD,
	unix.SYS_RT_SIGRETURN, unix.SYS_MADVISE, unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MREMAP, unix.SYS_BRK, unix.SYS_MINCORE,
	unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_STATX, unix.SYS_GETDENTS64, unix.SYS_LSEEK,
	unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_COPY_FILE_RANGE, unix.SYS_SENDFILE, unix.SYS_SPLICE,
	unix.SYS_FCNTL, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FTRUNCATE,
	unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2, unix.SYS_RENAMEAT, unix.SYS_LINKAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
	unix.SYS_READLINKAT, unix.SYS_CHDIR, unix.SYS_FCHDIR, unix.SYS_GETCWD, unix.SYS_UMASK,
	unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_EVENTFD2, unix.SYS_EPOLL_CREATE1,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL, unix.SYS_SETITIMER,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES,
	unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETTIMEOFDAY, unix.SYS_GETRANDOM, unix.SYS_GETRUSAGE, unix.SYS_UNAME, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID,
	unix.SYS_SET_ROBUST_LIST, unix.SYS_SET_TID_ADDRESS, unix.SYS_RSEQ, unix.SYS_MEMBARRIER, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

// allowedInRoot are those by which a program could change files that it may not open, were they there: Landlock looks at none of them
// or, before its version 3 (Linux 6.2), not at the cutting of files. They are for runners that have a root of their own.
var allowedInRoot = [...]uint32{
	unix.SYS_TRUNCATE, unix.SYS_OPENAT2, unix.SYS_UTIMENSAT, unix.SYS_FCHMOD, unix.SYS_FCHMODAT,
}

// opens are the system calls that open files by name, and which of their arguments has the flags.
var opens = append(opensHere[:], open{unix.SYS_OPENAT, 2})

type open struct{ nr, flags uint32 }

// Where the kernel puts things for a filter to see (struct seccomp_data).
const (
	dataNr   = 0
	dataArch = 4
	dataArg0 = 16 // low half; both architectures are little-endian
)

const (
	retAllow = unix.SECCOMP_RET_ALLOW
	retKill  = unix.SECCOMP_RET_KILL_PROCESS
	retPerm  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	retNoSys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// syscallFilter assembles the filter for the process pid, which has a root of its own or sees everybody's.
func syscallFilter(pid int, ownRoot bool) ([]unix.SockFilter, error) {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	ret := func(what uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what} }
	// jump skips so many instructions if the comparison holds, and so many if it does not.
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	p := []unix.SockFilter{
		load(dataArch), jump(unix.BPF_JEQ, auditArch, 1, 0), ret(retKill), // another architecture has other numbers
		load(dataNr),
	}
	allow := func(list ...uint32) {
		for _, nr := range list {
			p = append(p, jump(unix.BPF_JEQ, nr, 0, 1), ret(retAllow))
		}
	}
	allow(allowed[:]...)
	allow(allowedHere[:]...)
	if ownRoot {
		allow(allowedInRoot[:]...)
		allow(allowedInRootHere[:]...)
	} else { // which libraries do without
		p = append(p, jump(unix.BPF_JEQ, unix.SYS_OPENAT2, 0, 1), ret(retNoSys))
	}
	for _, o := range opens {
		if ownRoot {
			allow(o.nr)
			continue
		}
		// Opening cuts a file, with O_TRUNC, also when it is not opened for writing, which Landlock before version 3 lets pass.
		p = append(p,
			jump(unix.BPF_JEQ, o.nr, 0, 7),
			load(dataArg0+8*o.flags),
			jump(unix.BPF_JSET, unix.O_TRUNC, 0, 4),
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: unix.O_ACCMODE},
			jump(unix.BPF_JEQ, unix.O_WRONLY, 2, 0),
			jump(unix.BPF_JEQ, unix.O_RDWR, 1, 0),
			ret(retPerm),
			ret(retAllow),
		)
	}
	// Threads, but no processes and no namespaces.
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	const never = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID |
		unix.CLONE_NEWNET | unix.CLONE_VFORK | unix.CLONE_PTRACE
	p = append(p,
		jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 6),
		load(dataArg0),
		jump(unix.BPF_JSET, never, 2, 0),
		unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: thread},
		jump(unix.BPF_JEQ, thread, 1, 0),
		ret(retPerm),
		ret(retAllow),
	)
	// The runtime signals its own threads.
	p = append(p,
		jump(unix.BPF_JEQ, unix.SYS_TGKILL, 0, 4),
		load(dataArg0),
		jump(unix.BPF_JEQ, uint32(pid), 0, 1),
		ret(retAllow),
		ret(retPerm),
	)
	// C libraries fall back to clone, whose flags can be seen here.
	p = append(p, jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), ret(retNoSys), ret(retPerm))
	return p, nil
}
