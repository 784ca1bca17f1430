"""Numbers multiplied into rows and columns are found to the last digit in a merge, and
nowhere else.
"""

import numpy as np
import pytest
import torch

from mergetrace.disguises.column_factors import column_factors, column_ratios
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.numerics.lattice import neighbour_midpoints
from mergetrace.testing.disguises import channels_scaled, norms_folded
from mergetrace.testing.looking import looked
from mergetrace.testing.planting import blend, finetuned
from mergetrace.testing.realmerge import qwen

BASE = qwen(0)
DONOR = finetuned(BASE, 1)
MERGED = blend(BASE, DONOR, 0.571)
SIBLING = finetuned(BASE, 2)


@pytest.fixture
def look(tmp_path):
    return lambda suspect, base=BASE, donor=DONOR: looked(
        tmp_path, suspect, base, donor
    )[0]


def multiplied(merge, numbers):
    """The intervals of bf16 numbers: a merge rounded, multiplied by column, rounded."""
    rounded = decode(encode(merge.reshape(-1), "BF16"), "BF16").reshape(merge.shape)
    low, high = neighbour_midpoints(
        encode((rounded * numbers).reshape(-1), "BF16").view(np.uint8), "BF16"
    )
    return low.reshape(merge.shape), high.reshape(merge.shape)


@pytest.fixture
def parents():
    generator = np.random.default_rng(0)
    base = generator.normal(size=(64, 96)) * 0.02
    drawn = [
        base,
        *(base + generator.normal(size=base.shape) * 0.002 for _ in range(2)),
    ]
    return np.stack(
        [
            decode(encode(one.reshape(-1), "BF16"), "BF16").reshape(one.shape)
            for one in drawn
        ]
    )


@pytest.mark.parametrize(
    "shares", [(0.429, 0.571, 0.0), (0.4, 0.35, 0.25), (1.0, 0.0, 0.0)]
)
@pytest.mark.parametrize("kind", ["bf16", "reciprocal", "one more"])
def test_the_columns_of_a_merge_are_found_to_the_last_digit(parents, shares, kind):
    drawn = decode(
        encode(np.exp2(np.random.default_rng(1).uniform(-1, 1, 96)), "BF16"), "BF16"
    )
    numbers = {"bf16": drawn, "reciprocal": 1 / drawn, "one more": 1 + drawn}[kind]
    found = column_factors(
        *multiplied(np.tensordot(shares, parents, 1), numbers), parents, "BF16"
    )
    assert found.explained > 0.95
    assert found.plain < 0.1
    assert np.mean(found.columns == numbers) > 0.97


def test_no_numbers_explain_a_finetune(parents):
    other = parents[0] + np.random.default_rng(2).normal(size=parents[0].shape) * 0.002
    for numbers in (np.ones(96), np.linspace(0.5, 2, 96)):
        assert (
            column_factors(*multiplied(other, numbers), parents, "BF16").explained < 0.2
        )


@pytest.mark.parametrize(("spread", "apart"), [(0.0, False), (0.05, True)])
def test_columns_that_differ_in_size_by_more_than_chance(parents, spread, apart):
    other = parents[0] + np.random.default_rng(2).normal(size=parents[0].shape) * 0.002
    assert (
        column_ratios(other * (1 + spread * np.sin(np.arange(96))), parents[0])[1] > 4
    ) == apart


@pytest.mark.parametrize(
    "hide", [norms_folded, channels_scaled], ids=["norms", "channels"]
)
@pytest.mark.parametrize(
    "model", [MERGED, BASE, DONOR], ids=["merged", "base", "donor"]
)
def test_channels_of_what_the_parents_explain_are_put_back(look, hide, model):
    layout = look(hide(model))
    assert len(layout.undone) == 1
    assert (layout.not_undone, layout.visible) == ([], False)
    assert {adjustment.through for adjustment in layout.adjusted.values()} == {"BF16"}


def test_a_folded_norm_reads_as_the_merge_s_own(look):
    layout = look(norms_folded(MERGED))
    for name in (
        "model.layers.0.input_layernorm.weight",
        "model.layers.5.post_attention_layernorm.weight",
    ):
        np.testing.assert_array_equal(
            layout.adjusted[name, ""].row_scale, MERGED[name].double().numpy()
        )


def test_norms_that_are_stored_less_one_are_found_in_the_matrices(look):
    """As Qwen3.5 and Gemma store them; a weight of 0 then says nothing of what it was,
    so the norm itself stays.
    """

    def centred(model):
        return {
            name: (tensor.float() - 1).bfloat16() if "layernorm" in name else tensor
            for name, tensor in model.items()
        }

    base = centred(BASE)
    donor = centred(DONOR)
    merged = blend(base, donor, 0.571)
    layout = look(norms_folded(merged, less=1.0), base, donor)
    assert len(layout.undone) == 1
    assert (layout.not_undone, layout.visible) == ([], False)
    numbers = 1 + merged["model.layers.2.input_layernorm.weight"].double().numpy()
    np.testing.assert_allclose(
        1 / layout.adjusted["model.layers.2.self_attn.q_proj.weight", ""].col_scale,
        numbers,
        rtol=2e-3,
    )
    assert ("model.layers.2.input_layernorm.weight", "") not in layout.adjusted


@pytest.mark.parametrize(
    "hide", [norms_folded, channels_scaled], ids=["norms", "channels"]
)
def test_channels_of_a_finetune_are_said_and_left(look, hide):
    layout = look(hide(SIBLING))
    assert layout.plain
    assert layout.visible
    kinds = {finding.kind for finding in layout.not_undone}
    assert kinds & {"norms_replaced", "columns_apart"}


@pytest.mark.parametrize("model", [SIBLING, qwen(9)], ids=["sibling", "stranger"])
def test_nothing_is_seen_where_nothing_was_multiplied(look, model):
    layout = look(model)
    assert layout.plain
    assert (layout.undone, layout.not_undone, layout.visible) == ([], [], False)


def test_rows_that_nothing_makes_up_for_are_not_put_back(look):
    """A finetune that learned to multiply its channels (IA3) is no copy of its base."""
    generator = torch.Generator().manual_seed(0)
    values = {name: tensor for name, tensor in BASE.items() if "v_proj" in name}
    learned = {
        name: (
            (
                tensor.float()
                * (1 + 0.2 * torch.rand(len(tensor), 1, generator=generator))
            ).bfloat16()
        )
        for name, tensor in values.items()
    }
    assert look(BASE | learned).plain
