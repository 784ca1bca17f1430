"""ggml's own quantiser, for planted GGUF files: a shared library with
`ggml_quantize_chunk`, called through ctypes.

llama-cpp-python's source distribution holds ggml; without a build system:
    gcc -O2 -fPIC -shared -Iinclude -Isrc -D_GNU_SOURCE -DGGML_VERSION='"x"'
        -DGGML_COMMIT='"x"' src/ggml-quants.c src/ggml.c -lm -lpthread
        -Wl,--unresolved-symbols=ignore-all -o libggml.so
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mergetrace.files.gguf_header import TYPES
from mergetrace.numerics.arrays import Array, Bytes
from mergetrace.testing.gguf_models import NUMBERS, quantised

PLAIN = ("F32", "F16", "BF16")
SIZES = {name: (elements, size) for name, elements, size in TYPES.values()}


@dataclass(frozen=True)
class Quantiser:
    """Matrices through ggml, with an importance of every column or without."""

    chunk: Callable[..., int]
    importance: int | None = None
    """The seed of random importances; None for none."""

    @classmethod
    def of(cls, library: Path, importance: int | None = None) -> "Quantiser":
        """The quantiser of a built library."""
        loaded = ctypes.CDLL(str(library), mode=os.RTLD_LAZY)
        chunk = loaded.ggml_quantize_chunk
        chunk.restype = ctypes.c_size_t
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        chunk.argtypes = [ctypes.c_int, pointer, pointer, *[count] * 3, pointer]
        return cls(chunk, importance)

    def __call__(self, values: Array, kind: str) -> Bytes:
        """The blocks of a matrix [rows, cols] in a format."""
        if kind in PLAIN:
            return quantised(values, kind)
        rows = np.ascontiguousarray(values, np.float32)
        elements, size = SIZES[kind]
        out = np.zeros(rows.size // elements * size, np.uint8)
        weighs = None
        if self.importance is not None:
            drawn = np.random.default_rng(self.importance).random(rows.shape[1])
            weighs = np.ascontiguousarray(drawn + 0.1, np.float32)
        beside = None if weighs is None else weighs.ctypes.data
        places = rows.ctypes.data, out.ctypes.data, 0, *rows.shape
        self.chunk(NUMBERS[kind], *places, beside)
        return out
