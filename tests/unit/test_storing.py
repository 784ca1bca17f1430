"""Factors, noise and double rounding are told from what training and other arithmetic
leave.
"""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mergetrace.disguises.findings import SizesApart
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.numerics.lattice import interval_through
from mergetrace.sums.as_stored import round_as_stored
from mergetrace.sums.evidence import Sample, read_evidence, write_evidence
from mergetrace.testing.disguises import noisy, quantised, scaled
from mergetrace.testing.looking import looked
from mergetrace.testing.planting import blend, finetuned
from mergetrace.testing.realmerge import mergekit, qwen, write_qwen

BASE = qwen(0)
DONOR = finetuned(BASE, 1)
MERGED = blend(BASE, DONOR, 0.571)
SIBLING = finetuned(BASE, 2)


@pytest.fixture
def look(tmp_path):
    return lambda suspect, base=BASE, donor=DONOR: looked(
        tmp_path, suspect, base, donor
    )[0]


def factors(layout):
    return {key[0]: adjustment.factor for key, adjustment in layout.adjusted.items()}


@pytest.mark.parametrize("factor", [1.02, 0.9, 1.37, 1 / 1.37, 1.0234375])
@pytest.mark.parametrize(
    "model", [MERGED, DONOR, BASE], ids=["merged", "donor", "base"]
)
def test_a_factor_of_all_tensors_is_found_to_the_last_digit(look, model, factor):
    found = factors(look(scaled(model, factor)))
    assert set(found.values()) == {float(np.float32(factor))}
    assert set(found) >= {name for name, tensor in BASE.items() if tensor.ndim > 1}


def test_factors_of_single_tensors_are_told_apart(look):
    found = factors(
        look(scaled(scaled(MERGED, 1.37, "up_proj"), 1 / 1.37, "down_proj"))
    )
    assert {name.split(".")[4]: round(value, 5) for name, value in found.items()} == {
        "up_proj": 1.37,
        "down_proj": 0.72993,
    }


def test_the_weights_of_an_unnormalised_merge_are_no_factor(look):
    layout = look(
        {
            name: (
                (
                    1.02 * (0.429 * BASE[name].float() + 0.571 * DONOR[name].float())
                ).bfloat16()
            )
            for name in BASE
        }
    )
    assert layout.plain


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_norms_of_a_narrow_merge_on_the_sphere_are_no_factor(look, tmp_path, share):
    """bf16 norms leave whole tensors up to one percent off, which nearly all elements
    that the parents share show.
    """
    folders = {
        write_qwen(tmp_path / "base", BASE): 1 - share,
        write_qwen(tmp_path / "donor", DONOR): share,
    }
    parents = [
        {"model": str(folder), "parameters": {"weight": weight}}
        for folder, weight in folders.items()
    ]
    merged = mergekit(
        {"merge_method": "multislerp", "models": parents, "dtype": "bfloat16"},
        tmp_path / "merged",
    )
    assert look(load_file(merged / "model.safetensors")).plain


@pytest.mark.parametrize("factor", [1.0, 1.7])
def test_what_a_parent_holds_besides_is_no_factor_and_a_factor_is_seen_through_it(
    look, factor
):
    """A slope is pulled towards zero by whatever the parent holds besides the suspect's
    numbers; of a wrong base that is much.
    """
    away = finetuned(BASE, 9, size=1e-2)
    layout = look(scaled(SIBLING, factor), base=away, donor=away)
    assert layout.visible == (factor != 1)


@pytest.mark.parametrize("factor", [1.0, 1.02, 0.98])
def test_no_exact_factor_is_made_up_for_a_finetune(look, factor):
    assert look(scaled(SIBLING, factor)).plain


def test_a_factor_that_is_plain_to_see_and_not_exact_is_said(look):
    layout = look(scaled(SIBLING, 3.0, "up_proj"))
    assert layout.plain
    (finding,) = layout.not_undone
    assert isinstance(finding, SizesApart)
    assert 2.9 <= finding.smallest < 3


@pytest.mark.parametrize(("size", "seen"), [(1e-6, True), (1e-5, True), (1e-3, False)])
def test_noise_too_small_to_hide_the_lattice_is_rounded_away(look, size, seen):
    layout = look(noisy(MERGED, size))
    assert {adjustment.dtype for adjustment in layout.adjusted.values()} == (
        {"BF16"} if seen else set()
    )


