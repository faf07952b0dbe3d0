// The four kernels of the STREAM benchmark: how fast memory is copied, scaled, added and combined, by OpenMP threads
// over three arrays. Arguments: doubles in each array, seconds for each kernel. Prints name and best rate in bytes a
// second, counting reads and writes of the arrays alone. With PAST, stores go past the caches.
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef PAST
#include <immintrin.h>
#endif

typedef double v4 __attribute__((vector_size(32)));

static double *a, *b, *c;
static long n;

static inline void put(double *at, v4 v) {
#ifdef PAST
	_mm256_stream_pd(at, (__m256d)v);
#else
	*(v4 *)at = v;
#endif
}

#define AT(x) (*(v4 *)&(x)[i])
#define EACH(statement) \
	_Pragma("omp parallel for schedule(static)") for (long i = 0; i < n; i += 4) { statement; }

static void once(int kernel) {
	const v4 q = {3, 3, 3, 3};
	switch (kernel) {
	case 0: EACH(put(&c[i], AT(a))) break;
	case 1: EACH(put(&c[i], q * AT(a))) break;
	case 2: EACH(put(&c[i], AT(a) + AT(b))) break;
	default: EACH(put(&c[i], AT(a) + q * AT(b)))
	}
}

int main(int argc, char **argv) {
	if (argc != 3) return 2;
	n = atol(argv[1]) / 16 * 16;
	double seconds = atof(argv[2]);
	if (posix_memalign((void **)&a, 64, n * 8) || posix_memalign((void **)&b, 64, n * 8) || posix_memalign((void **)&c, 64, n * 8)) return 1;
	EACH(for (int k = 0; k < 4; k++) { a[i + k] = 1; b[i + k] = 2; c[i + k] = 0; })
	static const char *names[] = {"copy", "scale", "add", "triad"};
	static const int arrays[] = {2, 2, 3, 3};
	static const double want[] = {1, 3, 3, 7};
	for (int k = 0; k < 4; k++) {
		once(k);
		double best = 0, end = omp_get_wtime() + seconds / 2;
		while (omp_get_wtime() < end) {
			double begun = omp_get_wtime();
			once(k);
			double rate = arrays[k] * 8.0 * n / (omp_get_wtime() - begun);
			if (rate > best) best = rate;
		}
		if (c[0] != want[k] || c[n - 1] != want[k]) return 1;
		printf("%s %.0f\n", names[k], best);
	}
	return 0;
}
