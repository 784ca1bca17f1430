"""Whole audits of models that several writers stored: the finding is the same whatever
the names and the order of rows.
"""

import json

import pandas as pd
import pytest
import torch

from mergetrace.errors import AuditError
from mergetrace.testing.audits import audit, rebuild
from mergetrace.testing.planting import blend, finetuned, write_model
from mergetrace.testing.spellings import (
    CONFIG,
    HEAD,
    HEADS,
    HIDDEN,
    LAYERS,
    PARAMS,
    fused,
    grouped,
    llama,
    native,
    renamed,
)

pytestmark = pytest.mark.slow

BASE = llama(0)
DONOR = finetuned(BASE, 1)
MERGE = blend(BASE, DONOR, 0.571)
SPEC = {"suspect": "suspect", "base": "base", "donors": ["donor"], "controls": []}
WITHOUT_HEAD = {
    name: tensor for name, tensor in BASE.items() if name != "lm_head.weight"
}


def audited(folder, suspect=MERGE, base=BASE, donor=DONOR, config=CONFIG, **settings):
    """The verdict, and what was not compared of the suspect as {tensor: reason}."""
    models = {"suspect": suspect, "base": base, "donor": donor}
    paths = {
        name: write_model(folder / name, tensors, config)
        for name, tensors in models.items()
    }
    return looked_at(folder, paths, **settings)


def looked_at(folder, paths, **settings):
    verdict = audit(folder / "out", paths, SPEC, **settings)
    table = pd.read_csv(folder / "out/unpaired.csv", keep_default_na=False)
    assert list(table) == ["model", "tensor", "reason", "source"]
    return verdict, dict(
        table.loc[table["model"] == "suspect", ["tensor", "reason"]].to_numpy().tolist()
    )


def is_the_merge(verdict):
    return verdict["verdict"] == "merge" and verdict["parents"]["donor"][
        "alpha"
    ] == pytest.approx(0.571)


def layers(model, prefix):
    return {
        name.replace("model.layers", prefix): tensor.clone()
        for name, tensor in model.items()
        if "layers" in name
    }


ALL_PREFIXED = {
    "suspect": renamed(MERGE, ("^", "llm.")),
    "base": renamed(BASE, ("^", "llm.")),
    "donor": renamed(DONOR, ("^", "llm.")),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "stored",
    [
        pytest.param({"suspect": native(MERGE)}, id="a suspect in Mistral's own files"),
        pytest.param({"base": native(BASE)}, id="a base in Mistral's own files"),
        pytest.param({"base": fused(BASE), "donor": fused(DONOR)}, id="fused parents"),
        pytest.param({"suspect": fused(MERGE)}, id="a fused suspect"),
        pytest.param(
            {"suspect": fused(MERGE), "donor": grouped(DONOR, "attention.wqkv")},
            id="plain beside grouped rows beside rows apart",
        ),
        pytest.param(
            {"base": grouped(BASE), "donor": grouped(DONOR)}, id="grouped parents"
        ),
        pytest.param(
            {
                "suspect": renamed(MERGE, ("^", "thinker.")),
                "donor": renamed(DONOR, ("^", "llm.")),
            },
            id="two unknown prefixes",
        ),
        pytest.param(ALL_PREFIXED, id="one unknown prefix everywhere"),
        pytest.param(
            {
                "base": renamed(
                    BASE,
                    ("input_layernorm", "ln1"),
                    ("post_attention_layernorm", "ln2"),
                )
            },
            id="Yi's norms",
        ),
        pytest.param(
            {
                "suspect": renamed(
                    MERGE, ("^", "base_model.model."), (r"(_proj)\.", r"\1.base_layer.")
                )
            },
            id="PEFT's wrappers",
        ),
    ],
)
def test_a_merge_is_found_whatever_its_writers_wrote(tmp_path, stored):
    verdict, unread = audited(tmp_path, **stored)
    assert is_the_merge(verdict), verdict["reasons"]
    assert not unread


@pytest.mark.slow
def test_mistral_s_own_folder_is_read_as_it_is_published(tmp_path):
    paths = {
        name: write_model(tmp_path / name, tensors, {})
        for name, tensors in {
            "suspect": native(MERGE),
            "base": BASE,
            "donor": DONOR,
        }.items()
    }
    (paths["suspect"] / "model.safetensors").rename(
        paths["suspect"] / "consolidated.safetensors"
    )
    (paths["suspect"] / "config.json").unlink()
    (paths["suspect"] / "params.json").write_text(json.dumps(PARAMS))
    verdict, unread = looked_at(tmp_path, paths)
    assert is_the_merge(verdict)
    assert not unread
    assert not json.loads((tmp_path / "out/layout.json").read_text())["models"][
        "suspect"
    ]["undone"]


