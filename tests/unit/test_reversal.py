"""The recipe turned round: a true parent comes back by what rounding leaves, one
computed from the suspect whole.
"""

import numpy as np
import pytest

from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.facts import HeldFacts, gram_of
from mergetrace.merging.recipes import make
from mergetrace.numerics.dtypes import encode
from mergetrace.search.reversal import Reversal, TurnedWeights
from mergetrace.sums.evidence import Sample


def stored(values, dtype="BF16"):
    return Sample(encode(values, dtype).view(np.uint8), dtype)


def parents(count=2, dtype="BF16", elements=100_000):
    random = np.random.default_rng(0)
    base = stored(random.normal(0, 0.02, elements), dtype)
    donors = {
        f"donor{i}": stored(base.values() + random.normal(0, 0.002, elements), dtype)
        for i in range(count - 1)
    }
    return {"base": base, **donors}


def piece(audited, samples):
    values = {name: sample.values() for name, sample in samples.items()}
    facts = HeldFacts(
        base="base",
        donors=tuple(list(values)[1:]),
        gram=gram_of(values, list(values)),
        values=values,
        elements=len(values["base"]),
        columns=len(values["base"]),
    )
    return Piece(
        "model.layers.0.mlp.up_proj.weight",
        0.0,
        values,
        audited,
        facts,
        samples=samples,
    )


def turned(recipe, audited, samples):
    reversal = Reversal(recipe, "base", TurnedWeights(0.02, 0.985))
    reversal.add(piece(audited, samples))
    return reversal.result()


RECIPES = {
    "linear": make("linear", {"base": 0.429, "donor0": 0.571}),
    "linear in bf16": make(
        "linear", {"base": 0.429, "donor0": 0.571}, dtype="bfloat16"
    ),
    "task arithmetic": make("task_arithmetic", {"donor0": 0.6}, base="base"),
    "two donors": make("linear", {"base": 0.4, "donor0": 0.3, "donor1": 0.3}),
    "slerp": make("slerp", {"base": 0.5, "donor0": 0.5}),
    "nuslerp": make("nuslerp", {"base": 0.4, "donor0": 0.6}),
    "karcher": make("karcher", {"base": 0.5, "donor0": 0.5}),
    "multislerp": make("multislerp", {"base": 0.5, "donor0": 0.5}),
    "ties of two": make(
        "ties",
        {"donor0": 0.5, "donor1": 0.5},
        base="base",
        density__donor0=0.5,
        density__donor1=0.5,
        normalize=1,
    ),
    "breadcrumbs": make(
        "breadcrumbs",
        {"donor0": 0.7},
        base="base",
        density__donor0=0.5,
        gamma__donor0=0.01,
    ),
}


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_true_parent_comes_back_by_about_what_rounding_leaves(recipe, dtype):
    samples = parents(
        1 + len([name for name in recipe.models if name != "base"]), dtype
    )
    merged = stored(apply_and_store(recipe, piece(samples["base"], samples)), dtype)
    found = turned(recipe, merged, samples)
    assert found.given_back == pytest.approx(1, abs=1e-3)
    for name in recipe.models:
        entry = found.parents[name]
        assert entry.elements > 1000
        assert entry.expected < 0.95
        assert entry.reverse < entry.expected + 0.03


@pytest.mark.parametrize("share", [0.3, 0.571, 0.8])
@pytest.mark.parametrize(
    ("dtype", "of_donor"),
    [("BF16", "BF16"), ("F16", "F16"), ("BF16", "F32"), ("F32", "F32")],
)
def test_a_parent_that_was_computed_from_the_suspect_comes_back_whole(
    share, dtype, of_donor
):
    samples = parents(2, dtype)
    victim = samples["donor0"]
    base = samples["base"].values()
    forged = stored(base + (victim.values() - base) / share, of_donor)
    entry = turned(
        make("linear", {"base": 1 - share, "donor0": share}),
        victim,
        {"base": samples["base"], "donor0": forged},
    ).parents["donor0"]
    assert entry.reverse > 0.95
    assert entry.reverse > entry.expected + 0.03


def test_beyond_a_weight_of_one_the_recipe_itself_tells():
    samples = parents()
    recipe = make("task_arithmetic", {"donor0": 1.5}, base="base")
    merged = stored(apply_and_store(recipe, piece(samples["base"], samples)))
    found = turned(recipe, merged, samples)
    assert found.parents["donor0"].expected > 0.95
    assert found.parents["donor0"].forged < 0.7
    assert found.given_back == 1


def dropped_onto(base, donor, weight, kept, dtype="BF16"):
    return stored(np.where(kept, base + weight * (donor - base), base), dtype)


@pytest.mark.parametrize("size", [0.0005, 0.002, 0.008])
def test_a_base_taken_minus_once_comes_back_whole_only_where_it_was_made_from_the_suspect(
    size,
):
    random = np.random.default_rng(1)
    recipe = make("task_arithmetic", {"donor0": 2.0}, base="base")
    root = stored(random.normal(0, 0.02, 100_000))
    kept = random.random(100_000) < 0.5
    victim, donor = (
        stored(root.values() + random.normal(0, size, 100_000)) for _ in range(2)
    )
    forged = stored(
        np.where(kept, 2 * donor.values() - victim.values(), victim.values())
    )
    made = turned(recipe, victim, {"base": forged, "donor0": donor}).parents["base"]
    assert made.elements > 5000
    assert made.reverse > 0.99 > made.expected + 0.3
    merged = dropped_onto(root.values(), donor.values(), 2, kept)
    true = turned(recipe, merged, {"base": root, "donor0": donor}).parents["base"]
    assert true.elements > 5000
    assert true.reverse == pytest.approx(true.expected, abs=0.02)


def test_of_a_suspect_stored_in_finer_steps_a_base_taken_minus_once_is_told_by_the_recipe():
    random = np.random.default_rng(1)
    samples = parents()
    recipe = make("task_arithmetic", {"donor0": 2.0}, base="base")
    base, donor = (sample.values() for sample in samples.values())
    merged = dropped_onto(base, donor, 2, random.random(base.size) < 0.5, "F32")
    found = turned(recipe, merged, samples)
    assert found.given_back > 0.99
    assert found.parents["base"].expected > 0.98
    assert found.parents["base"].forged < 0.1


def test_so_it_does_of_a_suspect_stored_in_finer_steps():
    samples = parents()
    recipe = RECIPES["linear"]
    merged = stored(
        apply_and_store(
            recipe, piece(stored(samples["base"].values(), "F32"), samples)
        ),
        "F32",
    )
    entry = turned(recipe, merged, samples).parents["donor0"]
    assert entry.expected > 0.999
    assert entry.forged < 0.1


def test_numbers_that_are_not_finite_are_left_out_of_the_turned_recipe():
    samples = parents()
    recipe = RECIPES["slerp"]
    merged = stored(apply_and_store(recipe, piece(samples["base"], samples)))
    merged.raw.view(np.uint16)[:50] = 0x7F80
    entry = turned(recipe, merged, samples).parents["donor0"]
    assert entry.reverse == pytest.approx(entry.expected, abs=0.03)
