"""Audits of merges that somebody wrote in a few lines of torch, and of innocents beside
a donor that was written so.
"""

from itertools import count

import pytest
import torch

from mergetrace.testing.audits import audit
from mergetrace.testing.planting import finetuned, random_model, write_model

BASE = random_model(0)
MODELS = {
    "base": BASE,
    "donor": finetuned(BASE, 1),
    "second": finetuned(BASE, 2),
    "third": finetuned(BASE, 3),
    "sibling": finetuned(BASE, 5),
}
DONORS = ("donor", "second", "third")
ACCUSING = ("copy", "merge", "other_merge", "merge_then_trained", "finetune_of_donor")


def made_by(lines, *names):
    """A model whose tensors are what the lines give for those of the named models."""
    made = {}
    for tensor in BASE:
        parents = [MODELS[name][tensor].clone() for name in names]
        made[tensor] = lines(*parents).to(torch.bfloat16).contiguous()
    return made


def audited(folder, suspect, donors=DONORS, **replaced):
    numbers = count()
    models = {**MODELS, **replaced, "suspect": suspect}
    offered = ("suspect", "base", *donors, "sibling")
    folders = {
        name: write_model(folder / f"{next(numbers)}-{name}", models[name])
        for name in offered
    }
    spec = {
        "suspect": "suspect",
        "base": "base",
        "donors": list(donors),
        "controls": ["sibling"],
    }
    return audit(folder / "audit", folders, spec)


def shares_of(verdict):
    return {
        name: parent["alpha"]
        for name, parent in verdict["parents"].items()
        if parent["named"]
    }


WRITTEN = {
    "products": (lambda a, b: a * 0.429 + b * 0.571, ("base", "donor"), 0.571),
    "a change added": (lambda a, b: a + 0.3 * (b - a), ("base", "donor"), 0.3),
    "alpha": (lambda a, b: (a * 0.7).add_(b, alpha=0.3), ("base", "donor"), 0.3),
    "lerp": (lambda a, b: torch.lerp(a, b, 0.6), ("base", "donor"), 0.6),
    "no short number": (
        lambda a, b: a * (1 - 0.6180339887) + b * 0.6180339887,
        ("base", "donor"),
        0.618,
    ),
}


REPEATED = ("a change added", "alpha")
"""A product beside a whole number, and products added in another call."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.thorough) if name in REPEATED else name
        for name in WRITTEN
    ],
)
def test_lines_in_bf16_are_given_back(tmp_path, name):
    lines, parents, share = WRITTEN[name]
    verdict = audited(tmp_path, made_by(lines, *parents))
    assert verdict["verdict"] == "merge"
    assert verdict["recipe"]["bit_exact_rate"] == 1
    assert shares_of(verdict) == pytest.approx({"donor": share}, abs=0.001)


@pytest.mark.thorough
@pytest.mark.slow
def test_four_models_summed_and_divided_are_given_back(tmp_path):
    made = made_by(lambda *models: sum(models) / 4, "donor", "base", "third", "second")
    verdict = audited(tmp_path, made)
    assert verdict["verdict"] == "merge"
    assert shares_of(verdict) == pytest.approx(dict.fromkeys(DONORS, 0.25))


@pytest.mark.slow
def test_layers_of_other_weights_than_the_embedding_are_given_back(tmp_path):
    made = made_by(lambda a, b: a + 0.571 * (b - a), "base", "donor")
    for tensor in made:
        if "layers" not in tensor:
            made[tensor] = BASE[tensor]
    verdict = audited(tmp_path, made)
    assert verdict["verdict"] == "merge"
    assert set(shares_of(verdict)) == {"donor"}


def unknown_arithmetic(base, donor):
    """Products in float16, their sum in bf16: no script that is tried."""
    return (base.half() * 0.43).bfloat16() + (donor.half() * 0.57).bfloat16() * 1.0


@pytest.mark.slow
def test_a_pure_blend_of_unknown_arithmetic_is_not_called_trained(tmp_path):
    verdict = audited(tmp_path, made_by(unknown_arithmetic, "base", "donor"))
    assert verdict["verdict"] == "other_merge"
    assert shares_of(verdict) == pytest.approx({"donor": 0.57}, abs=0.001)
    reasons = " ".join(verdict["reasons"])
    assert "computed from theirs, element by element" in reasons
    assert "Its arithmetic was not identified" in reasons


@pytest.mark.slow
def test_training_after_such_lines_is_still_seen(tmp_path):
    generator = torch.Generator().manual_seed(7)

    def trained(base, donor):
        blend = base * 0.429 + donor * 0.571
        step = torch.sign(torch.randn(blend.shape, generator=generator))
        return blend.float() + 1e-5 * step

    verdict = audited(tmp_path, made_by(trained, "base", "donor"))
    assert verdict["verdict"] == "merge_then_trained"
    assert shares_of(verdict) == pytest.approx({"donor": 0.571}, abs=0.001)


FORGED = {
    "products": lambda base, original: base * 0.429 + original * 0.571,
    "half in float32": lambda base, original: (base.float() + original.float()) / 2,
    "a change taken twice": lambda base, original: base + 2.0 * (original - base),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORGED)
def test_an_original_beside_a_donor_made_from_it_is_not_accused(tmp_path, name):
    original = MODELS["donor"]
    forged = {
        tensor: FORGED[name](BASE[tensor], original[tensor]).contiguous()
        for tensor in BASE
    }
    verdict = audited(tmp_path, original, donors=("forged",), forged=forged)
    assert verdict["verdict"] not in ACCUSING


def largest(change, share):
    """The changes of the largest sizes: those at the last size that is kept, all."""
    sizes = change.abs().flatten()
    least = sizes.kthvalue(sizes.numel() - int(share * sizes.numel()) + 1).values
    return change * (change.abs() >= least)


@pytest.mark.thorough
@pytest.mark.slow
def test_ties_of_three_that_keeps_all_at_the_threshold_comes_back_whole(tmp_path):
    small = {name: finetuned(BASE, seed, 0.0005) for seed, name in enumerate(DONORS, 1)}
    suspect = {}
    for name, tensor in BASE.items():
        changes = [
            largest(small[donor][name].float() - tensor.float(), 0.4)
            for donor in DONORS
        ]
        stacked = torch.stack(changes)
        elected = (stacked.sign() == stacked.sum(0).sign()) & (stacked != 0)
        mean = (stacked * elected).sum(0) / elected.sum(0).clamp(min=1)
        suspect[name] = (tensor.float() + mean).bfloat16()
    found = audited(tmp_path, suspect, **small)
    assert found["verdict"] == "merge", found["reasons"]
    assert found["recipe"]["bit_exact_rate"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("copied", ["donor", "base"])
def test_a_copy_is_no_control(tmp_path, copied):
    found = audited(tmp_path, MODELS["third"], ("donor",), sibling=MODELS[copied])
    said = " ".join(found["reasons"])
    assert found["verdict"] in ("finetune_of_base", "inconclusive"), said
    assert f"Control sibling equals {copied} in every compared element" in said
    assert "No independent control was given" in said
    assert "control sibling" not in said