@pytest.mark.slow
def test_rows_whose_heads_nobody_states_are_put_back_by_what_they_hold(tmp_path):
    verdict, _ = audited(tmp_path, suspect=native(MERGE), config={})
    assert is_the_merge(verdict)
    layout = json.loads((tmp_path / "out/layout.json").read_text())
    finding = layout["models"]["suspect"]["findings"][0]
    assert (finding["kind"], finding["component"]) == ("lines_reordered", "attention")
    assert (finding["columns"], finding["tensors"]) == (False, 6)


@pytest.mark.slow
def test_heads_permuted_before_mistral_s_order_are_put_back_too(tmp_path):
    hidden = dict(MERGE)
    turned = torch.tensor([1, 0, 3, 2])
    for layer in range(LAYERS):
        q, o = (f"model.layers.{layer}.self_attn.{part}_proj.weight" for part in "qo")
        hidden[q] = (
            hidden[q].view(HEADS, HEAD, HIDDEN)[turned].reshape(HEADS * HEAD, HIDDEN)
        )
        hidden[o] = (
            hidden[o].view(HIDDEN, HEADS, HEAD)[:, turned].reshape(HIDDEN, HEADS * HEAD)
        )
    verdict, _ = audited(tmp_path, suspect=native(hidden))
    assert is_the_merge(verdict)


@pytest.mark.slow
def test_a_fused_file_is_rebuilt_byte_for_byte(tmp_path):
    audited(tmp_path, suspect=fused(MERGE))
    made = rebuild(
        tmp_path / "out",
        {name: tmp_path / name for name in ("suspect", "base", "donor")},
        "suspect",
    )
    assert (made["identical"], made["tensors"]) == (
        len(fused(MERGE)),
        len(fused(MERGE)),
    )


@pytest.mark.slow
def test_plain_rows_need_no_configuration_where_another_model_has_them_apart(tmp_path):
    plain = [fused(model, "self_attn.W_pack", None) for model in (BASE, DONOR)]
    verdict, unread = audited(tmp_path, base=plain[0], donor=plain[1], config={})
    assert is_the_merge(verdict)
    assert not unread


@pytest.mark.slow
def test_grouped_rows_without_a_configuration_are_left_out_with_the_reason(tmp_path):
    verdict, unread = audited(
        tmp_path, base=grouped(BASE), donor=grouped(DONOR), config={}
    )
    assert (
        verdict["verdict"] == "inconclusive"
    )  # too much is left out to say more than what the rest shows
    assert any("traces of `merge`" in reason for reason in verdict["reasons"])
    table = pd.read_csv(tmp_path / "out/unpaired.csv")
    reasons = set(table.loc[table["model"] == "base", "reason"])
    assert reasons == {
        "fused rows of q, k and v take turns head by head, and the configurations do"
        " not say how long a head is"
    }
    assert len(unread) == 3 * LAYERS


def test_an_innocent_beside_fused_parents_is_compared_and_not_accused(tmp_path):
    trained = finetuned(BASE, 9)
    moved = {
        name: (
            trained[name]
            if any(f"{part}_proj" in name for part in ("q", "k", "v", "gate", "up"))
            else BASE[name]
        )
        for name in BASE
    }
    verdict, unread = audited(
        tmp_path, suspect=moved, base=fused(BASE), donor=fused(DONOR)
    )
    assert verdict["verdict"] == "finetune_of_base"
    assert not unread


@pytest.mark.slow
@pytest.mark.parametrize(
    "silent",
    [False, True],
    ids=["the configuration says so", "the architecture ties by default"],
)
def test_a_stale_head_that_no_loader_uses_is_named_and_not_judged(tmp_path, silent):
    tied = {key: value for key, value in CONFIG.items() if key != "tie_word_embeddings"}
    tied |= {"model_type": "gemma2"} if silent else {"tie_word_embeddings": True}
    parents = {
        "base": WITHOUT_HEAD,
        "donor": {name: DONOR[name] for name in WITHOUT_HEAD},
    }
    verdict, unread = audited(
        tmp_path,
        suspect=MERGE | {"lm_head.weight": torch.zeros_like(MERGE["lm_head.weight"])},
        config=tied,
        **parents,
    )
    assert is_the_merge(verdict)
    assert list(unread) == ["lm_head.weight"]
    assert unread["lm_head.weight"].startswith(
        "is in the file but unused where the configuration ties"
    )


