"""Repositories whose weights are computed when they are asked for, in lines of descent:
bases, finetunes of finetunes, siblings of one task, merges, recasts, other shapes.

Every number of a model follows from those of its parents and from hashes of its place,
so that hundreds of repositories take no disk and no time until a range is read.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.numerics.dtypes import encode, values_of
from mergetrace.testing.hubserver.computed import Shard
from mergetrace.testing.hubserver.content import Content, InMemory, Repo
from mergetrace.testing.hubserver.numbers import QUANTILES

SD = 0.02
FP8_BLOCK = 128
FP8_LARGEST = 448.0


@dataclass(frozen=True)
class Line:
    """A model's descent: the sum of its parents' numbers by weight, and of independent
    changes, rounded to bf16.
    """

    name: str
    parents: Sequence[tuple[float, "Line"]] = ()
    # (size as a share of the weights' spread, seed)
    changes: Sequence[tuple[float, int]] = ()
    dtype: str = "BF16"  # in which it is stored: BF16, F32 or F8_E4M3

    def values(self, tensor: str, first: int, count: int) -> NDArray[np.float32]:
        """Numbers first..first+count of a tensor, as bf16 holds them."""
        total = np.zeros(count)
        for weight, parent in self.parents:
            total += weight * parent.values(tensor, first, count)
        for size, seed in self.changes:
            total += size * SD * _normal(tensor, seed, first, count)
        if "norm" in tensor and not self.parents:
            total += 1
        numbers: NDArray[np.float32] = values_of(encode(total, "BF16"), "BF16")
        return numbers


def base(name: str, seed: int) -> Line:
    """A model that was made from no other."""
    return Line(name, (), ((1.0, seed),))


def finetune(name: str, parent: Line, seed: int, size: float) -> Line:
    """An independent finetune. size: of its changes, as a share of the spread."""
    return Line(name, ((1.0, parent),), ((size, seed),))


@dataclass(frozen=True)
class LineTensor:
    """One tensor of a model, as a Shard takes it."""

    name: str
    shape: tuple[int, ...]
    line: Line
    of: str  # whose numbers it holds, where its own name is another one
    offset: int = 0  # numbers of that before its first
    dtype: str = "BF16"

    @property
    def size(self) -> int:
        """In bytes."""
        return self.width * math.prod(self.shape)

    @property
    def width(self) -> int:
        """Bytes of a number."""
        return {"BF16": 2, "F32": 4, "F8_E4M3": 1}[self.dtype]

    @property
    def scale(self) -> float:
        """Of eight bits: what the stored numbers are multiplied by."""
        return 6 * SD / FP8_LARGEST

    def read(self, start: int, length: int) -> bytes:
        """Bytes start..start+length."""
        first = start // self.width
        end = -(-(start + length) // self.width)
        values = self.line.values(self.of, self.offset + first, end - first)
        if self.dtype == "F8_E4M3":
            largest = np.float64(FP8_LARGEST)
            held = np.clip(values / self.scale, -largest, largest)
            raw = encode(held.astype(np.float64), "F8_E4M3").tobytes()
        elif self.dtype == "F32":
            raw = values.astype("<f4").tobytes()
        else:
            raw = encode(values, "BF16").tobytes()
        return raw[start - self.width * first :][:length]


@dataclass(frozen=True)
class ScaleTensor:
    """The block scales of a tensor of eight bits, all alike."""

    name: str
    shape: tuple[int, ...]
    value: float
    dtype: str = "F32"

    @property
    def size(self) -> int:
        """In bytes."""
        return 4 * math.prod(self.shape)

    def read(self, start: int, length: int) -> bytes:
        """Bytes start..start+length."""
        count = start // 4 + length // 4 + 2
        raw = np.full(count, self.value, "<f4").tobytes()
        return raw[start % 4 :][:length]


class LineShard(Shard):
    """A file of such tensors. Its hash is that of its header and its line: nobody
    fetches it whole.
    """

    @cached_property
    def sha256(self) -> str:
        """No file's hash, but two files of the same tensors have the same."""
        lines = sorted({repr(getattr(each, "line", "")) for each in self.tensors})
        return hashlib.sha256(self.header + "".join(lines).encode()).hexdigest()

    def entry(self, tensor: Any) -> dict[str, Any]:
        """What the header says of a tensor, but its place."""
        return {"dtype": tensor.dtype, "shape": tensor.shape}


