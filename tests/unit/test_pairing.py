"""One and the same tensor, under every name and packing that writers give it."""

import pandas as pd
import pytest

from mergetrace.errors import AuditError
from mergetrace.formats.model_config import config_from_json
from mergetrace.planning.pairing import pair
from mergetrace.planning.plan import pair_models
from mergetrace.tensors.naming import canonical_name, component_of, layer_of
from mergetrace.tensors.views import views

WIDTH = {"BF16": 2, "F32": 4, "F8_E4M3": 1, "I64": 8}


def table(
    shapes: dict[str, tuple],
    dtypes: dict[str, str] | None = None,
    shard="model.safetensors",
) -> pd.DataFrame:
    rows = []
    start = 100
    for name, shape in shapes.items():
        dtype = (dtypes or {}).get(name, "BF16")
        size = WIDTH[dtype]
        for dimension in shape:
            size *= dimension
        rows.append(
            {
                "name": name,
                "shard": shard,
                "dtype": dtype,
                "shape": list(shape),
                "start": start,
                "end": start + size,
            }
        )
        start += size
    return pd.DataFrame(rows)


def cut(shapes, dtypes=None, **config):
    return views(table(shapes, dtypes), config_from_json(config))


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        (
            "model.language_model.layers.3.mlp.gate.weight",
            "model.layers.3.mlp.gate.weight",
        ),
        (
            "language_model.model.layers.3.mlp.gate.weight",
            "model.layers.3.mlp.gate.weight",
        ),
        ("layers.3.mlp.gate.weight", "model.layers.3.mlp.gate.weight"),
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("model.visual.blocks.0.attn.qkv.weight", "visual.blocks.0.attn.qkv.weight"),
        (
            "model.layers.0.block_sparse_moe.experts.5.w3.weight",
            "model.layers.0.mlp.experts.5.up_proj.weight",
        ),
        (
            "model.layers.0.block_sparse_moe.gate.weight",
            "model.layers.0.mlp.gate.weight",
        ),
        ("../../etc/passwd", "../../etc/passwd"),
    ],
)
def test_canonical_names(name, canonical):
    assert canonical_name(name) == canonical


@pytest.mark.parametrize(
    ("name", "layer", "component"),
    [
        ("model.layers.12.self_attn.q_norm.weight", "12", "norm"),
        ("model.layers.12.self_attn.q_proj.weight", "12", "attention"),
        ("model.layers.0.linear_attn.in_proj_qkv.weight", "0", "linear_attention"),
        ("model.layers.0.linear_attn.norm.weight", "0", "norm"),
        ("model.layers.0.mlp.gate.weight", "0", "router"),
        ("model.layers.0.mlp.gate_proj.weight", "0", "mlp"),
        ("model.layers.0.mlp.experts.down_proj", "0", "routed_experts"),
        ("model.layers.0.mlp.shared_expert.up_proj.weight", "0", "shared_expert"),
        ("model.layers.0.mlp.shared_expert_gate.weight", "0", "shared_expert_gate"),
        ("model.embed_tokens.weight", "outer", "embedding"),
        ("lm_head.weight", "outer", "lm_head"),
        ("visual.blocks.1.attn.qkv.weight", "visual", "vision"),
        ("mtp.layers.0.mlp.gate.weight", "mtp", "mtp"),
        ("model.norm.weight", "outer", "norm"),
    ],
)
def test_layers_and_components(name, layer, component):
    assert (layer_of(name), component_of(name)) == (layer, component)


def test_fused_and_per_expert_tensors_meet():
    experts = 3
    inner = 4
    hidden = 8
    prefix = "model.layers.0.mlp.experts."
    fused, _ = cut(
        {
            prefix + "gate_up_proj": (experts, 2 * inner, hidden),
            prefix + "down_proj": (experts, hidden, inner),
        }
    )
    single = {}
    for e in range(experts):
        single |= {
            f"{prefix}{e}.gate_proj.weight": (inner, hidden),
            f"{prefix}{e}.up_proj.weight": (inner, hidden),
            f"{prefix}{e}.down_proj.weight": (hidden, inner),
        }
    apart, _ = cut(single)
    assert set(fused) == set(apart)
    assert len(fused) == 9
    up = fused["model.layers.0.mlp.experts.up_proj", "1"]
    assert up.start == 100 + (1 * 2 + 1) * inner * hidden * 2
    assert (up.rows, up.cols) == (inner, hidden)
    assert (
        fused["model.layers.0.mlp.experts.down_proj", "2"].start
        == 100 + experts * 2 * inner * hidden * 2 + 2 * hidden * inner * 2
    )


def test_an_unknown_fused_layout_stays_one_slice_per_expert():
    found, _ = cut(
        {
            "model.layers.0.mlp.experts.gate_up_proj": (3, 8, 8),
            "model.layers.0.mlp.experts.down_proj": (3, 4, 8),
        }
    )
    assert ("model.layers.0.mlp.experts.gate_up_proj", "0") in found


