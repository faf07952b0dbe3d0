package cpu

//go:noescape
func gemm64NEON(k, reps int, a, b, c *float64)

//go:noescape
func gemm32NEON(k, reps int, a, b, c *float32)

// chain does 32·n operations of one clock cycle each, one after the other.
func chain(n int) uint64

const chainMethod = "32 dependent EOR and ROR, the fastest of many short runs"

// kernels64 lists the kernels this processor can run, the widest first. Every one of its kind has NEON.
func kernels64() []kernel[float64] {
	return []kernel[float64]{{"NEON", 8, 4, gemm64NEON}, portable[float64]()}
}

func kernels32() []kernel[float32] {
	return []kernel[float32]{{"NEON", 16, 4, gemm32NEON}, portable[float32]()}
}
