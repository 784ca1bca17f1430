"""Scans of planted families: the true base and donors are proposed, and the audit that
is proposed runs as it is.
"""

import shlex

import pytest
import yaml

from mergetrace import audit
from mergetrace.configuration.reading import complete, load
from mergetrace.errors import AuditError, ConfigurationError
from mergetrace.outputs import read_json
from mergetrace.records.scan import Proposed, Scan
from mergetrace.running.command_line import main, options
from mergetrace.scan.index import Index
from mergetrace.scan.proposing import audit_yaml
from mergetrace.scan.published import publish
from mergetrace.stages import siblings
from mergetrace.stages.candidates import Params
from mergetrace.testing.planting import write_model
from mergetrace.testing.scans import (
    family,
    mixed,
    scan,
    scan_of,
    stranger,
    write_family,
)


@pytest.fixture(scope="module")
def models():
    return family()


@pytest.fixture(scope="module")
def place(tmp_path_factory, models):
    return write_family(tmp_path_factory.mktemp("family"), models)


@pytest.fixture
def scanned(tmp_path, models, place):
    """scanned(shares) -> the scan of a merge."""

    def make(shares, **settings):
        suspect = write_model(tmp_path / "suspect", mixed(models, shares))
        how = Params(**{"patterns": (str(place / "*"),), **settings})
        return scan(tmp_path / "out", suspect, how)

    return make


@pytest.mark.parametrize(
    ("shares", "donors"),
    [
        ({"tune-0": 0.571, "base": 0.429}, {"tune-0"}),
        ({"tune-2": 0.2, "base": 0.8}, {"tune-2"}),
        ({"tune-2": 0.5, "tune-3": 0.3, "base": 0.2}, {"tune-2", "tune-3"}),
        ({"tune-4": 0.571, "tune-5": 0.429}, {"tune-4", "tune-5"}),
        (
            {"tune-0": 0.5, "tune-3": 0.3, "tune-5": 0.2},
            {"tune-0", "tune-3", "tune-5"},
        ),
        ({"tune-3": 1.0}, {"tune-3"}),
    ],
)
def test_base_and_donors_are_proposed(scanned, shares, donors):
    found = scanned(shares)
    assert found.part("base")[0] == "base"
    assert set(found.part("donor")) == donors
    controls = found.part("control")
    assert 0 < len(controls) <= 3
    assert not any(name.startswith(("task", "stranger")) for name in controls)
    first = [each.place.rpartition("/")[2] for each in found.scan.ranked[:6]]
    assert {"base", *donors} <= set(first)


@pytest.mark.slow
def test_the_proposed_audit_runs_as_it_is(scanned, tmp_path, monkeypatch):
    found = scanned({"tune-0": 0.571, "base": 0.429})
    configuration = load(found.folder / "audit.yaml")
    assert configuration.audits["suspect-scan"].bases == ("base",)
    monkeypatch.chdir(tmp_path)
    finding = audit(str(found.folder / "audit.yaml"))
    assert finding.verdict == "merge"
    assert list(finding.receipt.named) == ["tune-0"]


def test_the_same_scan_again_writes_the_same_bytes(scanned, models, place, tmp_path):
    found = scanned({"tune-0": 0.571, "base": 0.429})
    names = (
        "candidates.json",
        "indexed.json",
        "screen.json",
        "ranked.csv",
        "scan.html",
    )
    before = {name: (found.folder / name).read_bytes() for name in names}
    scan_of(found.folder, tmp_path / "another index")
    assert before == {name: (found.folder / name).read_bytes() for name in names}


def test_a_model_of_no_family_has_no_candidates(tmp_path, place):
    suspect = write_model(tmp_path / "suspect", stranger(99))
    found = scan(tmp_path / "out", suspect, Params(patterns=(str(place / "*"),)))
    assert found.scan.relatives == 0
    assert not found.scan.proposed
    page = (found.folder / "scan.html").read_text()
    assert "Nothing to audit: of 14 models none has more" in page
    assert "No candidate was found" in page
    raw = yaml.safe_load((found.folder / "audit.yaml").read_text())
    assert raw == {"models": {}, "audits": {}}
    with pytest.raises(ConfigurationError, match="nothing to audit"):
        complete(raw)


def test_a_scan_accuses_nobody(scanned):
    found = scanned({"tune-0": 0.571, "base": 0.429})
    page = (found.folder / "scan.html").read_text()
    assert "It accuses nobody" in page
    assert "candidate" in page
    for word in ("merge of", "stolen", "undeclared", "accused of"):
        assert word not in page


