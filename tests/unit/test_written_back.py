"""Models that were quantised and written back in 16 bits: the grid is found from the
numbers alone, and they are judged as the quantised file would be.
"""

import json

import numpy as np
import pytest
import torch

from mergetrace.formats.block_layouts import LAYOUTS
from mergetrace.numerics.levels import LEVELS, NORMAL_4
from mergetrace.sums.coarse_grids import grid_of, with_grid
from mergetrace.sums.evidence import Sample, read_evidence, write_evidence
from mergetrace.tensors.view import View
from mergetrace.testing.audits import audit, rebuild
from mergetrace.testing.gguf_models import llama, quantised
from mergetrace.testing.planting import blend, finetuned, write_model
from mergetrace.testing.quantising import in_fp8, meaning

BASE = llama(0)
DONOR = finetuned(BASE, 1, 0.003)
OTHER = finetuned(BASE, 2, 0.003)
MERGE = blend(BASE, DONOR, 0.571)
DATES = {"mine": "2026-05-01", "donor": "2026-01-01", "base": "2025-01-01"}
SPEC = {"suspect": "mine", "base": "base", "donors": ["donor"], "controls": ["other"]}
NAMES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
MATRIX = torch.randn(96, 256, generator=torch.Generator().manual_seed(3)) * 0.02


def int8_by_row(weight):
    """As bitsandbytes' LLM.int8() and many a script."""
    largest = weight.float().abs().amax(1, keepdim=True)
    return (weight.float() / largest * 127).round() * largest / 127


def integers(bits, wide):
    """Rounded to nearest with a bf16 scale for so many numbers along a row."""

    def back(weight):
        x = weight.float().reshape(-1, wide)
        top = 2 ** (bits - 1) - 1
        scale = (x.abs().amax(1, keepdim=True) / top).bfloat16().float()
        return ((x / scale).round().clamp(-top - 1, top) * scale).reshape(weight.shape)

    return back


def nf4(weight):
    x = weight.float().reshape(-1, 64)
    scale = x.abs().amax(1, keepdim=True)
    levels = torch.tensor(NORMAL_4)
    nearest = (x[..., None] / scale[..., None] - levels).abs().argmin(-1)
    return (levels[nearest] * scale).reshape(weight.shape)


def fp8(layout):
    return lambda weight: meaning(*in_fp8(weight, layout), layout).float()


def ggml(kind):
    def back(weight):
        part = LAYOUTS[kind].unpacked(quantised(weight.float().numpy(), kind).ravel())
        shifts = 0.0 if part.shifts is None else part.shifts
        numbers = np.array(LEVELS[kind])[part.codes] * part.scales + shifts
        return torch.from_numpy(numbers.reshape(tuple(weight.shape))).float()

    return back


TRIPS = {
    "int8 by row": (int8_by_row, "GRID_INT8"),
    "int8 by 128": (integers(8, 128), "GRID_INT8"),
    "int4 by 32": (integers(4, 32), "GRID_INT4"),
    "nf4": (nf4, "GRID_NF4"),
    "FP8 by row": (fp8("row"), "GRID_FP8"),
    "FP8 by block": (fp8("block"), "GRID_FP8"),
    "Q8_0": (ggml("Q8_0"), "GRID_INT8"),
    "Q4_0": (ggml("Q4_0"), "GRID_INT4"),
    "Q6_K": (ggml("Q6_K"), "GRID_INT6"),
    "Q4_1": (ggml("Q4_1"), "GRID_SHIFTED"),
    "Q4_K": (ggml("Q4_K"), "GRID_SHIFTED"),
}


def view(rows=96, cols=256):
    return View(
        tensor="w",
        slice="",
        source="w",
        dimensions=2,
        shard="",
        dtype="BF16",
        start=0,
        rows=rows,
        cols=cols,
    )


def sample(matrix, dtype="BF16"):
    raw = matrix.to(NAMES[dtype]).contiguous().view(torch.uint8).numpy().ravel()
    return Sample(raw, dtype)


WHOLE = np.array([[0, MATRIX.numel()]])


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("trip", TRIPS)
def test_the_grid_of_written_back_numbers_is_found(trip, dtype):
    back, kind = TRIPS[trip]
    stored = sample(back(MATRIX), dtype)
    found = grid_of(stored, view(), WHOLE)
    assert found.dtype == kind
    steps = np.abs(found.values() - stored.values()) / np.abs(found.scales)
    assert steps.max() < (0.5 if dtype == "BF16" else 0.1) or kind == "GRID_FP8"
    low, high = found.midpoints()
    merged = MATRIX.double().numpy().ravel()
    assert ((low <= merged) & (merged <= high)).mean() > 0.999


