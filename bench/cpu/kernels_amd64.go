package cpu

import "github.com/klauspost/cpuid/v2"

//go:noescape
func gemm64AVX2(k, reps int, a, b, c *float64)

//go:noescape
func gemm32AVX2(k, reps int, a, b, c *float32)

//go:noescape
func gemm64AVX512(k, reps int, a, b, c *float64)

//go:noescape
func gemm32AVX512(k, reps int, a, b, c *float32)

// chain does 32·n operations of one clock cycle each, one after the other.
func chain(n int) uint64

const chainMethod = "32 dependent XOR and ROL, the fastest of many short runs"

// kernels64 lists the kernels this processor and its system can run, the widest first.
func kernels64() []kernel[float64] {
	list := []kernel[float64]{portable[float64]()}
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		list = append([]kernel[float64]{{"AVX2 and FMA", 12, 4, gemm64AVX2}}, list...)
	}
	if cpuid.CPU.Supports(cpuid.AVX512F) {
		list = append([]kernel[float64]{{"AVX-512", 24, 8, gemm64AVX512}}, list...)
	}
	return list
}

func kernels32() []kernel[float32] {
	list := []kernel[float32]{portable[float32]()}
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		list = append([]kernel[float32]{{"AVX2 and FMA", 24, 4, gemm32AVX2}}, list...)
	}
	if cpuid.CPU.Supports(cpuid.AVX512F) {
		list = append([]kernel[float32]{{"AVX-512", 48, 8, gemm32AVX512}}, list...)
	}
	return list
}
