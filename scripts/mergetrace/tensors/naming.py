"""One canonical name for a tensor, whatever its writer called it: Hugging Face's name
of it in a model like Llama.

The tables below are ours and not the `gguf` package's map of tensor names, which was
looked at. That map gives a name's role only beside an architecture
(`post_attention_layernorm` has three), puts interleaved and plain fused rows under one
name, as it does gated and plain `dense_h_to_4h`, and leaves out what its converters do
in code (`W_pack`, permuted rows). Its lists of names were a check of these tables.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from mergetrace.tensors.gguf_names import from_gguf, is_gguf

# What trainers and compilers put around a model, in front of a name and within it.
WRAPPERS = re.compile(
    r"^(?:_orig_mod\.|module\.|_fsdp_wrapped_module\.|base_model\.model\.)+"
)
INNER_WRAPPERS = re.compile(
    r"\.(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|base_layer"
    r"|original_module|modules_to_save\.\w+)(?=\.)"
)
# Parts of adapters (LoRA, DoRA, VeRA, IA3, LoHa, LoKr, OFT, prompts), as PEFT names
# them.
ADAPTER = re.compile(
    r"(?:^|\.)(?:lora_\w+|vera_\w+|ia3_l|hada_\w+|lokr_\w+|oft_\w+|boft_\w+"
    r"|prompt_embeddings|prompt_encoder)(?:\.|$)"
)

# Writers differ in how they prefix one and the same tensor; the first match wins.
PREFIXES = (
    (
        re.compile(
            r"^(?:model\.language_model\.|language_model\.model\.|model\.model\."
            r"|transformer\.model\.)"
        ),
        "model.",
    ),
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (
        re.compile(r"^(?:model\.visual\.|model\.vision_tower\.|vision_tower\.)"),
        "visual.",
    ),
    (re.compile(r"^(?=(?:layers|embed_tokens|norm)\.)"), "model."),
)
# The stack of layers of writers whose models hold nothing but text.
STACKS = re.compile(
    r"^(?:transformer\.(?:h|blocks|layers|decoder_layer|encoder\.layers)"
    r"|gpt_neox\.layers|h|model\.layers\.layers|model\.transformer\.blocks"
    r"|backbone\.layers)(?=\.\d{1,6}\.)"
)
# Mixtral's names for the same things.
RENAMES = (
    (re.compile(r"\.block_sparse_moe\."), ".mlp."),
    (re.compile(r"(\.experts\.\d+)\.w1\."), r"\1.gate_proj."),
    (re.compile(r"(\.experts\.\d+)\.w2\."), r"\1.down_proj."),
    (re.compile(r"(\.experts\.\d+)\.w3\."), r"\1.up_proj."),
)
# Mistral's own names, and DeepSeek's: w1 is the gate there. In Qwen's first models,
# under `mlp`, it is not.
NATIVE = re.compile(
    r"^(model\.layers\.\d+)(?:\.feed_forward|\.ffn|)"
    r"(?=\.(?:w[123]|gate|experts\.\d+\.w[123]|shared_experts\.w[123])\.)"
)
NATIVE_MLP = (
    (
        re.compile(r"^(model\.layers\.\d+\.mlp(?:\.shared_experts)?)\.w1\."),
        r"\1.gate_proj.",
    ),
    (
        re.compile(r"^(model\.layers\.\d+\.mlp(?:\.shared_experts)?)\.w2\."),
        r"\1.down_proj.",
    ),
    (
        re.compile(r"^(model\.layers\.\d+\.mlp(?:\.shared_experts)?)\.w3\."),
        r"\1.up_proj.",
    ),
)

# Fused rows: plain ones (all of q, then k, then v) and grouped ones (some heads of q,
# then one of k and of v, and so on).
PLAIN_QKV = "self_attn.qkv_proj"
GROUPED_QKV = "self_attn.query_key_value"
_TAILS = {
    "input_layernorm": (
        "ln_1 ln1 ln attention_norm attn_norm norm_1 norm_attn_norm.norm_1 rms_norm"
    ),
    "post_attention_layernorm": (
        "ln_2 ln2 ffn_norm ff_norm norm_2 norm_attn_norm.norm_2"
    ),
    "self_attn.q_proj": (
        "attention.wq attn.wq attn.q_proj attn.attention.q_proj q_proj attn.q"
        " multi_head_attention.query"
    ),
    "self_attn.k_proj": (
        "attention.wk attn.wk attn.k_proj attn.attention.k_proj k_proj attn.k"
        " multi_head_attention.key"
    ),
    "self_attn.v_proj": (
        "attention.wv attn.wv attn.v_proj attn.attention.v_proj v_proj attn.v"
        " multi_head_attention.value"
    ),
    "self_attn.o_proj": (
        "attention.wo attn.wo attention.dense self_attention.dense self_attn.dense"
        " attn.c_proj attn.out_proj mixer.out_proj attn.attention.out_proj attn_out"
        " norm_attn_norm.attn.out_proj multi_head_attention.linear"
    ),
    PLAIN_QKV: (
        "self_attn.W_pack attn.c_attn attn.Wqkv mixer.Wqkv norm_attn_norm.attn.Wqkv"
        " attn.qkv_proj"
    ),
    GROUPED_QKV: (
        "attention.query_key_value self_attention.query_key_value attention.wqkv"
    ),
    "self_attn.q_a_proj": "attention.wq_a attn.wq_a",
    "self_attn.q_b_proj": "attention.wq_b attn.wq_b",
    "self_attn.q_a_layernorm": "attention.q_a_norm attn.q_norm",
    "self_attn.kv_a_proj_with_mqa": "attention.wkv_a_with_mqa attn.wkv_a",
    "self_attn.kv_a_layernorm": "attention.kv_a_norm attn.kv_norm",
    "self_attn.kv_b_proj": "attention.wkv_b attn.wkv_b",
    "mlp.gate_proj": "mlp.c_fc_0 mlp.linear_1 ff_proj",
    "mlp.up_proj": (
        "mlp.dense_h_to_4h mlp.c_fc mlp.c_fc_1 mlp.linear_3 mlp.fc_in mlp.fc1"
        " ffn.up_proj up_proj"
    ),
    "mlp.down_proj": (
        "mlp.dense_4h_to_h mlp.c_proj mlp.fc_out mlp.fc2 ffn.down_proj ff_out"
    ),
}
TAILS = {
    tail: canonical for canonical, tails in _TAILS.items() for tail in tails.split()
}
# What a tail means under one writer's stack only.
OWN_TAILS = {
    "transformer.encoder.layers": {
        "self_attention.query_key_value": PLAIN_QKV,
        "mlp.dense_h_to_4h": "mlp.gate_up_proj",
    },  # ChatGLM
    "transformer.h": {
        "mlp.w1": "mlp.up_proj",
        "mlp.w2": "mlp.gate_proj",
    },  # Qwen's first models: w2 is the gate
    "": {
        "attention.query_key_value": PLAIN_QKV,
        "self_attn.query_key_value": GROUPED_QKV,
    },  # Bailing and Persimmon, under model.layers
}
_OUTER = {
    "model.embed_tokens": (
        "transformer.wte wte gpt_neox.embed_in transformer.word_embeddings"
        " word_embeddings model.word_embeddings tok_embeddings model.tok_embeddings"
        " transformer.embedding.word_embeddings transformer.embd.wte"
        " transformer.token_embeddings model.transformer.wte backbone.embeddings"
        " backbone.embedding transformer.in_out_embed embed"
    ),
    "lm_head": (
        "embed_out output transformer.output_layer output_layer lm_head.linear head"
        " model.transformer.ff_out"
    ),
    "model.norm": (
        "gpt_neox.final_layer_norm transformer.ln_f ln_f"
        " transformer.encoder.final_layernorm transformer.norm_f transformer.norm"
        " model.final_layernorm model.transformer.ln_f backbone.norm_f"
        " transformer.rms_norm lm_head.ln"
    ),
}
OUTER = {
    stem: canonical for canonical, stems in _OUTER.items() for stem in stems.split()
}
REMEMBERED = 1 << 18  # names: those of the models of one audit are mostly the same
MOST_PARTS = 4  # of a tail or an outer name

LAYER = re.compile(r"^model\.layers\.(\d{1,6})\.")

# What a tensor is for; the first match wins. Norms come first: q_norm lies inside the
# attention.
COMPONENTS = (
    ("vision", re.compile(r"^visual\.")),
    ("mtp", re.compile(r"^mtp\.")),
    ("norm", re.compile(r"norm\d?\.|norm$|\.ln_\w+\.")),
    ("embedding", re.compile(r"embed_tokens|^model\.embed|wte\.")),
    ("lm_head", re.compile(r"^lm_head")),
    ("shared_expert_gate", re.compile(r"\.shared_expert_gate\.")),
    ("shared_expert", re.compile(r"\.shared_experts?\.")),
    ("routed_experts", re.compile(r"\.experts\.")),
    ("router", re.compile(r"\.mlp\.(gate|router)\.")),
    ("linear_attention", re.compile(r"\.linear_attn\.")),
    ("attention", re.compile(r"\.(self_attn|attn|attention)\.")),
    ("mlp", re.compile(r"\.(mlp|feed_forward)\.")),
)


@lru_cache(REMEMBERED)
def canonical_name(name: str) -> str:
    """The name that does not depend on the writer: one prefix for the language model,
    and Hugging Face's names of Llama's tensors.
    """
    plain = prefixed(name)
    layer = LAYER.match(plain)
    if layer is None:
        return _translated(plain, OUTER)
    tails = TAILS | OWN_TAILS.get(_stack(name), {})
    return layer.group() + _translated(plain[layer.end() :], tails)


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """The canonical names of one model's tensors, by their own.

    Where a table would give two tensors of a model one name, and neither bears it by
    itself, both keep their own.
    """
    names = list(names)
    if is_gguf(names):
        return from_gguf(names)
    translated = {name: canonical_name(name) for name in names}
    bearers: dict[str, set[str]] = defaultdict(set)
    for name, canonical in translated.items():
        bearers[canonical].add(prefixed(name))
    unclear = {
        canonical
        for canonical, plain in bearers.items()
        if len(plain) > 1 and canonical not in plain
    }
    return {
        name: prefixed(name) if canonical in unclear else canonical
        for name, canonical in translated.items()
    }


@lru_cache(REMEMBERED)
def prefixed(name: str) -> str:
    """The name without what trainers put around it, with one prefix for the language
    model, and Mixtral's and Mistral's names of the MLP.
    """
    name = unwrapped(name)
    stack = _stack(name)
    for pattern, prefix in PREFIXES:
        if pattern.match(name):
            name = pattern.sub(prefix, name, count=1)
            break
    name = STACKS.sub("model.layers", name, count=1)
    name = NATIVE.sub(r"\1.mlp", name)
    renames = RENAMES if stack == "transformer.h" else (*RENAMES, *NATIVE_MLP)
    for pattern, replacement in renames:
        name = pattern.sub(replacement, name)
    return name


def unwrapped(name: str) -> str:
    """The name without what trainers and compilers put around a model:
    `base_model.model.`, `.base_layer`, `_orig_mod.` and the like.
    """
    return INNER_WRAPPERS.sub("", WRAPPERS.sub("", name))


def is_adapter(name: str) -> bool:
    """Whether the tensor is part of an adapter, a change to a model that is not
    applied.
    """
    return bool(ADAPTER.search(name))


def slice_name(tensor: str, number: str) -> str:
    """The name of one slice: an expert's number stands where its writer would put it.
    tensor: canonical; number: the expert's, or "".
    """
    if not number:
        return tensor
    before, experts, after = tensor.partition(".experts.")
    if not experts:
        return f"{tensor}.{number}"
    return f"{before}{experts}{number}.{after}"


def layer_of(name: str) -> str:
    """The layer's number as text, or `visual`, `mtp`, `outer` (embeddings, head, final
    norm). name: canonical.
    """
    layer = LAYER.match(name)
    if layer is not None:
        return str(int(layer[1]))
    for place in ("visual", "mtp"):
        if name.startswith(place + "."):
            return place
    return "outer"


def component_of(name: str) -> str:
    """What the tensor is for: attention, mlp, routed_experts, router, norm, embedding,
    lm_head, ... name: canonical.
    """
    for component, pattern in COMPONENTS:
        if pattern.search(name):
            return component
    return "other"


def _stack(name: str) -> str:
    """The stack of another writer's that the name lies in, "" for that of Hugging
    Face's common form.
    """
    match = STACKS.match(unwrapped(name))
    return match.group() if match else ""


def _translated(tail: str, table: dict[str, str]) -> str:
    """The tail with its longest beginning that the table holds replaced; what follows
    (`weight`, a scale's suffix) stays.
    """
    parts = tail.split(".")
    for count in range(min(MOST_PARTS, len(parts)), 0, -1):
        canonical = table.get(".".join(parts[:count]))
        if canonical is not None:
            return ".".join([canonical, *parts[count:]])
    return tail
