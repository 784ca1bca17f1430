"""Which elements of a slice are read, and which are kept as evidence: the same of every model, chosen by seed and name."""

import zlib

import numpy as np

JACKKNIFE_BLOCKS = 32  # the delete-one-block standard error needs at least this many where the slice allows


def tiles(elements: int, count: int = JACKKNIFE_BLOCKS) -> np.ndarray:
    """Cut 0..elements into `count` contiguous blocks of nearly equal length (fewer where there are fewer elements).

    Returns int64 [blocks, 2]: start and length, in elements.
    """
    edges = np.linspace(0, elements, min(count, elements) + 1).astype(np.int64)
    return np.stack([edges[:-1], np.diff(edges)], axis=1)


def evidence_blocks(name: str, elements: int, blocks: int, block_elements: int, seed: int) -> np.ndarray:
    """One block at a seeded place in each of `blocks` equal stretches of the slice; the whole slice, in tiles, where it is small.

    Stratifying by place keeps the blocks apart: neighbouring elements of a weight matrix share rows and are not independent.
    Returns int64 [blocks, 2]: start and length, in elements, ascending and disjoint.
    """
    if elements <= blocks * block_elements:
        return tiles(elements)
    stretches = tiles(elements, blocks)
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    starts = stretches[:, 0] + generator.integers(0, stretches[:, 1] - block_elements + 1)
    return np.stack([starts, np.full(blocks, block_elements, dtype=np.int64)], axis=1)
