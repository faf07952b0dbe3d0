"""As much of PyTorch as the measuring script needs on a processor, with matrices that hold nothing."""
__version__ = "0-test"
float16 = float32 = int8 = None


class Tensor:
    def copy_(self, other):
        return self


def rand(shape, device=None, dtype=None):
    return Tensor()


empty = zeros = rand


def empty_like(t):
    return Tensor()


def randint(low, high, shape, device=None, dtype=None):
    return Tensor()


def mm(a, b, out=None):
    return out


def _int_mm(a, b):
    raise RuntimeError("no kernel for this\nsecond line")
