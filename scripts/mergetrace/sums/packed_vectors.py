"""Levels times scales as vector instructions: what a plain loop over groups of 16 or 32
numbers becomes is half as fast.
"""

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mergetrace.sums.vector_ops import (
    F64,
    I64,
    Builder,
    load_vector,
    of_element,
    spread,
)

UNIT = 16
"""Elements of a vector: no group is smaller."""


def _typed_groups(
    typing: Any,
    levels: Any,
    lowest: Any,
    scales: Any,
    shifts: Any,
    units: Any,
    halvings: Any,
    out: Any,
) -> Any:
    """out = (level + lowest) * scale + shift, of so many units of 16 elements; a group
    is 2^halvings units.
    """

    def generate(context: Any, b: Builder, signature: Any, values: Any) -> Any:
        numbers, factors, summands, goal = (
            context.make_array(signature.args[place])(context, b, values[place]).data
            for place in (0, 2, 3, 6)
        )
        with cgutils.for_range(b, values[4]) as loop:
            group = b.lshr(loop.index, values[5])
            first = b.mul(loop.index, I64(UNIT))
            small = load_vector(b, numbers, first, UNIT)
            level = b.add(small, spread(b, values[1], small.type))
            number = b.sitofp(level, of_element(level, F64))
            scale = spread(b, b.load(b.gep(factors, [group])), number.type)
            shift = spread(b, b.load(b.gep(summands, [group])), number.type)
            # Without leave to contract: both roundings are part of what a number is.
            number = b.fadd(b.fmul(number, scale), shift)
            place = b.bitcast(b.gep(goal, [first]), number.type.as_pointer())
            b.store(number, place, align=8)
        return context.get_dummy_value()

    return (
        types.void(levels, types.int8, scales, shifts, types.int64, types.int64, out),
        generate,
    )


fill_groups: Any = intrinsic(_typed_groups)