def test_tied_embeddings_lend_the_head():
    tied, _ = cut({"model.embed_tokens.weight": (10, 4)}, tie_word_embeddings=True)
    untied, _ = cut({"model.embed_tokens.weight": (10, 4), "lm_head.weight": (10, 4)})
    plan, unpaired = pair(
        {"suspect": tied, "base": untied, "donor": untied}, ["base", "donor"]
    )
    assert set(plan["tensor"]) == {"lm_head.weight", "model.embed_tokens.weight"}
    assert not unpaired
    everyone_tied, _ = pair(
        {"suspect": tied, "base": tied, "donor": tied}, ["base", "donor"]
    )
    assert set(everyone_tied["tensor"]) == {"model.embed_tokens.weight"}


def test_an_enlarged_vocabulary_is_compared_on_its_common_rows():
    small, _ = cut({"model.embed_tokens.weight": (10, 4)})
    large, _ = cut({"model.embed_tokens.weight": (12, 4)})
    plan, unpaired = pair(
        {"suspect": large, "base": small, "donor": small}, ["base", "donor"]
    )
    assert set(plan["elements"]) == {40}
    assert not unpaired


def test_what_is_not_compared_is_listed_with_the_reason():
    base, _ = cut(
        {"model.layers.0.a.weight": (4, 4), "model.layers.0.b.weight": (4, 4)}
    )
    suspect, _ = cut(
        {
            "model.layers.0.a.weight": (4, 4),
            "model.layers.0.b.weight": (5, 4),
            "mtp.x.weight": (4, 4),
            "model.layers.0.only.weight": (2,),
        }
    )
    plan, unpaired = pair(
        {"suspect": suspect, "base": base, "donor": base}, ["base", "donor"]
    )
    assert set(plan["tensor"]) == {"model.layers.0.a.weight"}
    reasons = {
        entry["tensor"]: entry["reason"]
        for entry in unpaired
        if entry["model"] == "suspect"
    }
    assert reasons == {
        "model.layers.0.b.weight": "shape 5 x 4 in suspect, 4 x 4 in base",
        "mtp.x.weight": "not in base, donor",
        "model.layers.0.only.weight": "not in base, donor",
    }


def test_a_control_that_lacks_a_tensor_does_not_stop_the_suspect():
    full, _ = cut(
        {"model.layers.0.a.weight": (4, 4), "model.layers.0.b.weight": (4, 4)}
    )
    part, _ = cut({"model.layers.0.a.weight": (4, 4)})
    plan, unpaired = pair(
        {"suspect": full, "control": part, "base": full, "donor": full},
        ["base", "donor"],
    )
    assert plan.groupby("tensor")["model"].apply(set).to_dict() == {
        "model.layers.0.a.weight": {"suspect", "control", "base", "donor"},
        "model.layers.0.b.weight": {"suspect", "base", "donor"},
    }
    name = "model.layers.0.b.weight"
    assert unpaired == [
        {
            "model": "control",
            "tensor": name,
            "reason": "control has no such tensor",
            "source": name,
        }
    ]


def test_undecoded_dtypes_and_ill_fitting_scales_are_left_out():
    found, left_out = cut(
        {"a.weight": (4, 4), "b.weight": (300, 256), "b.weight_scale_inv": (7, 5)},
        {"a.weight": "I64", "b.weight": "F8_E4M3", "b.weight_scale_inv": "F32"},
    )
    assert not found
    assert {entry["tensor"] for entry in left_out} == {"a.weight", "b.weight"}


def test_fp8_scales_are_attached_not_compared():
    found, left_out = cut(
        {"b.weight": (300, 256), "b.weight_scale_inv": (3, 2)},
        {"b.weight": "F8_E4M3", "b.weight_scale_inv": "F32"},
    )
    view = found["b.weight", ""]
    assert (view.scale_rows, view.scale_cols, view.block_rows, view.block_cols) == (
        3,
        2,
        128,
        128,
    )
    assert list(found) == [("b.weight", "")]
    assert not left_out


def test_fused_experts_carry_their_own_scales():
    prefix = "model.layers.0.mlp.experts."
    shapes = {
        prefix + "gate_up_proj": (2, 512, 128),
        prefix + "down_proj": (2, 128, 256),
        prefix + "gate_up_proj_scale_inv": (2, 4, 1),
        prefix + "down_proj_scale_inv": (2, 1, 2),
    }
    dtypes = {name: "F32" if name.endswith("inv") else "F8_E4M3" for name in shapes}
    found, left_out = cut(shapes, dtypes)
    assert not left_out
    scales = table(shapes, dtypes).set_index("name")["start"]
    up = found[prefix + "up_proj", "1"]
    assert up.scale_start == scales[prefix + "gate_up_proj_scale_inv"] + (1 * 4 + 2) * 4
    assert (up.scale_rows, up.scale_cols) == (2, 1)


def test_strangers_are_refused_in_two_lines():
    manifests = {
        m: {"config": {"architectures": [m.title()], "model_type": None}}
        for m in ("suspect", "base", "donor")
    }
    tables = {
        "suspect": table({"x.weight": (4, 4)}),
        "base": table({"y.weight": (4, 4)}),
        "donor": table({"y.weight": (4, 4)}),
    }
    with pytest.raises(AuditError, match="no tensor in common") as caught:
        pair_models(tables, manifests, ["base", "donor"], "suspect")
    assert str(caught.value).count("\n") == 1
