"""Folders that loaders take although something in them is odd, and folders that hold no weights to read."""

import torch
from case import INNOCENT, OPEN, Cases
from world import World, finetuned, in_shards, index

FILES, NUMBERS = Cases("files"), Cases("numbers")
MERGED = {"verdicts": ("merge",), "named": ("donor",)}
NEMOTRON, HUB4725 = "https://github.com/huggingface/transformers/pull/42959", "https://github.com/huggingface/huggingface_hub/issues/4725"
EXLLAMA = "https://github.com/turboderp-org/exllamav2/pull/622"


@FILES.add(NEMOTRON, **MERGED)
def infinity_in_the_configuration(world: World) -> None:
    world.parents()
    text = '{"architectures": ["LlamaForCausalLM"], "time_step_limit": [0.0, Infinity], "x": NaN}'
    world.offer("suspect", world.merge, files={"config.json": text})


@FILES.add(NEMOTRON, INNOCENT)
def a_key_that_stands_twice_in_an_innocents_configuration(world: World) -> None:
    world.parents()
    world.offer("suspect", world.innocent, files={"config.json": '{"model_type": "llama", "model_type": "llama", "vocab_size": 512}'})


@FILES.add(NEMOTRON, INNOCENT)
def a_byte_order_mark(world: World) -> None:
    world.parents()
    world.offer("suspect", world.innocent, files={"config.json": b'\xef\xbb\xbf{"model_type": "llama"}'})


@FILES.add(NEMOTRON, **MERGED)
def no_configuration_at_all(world: World) -> None:
    world.parents()
    world.offer("suspect", world.merge)
    (world.models["suspect"] / "config.json").unlink()


def _indexed(change, original: str):
    def make(world: World) -> None:
        world.parents()
        shards = in_shards(getattr(world, original))
        world.offer("suspect", {}, shards=shards, files={"model.safetensors.index.json": change(index(shards))})

    return make


for name, change, original, answer in (
    (
        "an index that promises a tensor",
        lambda text: text.replace('"weight_map": {', '"weight_map": {"mtp.fc.weight": "model-00001-of-00002.safetensors", '),
        "merge",
        MERGED,
    ),
    ("an index that omits a tensor", lambda text: text.replace('"lm_head.weight"', '"lm_head.other"'), "merge", MERGED),
    ("an index of thirty files beside two", lambda text: text.replace("of-00002", "of-00030"), "merge", MERGED),
    (
        "an index that promises a tensor, innocent",
        lambda text: text.replace('"weight_map": {', '"weight_map": {"mtp.fc.weight": "model-00001-of-00002.safetensors", '),
        "innocent",
        {"verdicts": INNOCENT},
    ),
    ("an index that is no JSON, innocent", lambda text: text[:-9], "innocent", {"verdicts": INNOCENT}),
):
    make = _indexed(change, original)
    make.__name__ = name.replace(" ", "_")
    FILES.add(HUB4725, never=("download",), **answer)(make)


@FILES.add("https://github.com/Neph0s/CoSER/issues/3", error=("missing",))
def a_shard_that_is_not_there(world: World) -> None:
    world.parents()
    shards = in_shards(world.innocent, 3)
    text = index(shards)
    shards.pop("model-00003-of-00003.safetensors")
    world.offer("suspect", {}, shards=shards, files={"model.safetensors.index.json": text})


@FILES.add("https://huggingface.co/docs/peft", error=("adapter",))
def an_adapter_alone(world: World) -> None:
    world.parents()
    lora = {f"base_model.model.model.layers.0.self_attn.q_proj.lora_{part}.weight": torch.randn(4, 64) for part in "AB"}
    world.offer("suspect", {}, shards={"adapter_model.safetensors": lora}, files={"adapter_config.json": "{}"})


@FILES.add("https://huggingface.co/docs/peft", INNOCENT, says=("adapter",))
def an_adapter_beside_an_innocents_weights(world: World) -> None:
    world.parents()
    lora = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.randn(4, 64)}
    shards = {"model.safetensors": world.innocent, "adapter_model.safetensors": lora}
    world.offer("suspect", {}, shards=shards, files={"adapter_config.json": "{}"})


