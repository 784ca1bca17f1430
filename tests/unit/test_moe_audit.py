"""A real Qwen3.5-MoE merge: the base one tensor per expert, the suspect fused, found
and reproduced expert by expert.
"""

import json

import pandas as pd
import pytest

from mergetrace.files.safetensors_file import read_model
from mergetrace.testing.audits import audit
from mergetrace.testing.moe_models import make_moe_models
from mergetrace.testing.realmerge import mergekit

pytestmark = pytest.mark.slow


def names(folder):
    return {name for _, header in read_model(folder) for name in header.tensors}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_moe_models(tmp_path_factory.mktemp("models"))


def test_a_fused_merge_of_per_expert_parents_is_reproduced(models, tmp_path):
    assert any(".experts.7.gate_proj" in name for name in names(models["base"]))
    assert any(
        name.endswith(".experts.gate_up_proj") for name in names(models["suspect"])
    )

    found = audit(
        tmp_path / "results",
        models,
        {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "controls": ["sibling"],
        },
    )

    assert found["verdict"] == "merge", found["reasons"]
    assert found["parents"]["donor"]["alpha"] == pytest.approx(0.571, abs=1e-6)
    assert found["recipe"]["bit_exact_rate"] == 1.0
    assert not found["controls"]["sibling"]["parents"]["donor"]["named"]
    table = pd.read_csv(tmp_path / "results/tensors.csv")
    experts = table[table["component"] == "routed_experts"]
    assert len(experts) == 2 * 8 * 3
    assert experts["alpha"].between(0.56, 0.58).all()
    assert {
        "router",
        "shared_expert",
        "shared_expert_gate",
        "linear_attention",
        "attention",
        "embedding",
    } <= set(table["component"])
    assert pd.read_csv(tmp_path / "results/unpaired.csv").empty


SLERP = {"merge_method": "slerp", "parameters": {"t": 0.571}}
TIES = {
    "merge_method": "ties",
    "parameters": {"density": 0.4, "weight": 0.7, "normalize": False},
}


@pytest.mark.thorough  # test_rebuild finds both, and makes their tensors again
@pytest.mark.parametrize(
    "method", [SLERP, TIES], ids=lambda method: method["merge_method"]
)
def test_the_angle_and_the_threshold_of_a_fused_tensor_run_over_all_its_experts(
    method, models, tmp_path
):
    names = ("donor",) if method is TIES else ("base", "donor")
    config = {
        **method,
        "base_model": str(models["base"]),
        "models": [{"model": str(models[name])} for name in names],
        "dtype": "bfloat16",
    }
    suspect = mergekit(config, tmp_path / "merged")
    offered = {**{name: models[name] for name in ("base", "donor")}, "suspect": suspect}

    audit(
        tmp_path / "results",
        offered,
        {"suspect": "suspect", "base": "base", "donors": ["donor"], "controls": []},
    )

    best = json.loads((tmp_path / "results/recipes.json").read_text())[0]["best"]
    assert (
        best["method"]
        in {"slerp": ("slerp", "linear", "task_arithmetic"), "ties": ("ties",)}[
            method["merge_method"]
        ]
    )
    assert best["bit_exact_rate"] == 1.0
