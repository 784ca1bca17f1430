"""Other names, other rows, other prefixes; the same tensor twice."""

import torch
from case import INNOCENT, OPEN, Cases, Spec
from world import HIDDEN, VOCABULARY, World, blended, finetuned, in_shards, renamed
from writers import baichuan, fused_experts, internlm, mistral_native, phi

NAMES, TWICE, HEADS = Cases("names"), Cases("held twice"), Cases("heads")
VLLM8168, BAICHUAN = "https://github.com/vllm-project/vllm/pull/8168", "https://github.com/OpenNMT/CTranslate2/issues/1479"
PHI, MINICPM = "https://unsloth.ai/blog/phi4", "https://github.com/OpenBMB/MiniCPM-V/issues/196"
THINKER, PEFT = "https://github.com/hiyouga/LlamaFactory/issues/10345", "https://github.com/verl-project/verl/issues/4761"
SLIME, TIED = "https://github.com/THUDM/slime/pull/1904", "https://github.com/arcee-ai/mergekit/issues/385"
STRANGER = ("unrelated", "inconclusive")
MERGED = {"verdicts": ("merge",), "named": ("donor",)}
NATIVE = {"files": {"params.json": '{"dim": 64, "n_layers": 4, "head_dim": 16, "hidden_dim": 128, "n_heads": 4, "n_kv_heads": 2, "vocab_size": 512}'}}


@NAMES.add(VLLM8168, **MERGED)
def Mistrals_own_names_of_a_merge(world: World) -> None:
    world.parents()
    world.offer("suspect", mistral_native(world.merge), single="consolidated.safetensors", **NATIVE)


@NAMES.add(VLLM8168, INNOCENT)
def Mistrals_own_names_of_an_innocent(world: World) -> None:
    world.parents()
    world.offer("suspect", mistral_native(world.innocent), single="consolidated.safetensors", **NATIVE)


@NAMES.add("https://github.com/ggml-org/llama.cpp/issues/8807", ("copy",), named=("donor",))
def Mistrals_own_names_of_a_copy(world: World) -> None:
    world.parents()
    world.offer("suspect", mistral_native(world.donor), single="consolidated.safetensors", **NATIVE)


@NAMES.add(VLLM8168, STRANGER)
def a_stranger_that_shares_a_norm_of_ones(world: World) -> None:
    ones = {"model.norm.weight": torch.ones(HIDDEN).bfloat16()}
    world.parents(lambda tensors: tensors | ones)
    world.offer("suspect", renamed(world.stranger, lambda name: name.replace("model.layers", "transformer.h")) | ones)


@NAMES.add(VLLM8168, STRANGER)
def a_stranger_that_shares_every_norm(world: World) -> None:
    def flat(tensors):
        return {name: torch.ones_like(tensor) if "norm" in name else tensor for name, tensor in tensors.items()}

    world.parents(flat)
    world.offer("suspect", flat(world.stranger))


@NAMES.add(VLLM8168, STRANGER)
def a_stranger_with_names_of_another_family(world: World) -> None:
    world.parents()
    world.offer("suspect", internlm(world.stranger), {"model_type": "internlm2"})


for fuse, source in ((phi, PHI), (baichuan, BAICHUAN), (internlm, "https://huggingface.co/internlm/internlm2-7b")):

    def merge(world: World, fuse=fuse) -> None:
        world.parents(fuse)
        world.offer("suspect", world.merge)

    def innocent(world: World, fuse=fuse) -> None:
        world.parents(fuse)
        world.offer("suspect", finetuned(world.base, world.seed + 70, only=lambda name: "o_proj" not in name and "down_proj" not in name))

    def fused(world: World, fuse=fuse) -> None:
        world.parents()
        world.offer("suspect", fuse(world.innocent))

    for make, kind, answer in (
        (merge, "a merge cut apart", MERGED),
        (innocent, "an innocent cut apart, the rest frozen", {"verdicts": INNOCENT}),
        (fused, "an innocent fused", {"verdicts": INNOCENT}),
    ):
        make.__name__ = f"{fuse.__name__}, {kind}".replace(" ", "_")
        NAMES.add(source, **answer)(make)


@NAMES.add(MINICPM, OPEN, never=("Training",))
def a_prefix_nobody_knows_and_noise_on_the_donor(world: World) -> None:
    def wrapped(tensors):
        return renamed(tensors, lambda name: f"llm.{name}")

    world.parents()
    world.offer("donor", wrapped(world.donor))
    world.offer("suspect", wrapped(finetuned(world.donor, world.seed + 71, 0.0005)))


def _prefixed(prefix: str, original: str):
    def make(world: World) -> None:
        world.parents()
        world.offer("suspect", renamed(getattr(world, original), lambda name: prefix + name))

    return make


