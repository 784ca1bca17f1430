"""Audits of models on a Hub, by the real client against the local one: what is pinned, what is fetched, what no file may hold."""

import json

import pytest
from hubserver import Hub, folder_repo
from planting import blend, finetuned, random_model, write_model

from workflow.conftest import run_snakemake

pytestmark = pytest.mark.slow

TOKEN = "hf_secretsecretsecret"
NAMES = ("suspect", "base", "donor")
CONFIG = {
    "models": {name: {"repo": f"o/{name}"} for name in NAMES},
    "audits": {"x": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
    "mode": "sample",
    "probe": {"enabled": False},
}


@pytest.fixture
def hub(tmp_path):
    base = random_model(0)
    donor = finetuned(base, 1)
    for name, tensors in {"suspect": blend(base, donor, 0.571), "base": base, "donor": donor}.items():
        write_model(tmp_path / name, tensors, shards=2)
    (tmp_path / "suspect/README.md").write_text("---\nbase_model: o/base\nlicense: mit\n---\n")
    with Hub({f"o/{name}": folder_repo(tmp_path / name) for name in NAMES}) as hub:
        hub.repos["o/suspect"].private, hub.repos["o/suspect"].tokens = True, frozenset({TOKEN})
        yield hub


def online(hub, workplace, **variables):
    """The environment of a user of this Hub, whose token is where huggingface_hub keeps it."""
    home = workplace.parent / "hf"
    home.mkdir(exist_ok=True)
    (home / "token").write_text(TOKEN)
    return {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), **variables}


def test_preflight_pins_and_reads_headers_only(hub, workplace):
    commit = hub.repos["o/suspect"].commit
    run_snakemake(workplace, "preflight", config=CONFIG, env=online(hub, workplace))
    manifest = json.loads((workplace / "results/models/suspect/manifest.json").read_text())
    assert manifest["source"] == {"path": None, "repo": "o/suspect", "revision": "main", "commit": commit, "private": True, "gated": False}
    assert manifest["declared"] == {"base_model": ["o/base"], "relation": None, "license": "mit"}
    assert {file["name"]: file["sha256"] is not None for file in manifest["files"]}["model-00001-of-00002.safetensors"]
    assert len(hub.requests("api")) == len(NAMES)
    assert not [path for path in workplace.rglob("*") if path.is_file() and TOKEN in path.read_text(errors="replace")]

    # The branch moves: a program that was edited is no reason to look again, asking for it is.
    hub.repos["o/suspect"].push(dict(hub.repos["o/suspect"].files))
    for script in ("pin.py", "manifest.py"):
        path = workplace / "scripts" / script
        path.write_text(path.read_text() + "\n# edited\n")
    run_snakemake(workplace, "preflight", config=CONFIG, env=online(hub, workplace))
    assert json.loads((workplace / "results/models/suspect/manifest.json").read_text()) == manifest
    run_snakemake(workplace, "preflight", "--forcerun", "pin", config=CONFIG, env=online(hub, workplace))
    again = json.loads((workplace / "results/models/suspect/manifest.json").read_text())
    assert again["source"]["commit"] == hub.repos["o/suspect"].commit != commit


def test_another_revision_is_resolved_again(hub, workplace):
    run_snakemake(workplace, "preflight", config=CONFIG, env=online(hub, workplace))
    pinned = hub.repos["o/base"].commit
    hub.repos["o/base"].push(dict(hub.repos["o/base"].files))
    config = {**CONFIG, "models": {**CONFIG["models"], "base": {"repo": "o/base", "revision": hub.repos["o/base"].commit}}}
    run_snakemake(workplace, "preflight", config=config, env=online(hub, workplace))
    found = json.loads((workplace / "results/models/base/manifest.json").read_text())["source"]["commit"]
    assert found == hub.repos["o/base"].commit != pinned


@pytest.mark.parametrize("variables", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}])
def test_the_public_case_fails_only_for_want_of_a_network(hub, workplace, variables):
    done = run_snakemake(workplace, "preflight", "--configfile", "config/audits/rio.yaml", check=False, env=online(hub, workplace, **variables))
    said = done.stdout + done.stderr
    assert done.returncode
    assert "is there a network?" in said or "needs the network" in said
    assert "Traceback" not in said
