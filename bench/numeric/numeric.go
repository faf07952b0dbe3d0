// Package numeric finds out which machines compute the same floats. It runs fixed kernels over fixed numbers and hashes
// every bit of what they give: machines with the same hash may compare their results with a tolerance, because what
// still differs between them comes from the work, not from the processor, the compiler or the library below.
package numeric

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
)

// version changes whenever a kernel or its numbers do.
const version = 1

// kernel is one computation over the numbers.
type kernel struct {
	name string
	run  func(x, y []float64) []float64
}

// kernels lists what is hashed. Plain Go may be compiled to fused multiplications on one processor and to separate ones
// on another; that is one of the differences this is to find.
var kernels = []kernel{
	{"dot", func(x, y []float64) []float64 {
		s := 0.0
		for i := range x {
			s += x[i] * y[i]
		}
		return []float64{s}
	}},
	{"dot32", func(x, y []float64) []float64 {
		var s float32
		for i := range x {
			s += float32(x[i]) * float32(y[i])
		}
		return []float64{float64(s)}
	}},
	{"fused", func(x, y []float64) []float64 {
		s := 0.0
		for i := range x {
			s = math.FMA(x[i], y[i], s)
		}
		return []float64{s}
	}},
	{"orders of reduction", func(x, _ []float64) []float64 {
		forth, back := 0.0, 0.0
		var lanes [8]float64
		for i := range x {
			forth += x[i]
			back += x[len(x)-1-i]
			lanes[i%8] += x[i]
		}
		return []float64{forth, back, ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7])), pairwise(x)}
	}},
	{"exp and log", each(func(v float64) float64 { return math.Exp(v/8) + math.Log(math.Abs(v)+1e-3) })},
	{"trigonometry", each(func(v float64) float64 { return math.Sin(v) + math.Cos(3*v) + math.Tanh(v) })},
	{"roots and powers", each(func(v float64) float64 { return math.Sqrt(math.Abs(v)) + math.Pow(math.Abs(v)+0.5, 1.7) + math.Cbrt(v) })},
	{"matrix", matrix},
	{"denormals", func(x, _ []float64) []float64 {
		out := make([]float64, 64)
		for i := range out {
			out[i] = x[i] * 0x1p-1060
		}
		return out
	}},
	{"rounding", each(func(v float64) float64 { return math.Round(v*16) + math.RoundToEven(v*8)/16 + float64(float32(v)) })},
}

func pairwise(x []float64) float64 {
	if len(x) <= 8 {
		s := 0.0
		for _, v := range x {
			s += v
		}
		return s
	}
	return pairwise(x[:len(x)/2]) + pairwise(x[len(x)/2:])
}

func each(f func(float64) float64) func(x, y []float64) []float64 {
	return func(x, _ []float64) []float64 {
		out := make([]float64, len(x))
		for i, v := range x {
			out[i] = f(v)
		}
		return out
	}
}

// matrix multiplies two small matrices and normalises the rows as a network's layer does.
func matrix(x, y []float64) []float64 {
	const n = 24
	out := make([]float64, n*n)
	for i := range n {
		most := math.Inf(-1)
		for j := range n {
			s := 0.0
			for k := range n {
				s += x[i*n+k] * y[k*n+j]
			}
			out[i*n+j] = s
			most = max(most, s)
		}
		sum := 0.0
		for j := range n {
			out[i*n+j] = math.Exp(out[i*n+j] - most)
			sum += out[i*n+j]
		}
		for j := range n {
			out[i*n+j] /= sum
		}
	}
	return out
}

// numbers are the same on every machine: whole numbers scaled by a power of two.
func numbers(seed uint64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		seed += 0x9e3779b97f4a7c15
		z := (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb
		out[i] = float64(int64(z^(z>>31))>>11) * 0x1p-50 // −8 to 8
	}
	return out
}

// Hash runs the kernels and returns the hash over all results, in hexadecimal. It is the same on every call; should two
// runs differ, the machine cannot be trusted with floats, and that is an error.
func Hash() (string, error) {
	first, again := hash(), hash()
	if first != again {
		return "", fmt.Errorf("the same computation gave different results twice")
	}
	return first, nil
}

func hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "kith/numeric/%d", version)
	x, y := numbers(1, 1024), numbers(2, 1024)
	for _, k := range kernels {
		fmt.Fprintf(h, "\x00%s\x00", k.name)
		for _, v := range k.run(x, y) {
			if math.IsNaN(v) {
				v = math.NaN() // one bit pattern for all of them
			}
			_ = binary.Write(h, binary.BigEndian, math.Float64bits(v)) // a hash never fails
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Class composes the equivalence class of one kind of work: equal texts, equal class. kernels is Hash's, fingerprint is
// what the kind adds of its own (the runtime it computes with, for one), program the version of this program. The class
// of a machine whose kernels failed is "", which equals nothing.
func Class(kernels, kind string, kindVersion int, fingerprint, program string) string {
	if kernels == "" {
		return ""
	}
	h := sha256.New()
	for _, s := range []string{"kith/equivalence/1", kernels, kind, fmt.Sprint(kindVersion), fingerprint, program} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
