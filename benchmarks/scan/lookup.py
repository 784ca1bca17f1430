"""Synthetic prints in an index: how long one more takes, how long a suspect is compared
with all, and how much memory that needs. `python -m benchmarks.scan.lookup`.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from mergetrace.numerics.dtypes import encode
from mergetrace.scan.explaining import explain
from mergetrace.scan.index import Index
from mergetrace.scan.likeness import likenesses, relatives_of
from mergetrace.scan.positions import BLOCKS, ELEMENTS
from mergetrace.scan.prints import NORMS, QUANTILES, Facts, Print

SIGNATURES = tuple(f"block {number}" for number in range(BLOCKS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prints", type=int, default=10_000)
    print(looked_up(parser.parse_args().prints))


def looked_up(count: int) -> str:
    """A suspect among `count` prints, half of them relatives."""
    generator = np.random.default_rng(0)
    shape = BLOCKS, ELEMENTS
    origin = generator.normal(0, 0.02, shape)
    quantiles = np.zeros((NORMS, QUANTILES), np.float32)

    def made(number: int) -> Print:
        own = generator.normal(0, 0.0002 if number % 2 else 0.02, shape)
        numbers = origin + own if number % 2 else own
        facts = Facts(f"owner/model-{number}", f"{number:040x}", True)
        return Print(facts, SIGNATURES, encode(numbers, "BF16"), quantiles)

    with tempfile.TemporaryDirectory() as name, Index(Path(name)) as index:
        index.add((made(number), 0) for number in range(count))
        one = made(count + 1)
        began = time.perf_counter()
        index.add([(one, 0)])
        grown = time.perf_counter() - began
        before = time.perf_counter(), time.process_time()
        groups = index.groups()
        found = relatives_of(likenesses(one, groups))
        wall, cpu = time.perf_counter() - before[0], time.process_time() - before[1]
        before = time.perf_counter(), time.process_time()
        explain(one, groups, found, {}, {}, 6)
        more, more_cpu = (
            time.perf_counter() - before[0],
            time.process_time() - before[1],
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return (
        f"**{count:,} prints.** Added one more in {grown:.3f} s. A suspect compared with"
        f" all of them in {wall:.2f} s ({cpu:.2f} s of one core); base and donors sought"
        f" among its {len(found):,} relatives in {more:.2f} s ({more_cpu:.2f} s). The"
        f" whole process took {memory:.0f} MB of memory at most."
    )


if __name__ == "__main__":
    main()
