"""Blocks of GGUF that the compiled kernel reads, decodes and sums itself give what
formulas on arrays give: the same numbers bit by bit, the same counts.
"""

import numpy as np
import pytest

from mergetrace.errors import AuditError
from mergetrace.formats.block_layouts import LAYOUTS
from mergetrace.numerics.dtypes import encode
from mergetrace.planning.sampling import tiles
from mergetrace.sums import packed_files
from mergetrace.sums.deltas import Reader, Slice
from mergetrace.sums.frames import Frame
from mergetrace.sums.gram_arrays import ArrayKernel
from mergetrace.sums.gram_numba import CompiledKernel
from mergetrace.sums.packed_levels import KINDS, decode, shape_of
from mergetrace.sums.packed_parts import by_row
from mergetrace.sums.stored import Stored
from mergetrace.tensors.view import View
from mergetrace.tensors.weights import Weights

ROWS, COLS = 72, 1280
HALVES = {
    "Q4_1": (0, 2),
    "Q5_1": (0, 2),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}
"""Where a block holds float16 numbers, if not at its start alone."""


def random_blocks(dtype, elements, generator):
    """Blocks of any codes, with scales near .01."""
    layout = LAYOUTS[dtype]
    shape = elements // layout.elements, layout.size
    raw = generator.integers(0, 256, shape).astype(np.uint8)
    for at in HALVES.get(dtype, (0,)):
        scales = generator.normal(size=(len(raw), 1)) * 0.01
        raw[:, at : at + 2] = scales.astype(np.float16).view(np.uint8)
    return raw.reshape(-1)


def written(folder, generator, **dtypes):
    """Models of one matrix each, at an odd place of their file; their views."""
    views = {}
    for name, dtype in dtypes.items():
        if dtype in LAYOUTS:
            raw = random_blocks(dtype, ROWS * COLS, generator)
        else:
            numbers = generator.normal(size=ROWS * COLS) * 0.1
            raw = encode(numbers, dtype).view(np.uint8)
        (folder / name).mkdir()
        (folder / name / "x").write_bytes(bytes(77) + raw.tobytes())
        views[name] = View(
            tensor="x",
            slice="",
            source="x",
            model=name,
            shard="x",
            dtype=dtype,
            start=77,
            rows=ROWS,
            cols=COLS,
            dimensions=2,
        )
    return views


def records(folder, views, frames, kernel, monkeypatch, by_kernel):
    """The sums of all; that the kernel read the files, or did not, is checked."""
    calls = []
    own = packed_files.packed_sums

    def counted(*arguments):
        calls.append(arguments)
        return own(*arguments)

    monkeypatch.setattr(packed_files, "packed_sums", counted)
    work = [Slice(0, views, tiles(ROWS * COLS, 7), tiles(64, 1))]
    with Weights({name: folder / name for name in views}, in_order=True) as weights:
        (read,) = Reader(weights, frames, kernel).read(work)
    monkeypatch.undo()
    assert bool(calls) == by_kernel
    return read.records


def assert_same(found, wanted):
    """Counts are equal, sums but for the order of addition."""
    for row, truth in zip(found, wanted, strict=True):
        assert row.keys() == truth.keys()
        scale = max(abs(truth["uu"]), abs(truth["bb"]))
        for key, value in row.items():
            if isinstance(value, float):
                assert value == pytest.approx(truth[key], abs=1e-12 * scale), key
            else:
                assert value == truth[key], key


