package cpu

import "unsafe"

// panel is the n values that begin at p.
func panel[T any](p *T, n int) []T { return unsafe.Slice(p, n) }

// aligned returns n values whose first begins a cache line, so that no vector crosses one.
func aligned[T float32 | float64](n int) []T {
	const line = 64
	var zero T
	size := int(unsafe.Sizeof(zero))
	b := make([]T, n+line/size)
	off := 0
	if r := int(uintptr(unsafe.Pointer(&b[0])) % line); r != 0 {
		off = (line - r) / size
	}
	return b[off : off+n : off+n]
}
