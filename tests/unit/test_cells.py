"""The cells of packed numbers: they hold what was quantised, and a merge is seen through
them to the digit.
"""

import numpy as np
import pytest
import torch

from mergetrace.errors import ModelFileError
from mergetrace.formats.block_layouts import LAYOUTS
from mergetrace.numerics.arithmetic import to_bfloat16
from mergetrace.numerics.cell_replay import (
    CellCounter,
    cell_intervals,
    informative_cells,
    replay_cells,
    shuffled_cells,
)
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.numerics.lattice import interval_through, neighbour_midpoints, ulp
from mergetrace.numerics.levels import (
    HALF_STEP_OF_BF16,
    LEVELS,
    SLACK,
    SLACK_OF_NUMBERS,
)
from mergetrace.sums.as_stored import round_as_stored
from mergetrace.sums.cells import cell_ends
from mergetrace.sums.evidence import (
    Sample,
    joined,
    only_usable,
    read_evidence,
    write_evidence,
)
from mergetrace.testing.gguf_models import QUANTISERS, quantised
from mergetrace.testing.packing import mlx

WIDTH = 0.25
N = 1 << 17
GENERATOR = np.random.default_rng(5)
BASE = to_bfloat16(GENERATOR.standard_normal(N) * 0.02)
CHANGE = GENERATOR.standard_normal(N) * 0.0008
DONOR = to_bfloat16(BASE + CHANGE)
MERGE = to_bfloat16(0.571 * DONOR + 0.429 * BASE)
SIBLING = to_bfloat16(
    BASE + 0.96 * CHANGE + 0.28 * GENERATOR.standard_normal(N) * 0.0008
)
WAY = to_bfloat16(MERGE + 0.1 * GENERATOR.standard_normal(N) * 0.0008)
STRANGER = to_bfloat16(BASE + GENERATOR.standard_normal(N) * 0.0008)


def sample(values, kind):
    raw = quantised(values.astype(np.float32).reshape(-1, 256), kind)
    part = LAYOUTS[kind].unpacked(raw)
    codes = np.ascontiguousarray(part.codes)
    return Sample(codes, kind, part.scales, "BF16", part.shifts)


def intervals(values, kind):
    low, high = sample(values, kind).midpoints()
    return cell_intervals(low, high, BASE, DONOR)


def seen(values, kind):
    return replay_cells(*intervals(values, kind), WIDTH)


@pytest.mark.parametrize("kind", QUANTISERS)
def test_every_cell_holds_what_was_quantised(kind):
    low, high = sample(MERGE, kind).midpoints()
    assert (low <= MERGE).all()
    assert (high >= MERGE).all()
    assert (low < high).all()


@pytest.mark.parametrize("kind", QUANTISERS)
def test_a_merge_is_told_from_its_like_through_every_format(kind):
    merge = seen(MERGE, kind)
    assert merge.coverage == 1
    assert merge.low <= 0.571 <= merge.high
    assert merge.high - merge.low < 0.02
    assert merge.informative > 1000
    assert max(merge.coverage_base, merge.coverage_donor) < 0.4
    low, high = sample(MERGE, kind).midpoints()
    assert shuffled_cells(low, high, BASE, DONOR, WIDTH, 0) < 0.3
    assert seen(SIBLING, kind).coverage < 0.5
    assert seen(STRANGER, kind).coverage < 0.3
    assert seen(WAY, kind).coverage < 0.99


@pytest.mark.parametrize("kind", ["Q4_K", "Q8_0"])
def test_parents_themselves_lie_at_the_ends(kind):
    assert seen(BASE, kind).coverage_base == 1
    assert seen(DONOR, kind).coverage_donor == 1


def test_an_element_is_informative_unless_all_weights_near_are_stored_alike():
    start = np.array([0.0, 0.5, 0.2, -np.inf, np.nan, 0.9])
    end = np.array([1.0, 0.7, np.inf, 0.55, np.nan, 1.1])
    found = informative_cells(start, end, 0.5, 0.2)
    assert found.tolist() == [False, True, False, True, False, True]
    counter = CellCounter.of(start, end, 0.2)
    assert counter.known - counter.silent(np.array(0.5)) == 3
    assert counter.holding(np.array(0.5)) == 4
    assert counter.coverage(0.5) == pytest.approx(2 / 3)


