package memory

import "github.com/klauspost/cpuid/v2"

//go:noescape
func copyAVX2(n int, dst, a *float64)

//go:noescape
func scaleAVX2(n int, q float64, dst, a *float64)

//go:noescape
func addAVX2(n int, dst, a, b *float64)

//go:noescape
func triadAVX2(n int, q float64, dst, a, b *float64)

//go:noescape
func copyPast(n int, dst, a *float64)

//go:noescape
func scalePast(n int, q float64, dst, a *float64)

//go:noescape
func addPast(n int, dst, a, b *float64)

//go:noescape
func triadPast(n int, q float64, dst, a, b *float64)

// sets lists the ways to run the four kernels here; the first is the one the score reads.
func sets() []set {
	list := []set{goSet()}
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		list = append([]set{
			{
				"AVX2, plain stores",
				func(d, a []float64) { copyAVX2(len(d), &d[0], &a[0]) },
				func(d, a []float64, q float64) { scaleAVX2(len(d), q, &d[0], &a[0]) },
				func(d, a, b []float64) { addAVX2(len(d), &d[0], &a[0], &b[0]) },
				func(d, a, b []float64, q float64) { triadAVX2(len(d), q, &d[0], &a[0], &b[0]) },
			},
			{
				"AVX2, stores past the caches",
				func(d, a []float64) { copyPast(len(d), &d[0], &a[0]) },
				func(d, a []float64, q float64) { scalePast(len(d), q, &d[0], &a[0]) },
				func(d, a, b []float64) { addPast(len(d), &d[0], &a[0], &b[0]) },
				func(d, a, b []float64, q float64) { triadPast(len(d), q, &d[0], &a[0], &b[0]) },
			},
		}, list...)
	}
	return list
}
