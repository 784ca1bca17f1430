"""A whole audit of folders as people publish them, infinities in their weights
included, to the report and a bundle that can be checked.
"""

import json
import subprocess
import sys

import pytest

from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.workplace import run_snakemake

pytestmark = pytest.mark.slow

Q = "model.layers.0.self_attn.q_proj.weight"
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def models(tmp_path):
    """A merge of which several things are odd, beside its parents and a control."""
    base = random_model(0)
    donor = finetuned(base, 1)
    control = finetuned(base, 3)
    suspect = blend(base, donor, 0.571)
    suspect[Q][3, 5] = float("inf")
    suspect[UP][2] = float("nan")
    donor["model.norm.weight"][7] = float("-inf")
    control["model.embed_tokens.weight"][0, 0] = float("nan")
    tensors = {"suspect": suspect, "base": base, "donor": donor, "control": control}
    folders = {
        name: write_model(tmp_path / f"models {name} é", each, shards=3)
        for name, each in tensors.items()
    }
    odd = folders["suspect"]
    index = json.loads((odd / "model.safetensors.index.json").read_text())
    index["weight_map"]["mtp.fc.weight"] = "model-00003-of-00003.safetensors"
    del index["weight_map"][Q]
    (odd / "model.safetensors.index.json").write_text(
        json.dumps({**index, "metadata": {"mergekit_version": "0.1.5"}})
    )
    (odd / "config.json").write_text(
        '\ufeff{"architectures": ["PlantedForCausalLM"], "time_step_limit": [0.0,'
        ' Infinity], "a": 1, "a": 2}'
    )
    (odd / "mergekit_config.yml").write_text(
        "merge_method: linear\nmodels:\n- model: org/A\n- model: org/B\n"
    )
    (odd / "adapter_model.safetensors").write_bytes(b"")
    (odd / "a name {with} braces, 'quotes' and $words").write_text("")
    (odd / "a line\nbreak").write_text("")
    (odd / "broken").symlink_to("nowhere")
    (folders["control"] / "config.json").write_text("{,}")
    (folders["base"] / "config.json").unlink()
    return folders


@pytest.mark.thorough
def test_the_audit_goes_on_to_a_report_and_a_bundle_that_checks(models, workplace):
    config = {
        "models": {name: {"path": str(path)} for name, path in models.items()},
        "audits": {
            "x": {
                "suspect": "suspect",
                "base": "base",
                "donors": ["donor"],
                "controls": ["control"],
            }
        },
        "mode": "full",
        "probe": {"enabled": False},
        "rebuild": {"enabled": "always"},
    }
    run_snakemake(workplace, "results/x/rebuild.json", config=config)
    run_snakemake(
        workplace, "results/x/report.html", "results/x/bundle.zip", config=config
    )
    own = workplace / "results/x"
    verdict = json.loads((own / "verdict.json").read_text())
    said = " ".join(verdict["reasons"])
    assert verdict["verdict"] == "merge"
    for part in (
        (
            f"66 elements of {Q}, {UP}, model.norm.weight are NaN or infinite in"
            " suspect or a parent"
        ),
        "suspect: its index promises 1 tensor(s), 'mtp.fc.weight' first,",
        f"suspect: its index leaves out 1 tensor(s), '{Q}' first,",
        (
            "suspect: it also holds weight files that were not compared"
            " ('adapter_model.safetensors')"
        ),
        (
            "suspect: its folder says that it was made by mergekit 0.1.5, 'linear' of"
            " 'org/A', 'org/B' (mergekit_config.yml): declared, not measured."
        ),
        "control: its config.json was not used",
        "base: it holds no config.json",
    ):
        assert part in said
    assert "mtp.fc.weight" in (own / "report.html").read_text()
    differences = json.loads((own / "rebuild.json").read_text())["first_differences"]
    assert [entry["tensor"] for entry in differences if entry["suspect"] is None] == [
        Q,
        UP,
        UP,
    ]
    for verifier, form in (
        ("results/x/bundle/verify.py", "results/x/bundle"),
        ("scripts/verify.py", "results/x/bundle.zip"),
    ):
        done = subprocess.run(
            [sys.executable, verifier, form],
            cwd=workplace,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
