"""A base, a donor, their blend and an innocent sibling of any size, of which every byte
range can be computed: models of 800 GB without a disk.
"""

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from mergetrace.testing.hubserver import numbers
from mergetrace.testing.hubserver.content import Content, InMemory, Repo
from mergetrace.testing.hubserver.describe import LAYOUTS, configuration, unfolded

PIECE = 1 << 22  # bytes computed at a time for a hash
HASHED_UP_TO = 1 << 30  # bytes: the hash of a larger file would take minutes
CARD = (
    "---\nlibrary_name: transformers\nlicense: apache-2.0\n{claim}---\nComputed: no"
    " model was trained.\n"
)
SHARDS = {"397b": 10_000_000_000, "2gb": 200_000_000, "40mb": 5_000_000}
"""The greatest shard of a layout, in bytes; a larger tensor gets one of its own."""


@dataclass(frozen=True)
class Recipe:
    """What one model of a family is. drift: {layer's number: size of an added change,
    as a share of the donor's step}. trained: the same of a change in every tensor,
    larger or smaller by at most the part `varied` of itself, and as training is more in
    some rows and columns than in others. uneven: how far from
    `alpha` the weight of a tensor lies at most, as in a model that has only an ancestor
    in common with the donor.
    """

    role: int
    alpha: float = 0.0
    shared: float = 0.15
    drift: Mapping[int, float] = field(default_factory=dict)
    trained: float = 0.0
    varied: float = 0.25
    uneven: float = 0.0


FAMILY = {
    "base": Recipe(numbers.BASE),
    "donor": Recipe(numbers.DONOR),
    "sibling": Recipe(numbers.SIBLING),
    "suspect": Recipe(numbers.SUSPECT, alpha=0.571),
    "drifted": Recipe(numbers.SUSPECT, alpha=0.571, drift={3: 0.1, 6: 0.3}),
}
DESCENDED = {
    **{name: FAMILY[name] for name in ("base", "donor", "sibling")},
    "trained": Recipe(numbers.SUSPECT, alpha=0.571, trained=0.8),
    "stranger": Recipe(numbers.SUSPECT, trained=1.0),
    "heir": Recipe(numbers.SUSPECT, alpha=0.55, uneven=0.1, trained=0.6),
}
"""`trained` is a blend that was trained on, `stranger` has nothing of the donor, `heir`
and the donor descend from an ancestor of which every tensor kept another part.
"""


@dataclass(frozen=True)
class Tensor:
    """One bf16 tensor of a model; what it holds follows from the family's seed and its
    name.
    """

    name: str
    shape: tuple[int, ...]
    seed: int
    recipe: Recipe

    @property
    def size(self) -> int:
        """In bytes."""
        return 2 * math.prod(self.shape)

    @cached_property
    def _law(self) -> dict[str, float]:
        """The key of its numbers, their mean and spread, and the size of the donor's
        step: .8 to 2 % of the spread.
        """
        digest = hashlib.blake2b(
            f"{self.seed} {self.name}".encode(), digest_size=16
        ).digest()
        mean, sd = (
            (1.0, 0.1)
            if "norm" in self.name and self.name.endswith(".weight")
            else (0.0, 0.02)
        )
        share = 0.008 + 0.012 * int.from_bytes(digest[8:]) / 2**64
        return {
            "key": int.from_bytes(digest[:8]),
            "mean": mean,
            "sd": sd,
            "step": share * sd,
        }

    def _place(self, what: str) -> float:
        """A number of this tensor's between -1 and 1."""
        named = f"{what} {self.name}".encode()
        drawn = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest())
        return 2 * drawn / 2**64 - 1

    def read(self, start: int, length: int) -> bytes:
        """Bytes start..start+length."""
        first = start // 2
        end = (start + length + 1) // 2
        part = self.name.split(".layers.")
        drift = self.recipe.trained * (1 + self.recipe.varied * self._place("trained"))
        if part[0] == "model.language_model":
            drift += self.recipe.drift.get(int(part[1].split(".")[0]), 0.0)
        codes = numbers.codes(
            self.recipe.role,
            first=first,
            count=end - first,
            alpha=self.recipe.alpha + self.recipe.uneven * self._place("alpha"),
            shared=self.recipe.shared,
            drift=drift,
            columns=self.shape[-1] if self.recipe.trained else 0,
            **self._law,
        )
        return codes.tobytes()[start - 2 * first :][:length]


