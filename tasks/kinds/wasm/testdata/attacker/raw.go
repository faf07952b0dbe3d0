package main

import (
	"errors"
	"fmt"
	"unsafe"
)

// The calls of WASI themselves, without what the language would check first.

//go:wasmimport wasi_snapshot_preview1 path_open
func pathOpen(dir int32, dirFlags uint32, path unsafe.Pointer, n uint32, oflags uint32, base, inheriting uint64, flags uint32, fd unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 path_filestat_get
func pathStat(dir int32, flags uint32, path unsafe.Pointer, n uint32, buf unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 path_readlink
func pathReadlink(dir int32, path unsafe.Pointer, n uint32, buf unsafe.Pointer, bufLen uint32, used unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 path_symlink
func pathSymlink(old unsafe.Pointer, oldLen uint32, dir int32, path unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_unlink_file
func pathUnlink(dir int32, path unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_create_directory
func pathMkdir(dir int32, path unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_rename
func pathRename(dir int32, old unsafe.Pointer, oldLen uint32, to int32, path unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_link
func pathLink(dir int32, flags uint32, old unsafe.Pointer, oldLen uint32, to int32, path unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_read
func fdRead(fd int32, iovs unsafe.Pointer, n uint32, got unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_filestat_get
func fdStat(fd int32, buf unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_dir_name
func fdName(fd int32, buf unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_accept
func sockAccept(fd int32, flags uint32, got unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 sock_send
func sockSend(fd int32, iovs unsafe.Pointer, n uint32, flags uint32, sent unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 sock_recv
func sockRecv(fd int32, iovs unsafe.Pointer, n uint32, flags uint32, got, outFlags unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 sock_shutdown
func sockShutdown(fd int32, how uint32) uint32

//go:wasmimport wasi_snapshot_preview1 proc_raise
func procRaise(signal uint32) uint32

//go:wasmimport wasi_snapshot_preview1 random_get
func randomGet(buf unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 poll_oneoff
func pollOneoff(in, out unsafe.Pointer, n uint32, events unsafe.Pointer) uint32

// firstOpen is the first number after those of standard input, output and error and of the three folders.
const firstOpen = 6

func str(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

// errno makes an error of a number; 0 is none.
func errno(n uint32) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("errno %d", n)
}

// anyOf returns nil if try is for one of the numbers from first to last.
func anyOf(first, last int32, try func(fd int32) error) error {
	var all error
	for fd := first; fd <= last; fd++ {
		err := try(fd)
		if err == nil {
			return nil
		}
		all = err
	}
	return all
}

// open tries a path below every folder there is.
func open(path string, oflags uint32) error {
	p, n := str(path)
	return anyOf(0, firstOpen+2, func(fd int32) error {
		var got int32
		return errno(pathOpen(fd, 1, p, n, oflags, ^uint64(0), ^uint64(0), 0, unsafe.Pointer(&got)))
	})
}

type iovec struct {
	at  uint32
	len uint32
}

func init() {
	for name, try := range map[string]func(*host) error{
		"open an absolute path below a folder": func(h *host) error { return open(h.Secret, 0) },
		"open .. below a folder":               func(*host) error { return open("..", 2) },
		"open a key by .. below a folder":      func(h *host) error { return open(up+h.Secret, 0) },
		"open a key by a detour":               func(h *host) error { return open("a/../"+up+h.Secret, 0) },
		"open a key behind a zero byte":        func(h *host) error { return open("x\x00/"+up+h.Secret, 0) },
		"make a file by .. below a folder":     func(h *host) error { return open(up+h.Dir+"/new", 1) },
		"open with a drive's letter":           func(*host) error { return open(`C:\Windows\win.ini`, 0) },
		"open with the other slash":            func(*host) error { return open(`..\..\..\..\Windows\win.ini`, 0) },
		"ask for the size of a key": func(h *host) error {
			p, n := str(up + h.Secret)
			return anyOf(0, firstOpen, func(fd int32) error {
				var buf [64]byte
				return errno(pathStat(fd, 1, p, n, unsafe.Pointer(&buf)))
			})
		},
		"read where a link leads": func(*host) error {
			p, n := str(up + "/proc/self/exe")
			return anyOf(0, firstOpen, func(fd int32) error {
				var buf [256]byte
				var used uint32
				return errno(pathReadlink(fd, p, n, unsafe.Pointer(&buf), 256, unsafe.Pointer(&used)))
			})
		},
		"make a link outside": func(h *host) error {
			old, m := str("key")
			p, n := str(up + h.Dir + "/new")
			return anyOf(0, firstOpen, func(fd int32) error { return errno(pathSymlink(old, m, fd, p, n)) })
		},
		"remove a key by .. below a folder": func(h *host) error {
			p, n := str(up + h.Secret)
			return anyOf(0, firstOpen, func(fd int32) error { return errno(pathUnlink(fd, p, n)) })
		},
		"make a folder outside": func(h *host) error {
			p, n := str(up + h.Dir + "/new")
			return anyOf(0, firstOpen, func(fd int32) error { return errno(pathMkdir(fd, p, n)) })
		},
		"steal a key by renaming": func(h *host) error {
			old, m := str(up + h.Secret)
			p, n := str("key")
			return anyOf(3, firstOpen, func(fd int32) error { return errno(pathRename(fd, old, m, fd, p, n)) })
		},
		"steal a key by linking": func(h *host) error {
			old, m := str(up + h.Secret)
			p, n := str("key")
			return anyOf(3, firstOpen, func(fd int32) error { return errno(pathLink(fd, 1, old, m, fd, p, n)) })
		},
		"guess the numbers of open files": func(*host) error {
			return anyOf(firstOpen, 4096, func(fd int32) error {
				var buf [64]byte
				return errno(fdStat(fd, unsafe.Pointer(&buf)))
			})
		},
		"guess negative numbers of open files": func(*host) error {
			return anyOf(-4096, -1, func(fd int32) error {
				var buf [64]byte
				return errno(fdStat(fd, unsafe.Pointer(&buf)))
			})
		},
		"read the node's standard input": func(*host) error {
			var buf [64]byte
			v := iovec{uint32(uintptr(unsafe.Pointer(&buf))), 64}
			var got uint32
			if n := fdRead(0, unsafe.Pointer(&v), 1, unsafe.Pointer(&got)); n != 0 || got == 0 {
				return fmt.Errorf("errno %d, %d bytes", n, got)
			}
			return nil
		},
		"learn where its folders are": func(h *host) error {
			for fd := int32(3); fd < firstOpen; fd++ {
				var buf [8]byte
				if fdName(fd, unsafe.Pointer(&buf), 3) != 0 && fdName(fd, unsafe.Pointer(&buf), 4) != 0 {
					return nil // it has a longer name than /in, /out and /tmp
				}
			}
			return errors.New("it knows them by its own names")
		},
		"accept a connection": func(*host) error {
			return anyOf(0, 64, func(fd int32) error {
				var got int32
				return errno(sockAccept(fd, 0, unsafe.Pointer(&got)))
			})
		},
		"send on a socket": func(*host) error {
			var sent uint32
			b := [3]byte{'o', 'u', 't'}
			v := iovec{uint32(uintptr(unsafe.Pointer(&b))), 3}
			return anyOf(0, 64, func(fd int32) error { return errno(sockSend(fd, unsafe.Pointer(&v), 1, 0, unsafe.Pointer(&sent))) })
		},
		"receive on a socket": func(*host) error {
			var got, flags uint32
			var b [8]byte
			v := iovec{uint32(uintptr(unsafe.Pointer(&b))), 8}
			return anyOf(0, 64, func(fd int32) error {
				return errno(sockRecv(fd, unsafe.Pointer(&v), 1, 0, unsafe.Pointer(&got), unsafe.Pointer(&flags)))
			})
		},
		"shut a socket down": func(*host) error {
			return anyOf(0, 64, func(fd int32) error { return errno(sockShutdown(fd, 2)) })
		},
		"raise a signal": func(*host) error { return errno(procRaise(9)) },
		"read into memory that is not its own": func(*host) error {
			v := iovec{0xffff_fff0, 0xffff_ffff}
			var got uint32
			if n := fdRead(0, unsafe.Pointer(&v), 1, unsafe.Pointer(&got)); n == 0 && got > 0 {
				return nil
			}
			return errors.New("refused")
		},
		"fill memory that is not its own": func(*host) error { return errno(randomGet(unsafe.Pointer(uintptr(0xffff_f000)), 0xffff_ffff)) },
		"wait for more events than there is memory": func(*host) error {
			var in, out [64]byte
			var events uint32
			return errno(pollOneoff(unsafe.Pointer(&in), unsafe.Pointer(&out), 0x7fff_ffff, unsafe.Pointer(&events)))
		},
	} {
		attempts[name] = try
	}
}