for name, file, content, words in (
    ("a GGUF alone", "model-Q4_K_M.gguf", b"GGUF" + bytes(64), ("GGUF",)),
    ("pickles alone", "pytorch_model.bin", b"PK\x03\x04" + bytes(64), ("never read",)),
    ("a pointer instead of the file", "model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", ("git lfs pull",)),
    ("a web page instead of the file", "model.safetensors", b"<html><body>please sign in to go on</body></html>", ("web page",)),
    ("an empty file", "model.safetensors", b"", ("0 bytes",)),
):

    def make(world: World, file=file, content=content) -> None:
        world.parents()
        world.offer("suspect", {}, single=None, files={file: content})

    make.__name__ = name.replace(" ", "_")
    FILES.add("https://github.com/arcee-ai/mergekit/issues/457", error=words)(make)


@FILES.add("https://huggingface.co/mistralai/Mistral-7B-Instruct-v0.3", INNOCENT)
def the_same_weights_twice_consolidated_and_in_shards(world: World) -> None:
    world.parents()
    shards = in_shards(world.innocent)
    text = index(shards)
    world.offer("suspect", {}, shards={**shards, "consolidated.safetensors": world.innocent}, files={"model.safetensors.index.json": text})


@FILES.add("https://github.com/huggingface/accelerate", INNOCENT, never=("Training",))
def an_optimizers_state_in_the_file(world: World) -> None:
    world.parents()
    state = {f"optimizer.state.{i}.exp_avg": torch.randn(64, 64) * 1e-4 for i in range(8)}
    world.offer("suspect", world.innocent | state)


@NUMBERS.add(EXLLAMA, **MERGED, says=("NaN or infinite",))
def one_infinity_in_a_merge(world: World) -> None:
    def half(tensors):
        return {name: tensor.half() for name, tensor in tensors.items()}

    world.parents(half)
    mixed = {name: (0.429 * world.base[name].half().float() + 0.571 * world.donor[name].half().float()).half() for name in world.base}
    mixed["model.layers.1.self_attn.q_proj.weight"][3, 5] = float("inf")
    world.offer("suspect", mixed)


@NUMBERS.add("https://github.com/turboderp-org/exllamav3/issues/43", ("merge", "inconclusive"), named=("donor",), says=("NaN or infinite",))
def a_tensor_of_NaN(world: World) -> None:
    world.parents()
    name = "model.layers.2.mlp.down_proj.weight"
    world.offer("suspect", world.merge | {name: torch.full_like(world.merge[name], float("nan"))})


for place in ("suspect", "base", "donor", "sibling"):

    def make(world: World, place=place) -> None:
        world.parents()
        world.offer("suspect", world.innocent)
        spoilt = dict(world.innocent if place == "suspect" else getattr(world, place))
        for i, value in enumerate((float("inf"), float("-inf"), float("nan"))):
            for name in ("model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.layers.3.input_layernorm.weight"):
                spoilt[name] = spoilt[name].clone()
                spoilt[name].view(-1)[7 + 11 * i] = value
        world.offer(place, spoilt)

    make.__name__ = f"infinities_and_NaN_in_the_{place}_of_an_innocent"
    NUMBERS.add(EXLLAMA, INNOCENT, never=("Training",))(make)


@NUMBERS.add("https://github.com/arcee-ai/mergekit/issues/50", **MERGED)
def every_second_tensor_of_a_merge_in_float16(world: World) -> None:
    world.parents()
    world.offer("suspect", {name: tensor.half() if i % 2 else tensor for i, (name, tensor) in enumerate(world.merge.items())})


for name, first, second in (
    ("float16", torch.bfloat16, torch.float16),
    ("float32", torch.bfloat16, torch.float32),
    ("bf16", torch.float32, torch.bfloat16),
):

    def make(world: World, first=first, second=second) -> None:
        def stored(tensors):
            return {name: tensor.to(first) for name, tensor in tensors.items()}

        fine = {name: tensor.float() + 1e-5 * torch.randn(tensor.shape) if first == torch.float32 else tensor for name, tensor in world.donor.items()}
        world.parents(stored)
        world.offer("donor", stored(fine))
        world.offer("suspect", {name: tensor.to(second) for name, tensor in stored(fine).items()})

    make.__name__ = f"a_copy_recast_to_{name}"
    NUMBERS.add("https://github.com/arcee-ai/mergekit/issues/50", ("copy",), named=("donor",), says=("recast",) if name != "float32" else ())(make)


