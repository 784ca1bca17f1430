"""Who may play which part: a base candidate may be offered as a donor too, and is then
no donor of itself.
"""

import json

import pytest
import torch

from mergetrace.configuration.reading import complete
from mergetrace.errors import ConfigurationError
from mergetrace.sums.frames import Frame, Roles
from mergetrace.testing.audits import prepared
from mergetrace.testing.planting import finetuned, random_model, write_model

BASE = random_model(30)
FIRST = finetuned(BASE, 31)
SECOND = finetuned(BASE, 32)
SIBLING = finetuned(BASE, 33)


def slerp(first, second, t):
    """Along the arc from the first model to the second, tensor by tensor, in float64."""

    def between(one, other):
        one = one.double()
        other = other.double()
        cosine = (one * other).sum() / (one.norm() * other.norm())
        angle = torch.arccos(cosine)
        parts = torch.sin((1 - t) * angle) * one + torch.sin(t * angle) * other
        return (parts / torch.sin(angle)).bfloat16()

    return {name: between(tensor, second[name]) for name, tensor in first.items()}


def test_where_a_donor_is_the_base_the_others_are_its_donors():
    roles = Roles("s", ("base", "a", "b"), ("a", "b"), ("c",))
    assert roles.frames()[:3] == [
        Frame("s", "base", ("a", "b")),
        Frame("s", "a", ("b",)),
        Frame("s", "b", ("a",)),
    ]
    assert roles.parents == ("base", "a", "b")
    assert roles.in_both_roles == ("a", "b")


def configured(base, donors):
    models = {name: {"path": name} for name in ("s", "base", "a", "b")}
    audit = {"suspect": "s", "base": base, "donors": donors}
    return complete({"models": models, "audits": {"x": audit}}).audits["x"]


@pytest.mark.parametrize(
    ("base", "donors", "parents"),
    [
        (["base", "a", "b"], ["a", "b"], ("base", "a", "b")),
        ("base", ["base", "a", "b"], ("base", "a", "b")),
        (["a", "b"], ["a", "b"], ("a", "b")),
    ],
)
def test_a_base_candidate_may_be_a_donor(base, donors, parents):
    assert configured(base, donors).parents == parents


@pytest.mark.parametrize("base", ["a", ["base", "a"]])
def test_a_base_candidate_needs_a_donor_beside_it(base):
    with pytest.raises(
        ConfigurationError, match="with `a` as the base no donor is left"
    ):
        configured(base, ["a"])


@pytest.fixture
def audited(tmp_path):
    """audited(suspect, base, donors) -> the audit before it begins"""

    def prepare(suspect, base, donors):
        models = {"base": BASE, "first": FIRST, "second": SECOND}
        models |= {"suspect": suspect, "sibling": SIBLING}
        folders = {
            name: write_model(tmp_path / "models" / name, tensors)
            for name, tensors in models.items()
        }
        spec = {"suspect": "suspect", "base": base, "donors": donors}
        return prepared(tmp_path, folders, {**spec, "controls": ["sibling"]})

    return prepare


@pytest.mark.thorough
@pytest.mark.slow
def test_a_slerp_of_two_finetunes_is_found_where_the_ancestor_is_offered_too(
    audited, tmp_path
):
    suspect = slerp(FIRST, SECOND, 0.4)
    audit = audited(suspect, ["base", "first", "second"], ["first", "second"])
    found = audit.weigh()
    assert found["verdict"] == "merge", found["reasons"]
    assert found["family"] in ("slerp", "nuslerp")  # the same arc
    assert found["base"] == {"name": "first", "share": pytest.approx(0.6)}
    assert found["parents"]["second"]["alpha"] == pytest.approx(0.4)
    assert set(found["bases"]) == {"base", "first", "second"}
    said = " ".join(found["reasons"])
    assert "first and second are offered as base and as donor: where one" in said
    assert "The recipe below gives" in audit.write_report().read_text()
    summary = json.loads((tmp_path / "summary.json").read_text())
    beside = {
        base: list(entry["models"]["suspect"]["donors"])
        for base, entry in summary["bases"].items()
        if entry["models"]
    }
    assert beside == {"base": ["first", "second"], "second": ["first"]}


@pytest.mark.slow
def test_a_base_among_its_donors_is_no_donor_of_itself(audited):
    audit = audited(slerp(BASE, FIRST, 0.4), "base", ["base", "first"])
    found = audit.weigh()
    assert found["verdict"] == "merge", found["reasons"]
    assert list(found["parents"]) == ["first"]
    assert found["parents"]["first"]["alpha"] == pytest.approx(0.4)
    assert "base is offered as base and as donor: it was taken as the base" in " ".join(
        found["reasons"]
    )


@pytest.mark.slow
def test_nobody_innocent_is_accused_where_every_model_is_a_base_candidate(audited):
    everyone = ["base", "first", "second"]
    found = audited(finetuned(BASE, 34), everyone, everyone).weigh()
    assert (found["verdict"], found["base"]["name"]) == ("finetune_of_base", "base")
    assert found["controls"]["sibling"]["verdict"] == "finetune_of_base"