@pytest.mark.parametrize("dtype", KINDS)
def test_numbers_are_the_same_bit_by_bit(dtype):
    """Any bytes at all: subnormal, infinite and missing scales among them."""
    shape = shape_of(dtype)
    raw = np.random.default_rng(1).integers(0, 256, 4000 * shape.size).astype(np.uint8)
    elements = 4000 * shape.elements
    codes = np.empty(elements, np.uint8)
    scales, shifts = np.empty(elements // 16), np.zeros(elements // 16)
    found = np.empty(elements)
    decode(np.array(shape), raw, 4000, codes, scales, shifts, found)
    part = LAYOUTS[dtype].unpacked(raw)
    wanted = Stored(part.codes, dtype, part.scales, part.shifts).numbers()
    assert np.isnan(wanted).any()
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", KINDS)
def test_sums_of_a_packed_suspect_are_those_of_arrays(dtype, tmp_path, monkeypatch):
    """Pieces that begin within a block, a control that is not packed, two donors."""
    generator = np.random.default_rng(2)
    plain = dict.fromkeys(("base", "one", "two", "control"), "BF16")
    views = written(tmp_path, generator, suspect=dtype, **plain)
    frames = [
        Frame("suspect", "base", ("one", "two")),
        Frame("control", "base", ("one",)),
    ]
    given = (tmp_path, views, frames)
    found = records(*given, CompiledKernel(), monkeypatch, by_kernel=True)
    assert_same(found, records(*given, ArrayKernel(), monkeypatch, by_kernel=False))
    assert found[0]["rounding"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("parents", ["F16", "F32", "Q6_K", "Q4_0"])
def test_parents_of_other_formats_and_packed_ones(parents, tmp_path, monkeypatch):
    generator = np.random.default_rng(3)
    names = dict.fromkeys(("base", "donor"), parents)
    views = written(tmp_path, generator, suspect="IQ4_XS", other="Q4_K", **names)
    frames = [Frame("suspect", "base", ("donor",))]
    frames.append(Frame("other", "base", ("donor",)))
    given = (tmp_path, views, frames)
    found = records(*given, CompiledKernel(), monkeypatch, by_kernel=True)
    assert_same(found, records(*given, ArrayKernel(), monkeypatch, by_kernel=False))


def test_rows_that_lie_elsewhere_are_found(tmp_path, monkeypatch):
    """As those of q and k do in GGUF."""
    generator = np.random.default_rng(4)
    views = written(tmp_path, generator, suspect="Q4_K", base="BF16", donor="BF16")
    order = generator.permutation(ROWS)
    views["suspect"] = View(**{**vars(views["suspect"]), "row_map": order})
    given = (tmp_path, views, [Frame("suspect", "base", ("donor",))])
    found = records(*given, CompiledKernel(), monkeypatch, by_kernel=True)
    assert_same(found, records(*given, ArrayKernel(), monkeypatch, by_kernel=False))


def test_a_scale_that_is_no_number_is_left_out(tmp_path, monkeypatch):
    generator = np.random.default_rng(5)
    views = written(tmp_path, generator, suspect="Q8_0", base="BF16", donor="BF16")
    with (tmp_path / "suspect" / "x").open("r+b") as file:
        file.seek(77 + 34 * 5)
        file.write(b"\x00\x7e")
    given = (tmp_path, views, [Frame("suspect", "base", ("donor",))])
    found = records(*given, CompiledKernel(), monkeypatch, by_kernel=True)
    assert_same(found, records(*given, ArrayKernel(), monkeypatch, by_kernel=False))
    assert sum(row["nonfinite"] for row in found) == 32


@pytest.mark.parametrize("parents", [("F16", "BF16"), ("BF16", "Q4_0")])
def test_what_is_mixed_is_summed_as_before(parents, tmp_path, monkeypatch):
    generator = np.random.default_rng(6)
    base, donor = parents
    views = written(tmp_path, generator, suspect="Q4_K", base=base, donor=donor)
    given = (tmp_path, views, [Frame("suspect", "base", ("donor",))])
    found = records(*given, CompiledKernel(), monkeypatch, by_kernel=False)
    assert_same(found, records(*given, ArrayKernel(), monkeypatch, by_kernel=False))


def test_a_requantised_parent_is_still_known(tmp_path, monkeypatch):
    """Every element is looked at where the first ones may be the base's, rounded."""
    generator = np.random.default_rng(7)
    views = written(tmp_path, generator, suspect="Q4_0", base="F32", donor="F32")
    part = LAYOUTS["Q4_0"].unpacked(
        np.frombuffer((tmp_path / "suspect" / "x").read_bytes()[77:], np.uint8)
    )
    numbers = Stored(part.codes, "Q4_0", part.scales).numbers().astype(np.float32)
    (tmp_path / "base" / "x").write_bytes(bytes(77) + numbers.tobytes())
    given = (tmp_path, views, [Frame("suspect", "base", ("donor",))])
    found = records(*given, CompiledKernel(), monkeypatch, by_kernel=False)
    assert sum(row["rounded_base"] for row in found) == ROWS * COLS


def test_a_file_cut_off_is_named(tmp_path):
    generator = np.random.default_rng(8)
    views = written(tmp_path, generator, suspect="Q6_K", base="BF16", donor="BF16")
    whole = (tmp_path / "suspect" / "x").read_bytes()
    (tmp_path / "suspect" / "x").write_bytes(whole[:-1])
    work = [Slice(0, views, tiles(ROWS * COLS), tiles(64, 1))]
    frames = [Frame("suspect", "base", ("donor",))]
    with (
        Weights({name: tmp_path / name for name in views}, in_order=True) as weights,
        pytest.raises(AuditError, match="suspect/x"),
    ):
        list(Reader(weights, frames, CompiledKernel()).read(work))


def test_pieces_are_cut_where_rows_end():
    first, lengths, pieces = by_row(np.array([3, 14]), np.array([9, 4]), 5)
    assert first.tolist() == [3, 5, 10, 14, 15]
    assert lengths.tolist() == [2, 5, 2, 1, 3]
    assert pieces.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("dtype", KINDS)
def test_short_stretches_are_unpacked_together(dtype, tmp_path):
    """To the same codes, scales and shifts as each of them alone."""
    views = written(tmp_path, np.random.default_rng(9), suspect=dtype)
    stretches = [(3, 5), (250, 20), (270, 600), (90_000, 2160)]
    out = np.empty(sum(count for _, count in stretches), np.uint8)
    with Weights({"suspect": tmp_path / "suspect"}) as weights:
        scales, shifts = weights.stretches(views["suspect"], stretches, out)
        found = Stored(out, dtype, scales, shifts).numbers()
        alone = [weights.values(views["suspect"], *each) for each in stretches]
        whole = weights.values(views["suspect"], 0, ROWS * COLS)
        nothing, _ = weights.stretches(views["suspect"], [], out[:0])
    np.testing.assert_array_equal(found, np.concatenate(alone))
    wanted = [whole[first : first + count] for first, count in stretches]
    np.testing.assert_array_equal(found, np.concatenate(wanted))
    assert nothing.size == 0
