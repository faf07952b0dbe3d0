//go:build !amd64 && !arm64

package cpu

const chainMethod = ""

func chain(int) uint64 { return 0 }

func kernels64() []kernel[float64] { return []kernel[float64]{portable[float64]()} }

func kernels32() []kernel[float32] { return []kernel[float32]{portable[float32]()} }