class Shard:
    """A safetensors file of computed tensors."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors
        offsets = [0]
        for tensor in tensors:
            offsets.append(offsets[-1] + tensor.size)
        entries = {
            t.name: {**self.entry(t), "data_offsets": [offsets[i], offsets[i + 1]]}
            for i, t in enumerate(tensors)
        }
        text = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
        text += b" " * (-len(text) % 8)
        self.header = len(text).to_bytes(8, "little") + text
        self.starts = [len(self.header) + offset for offset in offsets]
        self.size = self.starts.pop()

    def entry(self, tensor: Tensor) -> dict[str, object]:
        """What the header says of a tensor, but its place."""
        return {"dtype": "BF16", "shape": tensor.shape}

    def read(self, start: int, length: int) -> bytes:
        """Bytes start..start+length, fewer at the end of the file."""
        return b"".join(self._parts(start, min(start + length, self.size)))

    def _parts(self, start: int, end: int) -> Iterator[bytes]:
        if start < len(self.header):
            yield self.header[start:end]
            start = len(self.header)
        while start < end:
            place = bisect_right(self.starts, start) - 1
            tensor = self.tensors[place]
            offset = start - self.starts[place]
            count = min(end - start, tensor.size - offset)
            yield tensor.read(offset, count)
            start += count

    @cached_property
    def sha256(self) -> str:
        """The file's hash; of a file too large to hash, one of its header, which is not
        the file's and which a full download must refuse.
        """
        digest = hashlib.sha256(self.header)
        if self.size <= HASHED_UP_TO:
            for first in range(len(self.header), self.size, PIECE):
                digest.update(self.read(first, PIECE))
        return digest.hexdigest()


def family(
    layout: str,
    seed: int = 0,
    recipes: Mapping[str, Recipe] = FAMILY,
    shard_size: int | None = None,
) -> dict[str, Repo]:
    """Repositories `computed/{name}` of a layout of layouts.json, cut into shards of at
    most `shard_size` bytes.
    """
    shapes = unfolded(json.loads(LAYOUTS.read_text())[layout])
    tensors = [
        Tensor(name, tuple(shape), seed, FAMILY["base"])
        for name, shape in shapes.items()
    ]
    parts = _cut(tensors, shard_size or SHARDS[layout])
    return {
        f"computed/{name}": _repo(name, recipe, parts, configuration(layout))
        for name, recipe in recipes.items()
    }


def _cut(tensors: list[Tensor], largest: int) -> list[list[Tensor]]:
    parts: list[list[Tensor]] = []
    room = -1
    for tensor in tensors:
        if tensor.size > room:
            parts.append([])
            room = largest
        parts[-1].append(tensor)
        room -= tensor.size
    return parts


def _repo(name: str, recipe: Recipe, parts: list[list[Tensor]], config: dict) -> Repo:
    shards = {
        f"model-{i:05}-of-{len(parts):05}.safetensors": [
            replace(tensor, recipe=recipe) for tensor in part
        ]
        for i, part in enumerate(parts, 1)
    }
    index = {tensor.name: shard for shard, part in shards.items() for tensor in part}
    claim = (
        ""
        if name == "base"
        else "base_model: computed/base\nbase_model_relation: finetune\n"
    )
    texts = {
        "config.json": json.dumps(config, indent=1),
        "README.md": CARD.format(claim=claim),
        "model.safetensors.index.json": json.dumps(
            {
                "metadata": {"total_size": sum(t.size for part in parts for t in part)},
                "weight_map": index,
            }
        ),
    }
    files: dict[str, Content] = {
        key: InMemory(text.encode()) for key, text in texts.items()
    }
    return Repo(files | {shard: Shard(part) for shard, part in shards.items()})
