"""Weights of many digits in narrow arithmetic, and wide arithmetic of which only a few
elements of a million tell what it was: made by torch and numpy, and given back whole.
"""

import numpy as np
import pytest
import torch

from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.facts import HeldFacts
from mergetrace.merging.recipes import make
from mergetrace.search.clues import Clues
from mergetrace.search.dependence import (
    measure_dependence,
    measure_dependence_of_most,
)
from mergetrace.search.proposals.alike import prefer_alike
from mergetrace.search.proposals.scripts import propose_scripts
from mergetrace.search.trial import Trial
from mergetrace.sums.evidence import Sample
from mergetrace.sums.frames import Frame

COUNT = 1 << 14
TENSORS = 6
DONORS = ("first", "second", "third")
LONG = (0.42557779117, 0.28815182445, 0.28627038438)


def parents(tensor):
    generator = torch.Generator().manual_seed(tensor)
    base = torch.randn(COUNT, generator=generator) * 0.02
    models = {"base": base}
    for name in DONORS:
        models[name] = base + torch.randn(COUNT, generator=generator) * 0.001
    return {name: values.bfloat16() for name, values in models.items()}


def trial_of(lines):
    """The pilot of a model that the lines make of the parents' tensors."""
    pieces = []
    for tensor in range(TENSORS):
        models = parents(tensor)
        made = lines(*models.values()).bfloat16().contiguous()
        values = {name: model.double().numpy() for name, model in models.items()}
        facts = HeldFacts(
            base="base",
            donors=DONORS,
            gram=np.eye(len(values)),
            values=values,
            elements=COUNT,
            columns=COUNT,
        )
        raw = made.view(torch.uint8).numpy().ravel()
        pieces.append(Piece(str(tensor), 0.0, values, Sample(raw, "BF16"), facts))
    return Trial(Frame("made", "base", DONORS), pieces, 0.2, 0.2, 0.05, 100_000)


def missed(trial, recipe):
    """How many elements of the pilot a recipe does not give back."""
    return sum(
        int((piece.audited_values != apply_and_store(recipe, piece)).sum())
        for piece in trial.pieces
    )


def over_total(base, first, second, third):
    del base
    total = sum(LONG)
    merged = first * (LONG[0] / total)
    merged = merged + second * (LONG[1] / total)
    return merged + third * (LONG[2] / total)


def widened_changes(base, first, second, third):
    merged = base.clone()
    for model, weight in ((first, 0.72131756), (second, 1.0), (third, 0.35)):
        merged += weight * (model.float() - base.float())
    return merged


def summed_changes(base, first, second, third):
    changes = ((first, 0.6), (second, 0.92005975), (third, 1 / 3))
    return base + sum(weight * (model - base) for model, weight in changes)


def four_in_another_order(base, first, second, third):
    return (second + base + third + first) / 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines",
    [
        over_total,
        pytest.param(widened_changes, marks=pytest.mark.thorough),
        summed_changes,
        pytest.param(four_in_another_order, marks=pytest.mark.thorough),
    ],
)
def test_narrow_lines_with_weights_of_any_digits_come_back_whole(lines):
    trial = trial_of(lines)
    clues = Clues(DONORS, (0.3, 0.3, 0.3), None, DONORS)
    best = trial.best(propose_scripts(trial, clues))
    assert missed(trial, best) == 0, best


def in_float64(base, first, second, third):
    del third
    return base.double() * 0.32 + first.double() * 0.5 + second.double() * 0.18


def in_float32_by_numpy(base, first, second, third):
    del third
    parts = zip((second, base, first), (0.18, 0.32, 0.5), strict=True)
    merged = sum(np.float32(weight) * part.float().numpy() for part, weight in parts)
    return torch.from_numpy(merged)


def averaged_by_numpy(base, first, second, third):
    del third
    stack = [model.float().numpy() for model in (first, second, base)]
    return torch.from_numpy(np.average(stack, axis=0, weights=[0.5, 0.18, 0.32]))


@pytest.mark.parametrize("lines", [in_float64, in_float32_by_numpy, averaged_by_numpy])
def test_of_wide_arithmetic_that_a_screen_does_not_tell_apart_the_right_one_is_found(
    lines,
):
    trial = trial_of(lines)
    near = make("linear", {"base": 0.32, "first": 0.5, "second": 0.18}, fused=1)
    assert trial.rate(near) > 0.999
    prefer_alike(trial)
    assert missed(trial, trial.preferred[0]) == 0
    assert missed(trial, near) > 0


def test_last_digits_of_weights_are_found_on_the_elements_that_decide():
    def lines(base, first, second, third):
        del third
        parts = ((base, 0.38076903), (first, 0.48419831), (second, 0.13503266))
        return sum(weight * model.float() for model, weight in parts)

    trial = trial_of(lines)
    near = {"base": 0.380769, "first": 0.484198, "second": 0.135033}
    assert trial.rate(make("linear", near)) > 0.999
    prefer_alike(trial)
    assert missed(trial, trial.preferred[0]) == 0


def test_no_recipe_is_preferred_where_none_is_near():
    trial = trial_of(over_total)
    trial.rate(make("linear", {"base": 0.5, "first": 0.5}))
    prefer_alike(trial)
    assert not trial.preferred


def test_like_places_of_all_tensors_count_where_the_blend_is_one():
    pieces = trial_of(summed_changes).pieces
    models = ("base", *DONORS)
    of_tensors = measure_dependence(pieces, models)
    of_all = measure_dependence(pieces, models, one_blend=True)
    assert of_all.pooled
    assert not of_tensors.pooled
    assert of_all.repeated > of_tensors.repeated
    assert (of_all.dissent, of_tensors.dissent) == (0, 0)


def trained_since(base, first, second, third):
    del third
    generator = torch.Generator().manual_seed(3)
    merged = 0.1 * base.float() + 0.6 * first.float() + 0.3 * second.float()
    return merged + torch.randn(COUNT, generator=generator) * 0.001


def halved(base, first, second, third):
    del base, second, third
    return first.float() * 0.5


def test_numbers_that_do_not_follow_are_held_against_all_donors_that_show():
    """What is trained follows neither from one donor nor from two, and both are named."""
    shown = ("base", "first", "second")
    found = measure_dependence_of_most(trial_of(trained_since).pieces, shown[:2], shown)
    assert found.parents == shown
    assert found.dissent > 0.2
    pieces = trial_of(halved).pieces
    found = measure_dependence_of_most(pieces, shown[:2], shown)
    assert (found.parents, found.dissent) == (shown[:2], 0)
