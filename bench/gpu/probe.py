# Measures one graphics card with PyTorch and prints one JSON object. What cannot be measured is named under "errors".
# Arguments: kind of device (cuda, xpu, mps, cpu), seconds for each figure.
import json
import sys
import time

out = {"errors": {}}


def done():
    print(json.dumps(out))
    sys.exit(0)


try:
    import torch
except Exception as e:  # whatever an installation can be broken by
    out["errors"]["runtime"] = "PyTorch: %s: %s" % (type(e).__name__, e)
    done()

kind, seconds = sys.argv[1], float(sys.argv[2])
out["runtime"] = "PyTorch " + torch.__version__
try:
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise RuntimeError("PyTorch sees no card; it was built for " + str(torch.version.cuda or torch.version.hip or "the processor alone"))
        out["runtime"] += " ROCm " + torch.version.hip if torch.version.hip else " CUDA " + str(torch.version.cuda)
        out["device"] = torch.cuda.get_device_name(0)
        free, total = torch.cuda.mem_get_info(0)
        wait = torch.cuda.synchronize
    elif kind == "xpu":
        if not hasattr(torch, "xpu") or not torch.xpu.is_available():
            raise RuntimeError("PyTorch has no XPU here")
        out["device"], free, wait = torch.xpu.get_device_name(0), 1 << 30, torch.xpu.synchronize
    elif kind == "mps":
        if not torch.backends.mps.is_available():
            raise RuntimeError("PyTorch has no MPS here")
        out["device"], free, wait = "Apple", 4 << 30, torch.mps.synchronize
    else:
        out["device"], free, wait = "cpu", 1 << 30, lambda: None
except Exception as e:
    out["errors"]["runtime"] = str(e)
    done()


def rates(amount, step):
    """The rate of step, which does so much, in samples of some milliseconds."""
    for _ in range(3):
        step()
    wait()
    times, begun = 1, time.perf_counter()
    step()
    wait()
    once = max(time.perf_counter() - begun, 1e-6)
    times = max(1, int(0.02 / once))
    samples, end = [], time.perf_counter() + seconds
    while len(samples) < 3 or (time.perf_counter() < end and len(samples) < 500):
        begun = time.perf_counter()
        for _ in range(times):
            step()
        wait()
        samples.append(amount * times / (time.perf_counter() - begun))
    return samples


def measure(name, prepare):
    try:
        out[name] = rates(*prepare())
    except Exception as e:
        out["errors"][name] = "%s: %s" % (type(e).__name__, str(e).split("\n")[0])


def size():
    """Side of the square matrices: 8192 where three of them leave room, else less."""
    n = 8192 if kind != "cpu" else 512
    while n > 512 and 3 * n * n * 2 > free // 4:
        n //= 2
    return n


def fp16():
    n = size()
    a = torch.rand((n, n), device=kind, dtype=torch.float16)
    b = torch.rand((n, n), device=kind, dtype=torch.float16)
    c = torch.empty((n, n), device=kind, dtype=torch.float16)
    return 2.0 * n**3, lambda: torch.mm(a, b, out=c)


def int8():
    n = size()
    a = torch.randint(-8, 8, (n, n), device=kind, dtype=torch.int8)
    b = torch.randint(-8, 8, (n, n), device=kind, dtype=torch.int8)
    return 2.0 * n**3, lambda: torch._int_mm(a, b)


def bandwidth():
    n = min(free // 8, 512 << 20) // 4
    a = torch.zeros(n, device=kind, dtype=torch.float32)
    b = torch.empty_like(a)
    return 2.0 * 4 * n, lambda: b.copy_(a)


measure("fp16", fp16)
measure("int8", int8)
measure("bandwidth", bandwidth)
done()