def test_where_nothing_is_known_nothing_is_found():
    nothing = np.full(4, np.nan)
    assert replay_cells(nothing, nothing, WIDTH).informative == 0
    everywhere = np.full(4, np.inf)
    assert replay_cells(-everywhere, everywhere, WIDTH).informative == 0


@pytest.mark.parametrize("kind", LEVELS)
def test_levels_lie_in_their_own_cells_and_numbers_go_to_the_nearest(kind):
    codes = np.arange(len(LEVELS[kind]), dtype=np.uint8)
    levels = decode(codes, kind)
    low, high = neighbour_midpoints(codes, kind)
    assert ((low < levels) & (levels < high)).all()
    assert np.isneginf(low.min())
    assert np.isposinf(high.max())
    assert (ulp(codes, kind) > 0).all()
    numbers = np.random.default_rng(0).uniform(levels.min(), levels.max(), 999)
    found = decode(encode(numbers, kind), kind)
    nearest = np.abs(numbers[:, None] - levels).min(1)
    assert np.array_equal(np.abs(found - numbers), nearest)


def test_an_open_end_stays_open_through_a_rounding_before():
    low, high = interval_through(
        np.array([-np.inf, 1.0]), np.array([0.5, np.inf]), "BF16"
    )
    assert np.isneginf(low[0])
    assert np.isposinf(high[1])
    assert 0.5 < high[0] < 0.51
    assert 0.99 < low[1] < 1


@pytest.mark.parametrize("kind", ["Q4_1", "Q4_K", "Q6_K"])
def test_numbers_are_rounded_as_a_packed_sample_holds_them(kind):
    like = sample(MERGE, kind)
    assert np.array_equal(round_as_stored(like.values(), like), like.values())
    off = np.abs(round_as_stored(MERGE, like) - like.values()) > 1e-9
    assert off.mean() < 0.002  # next to an end, where a stored scale decides otherwise


def test_a_block_without_scale_confines_nothing():
    zeros = sample(np.zeros(256), "Q4_K")
    low, high = zeros.midpoints()
    assert np.isneginf(low).all()
    assert np.isposinf(high).all()


def test_lost_elements_are_zeros_that_confine_nothing():
    one = sample(MERGE[:512], "Q4_K")
    scales = one.scales.copy()
    scales[:32] = np.inf
    broken = Sample(one.raw, one.dtype, scales, "BF16", one.shifts)
    plain = Sample(encode(BASE[:512], "BF16").view(np.uint8), "BF16")
    kept = only_usable({"a": broken, "b": plain}, ["a", "b"])
    assert not kept["a"].values()[:32].any()
    assert not kept["b"].values()[:32].any()
    assert np.isinf(kept["a"].midpoints()[0][:32]).all()
    assert np.array_equal(kept["a"].values()[32:], one.values()[32:])


def test_packed_evidence_is_read_as_it_was_written(tmp_path):
    blocks = np.array([[0, 512]])
    one = sample(MERGE[:512], "Q4_K")
    other = sample(MERGE[:512], "Q8_0")
    path = tmp_path / "e.safetensors"
    write_evidence(path, {3: (blocks, {"a": one, "b": other})}, {"seed": "0"})
    ((number, samples),) = read_evidence(path)
    assert number == 3
    for found, wanted in ((samples["a"], one), (samples["b"], other)):
        assert (found.dtype, found.through) == (wanted.dtype, "BF16")
        assert np.array_equal(found.values(), wanted.values())
        assert np.array_equal(found.midpoints(), wanted.midpoints())
    path.write_bytes(path.read_bytes().replace(b"Q4_K", b"Q4_X"))
    with pytest.raises(ModelFileError, match="Q4_X"):
        list(read_evidence(path))


