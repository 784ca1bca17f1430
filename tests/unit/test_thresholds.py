"""Every limit of a verdict stands once, in the configuration: whoever loosens it there
has it loosened.
"""

import ast
import dataclasses
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mergetrace.disguises.findings import SizesApart
from mergetrace.search import remainder, turning
from mergetrace.search.counting import Count, exact_rate
from mergetrace.search.reversal import TurnedWeights
from mergetrace.testing.audits import audit
from mergetrace.testing.looking import default_limits, looked
from mergetrace.testing.planting import finetuned, random_model, write_model
from mergetrace.testing.realmerge import qwen
from mergetrace.thresholds import Thresholds, threshold_descriptions

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "scripts/mergetrace"
LIMITS = {entry.name: entry for entry in dataclasses.fields(Thresholds)}

SAYING = ("lineage", "gate")
"""Beside wording_*: what was decided, in words; they see no more than verdict.json."""

NUMBERS = {
    "accusing": {
        2: "how many donors are several",
        12: "digits that are kept of a share",
    },
    "declared": {
        200: "how many declared items are listed",
        1e-9: "how far numbers that were written alike lie apart as text",
    },
    "descent": {2: "the half of an interval", 12: "digits that are kept of a share"},
    "detection": {
        0.95: "the certainty of what would have been seen; no verdict rests on it",
        2.0: "the base of the exponents",
    },
    "judgement": {1.96: "standard errors on either side of a 95 % interval"},
    "order": {2: "the middle between two shares"},
    "stops": {2: "the models of a blend"},
    "traces": {2: "a square", 12: "the digits of a share"},
}
"""The numbers besides 0 and 1 that the rules may hold: none of them is a limit."""

JUDGING = sorted(
    path.stem
    for path in (LIBRARY / "finding").glob("*.py")
    if path.stem not in (*SAYING, "__init__") and not path.stem.startswith("wording")
)


def numbers_of(tree):
    """The numbers of a program, as they are read."""
    found = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float)
    ]
    return {number for number in found if number not in (0, 1)}


@pytest.mark.parametrize("module", JUDGING)
def test_no_rule_holds_a_limit_of_its_own(module):
    tree = ast.parse((LIBRARY / f"finding/{module}.py").read_text())
    assert numbers_of(tree) <= set(NUMBERS.get(module, {})), (
        f"finding/{module}.py: a limit belongs to mergetrace/thresholds.py"
    )


