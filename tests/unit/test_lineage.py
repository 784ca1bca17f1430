"""What an honest card would say, and the facts about licences."""

from pathlib import Path

import yaml

from mergetrace.finding.lineage import honest_card, undeclared
from mergetrace.records.verdict import Verdict
from mergetrace.testing import reporting

SCRIPTS = Path(__file__).parents[2] / "scripts"


def finding(*args, **kwargs):
    return Verdict.of(reporting.finding(*args, **kwargs))


def test_what_an_honest_card_says_names_the_parents_found():
    manifests = {
        name: {"source": {"repo": repo}, "declared": {"license": None}}
        for name, repo in (("nex", "nex-agi/N2"), ("qwen", "Qwen/Q"))
    }
    card = yaml.safe_load(honest_card(finding("merge"), manifests))
    assert card == {
        "base_model": ["nex-agi/N2", "Qwen/Q"],
        "base_model_relation": "merge",
    }
    assert yaml.safe_load(honest_card(finding("finetune_of_donor"), manifests)) == {
        "base_model": ["nex-agi/N2"],
        "base_model_relation": "finetune",
    }
    assert honest_card(finding("merge"), {}).startswith("# names of this audit")
    assert honest_card(finding("inconclusive", named=False), manifests) is None
    assert (
        honest_card(finding("copy", share=0.0), manifests) is None
    )  # the Hub has no word for it


def test_undeclared_parents_are_those_the_card_does_not_list():
    assert undeclared(finding("merge"), {}) == ["nex"]
    verdict = reporting.finding("merge")
    verdict["declared"]["base_model"] = ["someone/NEX", "qwen"]
    assert undeclared(Verdict.of(verdict), {}) == []
    assert undeclared(finding("finetune_of_base", named=False, share=1.0), {}) == []


def test_a_parent_that_only_the_merges_configuration_names_is_declared():
    verdict = reporting.finding("merge")
    merge = {
        "file": "mergekit_config.yml",
        "method": "slerp",
        "slices": [{"sources": [{"model": "nex-agi/N2"}, {"model": "qwen"}]}],
    }
    verdict["declared"]["merges"] = [merge]
    manifests = {"nex": {"source": {"repo": "nex-agi/N2"}}}
    assert undeclared(Verdict.of(verdict), manifests) == []
    merge["slices"][0]["sources"][0]["model"] = "somebody/else"
    assert undeclared(Verdict.of(verdict), manifests) == ["nex"]


def test_licences_of_the_shipped_list_are_well_formed():
    known = yaml.safe_load(
        (SCRIPTS.parent / "scripts/mergetrace/data/licences.yaml").read_text()
    )
    for key, entry in known.items():
        assert key == key.lower()
        assert set(entry) == {"name", "url", "asks"}
        assert entry["url"].startswith("https://")
        assert all(isinstance(fact, str) for fact in entry["asks"])
