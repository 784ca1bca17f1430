"""Weights along the layers that are no short decimals, arcs by numpy, and sums that are
divided by an unknown total: made by torch and numpy, and given back whole.
"""

import math

import numpy as np
import pytest
import torch

from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.facts import HeldFacts
from mergetrace.merging.recipes import make, model_shares
from mergetrace.search.clues import Clues
from mergetrace.search.completing import Completion
from mergetrace.search.counting import missed_by
from mergetrace.search.gradients import Allowed
from mergetrace.search.proposals.alike_varying import prefer_alike_varying
from mergetrace.search.proposals.linear import propose_linear
from mergetrace.search.proposals.scripts import propose_scripts
from mergetrace.search.proposals.short_shares import written_totals
from mergetrace.search.refining import Refinement, can_be_refined
from mergetrace.search.trial import Trial
from mergetrace.search.variations import OfSeveral, OfTwo, by_layer
from mergetrace.sums.evidence import Sample
from mergetrace.sums.frames import Frame

COUNT = 1 << 14
LAYERS = 4
DONORS = ("first", "second")
SINES = [
    0.7 * math.sin(math.pi * (layer + 1) / (LAYERS + 1)) for layer in range(LAYERS)
]
THIRDS = [1 / 3 + layer / 3 * (0.618 - 1 / 3) for layer in range(LAYERS)]


def parents(tensor, spread):
    generator = torch.Generator().manual_seed(tensor)
    base = torch.randn(COUNT, generator=generator) * 0.02
    models = {"base": base}
    for name in DONORS:
        models[name] = base + torch.randn(COUNT, generator=generator) * spread
    return {name: values.bfloat16() for name, values in models.items()}


def trial_of(merged_of, spread=0.002):
    """The pilot of a model: merged_of(models, layer) makes each tensor."""
    pieces = []
    for tensor in range(2 * LAYERS):
        layer = tensor // 2
        models = parents(tensor, spread)
        made = merged_of(models, layer).bfloat16().contiguous()
        values = {name: model.double().numpy() for name, model in models.items()}
        changes = [values[name] - values["base"] for name in DONORS]
        rows = np.stack([values["base"], *changes])
        facts = HeldFacts(
            base="base",
            donors=DONORS,
            gram=rows @ rows.T,
            values=values,
            elements=COUNT,
            columns=COUNT,
        )
        raw = made.view(torch.uint8).numpy().ravel()
        name = f"model.layers.{layer}.mlp.{'up' if tensor % 2 else 'down'}_proj.weight"
        place = layer / (LAYERS - 1)
        pieces.append(Piece(name, place, values, Sample(raw, "BF16"), facts))
    return Trial(Frame("made", "base", DONORS), pieces, 0.2, 0.2, 0.05, 100_000)


def missed(trial, recipe):
    return sum(
        int((piece.audited_values != apply_and_store(recipe, piece)).sum())
        for piece in trial.pieces
    )


def in_float32(models, weight):
    return (1 - weight) * models["base"].float() + weight * models["first"].float()


def in_float64(models, weight):
    return (1 - weight) * models["base"].double() + weight * models["first"].double()


def lerp(models, weight):
    return torch.lerp(models["base"].float(), models["first"].float(), weight)


@pytest.mark.parametrize("lines", [in_float32, in_float64, lerp])
@pytest.mark.parametrize("along", [SINES, THIRDS])
def test_weights_along_the_layers_come_back_to_the_last_element(lines, along):
    trial = trial_of(lambda models, layer: lines(models, along[layer]))
    short = tuple(round(weight, 6) for weight in along)
    near = make("task_arithmetic", {"first": (("", short),)}, "base")
    trial.rate(near)
    prefer_alike_varying(trial)
    assert missed(trial, near) > 0
    assert missed(trial, trial.preferred[0]) == 0


def test_of_three_models_each_has_its_weights():
    def merged(models, layer):
        first = 0.6 * SINES[layer]
        parts = (("base", 0.8 - first), ("first", first), ("second", 0.2))
        return sum(weight * models[name].float() for name, weight in parts)

    trial = trial_of(merged)
    short = tuple(round(0.6 * weight, 6) for weight in SINES)
    near = make("task_arithmetic", {"first": (("", short),), "second": 0.2}, "base")
    trial.rate(near)
    prefer_alike_varying(trial)
    assert missed(trial, near) > 0
    assert missed(trial, trial.preferred[0]) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_arc_by_numpy_is_told_from_the_tools(dtype):
    def merged(models, layer):
        del layer
        one, other = (
            models[name].float().numpy().astype(dtype) for name in ("base", "first")
        )
        units = one / np.linalg.norm(one) * (other / np.linalg.norm(other))
        angle = np.arccos(np.sum(units))
        first = np.sin((1 - 0.3719) * angle) / np.sin(angle)
        second = np.sin(0.3719 * angle) / np.sin(angle)
        return torch.from_numpy(first * one + second * other)

    near = make("slerp", {"base": 0.6281, "first": 0.3719})
    trial = trial_of(merged, spread=0.02)
    assert trial.rate(near) > 0.999
    prefer_alike_varying(trial)
    best = trial.preferred[0] if trial.preferred else near
    assert missed(trial, best) == 0


def arc(models, layer):
    """As numpy interpolates directions."""
    one, other = (models[name].float().numpy() for name in ("base", "first"))
    units = one / np.linalg.norm(one) * (other / np.linalg.norm(other))
    angle = np.arccos(np.sum(units))
    first = np.sin((1 - SINES[layer]) * angle) / np.sin(angle)
    second = np.sin(SINES[layer] * angle) / np.sin(angle)
    return torch.from_numpy(first * one + second * other)


