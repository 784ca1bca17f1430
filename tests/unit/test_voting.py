"""Bases near one another are told apart by the numbers that relatives kept, and never by
their names.
"""

import numpy as np
import pytest

from mergetrace.numerics.dtypes import encode, values_of
from mergetrace.scan.voting import votes
from mergetrace.stages.candidates import Params
from mergetrace.testing.planting import finetuned, write_model
from mergetrace.testing.scans import family, mixed, scan, stranger, write_family

SIZE = 8192


def codes_of(numbers):
    return encode(numbers.astype(np.float32), "BF16").reshape(1, SIZE)


def counted(models):
    """The votes for base over near. models: numbers by name."""
    codes = {name: codes_of(numbers) for name, numbers in models.items()}
    values = np.stack([values_of(each, "BF16").ravel() for each in codes.values()])
    changes = (values - values[0]).astype(np.float64)
    mask = np.ones((1, SIZE), bool)
    found = votes(codes, mask, changes @ changes.T, ["base", "near"])
    assert (found == -found.T).all()
    return found[0, 1]


@pytest.fixture
def chance():
    return np.random.default_rng(7)


@pytest.fixture
def near(chance):
    """A base, a model a little way towards a donor, and the donor."""
    base = chance.normal(0, 0.02, SIZE)
    way = chance.normal(0, 1e-3, SIZE)
    return {"base": base, "near": base + 0.2 * way, "donor": base + way}


def light(chance, start):
    """A finetune that leaves three numbers in four alone."""
    moved = chance.random(SIZE) < 0.25
    return start + moved * chance.normal(0, 2e-3, SIZE)


def heavy(chance, start):
    """A finetune that moves every number."""
    return start + chance.normal(0, 2e-3, SIZE)


def test_light_finetunes_vote_for_the_model_whose_numbers_they_kept(near, chance):
    of_base = {f"base-{number}": light(chance, near["base"]) for number in range(3)}
    assert counted(near | of_base) == 3
    of_near = {f"near-{number}": light(chance, near["near"]) for number in range(2)}
    assert counted(near | of_near) == -2
    assert counted(near | of_base | of_near) == 1


def test_who_moved_every_number_has_no_vote(near, chance):
    moved = {f"heavy-{number}": heavy(chance, near["base"]) for number in range(5)}
    assert counted(near | moved) == 0


def test_who_went_that_way_itself_has_no_vote(near, chance):
    """The donor and its checkpoints hold numbers of the model on their way."""
    way = near["donor"] - near["base"]
    line = {f"at-{share}": near["base"] + share * way for share in (0.15, 0.21, 0.3)}
    assert counted(near | line) == 0


def test_a_blend_with_a_part_of_the_other_ones_change_has_no_vote(near, chance):
    """What lies between the two holds numbers of both."""
    middle = {"middle": near["base"] + 0.5 * (near["near"] - near["base"])}
    middle["middle"] = light(chance, middle["middle"])
    assert counted(near | middle) == 0


def with_a_model_near_the_base(models):
    """Two light finetunes of the base, and a model that lies a little way towards a
    donor.
    """
    shares = {"base": 0.85, "tune-0": 0.15}
    for number in range(3):
        models[f"light-{number}"] = finetuned(models["base"], 60 + number, 0.00002)
    return models | {"start": mixed(models, shares)}


@pytest.mark.parametrize("reverse", [False, True])
def test_no_name_decides_which_base_comes_first(tmp_path, reverse):
    """The same models under names in the opposite order of the alphabet."""
    models = with_a_model_near_the_base(family())
    order = sorted(models, reverse=reverse)
    names = {model: f"m{number:02}" for number, model in enumerate(["base", *order])}
    if reverse:
        names["base"] = "z"
    place = write_family(
        tmp_path / "family", {names[model]: models[model] for model in models}
    )
    suspect = write_model(
        tmp_path / "suspect", mixed(models, {"tune-0": 0.571, "base": 0.429})
    )
    found = scan(tmp_path / "out", suspect, Params(patterns=(str(place / "*"),)))
    assert found.part("base")[0] == names["base"]
    assert found.part("donor") == [names["tune-0"]]


def test_the_base_of_an_instruct_models_children_is_the_instruct_model(tmp_path):
    """Though more light finetunes of the first base are known, which keep its numbers."""
    base = stranger(0)
    instruct = finetuned(base, 1, 0.0004)
    models = {"base": base, "instruct": instruct}
    for number in range(6):
        models[f"tune-{number}"] = finetuned(base, 10 + number, 0.0001)
    for number in range(4):
        models[f"child-{number}"] = finetuned(instruct, 20 + number, 0.0004)
    place = write_family(tmp_path / "family", models)
    shares = {"child-0": 0.6, "child-1": 0.4}
    suspect = write_model(tmp_path / "suspect", mixed(models, shares))
    found = scan(tmp_path / "out", suspect, Params(patterns=(str(place / "*"),)))
    assert found.part("base")[0] == "instruct"
    assert set(found.part("donor")) == {"child-0", "child-1"}
