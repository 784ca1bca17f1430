"""Audits to which no donor was offered: is this that base, trained on?"""

import pytest

from mergetrace.finding.gate import failures
from mergetrace.finding.wording_headline import headline
from mergetrace.outputs import read_json
from mergetrace.records.verdict import Verdict
from mergetrace.testing.audits import audit, prepared
from mergetrace.testing.planting import blend, finetuned, random_model, write_model

pytestmark = pytest.mark.slow

BASE = random_model(0)
CHILD = finetuned(BASE, 1)
EMBEDDING = "model.embed_tokens.weight"
DATES = {"base": "2025-01-01", "suspect": "2025-06-01"}


@pytest.fixture
def asked(tmp_path):
    """asked(tensors, card="...", base="base", ...) -> (verdict.json, all its words)"""

    def run(suspect, card=None, base="base", **settings):
        models = {"suspect": suspect, "base": BASE, "other": random_model(3)}
        names = ["suspect", *([base] if isinstance(base, str) else base)]
        folders = {name: write_model(tmp_path / name, models[name]) for name in names}
        if card is not None:
            (folders["suspect"] / "README.md").write_text(f"---\n{card}\n---\n")
        found = audit(
            tmp_path, folders, {"suspect": "suspect", "base": base}, **settings
        )
        words = headline(Verdict.of(found))
        return found, " ".join([words.sentence, words.explanation, *found["reasons"]])

    return run


def test_a_finetune_has_the_origin_of_its_base(asked):
    found, words = asked(CHILD)
    assert (found["verdict"], found["base_declared"]) == ("finetune_of_base", "no card")
    assert "suspect has the origin of base." in words
    assert "from a third model is not known" in words
    assert "no merge was looked for and none is ruled out" in words
    assert "ndeclared" not in words
    assert "recipe" not in words.casefold()
    assert found["parents"] == {}
    assert found["recipe"] is None


def test_an_undeclared_base_is_said_where_a_card_names_another(asked):
    found, words = asked(CHILD, "base_model: maker/own", published=DATES)
    assert found["base_declared"] == "not named"
    assert "Undeclared: suspect's card names maker/own as its base_model" in words
    assert "made from base, which is older, or both from a third model" in words
    verdict = Verdict.of(found)
    assert failures(verdict, {}, ["undeclared_parent"])
    assert not failures(verdict, {}, ["accusation"])


def test_a_declared_base_is_not_called_undeclared(asked):
    found, words = asked(CHILD, "base_model: somebody/base")
    assert found["base_declared"] == "named"
    assert "ndeclared" not in words


def test_a_merge_without_donors_is_no_accusation(asked):
    merged = blend(CHILD, finetuned(BASE, 2), 0.5)
    found, words = asked(merged, mode="sample")
    assert found["verdict"] == "finetune_of_base"
    assert "none is ruled out" in words


def test_a_copy_is_a_copy(asked):
    found, _ = asked(BASE, "base_model: maker/own")
    assert (found["verdict"], found["base_declared"]) == ("copy", "not named")


def test_a_stranger_is_unrelated(asked):
    found, words = asked(random_model(9), "base_model: maker/own")
    assert (found["verdict"], found["base_declared"]) == ("unrelated", None)
    assert "with a donor" not in words
    assert "ndeclared" not in words


def test_a_stranger_with_the_embedding_of_the_base_is_no_child(asked):
    found, words = asked({**random_model(9), EMBEDDING: BASE[EMBEDDING]})
    assert found["verdict"] == "inconclusive"
    assert "We cannot tell whether suspect comes from base." in words


def test_a_younger_base_is_no_base(asked):
    dates = {"base": "2026-01-01", "suspect": "2025-06-01"}
    found, words = asked(CHILD, "base_model: maker/own", published=dates)
    assert (found["verdict"], found["base_declared"]) == ("inconclusive", None)
    assert "base is younger than suspect" in words
    assert "ndeclared" not in words


def test_of_several_bases_the_nearest_is_chosen(asked):
    found, words = asked(CHILD, base=["other", "base"])
    assert (found["verdict"], found["base"]["name"]) == ("finetune_of_base", "base")
    assert "suspect moved least from it." in words


def test_the_page_holds_no_share(tmp_path):
    folders = {
        "suspect": write_model(tmp_path / "suspect", CHILD),
        "base": write_model(tmp_path / "base", BASE),
    }
    ready = prepared(tmp_path, folders, {"suspect": "suspect", "base": "base"})
    ready.weigh()
    page = ready.write_report().read_text()
    assert "there is no share to measure" in page
    assert "so no recipe was looked for" in page
    assert read_json(tmp_path / "summary.json")["donors"] == []
