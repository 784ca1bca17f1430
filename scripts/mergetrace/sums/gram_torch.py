"""The sums of kernels.py on a GPU: stored bytes are copied there from pinned memory,
decoded and summed there.

Every thread of the reader has a stream of its own, so that one thread's copy, another's
sums and a third's reading overlap.
"""

import threading
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import groupby

import numpy as np
import torch

from mergetrace.errors import AuditError
from mergetrace.numerics.arrays import Array, Bytes, Integers
from mergetrace.sums.kernels import GROUP, LANES, ROWS, Kernel, narrow

DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def on_gpu() -> "TorchKernel":
    """The kernel on the GPU that this job was given. AuditError where torch finds none."""
    if not torch.cuda.is_available():
        raise AuditError(
            "compute.device is `cuda`, and torch finds no GPU here; set it to `auto` or"
            " `cpu`, or run on a machine with one"
        )
    return TorchKernel("cuda")


class _ThreadState(threading.local):
    """What each thread has for itself."""

    stream: torch.cuda.Stream | None = None


class TorchKernel(Kernel):
    """The sums on a torch device: "cuda", "cuda:1"; "cpu" serves the tests."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._thread = _ThreadState()

    def buffer(self, size: int) -> Bytes:
        """Memory to read into: pinned, so that the GPU fetches from it while the
        processor goes on.
        """
        pinned = self.device.type == "cuda"
        memory = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
        return np.asarray(memory.numpy(), np.uint8)

    def load(self, raw: Bytes, dtype: str, scales: Array | None) -> torch.Tensor:
        """Stored bytes as numbers on the device."""
        with self._stream():
            copied = torch.from_numpy(raw).to(self.device, non_blocking=True)
            values = copied.view(DTYPES[dtype])
            if narrow(dtype, scales):
                return values.float()
            if scales is None:
                return values.double()
            return values.double() * torch.from_numpy(scales).to(self.device)

    def trio_sums(
        self,
        s: torch.Tensor,
        d: torch.Tensor,
        b: torch.Tensor,
        edges: Integers,
        smallest: float,
    ) -> Array:
        """See Kernel.trio_sums."""

        def sums(
            audited: torch.Tensor, donor: torch.Tensor, x: torch.Tensor
        ) -> torch.Tensor:
            u = audited - x
            v = donor - x
            e = _binade(audited, smallest)
            products = [u * u, u * x, x * x, u * v, x * v, v * v, e * e]
            moved = u != 0
            parents_differ = v != 0
            counted = [
                moved,
                parents_differ,
                moved | parents_differ,
                audited != donor,
                (u > 0) & (v < 0) | (u < 0) & (v > 0),
            ]
            squares = _summed(torch.stack(products, dim=1))
            counts = torch.stack(counted, dim=1).sum(2, dtype=torch.float64)
            return torch.cat([squares, counts], dim=1)

        return self._sums(sums, edges, s, d, b)

    def cross_sums(
        self, d: torch.Tensor, e: torch.Tensor, b: torch.Tensor, edges: Integers
    ) -> Array:
        """See Kernel.cross_sums."""

        def sums(
            one: torch.Tensor, other: torch.Tensor, x: torch.Tensor
        ) -> torch.Tensor:
            return _summed((one - x) * (other - x))

        return self._sums(sums, edges, d, e, b)

    def _sums(
        self,
        sums: Callable[..., torch.Tensor],
        edges: Integers,
        *models: torch.Tensor,
    ) -> Array:
        """`sums` of [pieces, n] numbers, added up over whole groups in float32, where
        all models' are, and what is left in float64.
        """
        in_groups = all(numbers.dtype == torch.float32 for numbers in models)
        with self._stream():
            parts = []
            for first, pieces, length in _of_one_length(edges):
                end = first + pieces * length
                rows = [numbers[first:end].view(pieces, length) for numbers in models]
                whole = length - length % GROUP if in_groups else 0
                left = [row[:, whole:].double() for row in rows]
                if whole == 0:
                    parts.append(sums(*left))
                    continue
                part = sums(*(row[:, :whole] for row in rows))
                if whole < length:
                    part = part + sums(*left)
                parts.append(part)
            return np.asarray(torch.cat(parts).cpu().numpy(), np.float64)

    def _stream(self) -> torch.cuda.StreamContext:
        """This thread's stream; no stream on a device that has none."""
        if self.device.type == "cuda" and self._thread.stream is None:
            self._thread.stream = torch.cuda.Stream(self.device)
        return torch.cuda.stream(self._thread.stream)


def _summed(products: torch.Tensor) -> torch.Tensor:
    """The sums over the last axis, float64: of float32 products in the order that
    kernels.py states.
    """
    if products.dtype == torch.float64:
        return products.sum(-1)
    rows = products.unflatten(-1, (-1, ROWS, LANES)).unbind(-2)
    columns: torch.Tensor = reduce(torch.add, rows)
    return columns.double().sum((-2, -1))


def _binade(x: torch.Tensor, smallest: float) -> torch.Tensor:
    """max(2^floor(log2 |x|), smallest): the exponent bits of a number alone are the
    power of two below it.
    """
    if x.dtype == torch.float32:
        powers = (x.view(torch.int32) & 0x7F80_0000).view(torch.float32)
    else:
        powers = (x.view(torch.int64) & 0x7FF0_0000_0000_0000).view(torch.float64)
    return powers.clamp_min(smallest)


def _of_one_length(edges: Integers) -> Iterator[tuple[int, int, int]]:
    """Neighbouring pieces of one length together: (first element, number of pieces,
    length).
    """
    first = 0
    for length, pieces in groupby(np.diff(edges).tolist()):
        count = len(list(pieces))
        yield first, count, length
        first += count * length
