"""The donor's own run at another rate is no blend, however nearly its change is a
multiple of the donor's: it was never rounded as one.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mergetrace.merging.applying import Piece
from mergetrace.merging.facts import HeldFacts
from mergetrace.merging.recipes import make
from mergetrace.search.leaning import lean_to_pair, lean_to_recipe
from mergetrace.search.signatures import measure_signature
from mergetrace.search.trial import Trial
from mergetrace.sums.evidence import Sample
from mergetrace.sums.frames import Frame
from mergetrace.testing.audits import audit
from mergetrace.testing.planting import random_model, write_model

DATES = {"base": "2024-01-01", "donor": "2024-06-01", "suspect": "2025-01-01"}
COUNT = 1 << 15
WEIGHTS = (0.571, 0.5, 0.75)


def grown(weight, size=0.002):
    """Base, donor and a model whose change is `weight` times the donor's, each rounded
    once from what training holds.
    """
    generator = torch.Generator().manual_seed(0)
    base = (torch.randn(COUNT, generator=generator) * 0.02).bfloat16()
    change = torch.randn(COUNT, generator=generator) * size
    donor = (base.float() + change).bfloat16()
    return base, donor, (base.float() + weight * change).bfloat16()


def trained_blend(base, donor, weight, generator=0):
    """A stored blend of which a third of the numbers was moved by a step."""
    blend = (base.double() + weight * (donor.double() - base.double())).bfloat16()
    draw = torch.Generator().manual_seed(generator)
    step = torch.randint(-1, 2, blend.shape, generator=draw) * (
        torch.rand(blend.shape, generator=draw) < 0.5
    )
    return (blend.view(torch.int16) + step.short()).view(torch.bfloat16)


def piece(base, donor, made):
    values = {"base": base.double().numpy(), "donor": donor.double().numpy()}
    facts = HeldFacts(
        base="base",
        donors=("donor",),
        gram=np.eye(2),
        values=values,
        elements=COUNT,
        columns=COUNT,
    )
    raw = made.contiguous().view(torch.uint8).numpy().ravel()
    return Piece("w", 0.0, values, Sample(raw, "BF16"), facts)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_run_at_another_rate_misses_the_blend_to_the_side_where_it_lies(weight):
    base, donor, made = grown(weight)
    lean = lean_to_pair([piece(base, donor, made)], "base", "donor", 0.25)
    assert lean.misses > 1000
    assert lean.share > 0.9


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_stored_blend_is_left_to_either_side(weight):
    base, donor, _ = grown(weight)
    made = piece(base, donor, trained_blend(base, donor, weight))
    recipe = make("linear", {"base": 1 - weight, "donor": weight})
    for lean in (
        lean_to_pair([made], "base", "donor", 0.25),
        lean_to_recipe([made], recipe, "base"),
    ):
        assert lean.misses > 1000
        assert abs(lean.share - 0.5) < 0.05


def test_nothing_is_said_of_models_that_no_blend_explains():
    base, donor, _ = grown(0.5)
    _, other, _ = grown(0.5)
    stranger = torch.flip(other, [0])
    assert lean_to_pair([piece(base, donor, stranger)], "base", "donor", 0.25) is None


def test_what_rounding_took_back_was_not_dropped():
    base, donor, made = grown(0.1, size=0.0006)
    pilot = Trial(
        Frame("made", "base", ("donor",)),
        [piece(base, donor, made)],
        0.25,
        0.02,
        0.05,
        1000,
    )
    rounded = measure_signature(pilot, ("donor",))
    assert rounded.stayed < 0.02
    kept = torch.rand(COUNT, generator=torch.Generator().manual_seed(1)) < 0.5
    dropped = torch.where(kept, made, base)
    pilot = replace(pilot, pieces=[piece(base, donor, dropped)])
    assert measure_signature(pilot, ("donor",)).stayed > 0.3


def models():
    """Base and donor, the donor's run at half its rate, and a blend trained since."""
    base = random_model(0)
    made = {"base": base, "donor": {}, "rerun": {}, "blend": {}}
    for number, (name, tensor) in enumerate(base.items()):
        generator = torch.Generator().manual_seed(number)
        change = torch.randn(tensor.shape, generator=generator) * 0.002
        donor = (tensor.float() + change).bfloat16()
        made["donor"][name] = donor
        made["rerun"][name] = (tensor.float() + 0.55 * change).bfloat16()
        made["blend"][name] = trained_blend(tensor, donor, 0.55, number)
    return made


@pytest.mark.slow
def test_only_a_blend_that_was_stored_is_named(tmp_path):
    folders = {name: tmp_path / name for name in models()}
    for name, tensors in models().items():
        write_model(folders[name], tensors)
    found = {}
    for suspect in ("rerun", "blend"):
        parents = {name: folders[name] for name in ("base", "donor")}
        spec = {"suspect": "suspect", "base": "base", "donors": ["donor"]}
        suspects = {**parents, "suspect": folders[suspect]}
        found[suspect] = audit(
            tmp_path / "x" / suspect, suspects, spec, published=DATES
        )
    assert found["blend"]["verdict"] == "merge_then_trained"
    assert found["rerun"]["verdict"] == "inconclusive"
    assert not found["rerun"]["parents"]["donor"]["named"]
    assert "never rounded as a stored blend" in " ".join(found["rerun"]["reasons"])
