"""Which files are a model: what its shard index says, as far as that is true of the
files that are there.

An index is a claim of the publisher's. It chooses files where it can, and is never
needed to read them: every file says in its own header which tensors it holds. What the
two say differently becomes a note of the finding.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NoReturn

from mergetrace.errors import ModelFileError
from mergetrace.files.strict_json import lenient, shown

NOT_FETCHED = "not_fetched.json"
"""In the folder of a model on the Hub: why its weights are not there."""

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
MAX_INDEX_BYTES = 100_000_000

_NUMBERED = re.compile(
    r"(?P<before>.+[-_])(?P<number>\d{1,6})(?P<of>-of-(?P<total>\d{1,6})(?:\.\w+)?\.safetensors)"
)
_VARIANT = re.compile(
    r"\.(?:fp16|bf16|fp32|fp8|fp4|int8|int4|[48]bit|ema|non_ema)(?=[.-])"
)
_ADAPTER = re.compile(
    r"(?:adapters?|adapter_model|pytorch_lora_weights)\b.*\.safetensors"
)
_PLAIN = re.compile(r"[^./\\\0][^/\\\0]*\.safetensors")
_OUTWARD = re.compile(r"^/|(?:^|/)\.\.(?:/|$)|[\\\0]|^[A-Za-z]:")
_FOREIGN = (
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".gguf",
    ".h5",
    ".msgpack",
    ".npz",
    ".onnx",
    ".pdparams",
)
_BESIDE = re.compile(
    r"(?:pytorch_model|consolidated|tf_model|flax_model|model|adapter_model)\b.*|.*\.gguf"
)
_ONE_FORMAT = (
    "an adapter is a change to a model and no model; give it as `adapter` beside its"
    " `base` (docs/adapters.md), or merge it into its base first"
)


@dataclass(frozen=True)
class Choice:
    """The weight files of a model."""

    shards: list[str]  # to be read, in order
    notes: list[str] = field(default_factory=list)  # what is odd, in clauses
    # files that the index names and that are not there: no harm where other files hold
    # the same tensors
    doubtful: list[str] = field(default_factory=list)
    # `model.safetensors`, where it stands beside an index of the files chosen
    twin: str | None = None


@dataclass(frozen=True)
class _Sets:
    """Numbered files (shard 2 of 3) by what stands around the number."""

    whole: dict[tuple[str, str], list[str]]  # the names of whole sets
    broken: dict[tuple[str, str], list[str]]  # those that unfinished sets should have
    loose: list[str]  # files without a number


def parse_index(raw: bytes, place: str | Path) -> tuple[dict[str, str], list[str]]:
    """The index's map of tensor names to file names, as far as it is one, and what is
    wrong with it. A path is never followed.

    ModelFileError where it names a path that leads out of its folder, which no writer of
    models does.
    """
    if len(raw) > MAX_INDEX_BYTES:
        return {}, [_unused(f"it has more than {MAX_INDEX_BYTES} bytes")]
    try:
        index = lenient(raw)
    except ValueError as error:
        return {}, [_unused(str(error))]
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(shard, str) for shard in weight_map.values())
    ):
        return {}, [_unused("it holds no mapping of tensor names to file names")]
    odd = sorted({shard for shard in weight_map.values() if not is_plain(shard)})
    hostile = [shard for shard in odd if _OUTWARD.search(shard)]
    if hostile:
        _refuse(
            f"{place}/{INDEX_NAME}",
            f"the shard {shown(hostile[0])} is not the name of a *.safetensors file in"
            " the same folder",
        )
    kept = {name: shard for name, shard in weight_map.items() if is_plain(shard)}
    if not odd:
        return kept, []
    return kept, [
        f"its index names {len(odd)} shard(s) that are no *.safetensors file of the"
        f" same folder, {shown(odd[0])} first; not read"
    ]


def is_plain(name: str) -> bool:
    """Whether this is the name of a safetensors file and of nothing else: no path, no
    hidden file, text, and not too long to be a name.
    """
    if not _PLAIN.fullmatch(name):
        return False
    try:
        return len(name.encode()) <= 255
    except UnicodeEncodeError:  # bytes that are no UTF-8, as Python holds them
        return False


def choose(
    names: Iterable[str], weight_map: Mapping[str, str], place: str | Path, cure: str
) -> Choice:
    """Choose the weight files among `names` (a file of a sub folder has its path, and is
    never read).

    Those that the index names; without one `model.safetensors`; without that every
    *.safetensors but adapters, stored variants of the same weights, Mistral's
    `consolidated` beside Hugging Face's names, and half of a set where another set is
    whole. place: the model's name for messages. cure: what helps where files are
    missing. ModelFileError: no weights, an adapter alone, files missing.
    """
    names = sorted(names)
    present = [
        name for name in names if is_plain(name) and not _ADAPTER.fullmatch(name)
    ]
    if not present:
        _refuse_none(names, place)
    named = sorted(set(weight_map.values()))
    missing = sorted(set(named).difference(present))
    if not named:
        choice = _unguided(present, place, cure)
    elif missing:
        choice = _without(present, named, missing, place, cure)
    else:
        choice = _named(present, named)
    ours = {*choice.shards, choice.twin}
    beside = [name for name in names if _is_weights(name) and name not in ours]
    if beside:
        listed = shown(beside[0])
        if len(beside) > 1:
            listed = f"{listed} and {len(beside) - 1} more"
        choice.notes.append(
            f"it also holds weight files that were not compared ({listed})"
        )
    return choice


def differences(
    weight_map: Mapping[str, str], places: Mapping[str, Collection[str]]
) -> list[str]:
    """What an index says of tensors that is not true, in clauses. places: the files that
    hold each tensor.
    """
    promised = [name for name in weight_map if name not in places]
    omitted = [name for name in places if name not in weight_map]
    elsewhere = [
        name
        for name, shard in weight_map.items()
        if name in places and shard not in places[name]
    ]
    notes = []
    if promised:
        notes.append(
            f"its index promises {_tensors(promised)} that no file holds; what the"
            " files hold was read"
        )
    if omitted:
        notes.append(
            f"its index leaves out {_tensors(omitted)} that its files hold; read like"
            " the others"
        )
    if elsewhere:
        notes.append(
            "its index gives another file than the one that holds it for"
            f" {_tensors(elsewhere)}; read where they are"
        )
    return notes


def repeated(places: Mapping[str, Collection[str]]) -> list[str]:
    """A note where tensors stand in several files."""
    twice = [name for name, shards in places.items() if len(shards) > 1]
    if not twice:
        return []
    return [
        f"{_tensors(twice)} stand(s) in more than one of its files, the first in"
        f" {' and '.join(map(shown, sorted(places[twice[0]])[:3]))}"
    ]


def check_adapter(tensors: Collection[str], place: str | Path) -> None:
    """ModelFileError where every tensor is a part of a LoRA adapter."""
    if tensors and all(re.search(r"lora_", name, re.IGNORECASE) for name in tensors):
        _refuse(
            place,
            f"every tensor belongs to a LoRA adapter ({shown(next(iter(tensors)))}):"
            f" {_ONE_FORMAT}",
        )


def lacking(place: str | Path, missing: list[str], total: int, cure: str) -> NoReturn:
    """ModelFileError that names files which are not there."""
    _refuse(
        place,
        f"{len(missing)} of {total} weight files are missing, the first is"
        f" {shown(missing[0])}; {cure}",
    )


def _named(present: list[str], named: list[str]) -> Choice:
    """The weight files of a model whose named files are all there. Of a set of which
    some are named all are taken.
    """
    shards = set(named)
    for names in _sets(present).whole.values():
        if not shards.isdisjoint(names):
            shards.update(names)
    has_twin = SINGLE_NAME in present and SINGLE_NAME not in named
    return Choice(sorted(shards), twin=SINGLE_NAME if has_twin else None)


def _unguided(present: list[str], place: str | Path, cure: str) -> Choice:
    """The weight files of a model without an index: shard 1 of 3 promises two more."""
    if SINGLE_NAME in present:
        return Choice([SINGLE_NAME])
    for apart in (re.compile(r"consolidated\b"), _VARIANT):
        present = [name for name in present if not apart.search(name)] or present
    variants = {match[0] for match in map(_VARIANT.search, present) if match}
    if len(variants) > 1:
        listed = ", ".join(variant[1:] for variant in sorted(variants))
        _refuse(
            place, f"holds the same weights as {listed}; give a folder with one of them"
        )
    sets = _sets(present)
    starts = {before for before, _ in sets.whole}
    for (before, _), names in sets.broken.items():
        if before not in starts:
            missing = sorted(set(names).difference(present))
            lacking(place, missing, len(names), cure)
    return Choice(sorted([*chain.from_iterable(sets.whole.values()), *sets.loose]))


def _without(
    present: list[str],
    named: list[str],
    missing: list[str],
    place: str | Path,
    cure: str,
) -> Choice:
    """The weight files of a model some of whose named files are not there: those of
    another whole set, or else those of the named ones that are there.
    """
    in_sets = list(chain.from_iterable(_sets(present).whole.values()))
    others = [name for name in in_sets if name not in named]
    there = [name for name in named if name in present]
    absent = (
        f"its index names {len(missing)} file(s) that are not there,"
        f" {shown(missing[0])} first"
    )
    if SINGLE_NAME in present or others:
        candidates = [SINGLE_NAME] if SINGLE_NAME in present else others
        shards = _unguided(candidates, place, cure).shards
        note = f"{absent}; the {len(shards)} that are there as a whole set were read"
        return Choice(shards, [note])
    numbered = [name for name in missing if _NUMBERED.fullmatch(name)]
    if not numbered and not set(in_sets).isdisjoint(there):
        return Choice(there, [f"{absent}; the others are a whole set and were read"])
    if numbered and there:
        lacking(place, missing, len(named), cure)
    return Choice(
        _unguided(present, place, cure).shards,
        [f"{absent}; their tensors were read from others"],
        doubtful=missing,
    )


def _sets(present: Iterable[str]) -> _Sets:
    """The sets that numbered files form."""
    numbered: dict[tuple[str, str], list[re.Match[str]]] = defaultdict(list)
    loose = []
    for name in present:
        match = _NUMBERED.fullmatch(name)
        if match and int(match["number"]) <= int(match["total"]):
            numbered[match["before"], match["of"]].append(match)
        else:
            loose.append(name)
    sets = _Sets({}, {}, loose)
    for key, matches in numbered.items():
        before, of = key
        width = len(matches[0]["number"])
        # some writers number from 0
        first = min(1, *(int(match["number"]) for match in matches))
        total = int(matches[0]["total"])
        wanted = [
            f"{before}{number:0{width}}{of}" for number in range(first, first + total)
        ]
        is_whole = set(wanted) <= {match[0] for match in matches}
        (sets.whole if is_whole else sets.broken)[key] = wanted
    return sets


def _is_weights(name: str) -> bool:
    """Whether a file of this name, perhaps in a sub folder, may hold weights of its
    own.
    """
    file_name = name.rsplit("/", 1)[-1]
    if file_name.startswith("."):
        return False
    is_foreign = file_name.endswith(_FOREIGN) and bool(_BESIDE.fullmatch(file_name))
    return is_foreign or file_name.endswith(".safetensors")


def _refuse_none(names: list[str], place: str | Path) -> NoReturn:
    """Say what is there instead of a model in safetensors, and what helps."""
    here = [name for name in names if "/" not in name]
    adapters = [
        name
        for name in here
        if _ADAPTER.fullmatch(name)
        or name in ("adapter_model.bin", "adapter_config.json")
    ]
    if adapters:
        _refuse(
            place,
            f"this is a LoRA adapter ({adapters[-1]}) without a model: {_ONE_FORMAT}",
        )
    deeper = [name.rpartition("/") for name in names if "/" in name]
    folders = [folder for folder, _, name in deeper if is_plain(name)]
    if folders:
        # `snapshots` lie in a cache of the Hub
        snapshots = [folder for folder in folders if folder.startswith("snapshots/")]
        best = [*snapshots, *folders][0]
        _refuse(
            place,
            f"holds no weights itself, its sub folder {shown(best)} does; give that"
            " folder",
        )
    odd = [
        name
        for name in here
        if name.lower().endswith(".safetensors") and not name.startswith(".")
    ]
    if odd:
        _refuse(
            place,
            f"the name {shown(odd[0])} is none that a loader takes for weights; rename"
            f" it to {SINGLE_NAME}",
        )
    foreign = [name for name in here if name.endswith(_FOREIGN)]
    _refuse(place, f"a model in safetensors is needed, found {_instead(foreign)}")


def _instead(foreign: list[str]) -> str:
    """Which weights there are in other formats, and what helps."""
    if not foreign:
        return "none; give the folder that holds a model's *.safetensors files"
    name = foreign[0]
    if name.endswith(".gguf"):
        return (
            f"only {shown(name)}; of a repository give the GGUF file to read as `file`"
            " beside `repo`, on this disk as `path`"
        )
    return (
        f"only {shown(name)}, which is never read: pickles can run code; convert the"
        " model with save_pretrained, or give another folder"
    )


def _tensors(names: list[str]) -> str:
    """How many tensors, and one of them."""
    return f"{len(names)} tensor(s), {shown(min(names))} first,"


def _unused(why: str) -> str:
    return (
        f"its index ({INDEX_NAME}) was not used: {why}; its files were chosen by their"
        " names"
    )


def _refuse(place: str | Path, what: str) -> NoReturn:
    raise ModelFileError(f"{place}: {what}")
