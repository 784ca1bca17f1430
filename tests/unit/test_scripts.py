"""Lines as people write them: every script run by torch, and given back bit for bit."""

import numpy as np
import pytest
import torch

from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.facts import HeldFacts
from mergetrace.merging.recipes import (
    donor_shares,
    make_script,
    recipe_from_json,
    recipe_to_json,
)
from mergetrace.merging.scripts import SCRIPTS, shares_of_script, weights_of_shares
from mergetrace.sums.evidence import Sample

COUNT = 1 << 15
FORMATS = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
NAMES = ("base", "first", "second", "third")
WEIGHTS = (0.171, 0.3, 0.529)


def parents(dtype):
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(COUNT, generator=generator) * 0.02
    models = {"base": base}
    for name in NAMES[1:]:
        models[name] = base + torch.randn(COUNT, generator=generator) * 0.001
    return {name: tensor.to(dtype) for name, tensor in models.items()}


def run_lines(script, models, weights, base):
    room = {"torch": torch, "models": models, "weights": weights, "base": base}
    exec(script.lines, room)
    return room["merged"]


def as_sample(tensor, stored):
    kept = tensor.to(getattr(torch, stored))
    raw = kept.view(torch.int16 if stored != "float32" else torch.int32).numpy()
    return Sample(raw.tobytes(), FORMATS[stored])


def emulated(recipe, models, audited):
    values = {name: tensor.double().numpy() for name, tensor in models.items()}
    gram = np.eye(len(values))
    facts = HeldFacts(
        base="base",
        donors=NAMES[1:],
        gram=gram,
        values=values,
        elements=COUNT,
        columns=COUNT,
    )
    return apply_and_store(recipe, Piece("w", 0.0, values, audited, facts))


CASES = [
    (name, dtype, rounded, count)
    for name, script in SCRIPTS.items()
    for dtype in ("bfloat16", "float16", "float32", "float64")
    for rounded in (False, True)
    for count in (1, 2, 3)
    if (script.scalars_rounded if rounded else script.scalars_kept)
    if script.method == "task_arithmetic" or count > 1
    if not (rounded and script.weighing == "equal")
    if script.weighing != "on_arc"
    or (count == 2 and dtype[-2:] != "16" and not rounded)
    if not (name == "one_rounding" and dtype.startswith("float") and dtype[-2:] != "16")
]


@pytest.mark.parametrize(("name", "dtype", "rounded", "count"), CASES)
def test_torch_gives_the_same_bits(name, dtype, rounded, count):
    script = SCRIPTS[name]
    torch_dtype = getattr(torch, dtype)
    stored = "bfloat16" if dtype == "float64" else dtype
    models = parents(getattr(torch, stored))
    used = NAMES[1 : count + 1] if script.method == "task_arithmetic" else NAMES[:count]
    weights = WEIGHTS[:count] if script.weighing != "on_arc" else (0.7, 0.3)
    if name == "scaled_sum_of_deltas":
        weights = (0.3,) * count
    given = list(weights)
    if rounded:
        given = [torch.tensor(weight, dtype=torch_dtype) for weight in weights]
    wide = {model: tensor.to(torch_dtype) for model, tensor in models.items()}
    merged = run_lines(script, [wide[model] for model in used], given, wide["base"])
    audited = as_sample(merged, stored)
    base = "base" if script.method == "task_arithmetic" else None
    recipe = make_script(
        name, dict(zip(used, weights, strict=True)), base, dtype, rounded
    )
    given_back = emulated(recipe, models, audited)
    assert (given_back != audited.values()).sum() <= COUNT // 10_000
    assert recipe_from_json(recipe_to_json(recipe, "base")) == recipe


@pytest.mark.parametrize("name", SCRIPTS)
def test_shares_and_weights_are_each_others_reverse(name):
    script = SCRIPTS[name]
    shares = (1 / 3,) * 3 if script.weighing == "equal" else (0.171, 0.3, 0.529)
    weights = weights_of_shares(name, shares)
    assert shares_of_script(name, weights) == pytest.approx(shares)


def test_a_script_says_the_shares_of_its_donors():
    moving = make_script("moving_lerp", {"base": 1, "first": 0.5, "second": 0.2})
    assert donor_shares(moving, "base") == pytest.approx({"first": 0.4, "second": 0.2})
    turned = make_script("deltas_in_turn", {"base": 0.3}, "first")
    assert donor_shares(turned, "base") == pytest.approx({"first": 0.7})
