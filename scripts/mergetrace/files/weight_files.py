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
from pathlib import Path
from typing import NoReturn

from mergetrace.errors import AuditError
from mergetrace.files.strict_json import lenient, shown

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
    "an adapter is a change to a model and no model; merge it into its base first"
    " (peft: merge_and_unload, save_pretrained)"
)


@dataclass(frozen=True)
class Choice:
    """The weight files to read, in order, and what is to be said of them.

    doubtful: files that the index names and that are not there; no harm where other files hold the same tensors.
    twin: `model.safetensors`, where it stands beside an index of the files chosen.
    """

    shards: list[str]
    notes: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    twin: str | None = None


def parse_index(raw: bytes, place: str | Path) -> tuple[dict[str, str], list[str]]:
    """The index's map of tensor names to file names, as far as it is one, and what is
    wrong with it. A path is never followed.

    AuditError where it names a path that leads out of its folder, which no writer of
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
    if hostile := [shard for shard in odd if _OUTWARD.search(shard)]:
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
    """The weight files among `names` (a file of a sub folder with its path, which is
    never read).

    What the index names; without one `model.safetensors`; without that every *.safetensors but adapters, stored variants of the same weights,
    Mistral's `consolidated` beside Hugging Face's names, and half of a set where another set is whole. cure: what helps where files are missing.
    AuditError: no weights, an adapter alone, files missing.
    """
    names = sorted(names)
    found = [name for name in names if is_plain(name) and not _ADAPTER.fullmatch(name)]
    if not found:
        _refuse_none(names, place)
    named = sorted(set(weight_map.values()))
    missing = sorted(set(named).difference(found))
    if not named:
        choice = _unguided(found, place, cure)
    elif not missing:
        rest = [
            name
            for names in _sets(found)[0].values()
            if set(names) & set(named)
            for name in names
        ]  # of a set that is named in part
        choice = Choice(
            sorted({*named, *rest}),
            twin=(
                SINGLE_NAME
                if SINGLE_NAME in found and SINGLE_NAME not in named
                else None
            ),
        )
    else:
        choice = _without(found, named, missing, place, cure)
    beside = [
        name
        for name in names
        if _is_weights(name) and name not in choice.shards and name != choice.twin
    ]
    if beside:
        listed = (
            f"{shown(beside[0])} and {len(beside) - 1} more"
            if len(beside) > 1
            else shown(beside[0])
        )
        choice.notes.append(
            f"it also holds weight files that were not compared ({listed})"
        )
    return choice


def differences(
    weight_map: Mapping[str, str], places: Mapping[str, Collection[str]]
) -> list[str]:
    """What an index says of tensors that is not so. places: the files that hold each
    tensor.
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
    """AuditError where every tensor is a part of a LoRA adapter."""
    if tensors and all(re.search(r"lora_", name, re.IGNORECASE) for name in tensors):
        _refuse(
            place,
            f"every tensor belongs to a LoRA adapter ({shown(next(iter(tensors)))}):"
            f" {_ONE_FORMAT}",
        )


def lacking(place: str | Path, missing: list[str], total: int, cure: str) -> NoReturn:
    """AuditError that names files which are not there."""
    _refuse(
        place,
        f"{len(missing)} of {total} weight files are missing, the first is"
        f" {shown(missing[0])}; {cure}",
    )


def _unguided(found: list[str], place: str | Path, cure: str) -> Choice:
    """The weight files of a model without an index: shard 1 of 3 promises two more."""
    if SINGLE_NAME in found:
        return Choice([SINGLE_NAME])
    for apart in (re.compile(r"consolidated\b"), _VARIANT):
        found = [name for name in found if not apart.search(name)] or found
    if (
        len(
            words := sorted(
                {match[0] for name in found if (match := _VARIANT.search(name))}
            )
        )
        > 1
    ):
        _refuse(
            place,
            f"holds the same weights as {', '.join(word[1:] for word in words)}; give a"
            " folder with one of them",
        )
    whole, broken, loose = _sets(found)
    halves = [
        names
        for key, names in broken.items()
        if not any(other[0] == key[0] for other in whole)
    ]
    if halves:
        missing = sorted(set(halves[0]).difference(found))
        lacking(place, missing, len(halves[0]), cure)
    return Choice(sorted([name for names in whole.values() for name in names] + loose))


