"""Lines whose weights differ between parts of a model: made by torch, and given back
whole.
"""

from dataclasses import replace

import numpy as np
import torch

from mergetrace.giving_back.torch_lines import torch_lines
from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.facts import HeldFacts
from mergetrace.merging.recipes import make_script
from mergetrace.search.clues import Clues
from mergetrace.search.proposals.by_part import propose_by_part
from mergetrace.search.splits import Split, split_of
from mergetrace.search.tensor_weights import TensorWeights
from mergetrace.search.trial import Trial
from mergetrace.sums.evidence import Sample
from mergetrace.sums.frames import Frame

COUNT = 1 << 12
LAYERS = 3
DONORS = ("first", "second")
NAMES = [
    "model.embed_tokens.weight",
    *(
        f"model.layers.{layer}.{kind}.weight"
        for layer in range(LAYERS)
        for kind in ("self_attn.q_proj", "mlp.up_proj", "mlp.down_proj")
    ),
]


def place_of(name):
    return int(name.split(".")[2]) if ".layers." in name else None


def trial_of(merged_of):
    """The pilot of a model: merged_of(models, name) makes each tensor."""
    pieces = []
    for number, name in enumerate(NAMES):
        generator = torch.Generator().manual_seed(number)
        base = torch.randn(COUNT, generator=generator) * 0.02
        models = {"base": base.bfloat16()}
        for donor in DONORS:
            change = torch.randn(COUNT, generator=generator) * 0.002
            models[donor] = (base + change).bfloat16()
        made = merged_of(models, name).bfloat16().contiguous()
        values = {model: part.double().numpy() for model, part in models.items()}
        rows = np.stack(
            [values["base"], *(values[one] - values["base"] for one in DONORS)]
        )
        facts = HeldFacts(
            base="base",
            donors=DONORS,
            gram=rows @ rows.T,
            values=values,
            elements=COUNT,
            columns=COUNT,
        )
        sample = Sample(made.view(torch.uint8).numpy().ravel(), "BF16")
        place = (place_of(name) or 0) / (LAYERS - 1)
        pieces.append(Piece(name, place, values, sample, facts))
    return Trial(Frame("made", "base", DONORS), pieces, 0.2, 0.2, 0.05, 100_000)


def found(merged_of):
    """What is proposed first for a model, and how many elements it leaves."""
    trial = trial_of(merged_of)
    recipes = propose_by_part(trial, Clues(DONORS, (0.5, 0.5), None, DONORS))
    if not recipes:
        return None, None, trial
    missed = sum(
        int((piece.audited_values != apply_and_store(recipes[0], piece)).sum())
        for piece in trial.pieces
    )
    return recipes[0], missed, trial


def test_changes_of_three_models_layer_by_layer_in_bf16_come_back():
    firsts = [0.3, 0.62, 0.45]
    seconds = [0.5, 0.25, 0.7]

    def merged(models, name):
        layer = place_of(name)
        merged = models["base"].clone()
        first, second = (0.5, 0.2) if layer is None else (firsts[layer], seconds[layer])
        merged += first * (models["first"] - models["base"])
        merged += second * (models["second"] - models["base"])
        return merged

    recipe, missed, _ = found(merged)
    assert missed == 0
    assert recipe.script == "deltas_in_turn"
    assert dict(zip(recipe.models, recipe.weights, strict=True)) == {
        "first": (("embed_tokens", (0.5,)), ("", tuple(firsts))),
        "second": (("embed_tokens", (0.2,)), ("", tuple(seconds))),
    }


def test_an_embedding_that_was_kept_is_no_part_of_the_mean():
    def merged(models, name):
        if "embed" in name:
            return models["base"]
        return sum(models.values()) / len(models)

    recipe, missed, _ = found(merged)
    assert missed == 0
    assert recipe.script in ("sum_over_count", "sum_times_share")
    shares = dict(zip(recipe.models, recipe.weights, strict=True))
    assert shares["first"] == (("embed_tokens", (0.0,)), ("", (1.0,)))


def test_a_recipe_is_rated_where_parents_were_mixed_and_not_where_one_was_kept():
    def merged(models, name):
        kept, other = models["first"], models["second"]
        return torch.lerp(kept, other, 0.35) if "mlp" in name else kept

    recipe, missed, trial = found(merged)
    assert missed == 0
    assert trial.rates[recipe] == 1
    assert trial.preferred == [recipe]


