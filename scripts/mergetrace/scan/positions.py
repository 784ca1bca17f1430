"""Which numbers of a model make up its print.

They follow from the version of the protocol, a tensor's common name and its shape alone.
So models of one architecture are read at the same places whatever their files are
called and however they are cut, and a longer vocabulary, more or fewer layers or fused
experts move nothing that stays.

A print has 16 blocks of 1,024 neighbouring numbers: two of the embeddings of the lowest
token ids, and of the layers of a fixed ladder one each of the attention's output matrix
and of the MLP's (of experts the first). Neither is ever fused with another matrix.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mergetrace.tensors.naming import canonical_name
from mergetrace.tensors.view import Key, View

PROTOCOL = 1  # changes whenever a number would be read elsewhere
BLOCKS = 16
ELEMENTS = 1024  # of a block
LEAST_ELEMENTS = 256  # of a matrix that has a block
LADDER = (0, 1, 3, 7, 11, 15, 23)
"""The layers that are read, by number and not by share of the depth: then layers that
are added behind or taken away leave the others where they are. Of models that mix two
kinds of attention every fourth layer holds the full one.
"""
NORM_LAYERS = (0, 3, 11, 23)
TOKEN_ROWS = (
    1024  # of the embedding, at most: what is added to a vocabulary comes later
)
MAX_NORM_ELEMENTS = 1 << 16

EMBEDDING: Key = ("model.embed_tokens.weight", "")
OUTPUTS: tuple[tuple[Key, ...], ...] = (
    (("self_attn.o_proj.weight", ""), ("linear_attn.out_proj.weight", "")),
    (
        ("mlp.experts.down_proj", "0"),
        ("mlp.down_proj.weight", ""),
        ("mlp.shared_expert.down_proj.weight", ""),
        ("mlp.shared_experts.down_proj.weight", ""),
    ),
)
"""Of a layer, for each of its two blocks: the tensor that is read, the first that there
is.
"""
_LAYERS = "|".join(map(str, LADDER))
_WANTED = re.compile(
    r"model\.embed_tokens\b.*"
    rf"|model\.layers\.(?:{_LAYERS})\.(?:self_attn\.o_proj|linear_attn\.out_proj"
    r"|mlp\.(?:experts\.(?:0\.)?|shared_experts?\.)?down_proj|input_layernorm)\b.*"
)


@dataclass(frozen=True)
class Slot:
    """A block of a print: where it lies in a tensor."""

    key: Key  # whose numbers these are, by common name
    first: int  # element of the tensor, row-major
    count: int

    signature: str
    """Equal in two prints if and only if the block is the same numbers of the same
    matrix."""


def is_wanted(name: str) -> bool:
    """Whether a tensor of this own name, or the scale of one, may belong to a print."""
    return _WANTED.fullmatch(canonical_name(name)) is not None


def slots(views: Mapping[Key, View]) -> list[Slot | None]:
    """The blocks of a model's print in their order; None for one that it has not."""
    embedding = views.get(EMBEDDING)
    found = [_slot(embedding, _token_rows(embedding), part) for part in (0, 1)]
    for layer in LADDER:
        for choices in OUTPUTS:
            keys = [(f"model.layers.{layer}.{tail}", part) for tail, part in choices]
            view = next((views[key] for key in keys if key in views), None)
            found.append(_slot(view, view.rows if view else 0, 0))
    return found


def norms(views: Mapping[Key, View]) -> list[View | None]:
    """The norms whose sorted numbers belong to a print; None for one that is missing."""
    keys = [
        (f"model.layers.{layer}.input_layernorm.weight", "") for layer in NORM_LAYERS
    ]
    found = [views.get(key) for key in keys]
    return [
        view if view and view.rows * view.cols <= MAX_NORM_ELEMENTS else None
        for view in found
    ]


def _token_rows(view: View | None) -> int:
    """The rows of the lowest token ids: a power of two, so that it stays the same where
    a short vocabulary grows a little.
    """
    rows = min(view.rows, TOKEN_ROWS) if view else 0
    return 1 << (rows.bit_length() - 1) if rows else 0


def _slot(view: View | None, rows: int, part: int) -> Slot | None:
    """The block of a matrix of which the first `rows` rows may be read.

    part: its number among the blocks of the matrix.
    """
    if view is None or rows * view.cols < LEAST_ELEMENTS:
        return None
    elements = rows * view.cols
    count = min(ELEMENTS, elements)
    text = f"{view.tensor} {view.slice} {rows}x{view.cols} {part}"
    digest = hashlib.sha256(f"mergetrace print {PROTOCOL} {text}".encode()).digest()
    first = int.from_bytes(digest[:8], "big") % (elements - count + 1)
    return Slot(view.key, first, count, text)