def test_samples_are_joined_and_cut_with_their_shifts():
    one = sample(MERGE[:512], "Q4_K")
    both = joined([one.chosen(slice(256)), one.chosen(slice(256, 512))])
    assert np.array_equal(both.values(), one.values())


def in_words(codes, bits):
    """Codes as compressed-tensors 0.20 packs them: offset, along a row, low bits first."""
    offset = (codes + (1 << (bits - 1))).astype(np.uint32)
    groups = offset.reshape(len(codes), -1, 32 // bits)
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    return np.bitwise_or.reduce(groups << shifts, axis=2).view(np.int32)


@pytest.mark.parametrize(("kind", "bits"), [("INT4", 4), ("INT8", 8)])
def test_words_hold_codes_along_a_row(kind, bits):
    half = 1 << (bits - 1)
    codes = np.random.default_rng(0).integers(-half, half, (4, 64))
    raw = in_words(codes, bits).reshape(-1).view(np.uint8)
    found = decode(np.ascontiguousarray(LAYOUTS[kind].unpacked(raw).codes), kind)
    assert np.array_equal(found, codes.reshape(-1))


@pytest.mark.parametrize(
    ("kind", "of_level"), [("GPTQ4", 0), ("AWQ4", 0), ("INT4_ZEROS", 1)]
)
def test_a_zero_that_is_a_whole_number_of_scales_widens_no_cell(kind, of_level):
    level = LEVELS[kind].index(6)
    shift = np.array([-3.0])
    coded = Sample(np.array([level], np.uint8), kind, np.array([0.5]), None, shift)
    (low,), (high,) = cell_ends(coded, widened=False)
    assert (low, high) == (-0.25, 0.25)
    (wide_low,), (wide_high,) = cell_ends(coded)
    levels = of_level * np.array([2.75, 3.25])
    room = SLACK[kind] * levels + SLACK_OF_NUMBERS[kind] * 0.25
    np.testing.assert_allclose([low - wide_low, wide_high - high], room)


def mlx_sample(values, from_an_end):
    """Numbers in groups of 64 in MLX's four bits, or in those of another tool: a scale in
    bf16 that was rounded after the division.
    """
    weight = torch.from_numpy(values.reshape(-1, 64)).bfloat16()
    parts = mlx(weight)
    scale, shift = (parts[name].float() for name in ("scales", "biases"))
    if not from_an_end:
        low, high = weight.float().amin(1)[:, None], weight.float().amax(1)[:, None]
        scale, shift = ((high - low) / 15).bfloat16().float(), low.bfloat16().float()
    codes = torch.round((weight.float() - shift) / scale).clamp(0, 15)
    if from_an_end:
        words = parts["weight"].view(torch.int32).long()[:, :, None]
        codes = (words >> torch.arange(0, 32, 4) & 15).reshape(len(weight), 64)
    every = [
        each.expand(-1, 64).reshape(-1).double().numpy() for each in (scale, shift)
    ]
    raw = codes.to(torch.uint8).reshape(-1).numpy()
    return Sample(raw, "UINT4", every[0], None, every[1])


def test_mlx_scales_are_known_as_they_were_before_they_were_rounded():
    found = mlx_sample(BASE, True)
    low, high = cell_ends(found)
    assert ((low <= BASE) & (high >= BASE)).all()
    inner = np.isfinite(low) & np.isfinite(high)
    width = (high - low)[inner] / np.abs(found.scales[inner])
    assert np.abs(width - 1).max() < 2 * HALF_STEP_OF_BF16
    beyond = to_bfloat16(BASE + 0.51 * np.abs(found.scales))
    assert (beyond[inner] > high[inner]).mean() > 0.5


def test_scales_of_another_tool_are_taken_as_rounded():
    low, high = cell_ends(mlx_sample(BASE, False))
    found = mlx_sample(BASE, False)
    inner = np.isfinite(low) & np.isfinite(high)
    width = (high - low)[inner] / np.abs(found.scales[inner])
    assert width.min() > 1 + 2 * HALF_STEP_OF_BF16
