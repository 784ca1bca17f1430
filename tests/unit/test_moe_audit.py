"""A real Qwen3.5-MoE merge: the base one tensor per expert, the suspect fused, found and reproduced expert by expert."""

import pandas as pd
import pytest
from inprocess import audit
from moe_models import make_moe_models

from mergetrace.safetensors_file import read_model

pytestmark = pytest.mark.slow


def names(folder):
    return {name for _, header in read_model(folder) for name in header.tensors}


def test_a_fused_merge_of_per_expert_parents_is_reproduced(tmp_path):
    models = make_moe_models(tmp_path / "models")
    assert any(".experts.7.gate_proj" in name for name in names(models["base"]))
    assert any(name.endswith(".experts.gate_up_proj") for name in names(models["suspect"]))

    found = audit(tmp_path / "results", models, {"suspect": "suspect", "base": "base", "donors": ["donor"], "controls": ["sibling"]})

    assert found["verdict"] == "merge", found["reasons"]
    assert found["parents"]["donor"]["alpha"] == pytest.approx(0.571, abs=1e-6)
    assert found["recipe"]["bit_exact_rate"] == 1.0
    assert not found["controls"]["sibling"]["parents"]["donor"]["named"]
    table = pd.read_csv(tmp_path / "results/tensors.csv")
    experts = table[table["component"] == "routed_experts"]
    assert len(experts) == 2 * 8 * 3
    assert experts["alpha"].between(0.56, 0.58).all()
    assert {"router", "shared_expert", "shared_expert_gate", "linear_attention", "attention", "embedding"} <= set(table["component"])
    assert pd.read_csv(tmp_path / "results/unpaired.csv").empty