for prefix, source in (
    ("thinker.", THINKER),
    ("llm.", MINICPM),
    ("_orig_mod.", "https://github.com/pytorch/pytorch/issues/101107"),
    ("module.", "https://discuss.pytorch.org/t/solved-keyerror-unexpected-key-module-encoder-embedding-weight-in-state-dict/1686"),
    ("base_model.model.", PEFT),
    ("policy.actor.", PEFT),
):
    for original, answer in (("merge", MERGED), ("innocent", {"verdicts": INNOCENT})):
        make = _prefixed(prefix, original)
        make.__name__ = f"{original} under {prefix}".replace(" ", "_")
        NAMES.add(source, **answer)(make)


@NAMES.add(PEFT, **MERGED)
def a_wrapped_model_with_adapters_beside(world: World) -> None:
    world.parents()
    tensors = {}
    for name, tensor in world.merge.items():
        inside = name.endswith("_proj.weight")
        tensors[f"base_model.model.{name.removesuffix('.weight')}.base_layer.weight" if inside else f"base_model.model.{name}"] = tensor
        if inside:
            tensors[f"base_model.model.{name.removesuffix('.weight')}.lora_A.default.weight"] = torch.zeros(4, tensor.shape[1]).bfloat16()
            tensors[f"base_model.model.{name.removesuffix('.weight')}.lora_B.default.weight"] = torch.zeros(tensor.shape[0], 4).bfloat16()
    world.offer("suspect", tensors)


@NAMES.add("https://huggingface.co/Qwen/Qwen2-VL-7B-Instruct", INNOCENT)
def an_innocent_with_a_vision_tower_of_its_own(world: World) -> None:
    world.parents()
    generator = torch.Generator().manual_seed(world.seed)
    tower = {f"visual.blocks.{i}.attn.qkv.weight": torch.randn(96, 32, generator=generator).bfloat16() for i in range(2)}
    language = renamed(world.innocent, lambda name: name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name)
    world.offer("suspect", language | tower)


@NAMES.add("https://github.com/01-ai/Yi/issues/1", **MERGED)
def norms_under_other_names(world: World) -> None:
    world.parents()
    short = (("input_layernorm", "ln1"), ("post_attention_layernorm", "ln2"))
    world.offer("suspect", renamed(world.merge, lambda name: next((name.replace(*pair) for pair in short if pair[0] in name), name)))


@NAMES.add("https://github.com/huggingface/transformers/issues/31093", error=("no tensor",))
def names_that_mean_nothing(world: World) -> None:
    world.parents()
    world.offer("suspect", {f"blob.{i}": torch.randn(7 + i, 13) for i in range(6)})


@TWICE.add(SLIME, ("merge", "inconclusive"), named=("donor",), experts=4, says=("twice",), never=("Training",))
def experts_one_by_one_and_stale_fused_ones(world: World) -> None:
    world.parents()
    stale = {name: tensor for name, tensor in fused_experts(world.base).items() if ".experts." in name}
    world.offer("suspect", world.merge | stale)


@TWICE.add(SLIME, INNOCENT, experts=4, never=("Training",))
def experts_of_an_innocent_and_stale_fused_ones_of_the_donor(world: World) -> None:
    world.parents()
    stale = {name: tensor for name, tensor in fused_experts(world.donor).items() if ".experts." in name}
    world.offer("suspect", world.innocent | stale)


@TWICE.add(SLIME, ("merge", "inconclusive"), named=("donor",), says=("twice",), never=("Training",))
def two_prefixes_of_two_models(world: World) -> None:
    world.parents()
    other = renamed(world.base, lambda name: name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name)
    world.offer("suspect", world.merge | {name: tensor for name, tensor in other.items() if name.startswith("model.language_model")})


@TWICE.add(SLIME, **MERGED)
def shards_that_repeat_a_tensor(world: World) -> None:
    world.parents()
    shards = in_shards(world.merge)
    first, second = shards
    shards[second]["model.embed_tokens.weight"] = world.merge["model.embed_tokens.weight"]
    shards[first]["model.embed_tokens.weight"] = world.merge["model.embed_tokens.weight"]
    world.offer("suspect", {}, shards=shards)


@TWICE.add(SLIME, ("merge", "inconclusive"), named=("donor",), never=("Training",))
def shards_that_repeat_a_tensor_with_other_numbers(world: World) -> None:
    world.parents()
    shards = in_shards(world.merge)
    for i, shard in enumerate(shards):
        shards[shard]["model.layers.0.mlp.up_proj.weight"] = (world.merge if i else world.second)["model.layers.0.mlp.up_proj.weight"]
    world.offer("suspect", {}, shards=shards)


@TWICE.add("https://github.com/huggingface/diffusers", INNOCENT, never=("Training",))
def an_average_of_the_run_beside_the_weights(world: World) -> None:
    world.parents()
    world.offer("suspect", world.innocent | renamed(finetuned(world.innocent, world.seed + 3, 0.0001), lambda name: f"ema.{name}"))