@pytest.mark.slow
def test_a_second_set_under_another_prefix_is_named(tmp_path):
    verdict, unread = audited(
        tmp_path, suspect=MERGE | layers(BASE, "model.language_model.layers")
    )
    assert is_the_merge(verdict)
    assert set(unread) == set(layers(BASE, "model.language_model.layers"))
    expected = (
        "the model holds this twice: compared is what it names `model`, not"
        " `model.language_model`; the two differ"
    )
    assert set(unread.values()) == {expected}


@pytest.mark.slow
def test_a_second_set_of_equal_bytes_is_one(tmp_path):
    verdict, unread = audited(
        tmp_path, suspect=MERGE | layers(MERGE, "model.language_model.layers")
    )
    assert is_the_merge(verdict)
    assert not unread


@pytest.mark.slow
def test_of_two_prefixes_a_multimodal_architecture_has_the_longer(tmp_path):
    kind = CONFIG | {"architectures": ["SomeForConditionalGeneration"]}
    verdict, unread = audited(
        tmp_path,
        suspect=BASE | layers(MERGE, "model.language_model.layers"),
        config=kind,
    )
    assert verdict["parents"]["donor"][
        "named"
    ]  # by layers: the embedding is the base's
    assert set(unread) == set(layers(BASE, "model.layers"))


@pytest.mark.slow
def test_a_second_set_under_a_prefix_that_nobody_knows_is_named(tmp_path):
    hidden = renamed(MERGE, ("^", "thinker."))
    verdict, unread = audited(tmp_path, suspect=llama(5) | hidden)
    assert verdict["verdict"] not in ("merge", "copy")
    assert set(unread) == set(hidden)
    assert all(
        reason.startswith("the model holds this twice: compared is what it names `")
        for reason in unread.values()
    )


def test_a_decoy_stack_of_the_same_shapes_is_not_guessed_around(tmp_path):
    with pytest.raises(
        AuditError,
        match="which of its stacks of layers is the language model cannot be told",
    ):
        audited(
            tmp_path,
            suspect=renamed(MERGE, ("^", "x.")) | renamed(llama(5), ("^", "y.")),
        )


@pytest.mark.slow
def test_adapters_beside_their_base_layers_are_named_and_not_applied(tmp_path):
    wrapped = renamed(
        MERGE, ("^", "base_model.model."), (r"(_proj)\.", r"\1.base_layer.")
    )
    adapter = {
        f"base_model.model.model.layers.0.mlp.up_proj.lora_{part}.default.weight": (
            torch.ones(8, 8)
        )
        for part in "AB"
    }
    verdict, unread = audited(tmp_path, suspect=wrapped | adapter)
    assert is_the_merge(verdict)
    assert set(unread) == set(adapter)
    assert all(
        reason.startswith("an adapter's weights, not applied")
        for reason in unread.values()
    )


def test_an_adapter_alone_is_refused_by_its_own_message(tmp_path):
    adapter = {
        f"base_model.model.model.layers.0.mlp.up_proj.lora_{part}.weight": torch.ones(
            8, 8
        )
        for part in "AB"
    }
    adapter["base_model.model.lm_head.modules_to_save.weight"] = BASE["lm_head.weight"]
    with pytest.raises(AuditError, match=r"LoRA adapter.*merge it into its base first"):
        audited(tmp_path, suspect=adapter)


def test_a_stranger_that_shares_one_norm_pairs_what_it_can(tmp_path):
    ones = {"model.norm.weight": torch.ones(HIDDEN, dtype=torch.bfloat16)}
    stranger = renamed(
        llama(77),
        ("model.layers", "some.stack.blocks"),
        ("model.embed_tokens", "tok"),
        ("lm_head", "hd"),
    )
    _, unread = audited(
        tmp_path, suspect=stranger | ones, base=BASE | ones, donor=DONOR | ones
    )
    assert len(unread) == len(stranger) - 1
    assert set(unread.values()) == {"not in base, donor"}


def test_a_stranger_under_gpt_2_s_names_is_compared_and_unrelated(tmp_path):
    verdict, unread = audited(
        tmp_path, suspect=renamed(llama(77), ("model.layers", "transformer.h"))
    )
    assert verdict["verdict"] == "unrelated"
    assert not unread


def test_a_model_of_another_size_is_told_so(tmp_path):
    smaller = {
        name: tensor[..., : HIDDEN // 2].contiguous() for name, tensor in MERGE.items()
    }
    with pytest.raises(
        AuditError, match="have the same names and other shapes"
    ) as caught:
        audited(tmp_path, suspect=smaller)
    assert str(caught.value).count("\n") == 1


def test_parents_of_two_architectures_are_told_so(tmp_path):
    other = renamed(DONOR, ("layers", "blocks"), ("^", "x"))
    with pytest.raises(
        AuditError,
        match=r"parents \(base, donor\) have no tensor in common with each other",
    ):
        audited(tmp_path, donor=other)