@NUMBERS.add("https://github.com/arcee-ai/mergekit/issues/198", INNOCENT, never=("Training",))
def layers_repeated_with_zeros(world: World) -> None:
    world.parents()
    longer = dict(world.innocent)
    for name, tensor in world.innocent.items():
        if "layers.3." in name:
            zero = name.endswith(("o_proj.weight", "down_proj.weight"))
            longer[name.replace("layers.3.", "layers.4.")] = torch.zeros_like(tensor) if zero else tensor
    world.offer("suspect", longer, {"num_hidden_layers": 5})


@NUMBERS.add("https://github.com/VainF/LLM-Pruner", INNOCENT, never=("Training",))
def an_innocent_with_a_layer_less(world: World) -> None:
    world.parents()
    world.offer("suspect", {name: tensor for name, tensor in world.innocent.items() if "layers.3." not in name}, {"num_hidden_layers": 3})


@NUMBERS.add("https://huggingface.co/blog/mlabonne/abliteration", INNOCENT, never=("Training",))
def a_direction_taken_out_of_the_base(world: World) -> None:
    world.parents()
    direction = torch.nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(world.seed)), dim=0)

    def without(name, tensor):
        if not name.endswith(("o_proj.weight", "down_proj.weight")):
            return tensor
        return (tensor.float() - torch.outer(direction, direction @ tensor.float())).bfloat16()

    world.offer("suspect", {name: without(name, tensor) for name, tensor in world.base.items()})


@NUMBERS.add("https://github.com/OpenBMB/MiniCPM-V/issues/194", OPEN, never=("Training",))
def noise_on_the_donor(world: World) -> None:
    world.parents()
    world.offer("suspect", finetuned(world.donor, world.seed + 90, 0.0005))


@NUMBERS.add("https://huggingface.co/deepseek-ai/DeepSeek-V3", ("merge", "inconclusive"), named=("donor",), never=("Training",))
def a_merge_with_a_prediction_layer_of_its_own(world: World) -> None:
    world.parents()
    world.offer("suspect", world.merge | {f"mtp.layers.0.{name}.weight": torch.randn(64, 64).bfloat16() for name in ("q_proj", "o_proj")})


@NUMBERS.add("https://huggingface.co/docs/transformers/model_doc/llama", INNOCENT, never=("Training",))
def an_innocent_of_which_only_the_embeddings_are_there(world: World) -> None:
    world.parents()
    world.offer("suspect", {name: tensor for name, tensor in world.innocent.items() if "layers" not in name})


@NUMBERS.add("https://huggingface.co/docs/transformers/model_doc/llama", OPEN, never=("Training",))
def embeddings_of_the_base_and_layers_of_a_stranger(world: World) -> None:
    world.parents()
    world.offer("suspect", {name: tensor if "layers" not in name else world.stranger[name] for name, tensor in world.base.items()})


@NUMBERS.add("https://arxiv.org/abs/2505.11711", INNOCENT, never=("Training",))
def a_sparse_update_by_reinforcement(world: World) -> None:
    world.parents()
    random = torch.Generator().manual_seed(world.seed)
    few = {name: torch.where(torch.rand(tensor.shape, generator=random) < 0.1, world.innocent[name], tensor) for name, tensor in world.base.items()}
    world.offer("suspect", few)


@NUMBERS.add("https://huggingface.co/docs/peft", INNOCENT)
def an_innocent_that_trained_its_attention_only(world: World) -> None:
    world.parents()
    world.offer("suspect", finetuned(world.base, world.seed + 95, only=lambda name: "self_attn" in name))


@NUMBERS.add("https://huggingface.co/docs/transformers", INNOCENT)
def buffers_beside_an_innocents_weights(world: World) -> None:
    world.parents()
    buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(8) for i in range(4)}
    world.offer("suspect", world.innocent | buffers)


@NUMBERS.add("https://huggingface.co/docs/transformers", ("copy",), named=("donor",))
def buffers_beside_a_copy(world: World) -> None:
    world.parents()
    world.offer("suspect", world.donor | {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(8) for i in range(4)})
