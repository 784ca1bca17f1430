"""Which of two bases that are near one another a suspect's own numbers speak for."""

from types import SimpleNamespace

import numpy as np
import pytest

from mergetrace.numerics.dtypes import decode, encode
from mergetrace.scan.given_back import supported

COUNT = 1 << 14
DRAW = np.random.default_rng(0)


def stored(values):
    return encode(values, "BF16")


def numbers(codes):
    return decode(codes.view(np.uint8), "BF16").astype(np.float64)


BASE = stored(DRAW.normal(0, 0.02, COUNT))
GENTLE = stored(numbers(BASE) + DRAW.normal(0, 0.0001, COUNT))
DONOR = stored(numbers(BASE) + DRAW.normal(0, 0.002, COUNT))
MODELS = {"base": BASE, "gentle": GENTLE, "donor": DONOR}


def spoken_for(suspect, weight):
    """The bases of which the suspect's numbers speak, with one donor of a weight."""
    held = SimpleNamespace(
        suspect=SimpleNamespace(codes=suspect),
        codes=MODELS,
        mask=np.ones(COUNT, bool),
    )
    return supported(held, {base: {"donor": weight} for base in ("base", "gentle")})


def blend(weight):
    return stored(numbers(BASE) + weight * (numbers(DONOR) - numbers(BASE)))


@pytest.mark.parametrize("weight", [0.2, 0.571, 0.8])
def test_a_blend_speaks_for_its_base(weight):
    assert spoken_for(blend(weight), weight) == ["base"]


def test_a_blend_that_was_trained_lightly_speaks_for_its_base():
    moved = DRAW.random(COUNT) < 0.2
    made = blend(0.571)
    assert spoken_for(np.where(moved, made + 1, made).astype(made.dtype), 0.571) == [
        "base"
    ]


def test_a_merge_that_leaves_most_numbers_speaks_for_its_base():
    kept = DRAW.random(COUNT) < 0.4
    assert spoken_for(np.where(kept, DONOR, BASE), 0.4) == ["base"]


def test_a_copy_of_a_donor_speaks_for_no_base():
    assert spoken_for(DONOR, 1.0) == []


def test_a_finetune_of_either_speaks_for_nobody():
    trained = stored(numbers(BASE) + DRAW.normal(0, 0.002, COUNT))
    assert spoken_for(trained, 0.571) == []
