package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// allowedHere are system calls of this architecture alone: the older forms of those in allowed.
var allowedHere = [...]uint32{
	unix.SYS_NEWFSTATAT, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_READLINK, unix.SYS_MKDIR, unix.SYS_RMDIR,
	unix.SYS_UNLINK, unix.SYS_RENAME, unix.SYS_LINK, unix.SYS_DUP2, unix.SYS_EPOLL_WAIT, unix.SYS_ARCH_PRCTL, unix.SYS_TIME,
}

// The same for the other lists.
var (
	allowedInRootHere = [...]uint32{unix.SYS_CHMOD}
	opensHere         = [...]open{{unix.SYS_OPEN, 1}}
)
