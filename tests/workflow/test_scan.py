"""`snakemake scan`, from one suspect to an audit that runs as it is."""

import json
import shutil

import pytest

from mergetrace.testing.planting import write_model
from mergetrace.testing.scans import family, mixed, write_family
from mergetrace.testing.workplace import run_snakemake

NAMES = ("candidates.json", "screen.json", "ranked.csv", "audit.yaml", "scan.html")


@pytest.mark.slow
def test_a_suspect_becomes_an_audit(workplace):
    models = family()
    write_family(workplace / "data", models)
    shares = {"tune-2": 0.5, "tune-3": 0.3, "base": 0.2}
    write_model(workplace / "suspect", mixed(models, shares))
    config = {
        "models": {"mine": {"path": "suspect"}},
        "scan": {
            "suspects": ["mine"],
            "candidates": {"paths": ["data/*"], "hub": {"from": []}},
        },
    }
    done = run_snakemake(workplace, "scan", config=config)
    assert "Whether it is made of them only the audit can say" in done.stdout
    own = workplace / "results/scan/mine"
    text = (own / "audit.yaml").read_text()
    assert 'donors: ["tune-2", "tune-3"]' in text
    before = {name: (own / name).read_bytes() for name in NAMES}

    # without a target the scan is what is made, and it is there
    done = run_snakemake(workplace, config=config)
    assert "Nothing to be done" in done.stdout + done.stderr

    # what an interruption took away comes back as it was, and no print is taken twice
    shutil.rmtree(own)
    run_snakemake(workplace, "scan", config=config)
    assert before == {name: (own / name).read_bytes() for name in NAMES}
    log = (workplace / "results/logs/prints/scan.mine.00000.log").read_text()
    assert "0 of them new" in log

    run_snakemake(
        workplace, "preflight", "--configfile", "results/scan/mine/audit.yaml"
    )
    assert (workplace / "results/suspect-scan/plan.json").is_file()


@pytest.mark.slow
@pytest.mark.thorough
def test_an_audit_takes_its_controls_from_a_scan(workplace):
    write_family(workplace / "data", family())
    shares = {"tune-2": 0.571, "base": 0.429}
    write_model(workplace / "suspect", mixed(family(), shares))
    config = {
        "models": {
            "mine": {"path": "suspect"},
            "base": {"path": "data/base"},
            "donor": {"path": "data/tune-2"},
        },
        "audits": {
            "case": {
                "suspect": "mine",
                "base": "base",
                "donors": ["donor"],
                "controls": {"from": "scan", "most": 2},
            }
        },
        "scan": {"candidates": {"paths": ["data/*"], "hub": {"from": []}}},
        "probe": {"enabled": False},
        "mode": "full",
    }
    done = run_snakemake(workplace, config=config)
    said = "None of 2 controls, judged by the same rules, is accused"
    assert said in " ".join(done.stdout.split())
    own = workplace / "results/case"
    verdict = json.loads((own / "verdict.json").read_text())
    assert verdict["verdict"] == "merge"
    assert set(verdict["controls"]) == {"case-sibling-1", "case-sibling-2"}
    page = (own / "report.html").read_text()
    assert "A scan chose the controls" in page
    assert "2 of them are siblings, finetunes of base by what was measured." in page
    kept = json.loads((own / "bundle/configuration.json").read_text())
    assert kept["audits"]["case"]["controls"] == ["case-sibling-1", "case-sibling-2"]
    done = run_snakemake(workplace, config=config)
    assert "Nothing to be done" in done.stdout + done.stderr
