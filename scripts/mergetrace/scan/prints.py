"""A model's print: a few of its raw numbers, and what is known of it without a weight."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.errors import ModelFileError
from mergetrace.formats.block_layouts import LAYOUTS
from mergetrace.formats.model_config import ModelConfig
from mergetrace.numerics.arrays import Array, Singles
from mergetrace.numerics.dtypes import FLOATS, FORMATS, Codes, encode, values_of
from mergetrace.records.json_records import as_json
from mergetrace.scan.positions import (
    BLOCKS,
    ELEMENTS,
    PROTOCOL,
    Slot,
    is_wanted,
    norms,
    slots,
)
from mergetrace.tensors.gguf_names import is_gguf
from mergetrace.tensors.naming import canonical_names
from mergetrace.tensors.view import Key, View
from mergetrace.tensors.views import cut
from mergetrace.tensors.weights import Weights


class UnknownLayoutError(ModelFileError):
    """A model has no tensor of a name that a print knows."""


QUANTILES = 64  # of a norm's sorted numbers
NORMS = 4
ABSENT = ""  # the signature of a block that a model has not


@dataclass(frozen=True)
class Facts:
    """What is known of a model without its weights. Claims of its publisher, and what
    the Hub says."""

    place: str
    """The repository, or the folder."""
    commit: str
    """The commit; of a folder a digest of its files' names, sizes and dates."""
    on_hub: bool
    created: str | None = None
    """When the Hub made the repository."""
    licence: str | None = None
    gated: bool = False
    private: bool = False
    parents: tuple[str, ...] = ()
    """What the card lists under base_model."""
    relation: str | None = None
    """How the model was made of them, in the Hub's words."""
    merged: tuple[str, ...] = ()
    """The models that a merge tool's file in its folder names."""
    tokenizer: tuple[str, ...] = ()
    """Digests of tokenizer.json: `sha256:...`, `git:...`."""
    weights: tuple[str, ...] = ()
    """sha256 of the whole weight files, sorted, where they are known."""
    architecture: str | None = None
    """The kind of model, as its configuration calls it."""
    file: str = ""
    """The GGUF file of a repository that was read; empty of any other model."""
    index: str = ""
    """The sha256 of the published index that states it; empty where it was read here."""

    @property
    def key(self) -> str:
        """By which the index finds the print."""
        file = [self.file] if self.file else []
        # what somebody else states of a commit stands beside what is read of it
        index = [{"index": self.index}] if self.index else []
        text = json.dumps([PROTOCOL, self.place, self.commit, *file, *index])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Print:
    """A model's print."""

    facts: Facts
    signatures: tuple[str, ...]  # of every block; ABSENT for one that there is not
    codes: Codes  # uint16 [BLOCKS, ELEMENTS]: bf16, zero where there is none
    quantiles: Singles = field(repr=False)  # float32 [NORMS, QUANTILES]; NaN
    coarse: bool = False  # whether it stores its matrices in eight bits or fewer

    @property
    def digest(self) -> str:
        """The sha256 of all that was measured."""
        digest = hashlib.sha256(json.dumps(self.signatures).encode())
        digest.update(self.codes.astype("<u2").tobytes())
        digest.update(self.quantiles.astype("<f4").tobytes())
        return digest.hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The whole as JSON."""
        return {
            "protocol": PROTOCOL,
            "facts": as_json(self.facts),
            "signatures": list(self.signatures),
            "codes": _text(self.codes.astype("<u2")),
            "quantiles": _text(self.quantiles.astype("<f4")),
            "coarse": self.coarse,
        }


def views_of_print(table: pd.DataFrame, config: ModelConfig) -> dict[Key, View]:
    """The matrices of a model that a print may need. table: of its tensors, or of some
    of them.
    """
    names = canonical_names(table["name"])
    if is_gguf(names):
        wanted = table[table["name"].map(lambda name: is_wanted(names[name]))]
        kept = {*FLOATS, *LAYOUTS}
    else:
        wanted = table[table["name"].map(is_wanted)]
        # of packed numbers in safetensors what they are scaled by lies elsewhere
        kept = set(FLOATS)
    views = cut(wanted, config).views if len(wanted) else {}
    return {key: view for key, view in views.items() if view.dtype in kept}


def take_print(facts: Facts, views: Mapping[Key, View], weights: Weights) -> Print:
    """Read a model's print. UnknownLayoutError where it has nothing that one reads.

    views: of `views_of_print`, with `model` as `weights` calls it.
    """
    chosen = slots(views)
    if not any(chosen):
        raise UnknownLayoutError(
            f"{facts.place}: none of its tensors bears a name that a print knows"
        )
    codes = np.zeros((BLOCKS, ELEMENTS), np.uint16)
    coarse = False
    for number, slot in enumerate(chosen):
        if slot is not None:
            view = views[slot.key]
            values = weights.values(view, slot.first, slot.count)
            codes[number, : slot.count] = encode(values, "BF16")
            coarse |= FORMATS[view.dtype].width == 1
    quantiles = np.full((NORMS, QUANTILES), np.nan, np.float32)
    for number, norm in enumerate(norms(views)):
        if norm is not None:
            numbers = weights.values(norm, 0, norm.rows * norm.cols)
            quantiles[number] = _quantiles(numbers)
    return Print(facts, signatures_of(chosen), codes, quantiles, coarse)


def signatures_of(chosen: Sequence[Slot | None]) -> tuple[str, ...]:
    """The signature of every block."""
    return tuple(slot.signature if slot else ABSENT for slot in chosen)


def numbers_of(codes: Codes) -> Singles:
    """The numbers of a print, float32; what is no finite number counts as 0."""
    numbers: Singles = values_of(codes, "BF16")
    return np.where(np.isfinite(numbers), numbers, np.float32(0))


def _quantiles(numbers: Array) -> Singles:
    """Evenly spaced ones of the sorted numbers: no order of the hidden dimensions
    changes them.
    """
    ordered = np.sort(numbers)
    places = np.linspace(0, len(ordered) - 1, QUANTILES).round().astype(np.int64)
    return ordered[places].astype(np.float32)


def _text(array: Any) -> str:
    return base64.b64encode(array.tobytes()).decode()
