"""One canonical name whatever the writer, and one language model whatever stands before
it.
"""

import pytest

from mergetrace.tensors.naming import (
    canonical_name,
    canonical_names,
    component_of,
    is_adapter,
    layer_of,
)
from mergetrace.tensors.prefixes import with_prefixes

LAYER = "model.layers.3."


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        # Mistral's own
        ("layers.3.attention.wq.weight", LAYER + "self_attn.q_proj.weight"),
        ("layers.3.feed_forward.w1.weight", LAYER + "mlp.gate_proj.weight"),
        ("layers.3.feed_forward.w2.weight", LAYER + "mlp.down_proj.weight"),
        ("layers.3.attention_norm.weight", LAYER + "input_layernorm.weight"),
        ("layers.3.ffn_norm.weight", LAYER + "post_attention_layernorm.weight"),
        (
            "layers.3.feed_forward.experts.5.w3.weight",
            LAYER + "mlp.experts.5.up_proj.weight",
        ),
        ("layers.3.feed_forward.gate.weight", LAYER + "mlp.gate.weight"),
        ("tok_embeddings.weight", "model.embed_tokens.weight"),
        ("output.weight", "lm_head.weight"),
        ("norm.weight", "model.norm.weight"),
        # DeepSeek's own
        ("layers.3.attn.wq_a.weight", LAYER + "self_attn.q_a_proj.weight"),
        ("layers.3.attn.kv_norm.weight", LAYER + "self_attn.kv_a_layernorm.weight"),
        (
            "layers.3.ffn.shared_experts.w2.weight",
            LAYER + "mlp.shared_experts.down_proj.weight",
        ),
        ("embed.weight", "model.embed_tokens.weight"),
        # GPT-NeoX, Falcon, BLOOM, GPT-2, Qwen, Phi, MPT, DBRX
        (
            "gpt_neox.layers.3.attention.query_key_value.bias",
            LAYER + "self_attn.query_key_value.bias",
        ),
        ("gpt_neox.layers.3.mlp.dense_h_to_4h.weight", LAYER + "mlp.up_proj.weight"),
        ("gpt_neox.embed_in.weight", "model.embed_tokens.weight"),
        ("embed_out.weight", "lm_head.weight"),
        (
            "transformer.h.3.self_attention.query_key_value.weight",
            LAYER + "self_attn.query_key_value.weight",
        ),
        ("h.3.self_attention.dense.weight", LAYER + "self_attn.o_proj.weight"),
        ("h.3.attn.c_attn.weight", LAYER + "self_attn.qkv_proj.weight"),
        ("transformer.h.3.mlp.w1.weight", LAYER + "mlp.up_proj.weight"),
        ("transformer.h.3.mlp.w2.weight", LAYER + "mlp.gate_proj.weight"),
        ("transformer.h.3.mixer.Wqkv.weight", LAYER + "self_attn.qkv_proj.weight"),
        (
            "transformer.blocks.3.norm_attn_norm.norm_2.weight",
            LAYER + "post_attention_layernorm.weight",
        ),
        # InternLM2, Baichuan, Yi, ChatGLM, Bailing
        (
            "model.layers.3.attention.wqkv.weight",
            LAYER + "self_attn.query_key_value.weight",
        ),
        ("model.layers.3.feed_forward.w3.weight", LAYER + "mlp.up_proj.weight"),
        ("model.tok_embeddings.weight", "model.embed_tokens.weight"),
        ("model.layers.3.self_attn.W_pack.weight", LAYER + "self_attn.qkv_proj.weight"),
        ("model.layers.3.ln2.weight", LAYER + "post_attention_layernorm.weight"),
        (
            "transformer.encoder.layers.3.self_attention.query_key_value.weight",
            LAYER + "self_attn.qkv_proj.weight",
        ),
        (
            "transformer.encoder.layers.3.mlp.dense_h_to_4h.weight",
            LAYER + "mlp.gate_up_proj.weight",
        ),
        (
            "model.layers.3.attention.query_key_value.weight",
            LAYER + "self_attn.qkv_proj.weight",
        ),
        # what trainers put around a model
        (
            "base_model.model.model.layers.3.mlp.down_proj.base_layer.weight",
            LAYER + "mlp.down_proj.weight",
        ),
        ("base_model.model.lm_head.modules_to_save.default.weight", "lm_head.weight"),
        ("_orig_mod.model.layers.3.mlp.up_proj.weight", LAYER + "mlp.up_proj.weight"),
        (
            "module.model.layers.3._checkpoint_wrapped_module.mlp.up_proj.weight",
            LAYER + "mlp.up_proj.weight",
        ),
        # what stays as it is
        (
            "model.layers.3.self_attn.q_proj.weight_scale_inv",
            LAYER + "self_attn.q_proj.weight_scale_inv",
        ),
        (
            "model.layers.3.feed_forward.experts.gate_up_proj",
            LAYER + "feed_forward.experts.gate_up_proj",
        ),
        (
            "model.layers.3.self_attn.out_proj.weight",
            LAYER + "self_attn.out_proj.weight",
        ),
        ("visual.blocks.3.attn.qkv.weight", "visual.blocks.3.attn.qkv.weight"),
        (
            "vision_model.encoder.layers.3.mlp.fc1.weight",
            "vision_model.encoder.layers.3.mlp.fc1.weight",
        ),
        ("", ""),
    ],
)
def test_writers_agree(name, canonical):
    assert canonical_name(name) == canonical
    assert canonical_name(canonical) == canonical


def test_a_suffix_of_a_scale_stays_at_the_renamed_tensor():
    assert (
        canonical_name("layers.0.attn.wq_a.scale")
        == "model.layers.0.self_attn.q_a_proj.scale"
    )
    assert (
        canonical_name("layers.0.attention.wk.qscale_weight")
        == "model.layers.0.self_attn.k_proj.qscale_weight"
    )