@pytest.mark.parametrize("dtype", NAMES)
def test_a_few_blocks_of_a_matrix_are_enough(dtype):
    stored = sample(int8_by_row(MATRIX), dtype)
    blocks = np.array([[512, 128], [1024 + 64, 192], [4096, 256]])
    which = np.zeros(MATRIX.numel(), bool)
    for start, length in blocks:
        which[start : start + length] = True
    assert grid_of(stored.chosen(which), view(), blocks).dtype == "GRID_INT8"


@pytest.mark.parametrize("dtype", NAMES)
def test_ordinary_numbers_lie_on_no_grid(dtype):
    assert grid_of(sample(MATRIX, dtype), view(), WHOLE) is None
    assert grid_of(sample(torch.ones(96, 256), dtype), view(), WHOLE) is None
    assert grid_of(sample(torch.zeros(96, 256), dtype), view(), WHOLE) is None
    two_scales = int8_by_row(MATRIX).bfloat16().float() * 0.4 + MATRIX * 0.6
    assert grid_of(sample(two_scales, dtype), view(), WHOLE) is None


def test_a_grid_that_a_parent_has_too_says_nothing():
    on_grid = sample(int8_by_row(MATRIX))
    plain = sample(MATRIX)
    views = {"mine": view(), "base": view()}
    found = with_grid({"mine": on_grid, "base": plain}, views, WHOLE, "mine", ["base"])
    assert found["mine"].on_lattice().dtype == "GRID_INT8"
    assert found["mine"].grid.through == "BF16"
    found = with_grid(
        {"mine": on_grid, "base": on_grid}, views, WHOLE, "mine", ["base"]
    )
    assert found["mine"].on_lattice().dtype == "BF16"


def test_the_evidence_keeps_the_grid_beside_the_numbers(tmp_path):
    stored = sample(int8_by_row(MATRIX))
    samples = {"mine": stored, "base": sample(MATRIX)}
    views = {"mine": view(), "base": view()}
    kept = with_grid(samples, views, WHOLE, "mine", ["base"])
    write_evidence(tmp_path / "e.safetensors", {7: (WHOLE, kept)}, {})
    ((number, read),) = read_evidence(tmp_path / "e.safetensors")
    assert number == 7
    assert set(read) == {"mine", "base"}
    assert np.array_equal(read["mine"].raw, stored.raw)
    assert np.array_equal(read["mine"].grid.raw, kept["mine"].grid.raw)
    assert np.array_equal(read["mine"].grid.scales, kept["mine"].grid.scales)


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    models = {"base": BASE, "donor": DONOR, "other": OTHER}
    return {name: write_model(folder / name, model) for name, model in models.items()}


def audited(parents, tmp_path, tensors, trip):
    back, _ = TRIPS[trip]
    tensors = {
        name: back(tensor).bfloat16() if name.endswith("_proj.weight") else tensor
        for name, tensor in tensors.items()
    }
    models = {**parents, "mine": write_model(tmp_path / "mine", tensors)}
    return audit(tmp_path / "results", models, SPEC, published=DATES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "trip",
    [
        pytest.param("int8 by row", marks=pytest.mark.thorough),
        "nf4",
        pytest.param("FP8 by block", marks=pytest.mark.thorough),
        pytest.param("Q6_K", marks=pytest.mark.thorough),
    ],
)
def test_a_written_back_merge_is_called_one(trip, parents, tmp_path):
    found = audited(parents, tmp_path, MERGE, trip)
    assert found["verdict"] == "merge"
    assert found["evidence"] == "exact through quantisation"
    assert found["parents"]["donor"]["alpha"] == 0.571
    assert found["recipe"]["bit_exact_rate"] == 1
    said = " ".join(found["reasons"])
    assert "probably quantised and written back" in said
    assert "train" not in json.dumps(found["recipe"])
    models = {"mine": tmp_path / "mine", **parents}
    del models["other"]
    made = rebuild(tmp_path / "results", models, "mine")
    assert made["differs"]
    assert "written back after the merge" in made["remainder"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "trip", [pytest.param("int8 by row", marks=pytest.mark.thorough), "nf4"]
)
def test_a_written_back_donor_is_a_copy(trip, parents, tmp_path):
    found = audited(parents, tmp_path, DONOR, trip)
    assert (found["verdict"], found["family"]) == ("copy", "requantised")
    assert found["evidence"] == "exact through quantisation"


@pytest.mark.slow
@pytest.mark.parametrize(
    "trip", [pytest.param("int8 by row", marks=pytest.mark.thorough), "nf4"]
)
def test_written_back_innocents_are_not_accused(trip, parents, tmp_path):
    for name, model in {
        "sibling": finetuned(BASE, 5, 0.003),
        "near the donor": finetuned(blend(BASE, DONOR, 0.9), 6, 0.001),
    }.items():
        found = audited(parents, tmp_path / name, model, trip)
        assert found["verdict"] in ("inconclusive", "finetune_of_base")