@pytest.mark.parametrize("kind", ["normal", "uniform", "signs", "tails", "relative"])
@pytest.mark.parametrize(
    "model", [MERGED, SIBLING, DONOR], ids=["merged", "sibling", "donor"]
)
def test_noise_of_any_kind_is_rounded_away(look, model, kind):
    layout = look(noisy(model, 2e-6, kind=kind))
    assert {adjustment.dtype for adjustment in layout.adjusted.values()} == {"BF16"}
    assert len(layout.adjusted) == len(model)


@pytest.mark.parametrize("kind", ["normal", "signs", "tails"])
@pytest.mark.parametrize("size", [1e-8, 2e-6, 1e-5])
def test_a_base_that_was_hardly_changed_hides_nothing(look, kind, size):
    assert look(noisy(BASE, size, kind=kind)).plain


def test_only_tensors_that_lie_near_the_coarser_format_are_rounded(look):
    layout = look(noisy(noisy(MERGED, 2e-6, pattern="mlp"), 2e-4, pattern="o_proj"))
    assert {
        adjustment.dtype
        for (name, _), adjustment in layout.adjusted.items()
        if "mlp" in name
    } == {"BF16"}
    assert not any("o_proj" in name for name, _ in layout.adjusted)


@pytest.mark.parametrize("size", [1e-3, 1e-4, 3e-5])
def test_a_finetune_kept_in_float32_is_no_noise(look, size):
    assert look(noisy(BASE, size, seed=3)).plain


def test_a_merge_kept_in_float32_is_no_noise(look):
    assert look(
        {
            name: 0.429 * BASE[name].float() + 0.571 * DONOR[name].float()
            for name in BASE
        }
    ).plain


def test_a_small_share_of_a_donor_kept_in_float32_is_no_noise(look):
    assert look(
        {name: 0.99 * BASE[name].float() + 0.01 * DONOR[name].float() for name in BASE}
    ).plain


@pytest.mark.parametrize(
    "narrow",
    [quantised, lambda model: {name: tensor.half() for name, tensor in model.items()}],
    ids=["FP8", "F16"],
)
def test_double_rounding_is_seen_where_it_was_done_and_only_there(look, narrow):
    assert {
        adjustment.through for adjustment in look(narrow(MERGED)).adjusted.values()
    } == {"BF16"}


def test_a_merge_rounded_once_to_f16_went_through_nothing(look):
    assert look(
        {
            name: (0.429 * BASE[name].float() + 0.571 * DONOR[name].float()).half()
            for name in BASE
        }
    ).plain


@pytest.mark.parametrize(
    ("dtype", "factor"),
    [("BF16", 1.02), ("F8_E4M3", 0.003), ("F16", 1.0), ("BF16", -0.97)],
)
def test_the_interval_of_twice_rounded_numbers_holds_what_rounds_to_them_and_nothing_else(
    dtype, factor
):
    values = np.random.default_rng(0).normal(size=4000) * 0.02
    like = Sample(
        np.empty(0, np.uint8),
        dtype,
        None if factor == 1 else np.full(values.size, factor),
        "BF16",
    )
    kept = round_as_stored(values, like)
    codes = encode(kept if like.scales is None else kept / like.scales, dtype)
    low, high = Sample(codes.view(np.uint8), dtype, like.scales, "BF16").midpoints()
    assert ((low <= values) & (values <= high)).all()
    width = high - low
    for outside in (low - width * 1e-3, high + width * 1e-3):
        assert (round_as_stored(outside, like) != kept)[width > 0].mean() > 0.99


def test_where_no_number_fits_the_interval_is_a_point():
    low, high = interval_through(np.array([1.001]), np.array([1.002]), "BF16")
    assert (low, high) == ([1.0015], [1.0015])


def test_evidence_keeps_what_numbers_went_through(tmp_path):
    codes = encode(np.array([0.5, -2.0]), "F16")
    sample = Sample(codes.view(np.uint8), "F16", None, "BF16")
    write_evidence(
        tmp_path / "e",
        {3: (np.array([[0, 2]]), {"s": sample, "b": Sample(sample.raw, "F16")})},
        {},
    )
    ((slice_id, samples),) = read_evidence(tmp_path / "e")
    assert slice_id == 3
    assert {name: one.through for name, one in samples.items()} == {
        "s": "BF16",
        "b": None,
    }
    assert decode(samples["s"].raw, "F16").tolist() == [0.5, -2.0]
    assert torch.tensor(samples["s"].values()).tolist() == [0.5, -2.0]