def test_weights_of_many_digits_are_found_part_by_part():
    def merged(models, name):
        weight = 0.31415927 if "self_attn" in name else 0.27182818
        return models["first"] * weight + models["second"] * (1 - weight)

    recipe, missed, _ = found(merged)
    assert missed == 0
    assert recipe.dtype == "bfloat16"


def test_parts_of_angles_are_found_layer_by_layer():
    turned = [0.4, 0.65, 0.25]

    def merged(models, name):
        first, second = (models[one].float().numpy() for one in DONORS)
        t = turned[place_of(name) or 0]
        cosine = np.sum(
            first / np.linalg.norm(first) * (second / np.linalg.norm(second))
        )
        angle = np.arccos(cosine)
        one = np.sin((1 - t) * angle) / np.sin(angle)
        two = np.sin(t * angle) / np.sin(angle)
        return torch.from_numpy(one * first + two * second)

    recipe, missed, _ = found(merged)
    assert missed == 0
    assert recipe.method == "slerp"
    assert dict(zip(recipe.models, recipe.weights, strict=True))["second"] == (
        ("embed_tokens", (0.4,)),
        ("", tuple(turned)),
    )


def test_nothing_is_proposed_for_one_set_of_weights_or_where_no_tensor_is_a_mixture():
    def plain(models, name):
        return models["first"] * 0.4 + models["second"] * 0.6

    def trained(models, name):
        noise = torch.randn(COUNT, generator=torch.Generator().manual_seed(len(name)))
        return plain(models, name) + noise * 0.001

    assert found(plain)[0] is None
    assert found(trained)[0] is None


def test_the_coarsest_division_is_taken_under_which_the_tensors_agree():
    pieces = trial_of(lambda models, name: models["base"]).pieces
    errors = np.array([1e-4, 1e-4])

    def split(weight_of):
        weights = [weight_of(piece.tensor) for piece in pieces]
        return split_of(
            pieces,
            [
                TensorWeights(piece, np.array([1 - weight, weight]), errors, 1.0)
                for piece, weight in zip(pieces, weights, strict=True)
            ],
        )

    assert split(lambda name: 0.4) is None
    assert split(lambda name: 0.4 + 0.2 * ("embed" in name)) == Split(
        ("embed_tokens", ""), False
    )
    assert split(lambda name: 0.4 + 0.2 * ("mlp" in name)) == Split(
        ("embed_tokens", "self_attn", "mlp", ""), False
    )
    assert split(lambda name: 0.1 * (place_of(name) or 0)) == Split(
        ("embed_tokens", ""), True
    )


def test_filters_that_say_nothing_new_are_left_out():
    split = Split(("embed_tokens", "self_attn", "mlp", ""), False)
    keys = [("embed_tokens", 0.0), ("self_attn", 0.0), ("mlp", 0.0)]
    by_model = {
        "first": dict(zip(keys, (0.0, 0.0, 0.3), strict=True)),
        "second": dict(zip(keys, (1.0, 1.0, 0.7), strict=True)),
    }
    assert split.settings(by_model, LAYERS) == {
        "first": (("mlp", (0.3,)), ("", (0.0,))),
        "second": (("mlp", (0.7,)), ("", (1.0,))),
    }


def test_a_mean_leaves_out_the_models_without_a_weight():
    piece = trial_of(lambda models, name: models["base"]).pieces[0]
    weights = {"base": 0.0, "first": 1.0, "second": 1.0}
    kept = make_script("sum_over_count", {"first": 1.0, "second": 1.0})
    left_out = make_script("sum_over_count", weights)
    assert (apply_and_store(left_out, piece) == apply_and_store(kept, piece)).all()
    models = [
        torch.from_numpy(piece.values[name]).bfloat16() for name in left_out.models
    ]
    room = {"torch": torch, "models": models, "weights": [0.0, 1.0, 1.0]}
    exec(torch_lines(left_out), room)
    made = room["merged"].double().numpy()
    assert (apply_and_store(left_out, piece) == made).all()
    alone = replace(piece, tensor="alone")
    only = make_script("mean", {**weights, "second": 0.0})
    assert (apply_and_store(only, alone) == piece.values["first"]).all()
