"""The donor's own run at another rate is no blend, however nearly its change is a
multiple of the donor's: it was never rounded as one. Where its change is a multiple to
the last bit, the donor's numbers were finer than offered: an adapter at another weight.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mergetrace.merging.applying import Piece
from mergetrace.merging.facts import HeldFacts
from mergetrace.merging.recipes import make
from mergetrace.search.finer import measure_finer
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


def strayed(values, generator=0):
    """As a run at another rate strays from a multiple of the donor's change."""
    draw = torch.Generator().manual_seed(generator)
    return values * (1 + 0.03 * torch.randn(values.shape, generator=draw))


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
    samples = {
        name: Sample(tensor.contiguous().view(torch.uint8).numpy().ravel(), "BF16")
        for name, tensor in (("base", base), ("donor", donor))
    }
    return Piece("w", 0.0, values, Sample(raw, "BF16"), facts, samples=samples)


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


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_multiple_of_a_finer_change_lies_within_both_roundings(weight):
    base, donor, made = grown(weight)
    finer = measure_finer([piece(base, donor, made)], "base", "donor", 0.25)
    assert finer.beyond == 0
    assert finer.weight == pytest.approx(weight, abs=1e-3)
    assert finer.informative > COUNT // 2


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_run_at_another_rate_and_a_trained_blend_lie_beyond(weight):
    base, donor, _ = grown(weight)
    change = donor.float() - base.float()
    rerun = (base.float() + strayed(weight * change)).bfloat16()
    for made in (rerun, trained_blend(base, donor, weight)):
        finer = measure_finer([piece(base, donor, made)], "base", "donor", 0.25)
        assert finer.beyond > 0.005


@pytest.mark.parametrize("coarse", ["donor", "made"])
def test_in_coarse_steps_nothing_is_finer(coarse):
    base, donor, made = grown(0.5)
    whole = piece(base, donor, made)
    eight = {"donor": donor, "made": made}[coarse].to(torch.float8_e4m3fn)
    sample = Sample(eight.view(torch.uint8).numpy(), "F8_E4M3")
    if coarse == "donor":
        whole = replace(whole, samples={**whole.samples, "donor": sample})
    else:
        whole = replace(whole, audited=sample)
    assert measure_finer([whole], "base", "donor", 0.25) is None


def test_a_donor_is_not_finer_than_nothing_known_of_its_storage():
    base, donor, made = grown(0.5)
    unknown = replace(piece(base, donor, made), samples={})
    assert measure_finer([unknown], "base", "donor", 0.25) is None


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
    """Base and donor, the donor's run at half its rate, its adapter at half its weight,
    and a blend trained since.
    """
    base = random_model(0)
    made = {"base": base, "donor": {}, "rerun": {}, "adapter": {}, "blend": {}}
    for number, (name, tensor) in enumerate(base.items()):
        generator = torch.Generator().manual_seed(number)
        change = torch.randn(tensor.shape, generator=generator) * 0.002
        donor = (tensor.float() + change).bfloat16()
        made["donor"][name] = donor
        less = 0.55 * change
        made["adapter"][name] = (tensor.float() + less).bfloat16()
        made["rerun"][name] = (tensor.float() + strayed(less)).bfloat16()
        made["blend"][name] = trained_blend(tensor, donor, 0.55, number)
    return made


@pytest.mark.slow
def test_only_a_blend_that_was_stored_is_named(tmp_path):
    folders = {name: tmp_path / name for name in models()}
    for name, tensors in models().items():
        write_model(folders[name], tensors)
    found = {}
    for suspect in ("rerun", "adapter", "blend"):
        parents = {name: folders[name] for name in ("base", "donor")}
        spec = {"suspect": "suspect", "base": "base", "donors": ["donor"]}
        suspects = {**parents, "suspect": folders[suspect]}
        found[suspect] = audit(
            tmp_path / "x" / suspect, suspects, spec, published=DATES
        )
    assert found["blend"]["verdict"] == "merge_then_trained"
    assert found["adapter"]["verdict"] == "other_merge"
    assert found["adapter"]["parents"]["donor"]["alpha"] == pytest.approx(
        0.55, abs=1e-3
    )
    assert "of finer numbers than were offered" in " ".join(found["adapter"]["reasons"])
    assert found["rerun"]["verdict"] == "inconclusive"
    assert not found["rerun"]["parents"]["donor"]["named"]
    assert "never rounded as a stored blend" in " ".join(found["rerun"]["reasons"])