@dataclass(frozen=True)
class Shape:
    """The tensors of a model like Llama, or like Mixtral where it has experts."""

    hidden: int = 512
    inner: int = 1024
    layers: int = 24
    vocabulary: int = 4000
    experts: int = 0
    fused: bool = False  # whether the experts lie in one tensor
    prefix: str = "model."

    def tensors(self, line: Line) -> list[Any]:
        """The tensors of a model."""
        named: list[tuple[str, tuple[int, ...], str, int]] = []
        place = f"{self.prefix}embed_tokens.weight"
        named.append((place, (self.vocabulary, self.hidden), "embed", 0))
        for layer in range(self.layers):
            named += self._layer(layer)
        found: list[Any] = []
        for name, shape, of, offset in named:
            eight = line.dtype == "F8_E4M3" and "proj" in name
            dtype = line.dtype if eight or line.dtype == "F32" else "BF16"
            tensor = LineTensor(name, shape, line, of, offset, dtype)
            found.append(tensor)
            if eight:
                blocks = tuple(-(-size // FP8_BLOCK) for size in shape)
                found.append(ScaleTensor(f"{name}_scale_inv", blocks, tensor.scale))
        return found

    def _layer(self, layer: int) -> list[tuple[str, tuple[int, ...], str, int]]:
        place = f"{self.prefix}layers.{layer}"
        size = self.hidden * self.inner
        square = (self.hidden, self.hidden)
        down = (self.hidden, self.inner)
        found: list[tuple[str, tuple[int, ...], str, int]] = [
            (f"{place}.input_layernorm.weight", (self.hidden,), f"{layer} norm", 0),
            (f"{place}.self_attn.q_proj.weight", square, f"{layer} q", 0),
            (f"{place}.self_attn.o_proj.weight", square, f"{layer} o", 0),
        ]
        of = f"{layer} down"
        if not self.experts:
            return [*found, (f"{place}.mlp.down_proj.weight", down, of, 0)]
        if self.fused:
            shape = (self.experts, *down)
            return [*found, (f"{place}.mlp.experts.down_proj", shape, of, 0)]
        return found + [
            (f"{place}.mlp.experts.{number}.down_proj.weight", down, of, number * size)
            for number in range(self.experts)
        ]


@dataclass(frozen=True)
class Published:
    """How a model is published."""

    line: Line
    shape: Shape
    created: str
    card: str = "license: mit\n"
    shards: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)  # of Repo

    def repo(self) -> Repo:
        """The repository."""
        tensors = self.shape.tensors(self.line)
        parts = _cut(tensors, self.shards)
        names = [
            f"model-{i:05}-of-{len(parts):05}.safetensors"
            for i in range(1, len(parts) + 1)
        ]
        index = {
            tensor.name: name
            for name, part in zip(names, parts, strict=True)
            for tensor in part
        }
        config: dict[str, Any] = {"model_type": "computed"}
        if self.line.dtype == "F8_E4M3":
            config["quantization_config"] = {
                "quant_method": "fp8",
                "weight_block_size": [FP8_BLOCK, FP8_BLOCK],
            }
        texts = {
            "config.json": json.dumps(config),
            "README.md": f"---\n{self.card}---\nComputed.\n",
            "model.safetensors.index.json": json.dumps(
                {"metadata": {}, "weight_map": index}
            ),
        }
        files: dict[str, Content] = {
            name: InMemory(text.encode()) for name, text in texts.items()
        }
        files |= {
            name: LineShard(part) for name, part in zip(names, parts, strict=True)
        }
        return Repo(files, created=self.created, **self.options)


def _cut(tensors: Sequence[Any], shards: int) -> list[list[Any]]:
    """The tensors in files of about the same size, in their order."""
    most = sum(tensor.size for tensor in tensors) / shards
    parts: list[list[Any]] = [[]]
    for tensor in tensors:
        if parts[-1] and sum(each.size for each in parts[-1]) >= most:
            parts.append([])
        parts[-1].append(tensor)
    return parts


def _normal(tensor: str, seed: int, first: int, count: int) -> NDArray[np.float64]:
    """Normal numbers of a place: splitmix64 (Steele, Lea, Flood 2014) of its number,
    whose upper bits choose from a table of quantiles.
    """
    digest = hashlib.blake2b(f"{seed} {tensor}".encode(), digest_size=8).digest()
    key = np.uint64(int.from_bytes(digest, "little"))
    with np.errstate(over="ignore"):
        place = np.arange(first + 1, first + 1 + count, dtype=np.uint64)
        h = key + place * np.uint64(0x9E3779B97F4A7C15)
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h ^= h >> np.uint64(31)
    fine = (h & np.uint64(0xFFFF)).astype(np.float64) / 2**16 - 0.5
    table = QUANTILES.astype(np.float64)
    # between two quantiles, so that a change is no multiple of another one's
    spread: NDArray[np.float64] = table[h >> np.uint64(52)] + fine * 1e-3
    return spread
