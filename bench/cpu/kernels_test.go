package cpu

import (
	"math"
	"testing"
)

// reference is the sum a kernel must give, in float64, with the size of what was added as a measure for its error.
func reference[T float32 | float64](n kernel[T], k, reps int, a, b []T) (sum, size []float64) {
	sum, size = make([]float64, n.mr*n.nr), make([]float64, n.mr*n.nr)
	for j := range n.nr {
		for i := range n.mr {
			for p := range k {
				x := float64(a[p*n.mr+i]) * float64(b[p*n.nr+j]) * float64(reps)
				sum[j*n.mr+i] += x
				size[j*n.mr+i] += math.Abs(x)
			}
		}
	}
	return sum, size
}

func checkKernel[T float32 | float64](t *testing.T, n kernel[T], epsilon float64) {
	t.Helper()
	for _, k := range []int{1, 2, 7, depth} {
		for _, reps := range []int{1, 3} {
			a, b, c := aligned[T](k*n.mr), aligned[T](k*n.nr), aligned[T](n.mr*n.nr+1)
			guard := T(-77)
			// Small whole numbers: every kernel must give the same bits, in whatever order it adds.
			for i := range a {
				a[i] = T(i%11 - 5)
			}
			for i := range b {
				b[i] = T(i%7 - 3)
			}
			c[n.mr*n.nr] = guard
			n.mul(k, reps, &a[0], &b[0], &c[0])
			want, _ := reference(n, k, reps, a, b)
			for i := range want {
				if float64(c[i]) != want[i] {
					t.Fatalf("%s k=%d reps=%d: element %d is %v, want exactly %v", n.name, k, reps, i, c[i], want[i])
				}
			}
			if c[n.mr*n.nr] != guard {
				t.Fatalf("%s wrote past its tile", n.name)
			}
			// Fractions: within what rounding allows.
			for i := range a {
				a[i] = T(math.Sin(float64(i)))
			}
			for i := range b {
				b[i] = T(math.Cos(float64(3 * i)))
			}
			n.mul(k, reps, &a[0], &b[0], &c[0])
			want, size := reference(n, k, reps, a, b)
			for i := range want {
				if math.Abs(float64(c[i])-want[i]) > epsilon*float64(k*reps)*size[i] {
					t.Fatalf("%s k=%d reps=%d: element %d is %v, want %v", n.name, k, reps, i, c[i], want[i])
				}
			}
		}
	}
}

// TestKernels holds every kernel this processor can run against the sum it must give.
func TestKernels(t *testing.T) {
	for _, n := range kernels64() {
		checkKernel(t, n, 0x1p-52)
	}
	for _, n := range kernels32() {
		checkKernel(t, n, 0x1p-23)
	}
}

func TestPortableIsLast(t *testing.T) {
	all := kernels64()
	if last := all[len(all)-1]; last.name != portable[float64]().name {
		t.Errorf("the last kernel is %q", last.name)
	}
	if f := portable[float64]().flops(3, 5); f != 2*4*4*3*5 {
		t.Errorf("counts %v operations", f)
	}
}
