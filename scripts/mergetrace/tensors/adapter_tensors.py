"""Which of a base's tensors an adapter changes, and which it holds anew."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from mergetrace.errors import ModelFileError
from mergetrace.files.safetensors_header import Header, TensorInfo
from mergetrace.files.strict_json import shown
from mergetrace.files.tensor_records import TensorRecord
from mergetrace.formats.adapter_config import AdapterConfig
from mergetrace.formats.packed import weight_of
from mergetrace.tensors.naming import canonical_name, canonical_names, unwrapped

ADDED_TO = ("BF16", "F16", "F32", "F64")
"""The formats of a base to which a change is added; of others nobody adds it without
quantising anew."""
HELD_IN = ("BF16", "F16", "F32")
"""The formats of an adapter's matrices."""
_PART = re.compile(
    r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])"
    r"(?:\.default)?(?P<weight>\.weight)?"
)
_SIZES = re.compile(r"(?P<module>.+)\.lora_magnitude_vector(?:\.default)?(?:\.weight)?")
"""DoRA's lengths of rows."""
_FOREIGN = re.compile(r"(?:^|\.)(?:lora_|vera_|ia3_|hada_|lokr_|oft_|trainable_tokens)")


@dataclass(frozen=True)
class LowRank:
    """A tensor of the base, and the two matrices whose product is added to it."""

    target: TensorRecord
    left: TensorInfo  # lora_B, or where the product is transposed lora_A
    right: TensorInfo
    transposed: bool  # the two are stored the other way round
    scale: float
    embedding: bool
    sizes: TensorInfo | None = None  # DoRA: the length of every row


@dataclass(frozen=True)
class Anew:
    """A tensor of the base, and what an adapter holds in its place."""

    target: TensorRecord
    held: TensorInfo


@dataclass
class _Pair:
    """The two matrices of a module, as they are met."""

    embedding: bool = False
    sides: dict[str, TensorInfo] = field(default_factory=dict)
    sizes: TensorInfo | None = None


def changes_of(
    header: Header, config: AdapterConfig, base: Iterable[TensorRecord], name: str
) -> tuple[list[LowRank], list[Anew]]:
    """What an adapter changes of its base, every tensor of it accounted for.

    header: of its weights. base: the tensors of the base, which is called `name`.
    ModelFileError, without the adapter's name, where the two do not fit together.
    """
    pairs, anew = _sorted_out(header)
    if not pairs and not anew:
        _refuse("holds no tensor of a LoRA adapter")
    find = _Finder(base, name)
    replaced = [_anew(target, held, find) for target, held in anew.items()]
    targets = [each.target.name for each in replaced]
    if len(set(targets)) < len(targets):
        _refuse(f"holds a tensor of {name} under two names")
    shapes = {each.target.name: each.held.shape for each in replaced}
    low_rank = [_low_rank(*item, config, find, shapes) for item in pairs.items()]
    changed = [each.target.name for each in low_rank]
    if len(set(changed)) < len(changed):
        _refuse(f"changes a tensor of {name} under two names")
    return low_rank, replaced


class _Finder:
    """Finds a base's tensors by the names that an adapter gives them."""

    def __init__(self, base: Iterable[TensorRecord], name: str) -> None:
        self.name = name
        self._records: dict[str, list[TensorRecord]] = defaultdict(list)
        for record in base:
            self._records[record.name].append(record)
        self._own = {
            common: own for own, common in canonical_names(self._records).items()
        }

    def __call__(self, name: str) -> TensorRecord:
        """The tensor of this name, or of the same name as another writer gives it."""
        own = name if name in self._records else self._own.get(canonical_name(name))
        records = self._records.get(own, []) if own else []
        if not records and name in map(weight_of, self._records):
            _refuse(
                f"changes {shown(name)}, which {self.name} stores as packed codes; give"
                " the 16-bit safetensors of the same model as its base"
            )
        if not records:
            _refuse(
                f"changes {shown(name)}, which {self.name} lacks: it is an adapter of"
                " another model"
            )
        record = records[0]
        if len(records) > 1:
            _refuse(
                f"changes {shown(name)}, which {self.name} holds in two files; give a base"
                " that holds it once"
            )
        if record.dtype not in ADDED_TO or record.shard.endswith(".gguf"):
            _refuse(
                f"changes {shown(name)}, which {self.name} stores as {record.dtype}; give"
                " the 16-bit safetensors of the same model as its base"
            )
        return record


