"""Slices of one stored tensor, joined: nothing a sample says is lost, and slices that
stayed whole are no random drop.
"""

import numpy as np
import pandas as pd
import pytest

from mergetrace.merging.facts import gram_of
from mergetrace.numerics.dtypes import encode
from mergetrace.search.dependence import measure_dependence
from mergetrace.search.joining import Joiner
from mergetrace.search.signatures import measure_signature
from mergetrace.search.trial import Trial, slices_of
from mergetrace.sums.evidence import Sample
from mergetrace.sums.frames import Frame

SIZE = 2000
EXPERTS = 4
FRAME = Frame("suspect", "base", ("donor",))


def bf16(values):
    return Sample(encode(values, "BF16").view(np.uint8), "BF16")


@pytest.fixture(scope="module")
def parents():
    generator = np.random.default_rng(0)
    base = [generator.normal(size=SIZE) * 0.02 for _ in range(EXPERTS)]
    return [
        {"base": bf16(one), "donor": bf16(one + generator.normal(size=SIZE) * 0.005)}
        for one in base
    ]


def joined(parents, audited):
    """The one piece that the experts of a fused tensor make; audited: a sample per
    expert.
    """
    rows = []
    for i, models in enumerate(parents):
        gram = gram_of(
            {name: sample.values() for name, sample in models.items()},
            ("base", "donor"),
        )
        sums = {"bb": gram[0, 0], "bv.donor": gram[0, 1], "vv.donor.donor": gram[1, 1]}
        about = {
            "tensor": "layers.0.mlp.experts.up_proj.weight",
            "slice": str(i),
            "layer": "0",
            "component": "routed_experts",
            "source": "experts.up_proj",
        }
        rows.append(
            {
                "slice_id": i,
                **about,
                "start": i * SIZE,
                "elements": SIZE,
                "cols": SIZE // 16,
                "weight": 1.0,
                **sums,
            }
        )
    slices = [
        (i, {**models, "suspect": sample})
        for i, (models, sample) in enumerate(zip(parents, audited, strict=True))
    ]
    (found,) = Joiner(FRAME, pd.DataFrame(rows)).pieces(slices, {0, 2})
    return found


@pytest.mark.parametrize(
    ("dtype", "scales"),
    [
        ("F16", None),
        ("F8_E4M3", np.full(SIZE, 0.003)),
        ("BF16", np.full(SIZE, 1 / 1.02)),
    ],
)
def test_a_joined_tensor_says_all_that_its_slices_said(parents, dtype, scales):
    own = [
        Sample(
            encode(
                one["donor"].values() / (1.0 if scales is None else scales), dtype
            ).view(np.uint8),
            dtype,
            scales,
            "BF16",
        )
        for one in parents
    ]
    found = joined(parents, own)
    assert found.parts == ((0, 0, SIZE), (2, 2 * SIZE, 3 * SIZE))
    assert found.piece.ends == (SIZE, 2 * SIZE, 3 * SIZE, 4 * SIZE)
    assert np.array_equal(
        found.piece.audited.values(), np.concatenate([one.values() for one in own])
    )
    assert np.array_equal(
        found.piece.audited.midpoints(),
        np.concatenate([one.midpoints() for one in own], axis=1),
    )


def test_experts_merged_at_weights_of_their_own_follow_slice_by_slice(parents):
    alike = [parents[0], parents[0], parents[0], parents[3]]
    own = [
        bf16((1 - weight) * one["base"].values() + weight * one["donor"].values())
        for one, weight in zip(alike, (0.2, 0.4, 0.6, 0.8), strict=True)
    ]
    piece = joined(alike, own).piece
    slices = slices_of([piece])
    assert [one.size for one in slices] == [SIZE] * EXPERTS
    models = ("base", "donor")
    assert measure_dependence([piece], models).dissent > 0.2
    of_slices = measure_dependence(slices, models)
    assert of_slices is None or of_slices.dissent == 0


def dropped(parents, audited):
    """The share of elements at the base, of those that a dropping merge may have
    dropped, and the pattern of the others.
    """
    measured = measure_signature(
        Trial(FRAME, [joined(parents, audited).piece], 0.5, 0.02, 0.05, 100), ("donor",)
    )
    return measured.stayed, measured.family


def test_experts_taken_whole_from_one_parent_or_the_other_are_no_random_drop(parents):
    own = [
        one[name]
        for one, name in zip(parents, ("base", "donor", "donor", "base"), strict=True)
    ]
    assert dropped(parents, own)[0] == pytest.approx(0, abs=0.01)


def test_a_random_drop_from_every_expert_is(parents):
    kept = np.random.default_rng(1).random((EXPERTS, SIZE)) < 0.5
    own = [
        bf16(np.where(keep, one["donor"].values(), one["base"].values()))
        for one, keep in zip(parents, kept, strict=True)
    ]
    assert dropped(parents, own) == (pytest.approx(0.5, abs=0.03), "dare")
