"""One pass gives the sums; the sums give alpha, cos_fit and honest errors. All kernels
give the same.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mergetrace.errors import AuditError
from mergetrace.files.safetensors_file import read_model
from mergetrace.fit.estimators import donor_sums, fit, solve
from mergetrace.numerics.dtypes import FLOATS, FORMATS, decode, encode
from mergetrace.numerics.lattice import ulp
from mergetrace.planning.manifest import describe, tensor_table
from mergetrace.planning.plan import pair_models
from mergetrace.planning.sampling import evidence_blocks, tiles
from mergetrace.sums import gram_numba, gram_torch
from mergetrace.sums.deltas import RUN_ELEMENTS, Piece, Reader, Slice, cut_into_runs
from mergetrace.sums.frames import Frame
from mergetrace.sums.gram import kernel_for, run_sums
from mergetrace.sums.gram_arrays import ArrayKernel
from mergetrace.sums.gram_numba import CompiledKernel
from mergetrace.sums.kernels import GROUP, LANES, ROWS, narrow
from mergetrace.sums.records import records
from mergetrace.sums.stored import Stored
from mergetrace.tensors.view import View, view_of
from mergetrace.tensors.weights import Weights
from mergetrace.testing.planting import random_model, write_model

GENERATOR = np.random.default_rng(0)
KERNELS = (ArrayKernel(), CompiledKernel(), gram_torch.TorchKernel("cpu"))
BOUND = (
    18 * 2.0**-24
)  # of |x| |y|: float32 rounds both factors, their product, and 15 sums of products


def sums(
    values: dict[str, np.ndarray], donors=("donor",), blocks=None
) -> dict[str, np.ndarray]:
    """The records of float64 numbers, by key."""
    lengths = (tiles(values["base"].size) if blocks is None else blocks)[:, 1]
    frames = [Frame("suspect", "base", donors)]
    stored = {
        name: Stored(numbers.view(np.uint8), "F64") for name, numbers in values.items()
    }
    rows = list(
        records(
            frames,
            run_sums(frames, stored, np.cumsum([0, *lengths]), CompiledKernel()),
            lengths,
        )
    )
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def planted(size: int, alpha: float, noise: float = 0.0) -> dict[str, np.ndarray]:
    base = GENERATOR.normal(size=size)
    v = GENERATOR.normal(size=size)
    return {
        "base": base,
        "donor": base + v,
        "suspect": base + alpha * v + noise * GENERATOR.normal(size=size),
    }


def test_sums_equal_the_plain_formula_over_many_tiles():
    size = 24_593
    values = planted(size, 0.4, 0.1)
    found = sums(values, blocks=np.array([[0, size]]))
    u = values["suspect"] - values["base"]
    v = values["donor"] - values["base"]
    for key, expected in {
        "uu": u @ u,
        "uv.donor": u @ v,
        "vv.donor.donor": v @ v,
        "ub": u @ values["base"],
        "bv.donor": v @ values["base"],
    }.items():
        assert found[key].sum() == pytest.approx(expected, rel=1e-12)
    assert found["rounding"].sum() == pytest.approx(
        (ulp(values["suspect"], "F64") ** 2).sum() / 12, rel=1e-12
    )


def test_counts_are_exact():
    values = {
        "base": np.array([1.0, 1, 1, 1, 1, 1]),
        "donor": np.array([1.0, 1, 2, 2, 2, 0]),
        "suspect": np.array([1.0, 3, 1, 2, 4, 3]),
    }
    found = {
        key: value.sum()
        for key, value in sums(values).items()
        if key not in ("model", "base")
    }
    assert found["equal_base"] == 2
    assert found["equal_donor.donor"] == 2
    assert found["parents_agree.donor"] == 2
    assert found["moved_alone.donor"] == 1
    assert found["stayed_alone.donor"] == 1
    assert found["same_sign.donor"] == 2
    assert found["both_moved.donor"] == 3


def test_non_finite_elements_are_counted_and_left_out():
    values = planted(1000, 0.4)
    values["donor"][3], values["suspect"][77] = np.inf, np.nan
    found = sums(values)
    assert found["nonfinite"].sum() == 2
    assert found["n"].sum() == 998
    assert np.isfinite(found["uu"]).all()


def plain(
    stored: dict[str, Stored], donors: tuple[str, ...], edges: np.ndarray
) -> list[dict[str, float]]:
    """The definition, piece by piece, on decoded numbers. Sums come with their scale:
    what 1e-12 is relative to.
    """
    values = {
        name: decode(held.raw, held.dtype) * (1 if held.scales is None else held.scales)
        for name, held in stored.items()
    }
    finite = np.logical_and.reduce([np.isfinite(value) for value in values.values()])
    audited = stored["suspect"]
    spacing = ulp(audited.raw, audited.dtype) * (
        1 if audited.scales is None else audited.scales
    )
    rows = []
    for start, end in pairwise(edges.tolist()):
        keep = np.flatnonzero(finite[start:end]) + start
        part = {
            name: value[keep].astype(np.longdouble) for name, value in values.items()
        }
        b = part["base"]
        u = part["suspect"] - part["base"]
        row = {
            "n": keep.size,
            "nonfinite": end - start - keep.size,
            "uu": u @ u,
            "ub": u @ b,
            "bb": b @ b,
        }
        row |= {
            "rounding": (spacing[keep].astype(np.longdouble) ** 2).sum() / 12,
            "equal_base": (u == 0).sum(),
        }
        for i, donor in enumerate(donors):
            v = part[donor] - b
            row |= {f"uv.{donor}": u @ v, f"bv.{donor}": b @ v}
            row |= {
                f"vv.{donor}.{other}": v @ (part[other] - b) for other in donors[i:]
            }
            row |= {
                f"equal_donor.{donor}": (part["suspect"] == part[donor]).sum(),
                f"parents_agree.{donor}": (v == 0).sum(),
            }
            row |= {
                f"moved_alone.{donor}": ((u != 0) & (v == 0)).sum(),
                f"stayed_alone.{donor}": ((u == 0) & (v != 0)).sum(),
            }
            row |= {
                f"same_sign.{donor}": (np.sign(u) * np.sign(v) > 0).sum(),
                f"both_moved.{donor}": ((u != 0) & (v != 0)).sum(),
            }
        rows.append(row)
    for key, parent in (
        ("base", "base"),
        *((f"donor.{donor}", donor) for donor in donors),
    ):
        whole = is_rounded(audited, values["suspect"], values[parent])[finite].all()
        for row in rows:
            row[f"rounded_{key}"] = row["n"] if whole else row[f"equal_{key}"]
    return rows


def is_rounded(audited: Stored, own: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """Whether each number is a parent's, divided by the scale where there is one, cut
    at the largest number, and rounded.
    """
    scales = 1 if audited.scales is None else audited.scales
    form = FORMATS[audited.dtype]
    largest = decode(
        np.array([form.largest], form.codes).view(np.uint8), audited.dtype
    )[0]
    return (
        decode(
            encode(np.clip(parent / scales, -largest, largest), audited.dtype),
            audited.dtype,
        )
        == own / scales
    )


def scale_of(key: str, row: dict[str, float]) -> float:
    """|x| |y| for a sum <x, y>."""
    kind, *names = key.split(".")
    if kind == "rounding":
        return row[kind]
    names = ["", "", *names][-2:]
    squares = [
        row[f"vv.{name}.{name}"] if letter == "v" else row[2 * letter]
        for letter, name in zip(kind, names, strict=True)
    ]
    return float(np.sqrt(squares[0]) * np.sqrt(squares[1]))


@st.composite
def held(draw):
    """A suspect, a base and two donors in dtypes of their own (or all in bf16), with
    equal, zero and non-finite elements planted.
    """
    n = draw(
        st.one_of(
            st.integers(1, 70),
            st.sampled_from([GROUP - 1, GROUP, GROUP + 9, 16 * GROUP + 77]),
        )
    )
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtypes = draw(
        st.sampled_from(
            [
                *((name,) * 4 for name in FLOATS if name != "F64"),
                ("BF16", "F32", "F16", "F8_E4M3"),
            ]
        )
    )
    stored = {}
    for name, dtype in zip(("suspect", "base", "donor", "second"), dtypes, strict=True):
        codes = generator.integers(0, 1 << 8 * FORMATS[dtype].width, n, dtype=np.uint64)
        if draw(
            st.booleans()
        ):  # finite: keep the exponent away from its end, the sign apart
            sign = np.uint64(1 << 8 * FORMATS[dtype].width - 1)
            codes = codes & sign | (codes & (sign - np.uint64(1))) % np.uint64(
                FORMATS[dtype].largest + 1
            )
        codes[generator.random(n) < 0.2] = 0
        same = [other for other in stored.values() if other.dtype == dtype]
        raw = codes.astype(FORMATS[dtype].codes)
        if same:
            mine = generator.random(n) < 0.3
            raw[mine] = same[-1].raw.view(raw.dtype)[mine]
        raw[generator.random(n) < 0.1] = 1 << 8 * FORMATS[dtype].width - 1  # -0
        scaled = dtype.startswith("F8") and draw(st.booleans())
        stored[name] = Stored(
            raw.view(np.uint8),
            dtype,
            (
                generator.random(n).astype(np.float32).astype(np.float64) + 0.5
                if scaled
                else None
            ),
        )
    cuts = sorted(generator.integers(0, n + 1, 3))
    return stored, np.unique([0, *cuts, n])


def found_by(
    kernel,
    stored: dict[str, Stored],
    edges: np.ndarray,
    donors: tuple[str, ...] = ("donor", "second"),
) -> list[dict[str, object]]:
    frames = [Frame("suspect", "base", donors)]
    with np.errstate(over="ignore", invalid="ignore"):
        return list(
            records(frames, run_sums(frames, stored, edges, kernel), np.diff(edges))
        )


def assert_same(row: dict[str, object], truth: dict[str, float], within: float) -> None:
    """Counts exactly, sums within that of |x| |y|."""
    for key, value in truth.items():
        if isinstance(row[key], int | str):
            assert row[key] == value, key
        else:
            assert abs(row[key] - value) <= within * scale_of(key, truth), key


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(case=held())
def test_every_kernel_gives_the_plain_sums_and_the_exact_counts(case):
    stored, edges = case
    with np.errstate(over="ignore", invalid="ignore"):
        expected = plain(stored, ("donor", "second"), edges)
    found = [found_by(kernel, stored, edges) for kernel in KERNELS]
    short = any(narrow(each.dtype, each.scales) for each in stored.values())
    for *rows, truth in zip(*found, expected, strict=True):
        assert set(rows[0]) - {"model", "base", "block"} == set(truth)
        assert_same(rows[0], truth, BOUND if short else 1e-12)
        for row in rows[1:]:
            assert_same(row, rows[0], 1e-12)


@pytest.mark.parametrize("parent", ["F8_E4M3", "BF16", "F16", "F32"])
def test_every_kernel_sees_a_parent_rounded_to_scaled_fp8(parent):
    """A kernel that sums stored codes must not take them for numbers here."""
    values = np.linspace(0.5, 400, 70)
    raw = encode(values, parent)
    base = Stored(raw.view(np.uint8), parent, None)
    scales = np.full(values.size, 1.25)
    suspect = Stored(
        encode(base.numbers() / scales, "F8_E4M3").view(np.uint8), "F8_E4M3", scales
    )
    stored = {"suspect": suspect, "base": base, "donor": base, "second": base}
    for kernel in KERNELS:
        (row,) = found_by(kernel, stored, np.array([0, values.size]))
        assert row["rounded_base"] == values.size


def bf16(**numbers: np.ndarray) -> dict[str, Stored]:
    return {
        name: Stored(
            encode(np.asarray(values, np.float64), "BF16").view(np.uint8), "BF16"
        )
        for name, values in numbers.items()
    }


def in_order(x: np.ndarray, y: np.ndarray) -> float:
    """The definition in kernels.py, number by number."""
    total = 0.0
    whole = x.size - x.size % GROUP
    for group in range(0, whole, GROUP):
        for column in range(LANES):
            added = np.float32(0)
            for at in range(group + column, group + GROUP, LANES):
                added += np.float32(x[at]) * np.float32(y[at])
            total += float(added)
    return total + float(x[whole:].astype(np.float64) @ y[whole:].astype(np.float64))


def test_the_order_of_float32_sums_is_the_stated_one():
    base = GENERATOR.normal(size=3 * ROWS * LANES + 5)
    stored = bf16(
        suspect=base + 3, base=base, donor=GENERATOR.normal(size=base.size) * 1e3
    )
    s, b, d = (
        decode(held.raw, "BF16", np.empty(base.size, np.float32))
        for held in stored.values()
    )
    u = s - b
    v = d - b
    for kernel in KERNELS:
        (row,) = found_by(kernel, stored, np.array([0, base.size]), ("donor",))
        for key, pair in {
            "uu": (u, u),
            "ub": (u, b),
            "bb": (b, b),
            "uv.donor": (u, v),
            "bv.donor": (b, v),
            "vv.donor.donor": (v, v),
        }.items():
            assert row[key] == pytest.approx(in_order(*pair), rel=1e-14), key
    assert (
        abs(in_order(u, v) / (u.astype(np.float64) @ v.astype(np.float64)) - 1) > 1e-12
    )  # the order shows in the digits that are compared


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F8_E4M3", "F8_E5M2"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_signs_are_told_apart_however_far_numbers_lie_apart(kernel, dtype):
    n = 3 * GROUP
    sizes = GENERATOR.choice([0.0, 0.125, 1.0, 300.0], (3, n)) * GENERATOR.choice(
        [-1.0, 1.0], (3, n)
    )  # squares that float32 holds: summed once
    stored = {
        name: Stored(encode(row, dtype).view(np.uint8), dtype)
        for name, row in zip(("suspect", "base", "donor"), sizes, strict=True)
    }
    edges = np.array([0, n])
    assert_same(
        found_by(kernel, stored, edges, ("donor",))[0],
        plain(stored, ("donor",), edges)[0],
        BOUND,
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [2.0**-126, 1e-30, 1e-19, 1e25, 1e38])
@pytest.mark.parametrize("share", [1.0, 0.001])
def test_squares_beyond_float32_are_neither_zero_nor_infinite(kernel, size, share):
    n = 2 * GROUP
    changed = GENERATOR.random(n) < share
    changed[7] = True
    base = GENERATOR.normal(size=n) * size
    stored = bf16(
        base=base,
        suspect=np.where(changed, base / 2, base),
        donor=np.where(changed, base / 4, base),
    )
    truth = plain(stored, ("donor",), np.array([0, n]))[0]
    assert 0 < truth["uu"] < np.inf
    assert_same(found_by(kernel, stored, np.array([0, n]), ("donor",))[0], truth, BOUND)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_piece_that_is_summed_again_leaves_its_neighbours_alone(kernel):
    n = GROUP + 40
    whole = bf16(
        **{name: GENERATOR.normal(size=3 * n) for name in ("suspect", "base", "donor")}
    )
    edges = np.array([0, n, 2 * n, 3 * n])
    before = found_by(kernel, whole, edges, ("donor",))
    whole["donor"].raw.view(np.uint16)[n + 3] = 0x7F80  # infinity
    after = found_by(kernel, whole, edges, ("donor",))
    assert [row["nonfinite"] for row in after] == [0, 1, 0]
    assert (before[0], before[2]) == (after[0], after[2])


@pytest.mark.parametrize(("size", "change"), [(0.02, 0.01), (0.02, 1.0), (1.0, 1e-4)])
def test_float32_products_of_trained_weights_err_far_less_than_they_may(size, change):
    n = 1 << 20
    base = GENERATOR.normal(size=n) * size
    delta = GENERATOR.normal(size=n) * size * change
    stored = bf16(base=base, donor=base + delta, suspect=base + 0.57 * delta)
    truth = plain(stored, ("donor",), np.array([0, n]))[0]
    assert_same(
        found_by(CompiledKernel(), stored, np.array([0, n]), ("donor",))[0],
        truth,
        2.0**-25,
    )


@pytest.mark.real
def test_the_gpu_gives_the_processors_sums_and_counts():
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU here")
    generator = np.random.default_rng(0)
    base = generator.normal(size=1 << 20) * 0.02
    numbers = {
        "suspect": base + generator.normal(size=base.size) * 1e-3,
        "base": base,
        "donor": base + generator.normal(size=base.size) * 1e-3,
    }
    stored = {
        name: Stored(encode(value, "BF16").view(np.uint8), "BF16")
        for name, value in numbers.items()
    }
    frames = [Frame("suspect", "base", ("donor",))]
    edges = np.linspace(0, base.size, 33).astype(np.int64)
    mine, theirs = (
        list(records(frames, run_sums(frames, stored, edges, kernel), np.diff(edges)))
        for kernel in (gram_torch.on_gpu(), CompiledKernel())
    )
    for row, truth in zip(mine, theirs, strict=True):
        assert_same(row, truth, 1e-12)


def test_a_gpu_that_is_not_there_is_said_in_a_line():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(AuditError, match="torch finds no GPU here"):
        kernel_for(1, "cuda")


def test_runs_hold_every_element_once_in_order():
    blocks = tiles(3 * RUN_ELEMENTS + 5)
    cut = list(
        cut_into_runs(
            [
                Piece(block, start, length)
                for block, (start, length) in enumerate(blocks.tolist())
            ],
            RUN_ELEMENTS,
        )
    )
    pieces = [piece for run in cut for piece in run]
    assert all(sum(length for _, _, length in run) == RUN_ELEMENTS for run in cut[:-1])
    assert [first for _, first, _ in pieces] == np.cumsum(
        [0, *(length for _, _, length in pieces)]
    )[:-1].tolist()
    assert [
        sum(length for block, _, length in pieces if block == i)
        for i in range(len(blocks))
    ] == blocks[:, 1].tolist()


def test_results_do_not_depend_on_threads(tmp_path):
    models = {
        name: random_model(seed)
        for seed, name in enumerate(("suspect", "base", "donor", "control"))
    }
    folders = {
        name: write_model(tmp_path / name, tensors) for name, tensors in models.items()
    }
    tables = {name: tensor_table(folder) for name, folder in folders.items()}
    plan, _ = pair_models(
        tables,
        {
            name: describe(name, folders[name], read_model(folders[name]))
            for name in folders
        },
        ["base", "donor"],
        "suspect",
    )
    frames = [Frame(model, "base", ("donor",)) for model in ("suspect", "control")]
    results = []
    for kernel in KERNELS:
        for threads in (1, 3):
            slices = [
                Slice(
                    number,
                    {row["model"]: view_of(row) for row in views.to_dict("records")},
                    tiles(size),
                    evidence_blocks("x", size, 4, 16, 0),
                )
                for number, views in plan.groupby("slice_id")
                for size in [views["elements"].iloc[0]]
            ]
            with Weights(folders, in_order=True) as weights:
                results.append(
                    [
                        (read.slice_id, read.records)
                        for read in Reader(weights, frames, kernel, threads).read(
                            slices
                        )
                    ]
                )
                assert weights.bytes_read >= plan["elements"].sum() * 2
    assert results[0] == results[1]
    assert results[2] == results[3]
    assert results[4] == results[5]
    assert len(results[0]) == plan["slice_id"].nunique()


def one_row(model, dtype, start, size):
    """The view of a vector in the model's file x."""
    return View(
        tensor="t",
        slice="",
        source="t",
        model=model,
        shard="x",
        dtype=dtype,
        start=start,
        rows=1,
        cols=size,
        dimensions=1,
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F8_E4M3"])
def test_what_the_kernel_reads_itself_is_what_is_read_for_it(dtype, tmp_path):
    """Runs longer than what lies in the cache at once, pieces that are no multiple of
    anything, two donors, one number that is none.
    """
    size = 3 * gram_numba.KERNEL_CHUNK + 1234
    base = GENERATOR.normal(size=size)
    numbers = {
        "base": base,
        **{
            name: base + 0.1 * GENERATOR.normal(size=size)
            for name in ("suspect", "other", "one", "two")
        },
    }
    codes = {name: encode(values, dtype) for name, values in numbers.items()}
    codes["one"].view(np.uint8)[-FORMATS[dtype].width :] = 0xFF
    views = {}
    for name, values in codes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(bytes(100) + values.tobytes())
        views[name] = one_row(name, dtype, 100, size)
    frames = [
        Frame("suspect", "base", ("one", "two")),
        Frame("other", "base", ("two",)),
    ]
    work = [Slice(7, views, tiles(size, 2), tiles(64, 1))]
    found = []
    for kernel in (CompiledKernel(), ArrayKernel()):
        with Weights(
            {name: tmp_path / name for name in views}, in_order=True
        ) as weights:
            found += [
                read.records for read in Reader(weights, frames, kernel).read(work)
            ]
            assert weights.bytes_read >= 5 * size * FORMATS[dtype].width
    for row, truth in zip(*found, strict=True):
        assert_same(row, truth, 1e-12)
    assert [row["nonfinite"] for row in found[0]] == [
        0,
        0,
        1,
        0,
    ]  # the second frame does not know the model that holds it


def test_a_file_cut_off_below_the_kernel_is_named(tmp_path):
    size = 2 * gram_numba.KERNEL_CHUNK
    views = {name: one_row(name, "BF16", 0, size) for name in ("s", "b", "d")}
    for name in views:
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(bytes(2 * size - 2 * (name == "d")))
    reading = Slice(0, views, tiles(size), tiles(64, 1))
    with (
        Weights({name: tmp_path / name for name in views}, in_order=True) as weights,
        pytest.raises(AuditError, match="d/x"),
    ):
        list(
            Reader(weights, [Frame("s", "b", ("d",))], CompiledKernel()).read([reading])
        )


def test_the_planted_alpha_is_found_within_its_error():
    found = sums(planted(100_000, 0.571, noise=0.3))
    result = fit(
        found["uu"], found["uv.donor"][:, None], found["vv.donor.donor"][:, None, None]
    )
    assert abs(result.alpha[0] - 0.571) < 4 * result.alpha_se[0]
    assert result.alpha_se[0] == pytest.approx(0.3 / np.sqrt(100_000), rel=0.5)
    assert result.cos_fit == pytest.approx(0.571 / np.hypot(0.571, 0.3), abs=0.01)


def test_two_donors_are_told_apart_and_a_decoy_gets_nothing():
    base, v, w = (GENERATOR.normal(size=50_000) for _ in range(3))
    values = {"base": base, "d1": base + v, "d2": base + w, "suspect": base + 0.3 * v}
    found = sums(values, donors=("d1", "d2"))
    uv = np.stack([found["uv.d1"], found["uv.d2"]], axis=1)
    vv = np.array(
        [[found["vv.d1.d1"], found["vv.d1.d2"]], [found["vv.d1.d2"], found["vv.d2.d2"]]]
    ).transpose(2, 0, 1)
    result = fit(found["uu"], uv, vv)
    assert result.alpha == pytest.approx([0.3, 0.0], abs=1e-9)
    assert result.cos_fit == pytest.approx(1)


@pytest.mark.parametrize("still", ["suspect", "donor"])
def test_a_delta_of_zero_has_no_alpha(still):
    values = planted(1000, 0.4)
    values[still] = values["base"].copy()
    found = sums(values)
    result = fit(
        found["uu"], found["uv.donor"][:, None], found["vv.donor.donor"][:, None, None]
    )
    assert np.isnan(result.alpha).all()
    assert np.isnan(result.cos_fit)


def test_collinear_donors_have_no_solution():
    assert np.isnan(
        solve(np.array([[1.0, 2.0], [2.0, 4.0]]), np.array([1.0, 2.0]))
    ).all()


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_collinear_donors_are_seen_through_float32_products(factor):
    steps = GENERATOR.normal(size=1 << 16)
    steps = decode(
        encode(steps, "BF16") & 0xFFF8,
        "BF16",
        # five bits: times 1.5 they are bf16 still, and their squares are rounded otherwise
    )
    zero = np.full(steps.size, 0.0)
    (row,) = found_by(
        CompiledKernel(),
        bf16(suspect=steps, base=zero + 1e-30, donor=steps, second=steps * factor),
        np.array([0, steps.size]),
    )
    uv, vv = donor_sums(
        {key: [value] for key, value in row.items()}, ["donor", "second"]
    )
    assert np.isnan(solve(vv[0], uv[0])).all()


def test_cosines_stay_within_one_on_a_large_tensor():
    """A naive float32 pass over so many elements gave 1.0045."""
    v = GENERATOR.normal(size=2**22)
    base = GENERATOR.normal(size=2**22)
    found = sums({"base": base, "donor": base + v, "suspect": base + v})
    result = fit(
        found["uu"], found["uv.donor"][:, None], found["vv.donor.donor"][:, None, None]
    )
    assert result.cos_fit == pytest.approx(1, abs=1e-12)
    assert result.cos_fit <= 1
