"""What GPTQ pushed onto the columns behind the one it rounded first: found where the blend
is the right one, and no help to any other.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mergetrace.disguises.column_factors import largest_kept
from mergetrace.disguises.following_columns import FOLLOWING, Rounded, pushed_errors
from mergetrace.formats.block_layouts import Unpacked
from mergetrace.sums.cells import cell_ends
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.elements import adjusted
from mergetrace.testing.packing import GROUP, gptq, gptq_view

ROWS, COLS = 512, 64
WEIGHT = 0.571
REACH = 0.125
"""Of the parents' distance: an element tells where the blend lies as near to an end."""


def in_bf16(numbers):
    return torch.tensor(numbers).bfloat16().double().numpy()


def parents(seed, change=0.15):
    generator = np.random.default_rng(seed)
    base = generator.normal(size=(ROWS, COLS))
    donor = base + change * generator.normal(size=base.shape)
    return np.stack([in_bf16(base), in_bf16(donor)])


def rounded(weight, of_parents):
    """A matrix through GPTQ, as it is looked at."""
    made = gptq(torch.tensor(weight).bfloat16())
    words = made["qweight"].T.long()[:, :, None] >> torch.arange(0, 32, 4) & 15
    codes = words.reshape(weight.shape).numpy()
    steps = made["scales"].double().repeat_interleave(GROUP, 0).T.numpy()
    own = (codes - 8) * steps
    low = np.where(codes == 0, -np.inf, own - steps / 2)
    high = np.where(codes == 15, np.inf, own + steps / 2)
    few = slice(1 + FOLLOWING)
    return Rounded(
        low[:, few], high[:, few], steps[:, few], own, of_parents, through="BF16"
    )


def told(matrix, pushed, blend):
    """How many elements behind the first column tell of a blend, and how many of these
    refute it.
    """
    least, most = pushed[:, 1:, 0], pushed[:, 1:, 1]
    low, high = matrix.low[:, 1:] + least, matrix.high[:, 1:] + most
    blend = blend[:, 1 : 1 + FOLLOWING]
    spread = np.ptp(matrix.parents, axis=0)[:, 1 : 1 + FOLLOWING]
    known = np.isfinite(least)
    room = np.minimum(blend - low, high - blend)
    tell = known & (room <= REACH * spread)
    return tell.sum(), (tell & (room < 0)).sum()


def blended(of_parents, weight=WEIGHT):
    return in_bf16(of_parents[0] + weight * (of_parents[1] - of_parents[0]))


@pytest.mark.parametrize("weight", [0.3, WEIGHT, 0.8])
def test_the_right_blend_lies_in_every_cell_that_is_known(weight):
    both = [parents(0), parents(1)]
    blends = [blended(each, weight) for each in both]
    matrices = [rounded(*each) for each in zip(blends, both, strict=True)]
    pushed = pushed_errors(matrices)
    for matrix, of_matrix, blend in zip(matrices, pushed, blends, strict=True):
        tell, refute = told(matrix, of_matrix, blend)
        assert tell > 50
        assert refute == 0
        np.testing.assert_array_equal(of_matrix[:, 0], 0.0)


def test_so_does_that_of_the_largest_changes():
    of_parents = parents(2)
    blend = blended(largest_kept(of_parents, 0.5))
    matrix = rounded(blend, of_parents)
    tell, refute = told(matrix, pushed_errors([matrix])[0], blend)
    assert tell > 50
    assert refute == 0


@pytest.mark.parametrize("likeness", [0.7, 0.9, 0.98])
def test_another_model_of_the_same_base_is_refuted_as_often(likeness):
    """Its own numbers are the nearest blend's only by chance, whatever was fitted."""
    of_parents = parents(3)
    base, donor = of_parents
    noise = 0.15 * np.random.default_rng(4).normal(size=base.shape)
    other = likeness * (donor - base) + (1 - likeness**2) ** 0.5 * noise
    matrix = rounded(in_bf16(base + other), of_parents)
    tell, refute = told(
        matrix, pushed_errors([matrix])[0], blended(of_parents, likeness)
    )
    assert tell > 50
    assert refute > 0.25 * tell


def test_shuffled_changes_are_refuted():
    of_parents = parents(5)
    base, donor = of_parents
    shuffled = np.random.default_rng(6).permutation((donor - base).reshape(-1))
    wrong = np.stack([base, in_bf16(base + shuffled.reshape(base.shape))])
    matrix = rounded(blended(of_parents), wrong)
    tell, refute = told(matrix, pushed_errors([matrix])[0], blended(wrong))
    assert refute > 0.5 * tell


def test_cells_move_by_what_was_pushed_and_are_as_much_wider():
    generator = np.random.default_rng(7)
    view = gptq_view(4, 6)
    codes = generator.integers(1, 15, 24).astype(np.uint8)
    part = Unpacked(codes, np.full(24, 0.5), np.full(24, -4.0))
    columns = np.zeros(6)
    columns[:2] = 1.0
    bounds = np.sort(generator.normal(size=(4, 2, 2)), axis=-1)
    bounds[2, 1] = np.nan
    moved = replace(view, col_decides=columns, pushed=bounds.reshape(-1))

    def ends(part):
        sample = Sample(part.codes, "GPTQ4", part.scales, shifts=part.shifts)
        return [each.reshape(4, 6) for each in cell_ends(sample, widened=False)]

    low, high = ends(adjusted(moved, 0, part))
    plain_low, plain_high = ends(part)
    known = np.isfinite(bounds[:, :, 0])
    np.testing.assert_allclose(
        low[:, :2][known], (plain_low[:, :2] + bounds[:, :, 0])[known]
    )
    np.testing.assert_allclose(
        high[:, :2][known], (plain_high[:, :2] + bounds[:, :, 1])[known]
    )
    assert np.isinf(low[:, 2:]).all()
    assert np.isinf(low[2, 1])
    later = Unpacked(codes[8:], part.scales[8:], part.shifts[8:])
    np.testing.assert_array_equal(
        adjusted(moved, 8, later).shifts, adjusted(moved, 0, part).shifts[8:]
    )
