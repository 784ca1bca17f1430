"""A full audit of models on a Hub: whole files, verified, thrown away when they were
read; a damaged one is named and fetched anew.
"""

import json

import pytest

from mergetrace.testing.hubserver import Fault, Hub, folder_repo
from mergetrace.testing.planting import (
    SHAPES,
    blend,
    finetuned,
    random_model,
    write_model,
)
from mergetrace.testing.workplace import run_snakemake

pytestmark = pytest.mark.slow

NAMES = ("suspect", "base", "donor")
CONFIG = {
    "models": {name: {"repo": f"o/{name}"} for name in NAMES},
    "audits": {"x": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
    "mode": "full",
    "sampling": {"spectrum_mb": 0},  # whole rows come by ranges, which no hash covers
    "probe": {"enabled": False},
    "compute": {"layers_on_disk": 1},
}


@pytest.fixture
def hub(tmp_path):
    base = random_model(0)
    donor = finetuned(base, 1)
    for name, tensors in {
        "suspect": blend(base, donor, 0.571),
        "base": base,
        "donor": donor,
    }.items():
        write_model(tmp_path / name, tensors, shards=len(SHAPES))
    with Hub({f"o/{name}": folder_repo(tmp_path / name) for name in NAMES}) as hub:
        yield hub


@pytest.mark.thorough
def test_every_file_is_verified_and_none_is_left(hub, workplace):
    env = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.endpoint}
    damaged = "model-00003-of-00007.safetensors"
    hub.faults = [
        Fault("flip", match=f"o/donor/{damaged}", skip=1)
    ]  # the first request is for its header
    done = run_snakemake(
        workplace, "results/x/verdict.json", config=CONFIG, env=env, check=False
    )
    assert done.returncode
    assert f"{damaged}: its hash is" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr

    run_snakemake(workplace, "results/x/verdict.json", config=CONFIG, env=env)
    verdict = json.loads((workplace / "results/x/verdict.json").read_text())
    assert verdict["verdict"] == "merge"
    assert verdict["read"]["full_hash_verified"]
    assert set(verdict["read"]["files"]) == set(NAMES)
    assert {
        state for files in verdict["read"]["files"].values() for state in files.values()
    } == {"full hash verified"}
    assert not list((workplace / "results/x/shards").rglob("*.safetensors"))
    assert not list((workplace / "results/x/shards").rglob("*.partial"))

    # Every byte once, the damaged file twice. Headers are read before, at most 64 KiB
    # of each file.
    for name in NAMES:
        for file, content in hub.repos[f"o/{name}"].files.items():
            if file.endswith(".safetensors"):
                whole = [
                    seen
                    for seen in hub.requests("storage", file)
                    if seen.repo == f"o/{name}"
                ][1:]
                assert sum(seen.sent for seen in whole) == content.size * (
                    2 if (name, file) == ("donor", damaged) else 1
                )

    before = len(hub.seen)
    done = run_snakemake(workplace, "results/x/verdict.json", config=CONFIG, env=env)
    assert "Nothing to be done" in done.stdout + done.stderr
    assert len(hub.seen) == before


def test_several_layers_in_a_job_are_refused_before_anything_runs(workplace):
    """Their files wait for each other: Snakemake would find out after the plan, and say
    "Group layers depends on itself".
    """
    batches = (
        "--groups",
        "deltas=layers",
        "fit=layers",
        "--group-components",
        "layers=4",
    )
    done = run_snakemake(workplace, *batches, config=CONFIG, check=False)
    assert done.returncode == 1
    assert "audit x fetches whole files layer by layer" in done.stderr
    assert "`group-components: layers: 1`" in done.stderr
    assert not (workplace / "results/models").exists()