def test_two_tensors_that_no_table_tells_apart_keep_their_own_names():
    names = canonical_names(
        [
            "transformer.h.0.ln_1.weight",
            "transformer.h.0.ln.weight",
            "transformer.h.0.attn.c_proj.weight",
        ]
    )
    assert names["transformer.h.0.ln_1.weight"] == "model.layers.0.ln_1.weight"
    assert names["transformer.h.0.ln.weight"] == "model.layers.0.ln.weight"
    assert (
        names["transformer.h.0.attn.c_proj.weight"]
        == "model.layers.0.self_attn.o_proj.weight"
    )


def test_adapters_are_told_from_weights():
    assert is_adapter(
        "base_model.model.model.layers.0.mlp.up_proj.lora_A.default.weight"
    )
    assert is_adapter("base_model.model.model.embed_tokens.lora_embedding_B")
    assert not is_adapter("model.layers.0.self_attn.q_a_proj.weight")
    assert not is_adapter("rwkv.blocks.0.attention.w_lora.lora.0.weight")


def test_layers_of_other_writers_are_layers():
    canonical = canonical_name("gpt_neox.layers.11.attention.dense.weight")
    assert (layer_of(canonical), component_of(canonical)) == ("11", "attention")


def prefixes(**models):
    shapes = {
        model: dict.fromkeys(names, (4, 4)) if isinstance(names, list) else names
        for model, names in models.items()
    }
    return with_prefixes(
        {model: canonical_names(own) for model, own in shapes.items()}, shapes
    )


PLAIN = [
    "model.layers.0.self_attn.q_proj.weight",
    "model.embed_tokens.weight",
    "model.norm.weight",
    "lm_head.weight",
]


@pytest.mark.parametrize("prefix", ["llm.", "thinker.", "model.text.", "a.b.c."])
def test_a_prefix_is_found_wherever_it_is_alone(prefix):
    found, unclear = prefixes(base=PLAIN, suspect=[prefix + name for name in PLAIN])
    assert found["suspect"] == {prefix + name: name for name in PLAIN}
    assert not unclear


def test_a_prefix_in_place_of_model_is_found():
    found, _ = prefixes(
        base=PLAIN,
        suspect=[
            "decoder_lm.layers.0.attention.wq.weight",
            "decoder_lm.norm.weight",
            "lm_head.weight",
        ],
    )
    assert list(found["suspect"].values()) == [
        PLAIN[0],
        "model.norm.weight",
        "lm_head.weight",
    ]


def test_a_head_beside_the_prefixed_stack_is_found():
    found, _ = prefixes(
        base=PLAIN,
        suspect=["wrap.inner.layers.0.self_attn.q_proj.weight", "wrap.lm_head.weight"],
    )
    assert list(found["suspect"].values()) == [PLAIN[0], "lm_head.weight"]


def test_vision_and_audio_layers_are_never_a_language_model_s():
    towers = [
        "vpm.encoder.layers.0.self_attn.q_proj.weight",
        "audio_tower.layers.0.self_attn.q_proj.weight",
    ]
    found, unclear = prefixes(
        base=PLAIN, suspect=[*towers, *(f"llm.{name}" for name in PLAIN)]
    )
    assert [found["suspect"][name] for name in towers] == towers
    assert found["suspect"]["llm.lm_head.weight"] == "lm_head.weight"
    alone, _ = prefixes(base=PLAIN, suspect=towers)
    assert list(alone["suspect"].values()) == towers
    assert not unclear


def test_of_two_stacks_the_one_of_the_parents_shapes_is_the_language_model():
    small = {f"talking.{name}": (2, 2) for name in PLAIN}
    found, unclear = prefixes(
        base=PLAIN, suspect=small | {f"thinking.{name}": (4, 4) for name in PLAIN}
    )
    assert found["suspect"]["thinking.lm_head.weight"] == "lm_head.weight"
    assert found["suspect"]["talking.lm_head.weight"] == "talking.lm_head.weight"
    assert not unclear


def test_two_stacks_alike_are_left_out_with_the_reason():
    found, unclear = prefixes(
        base=PLAIN, suspect=[f"{one}.{name}" for one in "ab" for name in PLAIN]
    )
    assert found["suspect"]["a.lm_head.weight"] == "a.lm_head.weight"
    assert set(unclear["suspect"]) == {
        "a.model.layers.0.self_attn.q_proj.weight",
        "b.model.layers.0.self_attn.q_proj.weight",
    }
    assert (
        "`a.`, `b.`" in unclear["suspect"]["a.model.layers.0.self_attn.q_proj.weight"]
    )


def test_a_second_stack_of_the_same_shapes_bears_the_first_one_s_names():
    names = [*PLAIN, *(f"old.{name}" for name in PLAIN)]
    found, _ = prefixes(base=PLAIN, suspect=names)
    assert list(found["suspect"].values()) == [*PLAIN, *PLAIN]


def test_a_second_stack_that_others_have_too_is_a_part_of_the_architecture():
    names = [*PLAIN, *(f"aux.{name}" for name in PLAIN)]
    found, _ = prefixes(base=names, suspect=names)
    assert list(found["suspect"].values()) == names


def test_a_second_stack_of_other_shapes_is_none_of_the_first():
    found, _ = prefixes(
        base=PLAIN,
        suspect=dict.fromkeys(PLAIN, (4, 4))
        | {f"aux.{name}": (2, 2) for name in PLAIN},
    )
    assert found["suspect"]["aux.lm_head.weight"] == "aux.lm_head.weight"