def _sorted_out(header: Header) -> tuple[dict[str, _Pair], dict[str, TensorInfo]]:
    """The adapter's matrices by module, and what it holds whole by name."""
    pairs: dict[str, _Pair] = defaultdict(_Pair)
    anew: dict[str, TensorInfo] = {}
    for name, tensor in header.tensors.items():
        if tensor.dtype not in HELD_IN:
            _refuse(
                f"{shown(name)} is stored as {tensor.dtype}; {', '.join(HELD_IN)} are"
                " read"
            )
        plain = unwrapped(name)
        lengths = _SIZES.fullmatch(plain)
        if lengths is not None:
            if pairs[lengths["module"]].sizes is not None:
                _refuse(f"holds the lengths of {shown(lengths['module'])} twice")
            pairs[lengths["module"]].sizes = tensor
            continue
        match = _PART.fullmatch(plain)
        if match is None:
            if _FOREIGN.search(plain):
                _refuse(f"{shown(name)} is a part of an adapter that is not read")
            if plain in anew:
                _refuse(f"holds {shown(plain)} twice")
            anew[plain] = tensor
            continue
        pair = pairs[match["module"]]
        pair.embedding = bool(match["embedding"])
        if match["side"] in pair.sides:
            _refuse(f"holds lora_{match['side']} of {shown(match['module'])} twice")
        pair.sides[match["side"]] = tensor
    return pairs, anew


def _low_rank(
    module: str,
    pair: _Pair,
    config: AdapterConfig,
    find: _Finder,
    shapes: Mapping[str, tuple[int, ...]],
) -> LowRank:
    """A module's change. shapes: of the tensors that the adapter holds anew."""
    sides = pair.sides
    if set(sides) != {"A", "B"}:
        held = f"lora_{next(iter(sides))}" if sides else "the lengths of rows"
        _refuse(f"holds only {held} of {shown(module)}")
    down, up = sides["A"], sides["B"]
    target = find(f"{module}.weight")
    shape = shapes.get(target.name, target.shape)
    rank = config.rank_of(module)
    for side, tensor, at in (("A", down, 0), ("B", up, 1)):
        if len(tensor.shape) != 2 or tensor.shape[at] != rank:
            _refuse(
                f"lora_{side} of {shown(module)} is {_by(tensor.shape)}, where"
                f" adapter_config.json states rank {rank}"
            )
    product = up.shape[0], down.shape[1]
    fits = {False: product, True: product[::-1]}
    preferred = True if pair.embedding else config.transposed
    for transposed in (preferred, not preferred):
        if fits[transposed] == shape and product[0] and product[1]:
            break
    else:
        _refuse(
            f"its change of {shown(module)} is {_by(product)}, where {find.name}'s"
            f" tensor is {_by(shape)}: it is an adapter of another model"
        )
    _check_sizes(module, pair, config, target, (up.shape[0], transposed))
    return LowRank(
        target=target,
        left=down if transposed else up,
        right=up if transposed else down,
        transposed=transposed,
        scale=config.scale_of(module),
        embedding=pair.embedding,
        sizes=pair.sizes,
    )


def _check_sizes(
    module: str,
    pair: _Pair,
    config: AdapterConfig,
    target: TensorRecord,
    product: tuple[int, bool],
) -> None:
    """Refuse lengths of rows that do not fit. product: its rows, and whether it is
    transposed.
    """
    if config.has_sizes != (pair.sizes is not None):
        _refuse(
            f"adapter_config.json says use_dora {str(config.has_sizes).lower()}, and"
            f" {shown(module)} has {'no' if pair.sizes is None else 'a'}"
            " lora_magnitude_vector"
        )
    if pair.sizes is None:
        return
    rows, transposed = product
    if pair.sizes.shape not in ((rows,), (rows, 1)):
        _refuse(
            f"lora_magnitude_vector of {shown(module)} is {_by(pair.sizes.shape)}, where"
            f" its change has {rows} rows"
        )
    if pair.embedding or transposed or target.dtype == "F64":
        _refuse(
            f"DoRA of {shown(module)}, an embedding, a transposed or a 64-bit matrix, is"
            " not read; merge the adapter into its base and give that model"
        )


def _anew(name: str, held: TensorInfo, find: _Finder) -> Anew:
    target = find(name)
    whole = target.shape == held.shape
    more_rows = len(held.shape) == 2 and target.shape[1:] == held.shape[1:]
    if not whole and not more_rows:
        _refuse(
            f"holds {shown(name)} of {_by(held.shape)}, where {find.name}'s is"
            f" {_by(target.shape)}: it is an adapter of another model"
        )
    return Anew(target, held)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _refuse(what: str) -> NoReturn:
    raise ModelFileError(what)