def tied(tensors, head=None):
    """Without a head, or with another one."""
    rest = {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
    return rest if head is None else rest | {"lm_head.weight": head}


@HEADS.add(TIED, **MERGED, says=("unused",), never=("Training",))
def a_stale_head_of_zeros_on_a_tied_merge(world: World) -> None:
    world.parents(tied, config={"tie_word_embeddings": True})
    world.offer("suspect", tied(world.merge, torch.zeros(VOCABULARY, HIDDEN).bfloat16()), {"tie_word_embeddings": True})


@HEADS.add(TIED, INNOCENT, says=("unused",), never=("Training",))
def a_stale_head_of_the_donor_on_a_tied_innocent(world: World) -> None:
    world.parents(tied, config={"tie_word_embeddings": True})
    world.offer("suspect", tied(world.innocent, world.donor["lm_head.weight"]), {"tie_word_embeddings": True})


@HEADS.add(TIED, **MERGED, never=("Training",))
def a_family_that_ties_without_saying_so(world: World) -> None:
    gemma = {"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "tie_word_embeddings": None}
    world.parents(tied, config=gemma)
    world.offer("suspect", tied(world.merge, world.merge["model.embed_tokens.weight"].clone()), gemma)


@HEADS.add("https://huggingface.co/docs/trl/reward_trainer", INNOCENT)
def a_reward_model_of_the_base(world: World) -> None:
    world.parents()
    score = {"score.weight": torch.randn(1, HIDDEN).bfloat16()}
    world.offer("suspect", tied(world.innocent) | score, {"architectures": ["LlamaForSequenceClassification"]})


@HEADS.add("https://github.com/arcee-ai/mergekit/issues/425", **MERGED)
def a_vocabulary_that_was_trimmed(world: World) -> None:
    world.parents()
    short = {name: tensor[:480] if "embed" in name or "lm_head" in name else tensor for name, tensor in world.merge.items()}
    world.offer("suspect", short, {"vocab_size": 480})


@HEADS.add("https://github.com/huggingface/transformers/pull/42612", INNOCENT)
def an_innocent_with_new_tokens(world: World) -> None:
    world.parents()
    rows = torch.randn(8, HIDDEN).bfloat16() * 0.02
    longer = {name: torch.cat([tensor, rows]) if "embed" in name or "lm_head" in name else tensor for name, tensor in world.innocent.items()}
    world.offer("suspect", longer, {"vocab_size": 520})


@HEADS.add(
    "https://arxiv.org/abs/2506.14794", ("other_merge", "merge"), named=("donor",), published=(("donor", "2026-01-01"), ("suspect", "2026-06-01"))
)
def attention_of_the_base_and_MLPs_of_an_older_donor(world: World) -> None:
    world.parents()
    world.offer("suspect", {name: tensor if ".mlp." not in name else world.donor[name] for name, tensor in world.base.items()})


@HEADS.add("https://arxiv.org/abs/2506.14794", OPEN, says=("Order",), never=("Training",))
def attention_of_the_base_and_MLPs_of_a_donor_without_dates(world: World) -> Spec | None:
    attention_of_the_base_and_MLPs_of_an_older_donor(world)


@HEADS.add("a kind of our own (docs/method.md, Which came first)", OPEN, says=("Order",))
def an_original_beside_a_child_with_frozen_attention(world: World) -> None:
    original = {name: tensor if "self_attn" in name else world.base[name] for name, tensor in world.innocent.items()}
    child = {name: original[name] if "self_attn" in name else world.second[name] for name in original}
    world.parents()
    world.offer("donor", child)
    world.offer("suspect", original)


@HEADS.add("a kind of our own (docs/method.md, Which came first)", OPEN, says=("Order",))
def an_original_beside_a_forged_donor(world: World) -> None:
    forged = {
        name: (world.base[name].double() + (tensor.double() - world.base[name].double()) / 0.571).bfloat16()
        for name, tensor in world.innocent.items()
    }
    world.parents()
    world.offer("donor", forged)
    world.offer("suspect", world.innocent)


@HEADS.add(
    "https://github.com/arcee-ai/mergekit/issues/438", ("merge", "other_merge", "inconclusive"), named=("donor", "second"), never=("Training",)
)
def a_chat_vector_with_weights_of_one_and_a_half(world: World) -> Spec:
    world.parents()
    world.offer("second", world.second)
    parts = {name: (world.base[name].float(), world.donor[name].float(), world.second[name].float()) for name in world.base}
    world.offer("suspect", {name: (b + (d - b) + 0.5 * (s - b)).bfloat16() for name, (b, d, s) in parts.items()})
    return {"donors": ["donor", "second"]}


@HEADS.add("https://ismatsamadov.com/blog/rakuten-ai-scandal-deepseek-license-open-source", INNOCENT)
def a_base_that_nobody_declared(world: World) -> None:
    world.parents()
    world.offer("suspect", world.innocent, files={"README.md": "# Our very own model\n"})


@HEADS.add("https://github.com/arcee-ai/mergekit/blob/main/mergekit/merge.py", **MERGED, says=("mergekit",))
def a_configuration_that_the_merge_tool_left_behind(world: World) -> None:
    world.parents()
    left = "merge_method: linear\nmodels:\n- model: acme/base\n- model: acme/donor\n"
    world.offer("suspect", blended(world.base, world.donor, 0.6), files={"mergekit_config.yml": left})
