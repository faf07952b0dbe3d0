# Prints the best rate of one matrix multiplication and which kernels OpenBLAS chose.
import contextlib
import io
import sys
import time

import numpy as np

kind, seconds = sys.argv[1], float(sys.argv[2])
best = 0.0
for n in (384, 512, 1536):  # small ones are undisturbed now and then, large ones show the kernels at their best
    a = np.random.rand(n, n).astype(kind)
    b = np.random.rand(n, n).astype(kind)
    c = np.empty_like(a)
    np.matmul(a, b, out=c)
    end = time.perf_counter() + seconds / 3
    while time.perf_counter() < end:
        begun = time.perf_counter()
        np.matmul(a, b, out=c)
        best = max(best, 2.0 * n**3 / (time.perf_counter() - begun))
name = "unknown"
try:
    from threadpoolctl import threadpool_info

    name = ",".join(i["version"] + "-" + i["architecture"] for i in threadpool_info() if "architecture" in i)
except Exception:
    name = "numpy-" + np.__version__
print(best, name or "unknown")