@pytest.mark.parametrize("module", JUDGING)
def test_no_rule_takes_a_number_from_elsewhere(module):
    for node in ast.walk(ast.parse((LIBRARY / f"finding/{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("mergetrace."):
            path = (
                LIBRARY
                / f"{node.module.removeprefix('mergetrace.').replace('.', '/')}.py"
            )
            other = ast.parse(
                path.read_text() if path.is_file() else ""
            )  # a folder gives modules, no numbers
            numbers = {
                target.id
                for line in other.body
                if isinstance(line, ast.Assign) and numbers_of(line)
                for target in line.targets
            }
            assert not numbers & {alias.name for alias in node.names}, (
                f"finding/{module}.py"
            )


def test_every_limit_is_used_and_says_what_it_rests_on():
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    judging = "".join(path.read_text() for path in (LIBRARY / "finding").glob("*.py"))
    used = {*re.findall(r'"(\w+)"', rules), *re.findall(r"\.(\w+)", judging)}
    used |= {"min_vote_elements", "replay_width"}
    assert set(LIMITS) <= used
    for name, description in threshold_descriptions().items():
        assert len(description.split()) >= 8, name


def test_a_limit_of_the_configuration_is_written_nowhere_else():
    """By its name: `MIN_SURVIVORS = 0.8` was asked before `min_survivors`, and the
    stricter of the two won unseen.
    """
    names = {name.upper() for name in LIMITS}
    for path in LIBRARY.rglob("*.py"):
        assert not names & set(
            re.findall(r"^([A-Z_]+)\b.* = ", path.read_text(), flags=re.MULTILINE)
        ) - {"MIN_INFORMATIVE"}, path


def test_the_search_goes_on_with_all_that_a_limit_may_be_loosened_to():
    for module in (remainder, turning):
        assert (
            min(
                LIMITS[name].metadata["ge"]
                for name in ("min_trace", "min_survivors", "min_bit_exact")
            )
            >= module.MIN_RATE_TO_LOOK
        )


def test_how_few_elements_may_refute_a_recipe_is_the_configurations_word():
    few = Count(confined=100, informative=4, exact=4, residual=0.0)
    assert exact_rate(few, min_informative_share=0.05) == 0
    assert exact_rate(few, min_informative_share=0.03) == 1


def test_at_which_weights_a_recipe_is_turned_round_is_the_configurations_word():
    weights = np.array([0.01, 0.5, 0.99, -1.2])
    strict = TurnedWeights(0.02, 0.985)
    assert (strict.enough(weights) & strict.in_part(weights)).tolist() == [
        False,
        True,
        False,
        True,
    ]
    loose = TurnedWeights(0.005, 0.995)
    assert (loose.enough(weights) & loose.in_part(weights)).all()


@pytest.mark.parametrize(
    ("limits", "in_place", "sizes_apart"),
    [
        pytest.param({}, True, False, id="default"),
        pytest.param({"max_octaves_apart": 0.02}, True, True, id="octaves"),
        pytest.param({"min_same_cos": 0.9999}, False, False, id="cosine"),
    ],
)
def test_what_lies_in_place_is_the_configurations_word(
    limits, in_place, sizes_apart, tmp_path
):
    """A finetune one of whose tensors is 4 % longer, by no number for all elements."""
    base = qwen(0)
    suspect = finetuned(base, 2)
    name = "model.layers.1.mlp.down_proj.weight"
    suspect[name] = (suspect[name].float() * 1.0413).to(suspect[name].dtype)
    layout, _, _ = looked(
        tmp_path, suspect, base, finetuned(base, 1), replace(default_limits(), **limits)
    )
    assert (layout.kin == 1) == in_place
    assert any(isinstance(each, SizesApart) for each in layout.not_undone) == (
        sizes_apart
    )


BASE = random_model(0)
DONOR = finetuned(BASE, 1)


def dropped(share, strayed=0.0):
    """A merge that drops this share of the donor's changes by chance; of those that it
    keeps some lie elsewhere than one weight puts them.
    """
    generator = torch.Generator().manual_seed(3)
    made = {}
    for name, base in BASE.items():
        change = 1.2 * (DONOR[name].float() - base.float())
        drawn = torch.rand(base.shape, generator=generator)
        kept = change * (torch.rand(base.shape, generator=generator) >= share)
        made[name] = (
            base.float()
            + torch.where(
                drawn < strayed,
                kept * 2 * torch.rand(base.shape, generator=generator),
                kept,
            )
        ).to(base.dtype)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suspect", "limits"),
    [
        pytest.param(
            dropped(0.5, strayed=0.3), {"min_survivors": 0.65}, id="survivors"
        ),
        pytest.param(dropped(0.01), {"min_stayed": 0.005}, id="stayed"),
    ],
)
def test_a_limit_loosened_in_the_configuration_finds_the_merge_that_it_hid(
    suspect, limits, tmp_path
):
    tensors = {
        "suspect": suspect,
        "base": BASE,
        "donor": DONOR,
        "sibling": finetuned(BASE, 3),
    }
    models = {
        name: write_model(tmp_path / "models" / name, model)
        for name, model in tensors.items()
    }
    spec = {
        "suspect": "suspect",
        "base": "base",
        "donors": ["donor"],
        "controls": ["sibling"],
    }
    dates = {
        "donor": "2026-01-01",
        "suspect": "2026-06-01",
    }  # of a loosened trace the weights do not say who was first
    strict = audit(tmp_path / "strict", models, spec, published=dates)
    loose = audit(tmp_path / "loose", models, spec, verdict=limits, published=dates)
    assert strict["family"] != "dare", strict["reasons"]
    assert (loose["verdict"], loose["family"]) == ("other_merge", "dare"), loose[
        "reasons"
    ]
    before, after = (
        json.loads((tmp_path / folder / "recipes.json").read_text())[0]["signature"]
        for folder in ("strict", "loose")
    )
    assert before == after  # the same was measured: the rule alone decides