@pytest.mark.parametrize("method", ["linear", "slerp"])
def test_weights_that_miss_a_few_elements_are_refined_by_all_tensors(method):
    def merged(models, layer):
        if method == "slerp":
            return arc(models, layer)
        return in_float32(models, SINES[layer])

    pieces = trial_of(merged, spread=0.005).pieces
    near = tuple(weight + 1.4e-6 for weight in SINES)
    rest = tuple(1 - weight for weight in near)
    found = make(method, {"base": (("", rest),), "first": (("", near),)})
    before = missed_by(found, pieces)
    refinement = Refinement(found, "base")
    for piece in pieces:
        refinement.add(piece)
    assert sum(piece.size for piece in refinement.kept) < COUNT
    after = min(missed_by(recipe, pieces) for recipe in refinement.recipes())
    # The sum that gave an angle has roundings of its own, in float32.
    assert after == 0 if method == "linear" else after < before / 5


def test_what_is_refined():
    wide = make("linear", {"base": 0.5, "first": 0.5})
    narrow = make("linear", {"base": 0.5, "first": 0.5}, None, "bfloat16")
    assert can_be_refined(wide, 0.9999)
    assert not can_be_refined(wide, 1.0)
    assert not can_be_refined(wide, 0.99)
    assert not can_be_refined(narrow, 0.9999)
    assert not can_be_refined(make("passthrough", {"first": 1.0}), 0.9999)


def test_a_sum_divided_by_what_its_weights_sum_to():
    def merged(models, layer):
        del layer
        weights = (0.7, 0.5, 0.2)
        total = sum(
            w * model for w, model in zip(weights, models.values(), strict=True)
        )
        return total / sum(weights)

    trial = trial_of(merged)
    clues = Clues(DONORS, (0.357, 0.143), None, DONORS)
    best = trial.best(propose_scripts(trial, clues))
    assert missed(trial, best) == 0
    assert best.script == "products_over_sum"


def test_totals_that_somebody_would_write():
    totals = written_totals((1 / 2, 1 / 3, 1 / 6), (0.001,) * 3)
    assert totals[:2] == [6.0, 0.6]
    assert 0.3 not in totals  # half of .6 rounds alike
    assert written_totals((0.5, 0.5), (1e-5,) * 2)[0] == 0.2


def test_nothing_is_preferred_where_no_recipe_is_near():
    trial = trial_of(lambda models, layer: in_float32(models, SINES[layer]))
    trial.rate(make("task_arithmetic", {"first": 0.5}, "base"))
    prefer_alike_varying(trial)
    assert not trial.preferred


def test_weights_of_three_models_are_taken_layer_by_layer():
    drawn = [0.38491, 0.11737, 0.52003, 0.23319]

    def merged(models, layer):
        first, second = 0.5 * SINES[layer], 0.4 * drawn[layer]
        parts = (("base", 1 - first - second), ("first", first), ("second", second))
        return sum(weight * models[name].float() for name, weight in parts)

    trial = trial_of(merged)
    recipes = by_layer(OfSeveral(("base", *DONORS), 0.2), trial.pieces)
    assert max(map(trial.rate, recipes)) > 0.999
    prefer_alike_varying(trial)
    best = trial.preferred[0] if trial.preferred else trial.best(recipes)
    assert missed(trial, best) == 0


def test_a_moving_average_is_found_by_its_decay():
    """Its shares are .5625, .1875 and .25: longer than the decay."""

    def merged(models, layer):
        merged = models["base"].clone()
        for name in ("second", "first"):
            merged.mul_(0.75).add_(models[name], alpha=0.25)
        return merged

    trial = trial_of(merged)
    clues = Clues(DONORS, (0.25, 0.1875), None, DONORS)
    recipes = propose_scripts(trial, clues)
    best = trial.best(recipes)
    assert missed(trial, best) == 0
    assert best.script in ("moving_scaled_additions", "moving_products")
    assert model_shares(best, "base") == pytest.approx(
        {"base": 0.5625, "second": 0.1875, "first": 0.25}
    )


@pytest.mark.slow
def test_models_that_were_opened_as_f16_and_stored_as_bf16():
    def merged(models, layer):
        return models["first"].half() * 0.65 + models["second"].half() * 0.35

    trial = trial_of(merged)
    clues = Clues(DONORS, (0.65, 0.35), None, DONORS)
    prefer = trial.best([*propose_linear(trial, clues), *propose_scripts(trial, clues)])
    assert prefer.dtype == "float16"
    assert missed(trial, prefer) == 0


def test_decimals_by_chance_and_the_middle_of_what_is_allowed_are_both_tried():
    """Layers of which each allows a decimal of five digits that nobody wrote."""
    allowed = [
        (Allowed(f"layers.{layer}.{kind}", layer / 3, true - 1.2e-6, true + 1.2e-6),)
        for layer, true in enumerate(SINES)
        for kind in ("k_proj", "v_proj")
    ]
    completion = Completion(OfTwo(("base", "first"), "linear", 0.2), allowed)
    weights = {
        dict(zip(recipe.models, recipe.weights, strict=True))["first"][0][1]
        for recipe in completion.recipes()
        if recipe.method == "linear"
    }
    assert (0.41145, 0.66574, 0.66574, 0.41145) in weights
    assert any(np.allclose(along, SINES, rtol=0, atol=1e-7) for along in weights)
