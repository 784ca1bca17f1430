"""The sums of pieces that a kernel reads from open files itself: plain numbers as they
lie there, and blocks of GGUF, which it decodes.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mergetrace.numerics.arrays import Array, Integers
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.sums.frames import Frame
from mergetrace.sums.gram import (
    Pair,
    PieceSums,
    Trio,
    every_cross,
    every_pair,
    every_trio,
    unit_rounding_energy,
)
from mergetrace.sums.kernels import ROUNDING, FileParts, Kernel
from mergetrace.sums.packed_parts import PackedParts

Recast = Callable[[Pair], bool | None]
"""Whether a look shows that a model is not a parent rounded to its format; None where
rounding changes nothing.
"""


def file_sums(
    frames: Sequence[Frame], models: Sequence[str], parts: FileParts, kernel: Kernel
) -> PieceSums | None:
    """Like gram.memory_sums, of elements that the kernel reads from open files itself;
    None where it cannot, or where a file ends too soon.

    models: whose files `parts` holds, in that order.
    """
    trios, crosses = every_trio(frames), every_cross(frames)
    form = FORMATS[parts.dtype]
    smallest = np.full(len(trios), 2.0**form.min_exponent)
    rows = (_rows(trios, models), _rows(crosses, models))
    sums = kernel.file_sums(parts, *rows, smallest)
    if sums is None:
        return None
    trio_values, cross_values = sums
    trio_values[:, :, ROUNDING] *= unit_rounding_energy(form)
    return _by_key(trios, crosses, trio_values, cross_values)


def packed_file_sums(
    frames: Sequence[Frame],
    models: Sequence[str],
    parts: PackedParts,
    kernel: Kernel,
    is_no_recast: Recast,
) -> PieceSums | None:
    """The same where models are packed. None, too, where an audited model may be a
    parent rounded: every element is looked at then.
    """
    looks = {pair: is_no_recast(pair) for pair in every_pair(frames)}
    if False in looks.values():
        return None
    trios, crosses = every_trio(frames), every_cross(frames)
    forms = [FORMATS[parts.dtypes[models.index(audited)]] for audited, _, _ in trios]
    smallest = np.array([2.0**form.min_exponent for form in forms])
    rows = (_rows(trios, models), _rows(crosses, models))
    sums = kernel.packed_file_sums(parts, *rows, smallest)
    if sums is None:
        return None
    trio_values, cross_values = sums
    for t, form in enumerate(forms):
        energy = 1 / 12 if form.levels else unit_rounding_energy(form)
        trio_values[:, t, ROUNDING] *= energy
    found = _by_key(trios, crosses, trio_values, cross_values)
    missed = np.ones(len(trio_values))
    found.recast_misses.update({pair: missed for pair, look in looks.items() if look})
    return found


def _rows(keys: Sequence[Trio], models: Sequence[str]) -> Integers:
    numbers = [[models.index(model) for model in key] for key in keys]
    return np.array(numbers, np.int64).reshape(-1, 3)


def _by_key(
    trios: Sequence[Trio], crosses: Sequence[Trio], of_trios: Array, of_crosses: Array
) -> PieceSums:
    return PieceSums(
        {key: of_trios[:, t] for t, key in enumerate(trios)},
        {key: of_crosses[:, c] for c, key in enumerate(crosses)},
        {},
    )