def test_a_published_index_is_compared_too(scanned, tmp_path, models, place):
    """Prints that somebody else took, of models that are nowhere here."""
    with Index(tmp_path / "theirs") as theirs:
        from dataclasses import replace

        from mergetrace.scan.reading import of_folder

        for name in models:
            taken = of_folder(place / name).found
            facts = replace(
                taken.facts,
                place=f"them/{name}",
                commit=f"{len(name):040x}",
                on_hub=True,
                licence="mit",
            )
            theirs.add([(replace(taken, facts=facts), 0)])
        publish(theirs, tmp_path / "published")
    found = scanned({"tune-0": 0.571, "base": 0.429}, patterns=())
    assert not found.scan.relatives
    found = scan_of(found.folder, tmp_path / "mine", (tmp_path / "published",))
    assert found.part("donor") == ["tune-0"]
    text = (found.folder / "audit.yaml").read_text()
    assert '"repo": "them/tune-0", "revision": "00' in text


def test_a_suspect_without_a_print_is_an_error_in_words(tmp_path, place):
    suspect = write_model(
        tmp_path / "suspect", {"blob": stranger(1)["model.embed_tokens.weight"]}
    )
    with pytest.raises(AuditError, match="no print of the suspect"):
        scan(tmp_path / "out", suspect, Params(patterns=(str(place / "*"),)))


@pytest.fixture
def chosen(scanned, tmp_path):
    """chosen(shares, bases, donors) -> the siblings that an audit takes as controls."""

    def make(shares, bases, donors, **settings):
        found = scanned(shares, **settings)
        out = tmp_path / "siblings.json"
        given = {
            "candidates": found.folder / "candidates.json",
            "indexed": found.folder / "indexed.json",
            "index": found.folder / "prints",
            "siblings": out,
            "name": "mine",
            "bases": bases,
            "donors": donors,
            "most": 2,
        }
        main(siblings, shlex.split(options(given)))
        return read_json(out)

    return make


def test_an_audit_takes_the_hardest_siblings_as_its_controls(chosen, place):
    """Of tune-1, which the scan does not know as a donor, its child is none; nor are
    those of the same task as the donor that the scan knows.
    """
    shares = {"tune-0": 0.571, "base": 0.429}
    offered = [str(place / "tune-0"), str(place / "tune-1")]
    found = chosen(shares, [str(place / "base")], offered)
    assert found["base"] == str(place / "base")
    assert found["offered"]
    names = [each["place"].rpartition("/")[2] for each in found["siblings"]]
    assert len(names) == 2
    assert set(names) <= {f"tune-{number}" for number in range(2, 6)}
    cosines = [each["cosine"] for each in found["siblings"]]
    assert cosines == sorted(cosines, reverse=True)


def test_an_audit_without_donors_takes_siblings_too(chosen, place):
    found = chosen({"tune-0": 1.0}, [str(place / "base")], [])
    assert found["base"] == str(place / "base")
    assert len(found["siblings"]) == 2


def test_an_audit_of_a_base_without_a_print_takes_siblings_of_the_scans(chosen, place):
    shares = {"tune-0": 0.571, "base": 0.429}
    found = chosen(shares, ["nobody/base"], [str(place / "tune-0")])
    assert found["base"] == str(place / "base")
    assert not found["offered"]


def test_models_that_an_audit_offers_are_candidates_of_its_scan(chosen, place):
    """Nothing else is: no folder is named, and the Hub is not asked."""
    shares = {"tune-0": 0.571, "base": 0.429}
    folders = tuple(place / name for name in ("base", "tune-0", "tune-3"))
    offered = [str(place / "tune-0")]
    found = chosen(
        shares, [str(folders[0])], offered, patterns=(), folders=(*folders, place)
    )
    names = [each["place"].rpartition("/")[2] for each in found["siblings"]]
    assert names == ["tune-3"]


def test_strange_names_stay_text(tmp_path):
    odd = "/data/<b>x</b> # y: {\n"
    proposed = [
        Proposed(odd, "", False, part, code, {"branches": 3, "weight": 0.5, "own": 0.1})
        for part, code in (("base", "ancestor"), ("donor", "explains"))
    ]
    proposed[1] = Proposed("owner/donor", "a" * 40, True, "donor", "explains", {})
    found = Scan(
        *("mine", odd, "", False, 1, 2, 1, 0.5, 0, 1, "", (), (), tuple(proposed)),
        left_out=(),
        asked={},
    )
    raw = yaml.safe_load(audit_yaml(found, "x"))
    assert {each.get("path") for each in raw["models"].values()} == {odd, None}