def _without(
    found: list[str], named: list[str], missing: list[str], place: str | Path, cure: str
) -> Choice:
    """The weight files of a model some of whose named files are not there: those of
    another whole set, or else what is there of them.
    """
    whole, _, _ = _sets(found)
    others = [name for names in whole.values() for name in names if name not in named]
    there = [name for name in named if name in found]
    absent = (
        f"its index names {len(missing)} file(s) that are not there,"
        f" {shown(missing[0])} first"
    )
    if SINGLE_NAME in found or others:
        choice = _unguided(
            [SINGLE_NAME] if SINGLE_NAME in found else others, place, cure
        )
        return Choice(
            choice.shards,
            [
                f"{absent}; the {len(choice.shards)} that are there as a whole set were"
                " read"
            ],
        )
    numbered = [name for name in missing if _NUMBERED.fullmatch(name)]
    if not numbered and any(
        name in there for names in whole.values() for name in names
    ):
        return Choice(there, [f"{absent}; the others are a whole set and were read"])
    if numbered and there:
        lacking(place, missing, len(named), cure)
    return Choice(
        _unguided(found, place, cure).shards,
        [f"{absent}; their tensors were read from others"],
        doubtful=missing,
    )


def _sets(
    found: Iterable[str],
) -> tuple[
    dict[tuple[str, str], list[str]], dict[tuple[str, str], list[str]], list[str]
]:
    """Numbered files by what they are numbered as: the names of whole sets, those that
    unfinished sets should have, and what has no number.
    """
    numbered: dict[tuple[str, str], list[str]] = defaultdict(list)
    loose = []
    for name in found:
        match = _NUMBERED.fullmatch(name)
        if match and int(match["number"]) <= int(match["total"]):
            numbered[match["before"], match["of"]].append(name)
        else:
            loose.append(name)
    whole = {}
    broken = {}
    for (before, of), names in numbered.items():
        match = _NUMBERED.fullmatch(names[0])
        width = len(match["number"])
        first = min(int(_NUMBERED.fullmatch(name)["number"]) for name in names) > 0
        wanted = [
            f"{before}{number + first:0{width}}{of}"
            for number in range(int(match["total"]))
        ]
        (whole if set(wanted) <= set(names) else broken)[before, of] = wanted
    return whole, broken, loose


def _is_weights(name: str) -> bool:
    """Whether a file of this name, perhaps in a sub folder, may hold weights of its
    own.
    """
    own = name.rsplit("/", 1)[-1]
    return not own.startswith(".") and (
        own.endswith(".safetensors")
        or (own.endswith(_FOREIGN) and bool(_BESIDE.fullmatch(own)))
    )


def _refuse_none(names: list[str], place: str | Path) -> NoReturn:
    """Say what is there instead of a model in safetensors, and what helps."""
    here = [name for name in names if "/" not in name]
    deeper = [
        name for name in names if "/" in name and is_plain(name.rsplit("/", 1)[1])
    ]
    if adapters := [
        name
        for name in here
        if _ADAPTER.fullmatch(name)
        or name in ("adapter_model.bin", "adapter_config.json")
    ]:
        _refuse(
            place,
            f"this is a LoRA adapter ({adapters[-1]}) without a model: {_ONE_FORMAT}",
        )
    if deeper:
        folders = [name.rsplit("/", 1)[0] for name in deeper]
        best = next(
            (folder for folder in folders if folder.startswith("snapshots/")),
            folders[0],
        )  # of a cache of the Hub's
        _refuse(
            place,
            f"holds no weights itself, its sub folder {shown(best)} does; give that"
            " folder",
        )
    if odd := [
        name
        for name in here
        if name.lower().endswith(".safetensors")
        and not name.startswith(".")
        and not _ADAPTER.fullmatch(name)
    ]:
        _refuse(
            place,
            f"the name {shown(odd[0])} is none that a loader takes for weights; rename"
            f" it to {SINGLE_NAME}",
        )
    wanted = "a model in safetensors is needed"
    if foreign := [name for name in here if name.endswith(_FOREIGN)]:
        if foreign[0].endswith(".gguf"):
            _refuse(
                place,
                f"{wanted}, found only {shown(foreign[0])}, which is never read: GGUF"
                " is a conversion; give the weights it was made from",
            )
        cure = "convert the model with save_pretrained, or give another folder"
        _refuse(
            place,
            f"{wanted}, found only {shown(foreign[0])}, which is never read: pickles"
            f" can run code; {cure}",
        )
    _refuse(
        place,
        f"{wanted}, found none; give the folder that holds a model's *.safetensors"
        " files",
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
    raise AuditError(f"{place}: {what}")
