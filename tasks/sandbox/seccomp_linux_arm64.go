package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// allowedHere are system calls of this architecture alone.
var allowedHere = [...]uint32{unix.SYS_FSTATAT}
