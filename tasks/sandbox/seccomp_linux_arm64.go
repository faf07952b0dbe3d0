package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// allowedHere are system calls of this architecture alone.
var allowedHere = [...]uint32{unix.SYS_FSTATAT}

// There are no older forms of those in the other lists.
var (
	allowedInRootHere [0]uint32
	opensHere         [0]open
)
