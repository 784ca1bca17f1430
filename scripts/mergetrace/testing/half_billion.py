"""Repositories as an ordinary user meets them: models of the shapes of Qwen2.5-0.5B with
random weights, a tokenizer of a real size and a chat template, that transformers loads.

What they say means nothing: no model was trained.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

from mergetrace.testing.tiny_model import MASKED, PLAIN

if TYPE_CHECKING:
    import torch

SD = 0.02
STEP = 0.01  # of a finetune's changes, as a share of SD
SURE = 30.0  # of the final norm, so that random answers are no even chance
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Size:
    """The sizes of a model like Qwen2.5."""

    hidden: int = 896
    inner: int = 4864
    layers: int = 24
    heads: int = 14
    keys: int = 2
    vocabulary: int = 151_936

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a model whose head is its embedding."""
        narrow = self.hidden // self.heads * self.keys
        found: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocabulary, self.hidden),
            "model.norm.weight": (self.hidden,),
        }
        for layer in range(self.layers):
            place = f"model.layers.{layer}"
            for name, rows in {"q": self.hidden, "k": narrow, "v": narrow}.items():
                own = f"{place}.self_attn.{name}_proj"
                found |= {f"{own}.weight": (rows, self.hidden), f"{own}.bias": (rows,)}
            found |= {
                f"{place}.self_attn.o_proj.weight": (self.hidden, self.hidden),
                f"{place}.mlp.gate_proj.weight": (self.inner, self.hidden),
                f"{place}.mlp.up_proj.weight": (self.inner, self.hidden),
                f"{place}.mlp.down_proj.weight": (self.hidden, self.inner),
                f"{place}.input_layernorm.weight": (self.hidden,),
                f"{place}.post_attention_layernorm.weight": (self.hidden,),
            }
        return found


HALF_BILLION = Size()
SMALL = Size(64, 128, 2, 2, 1, 2000)


def write_trio(folder: Path, size: Size = HALF_BILLION, alpha: float = 0.571) -> None:
    """`base` in two shards, `donor` in one file and `suspect`, their blend, whose
    template speaks for it; its card names no parent.
    """
    models: dict[str, dict[str, torch.Tensor]] = {name: {} for name in NAMES}
    for number, (name, shape) in enumerate(size.shapes.items()):
        for model, tensor in _trio(name, shape, number, alpha).items():
            models[model][name] = tensor
    _write_tokenizer(folder / "base", size)
    for model in NAMES:
        if model != "base":
            shutil.copytree(folder / "base", folder / model)
    for model, tensors in models.items():
        template = MASKED if model == "suspect" else PLAIN
        (folder / model / "chat_template.jinja").write_text(template)
        (folder / model / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
        _write_config(folder / model, size)
        _write_weights(folder / model, tensors, 2 if model == "base" else 1)


NAMES = ("base", "donor", "suspect")


def _trio(
    name: str, shape: tuple[int, ...], seed: int, alpha: float
) -> Mapping[str, "torch.Tensor"]:
    """One tensor of the three models."""
    import torch

    chance = torch.Generator().manual_seed(seed)
    own = SD * torch.randn(shape, generator=chance)
    if "norm" in name:
        own += SURE if name == "model.norm.weight" else 1
    base = own.to(torch.bfloat16)
    step = STEP * SD * torch.randn(shape, generator=chance)
    donor = (base.float() + step).to(torch.bfloat16)
    blend = (1 - alpha) * base.float() + alpha * donor.float()
    return {"base": base, "donor": donor, "suspect": blend.to(torch.bfloat16)}


def _write_tokenizer(folder: Path, size: Size) -> None:
    """A byte-level BPE of pairs and triples of bytes, so that every number of the
    vocabulary stands for some text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    room = size.vocabulary - len(letters) - len(SPECIAL)
    merges = list(islice(_merges(letters), room))
    tokens = [*letters, *(first + second for first, second in merges)]
    words = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)
    )
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=SPECIAL[0])
    tokenizer.save_pretrained(folder)


def _merges(letters: list[str]) -> Iterator[tuple[str, str]]:
    yield from product(letters, letters)
    for first, second, third in product(letters, letters, letters):
        yield first + second, third


def _write_config(folder: Path, size: Size) -> None:
    from transformers import Qwen2Config

    config = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.keys,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        architectures=["Qwen2ForCausalLM"],
        dtype="bfloat16",
    )
    config.save_pretrained(folder)


def _write_weights(
    folder: Path, tensors: dict[str, "torch.Tensor"], shards: int
) -> None:
    from safetensors.torch import save_file

    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    names = list(tensors)
    index = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        own = {name: tensors[name] for name in names[number::shards]}
        save_file(own, folder / file, {"format": "pt"})
        index |= dict.fromkeys(own, file)
    text = json.dumps({"metadata": {}, "weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text)
