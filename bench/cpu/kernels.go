package cpu

// kernel multiplies two packed panels, mr×k and k×nr, into a tile of mr×nr, reps times over, adding everything up:
// c[j·mr+i] = reps · Σ a[p·mr+i] · b[p·nr+j]. k and reps are at least 1.
type kernel[T float32 | float64] struct {
	name   string
	mr, nr int
	mul    func(k, reps int, a, b, c *T)
}

// flops of one call.
func (n kernel[T]) flops(k, reps int) float64 {
	return 2 * float64(n.mr) * float64(n.nr) * float64(k) * float64(reps)
}

// portable is the kernel for every processor: what the compiler makes of plain Go.
func portable[T float32 | float64]() kernel[T] {
	return kernel[T]{"portable Go", tile, tile, func(k, reps int, a, b, c *T) {
		gemmGo(k, reps, panel(a, tile*k), panel(b, tile*k), panel(c, tile*tile))
	}}
}

const tile = 4 // rows and columns of the portable kernel: its sums fit the registers of every processor

func gemmGo[T float32 | float64](k, reps int, a, b, c []T) {
	var c00, c10, c20, c30, c01, c11, c21, c31, c02, c12, c22, c32, c03, c13, c23, c33 T
	for range reps {
		for p := range k {
			x, y := a[tile*p:tile*p+tile:tile*p+tile], b[tile*p:tile*p+tile:tile*p+tile]
			a0, a1, a2, a3 := x[0], x[1], x[2], x[3]
			b0, b1, b2, b3 := y[0], y[1], y[2], y[3]
			c00 += a0 * b0
			c10 += a1 * b0
			c20 += a2 * b0
			c30 += a3 * b0
			c01 += a0 * b1
			c11 += a1 * b1
			c21 += a2 * b1
			c31 += a3 * b1
			c02 += a0 * b2
			c12 += a1 * b2
			c22 += a2 * b2
			c32 += a3 * b2
			c03 += a0 * b3
			c13 += a1 * b3
			c23 += a2 * b3
			c33 += a3 * b3
		}
	}
	copy(c, []T{c00, c10, c20, c30, c01, c11, c21, c31, c02, c12, c22, c32, c03, c13, c23, c33})
}
