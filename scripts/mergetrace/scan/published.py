"""An index as it is given to others: a folder with `prints.jsonl`, a print a line, and
`index.json` with its version, its size and its sha256.

A print holds 32 KB of a model's raw numbers, so only models are given away whose
licence allows it and that everybody may read.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mergetrace.configuration.source import REPOSITORY
from mergetrace.errors import ModelFileError
from mergetrace.files.strict_json import lenient
from mergetrace.formats.model_config import fact
from mergetrace.numerics.arrays import AnyArray
from mergetrace.outputs import whole, write_json
from mergetrace.records.json_records import from_json
from mergetrace.scan.index import Index
from mergetrace.scan.positions import BLOCKS, ELEMENTS, PROTOCOL
from mergetrace.scan.prints import NORMS, QUANTILES, Facts, Print
from mergetrace.timestamps import span

PRINTS = "prints.jsonl"
ABOUT = "index.json"
OPEN_LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
)
"""Under which raw numbers of a model may be given on, with its name beside them."""
MAX_LINE = 1 << 20  # bytes
MAX_PRINTS = 1_000_000
MAX_SIGNATURE = 200
MAX_OF_MODEL = 1000  # digests or parents of one model


def publish(index: Index, folder: Path) -> tuple[int, int]:
    """Write the prints of an index that may be given on, into `folder` (created).

    Returns how many were written, and how many stay at home.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = index.entries()
    allowed = {key for key, entry in entries.items() if may_publish(entry.facts)}
    quantiles = index.quantiles(allowed)
    digest = hashlib.sha256()
    lines = {}
    for group in index.groups(allowed):
        for keys, codes in group.pieces():
            for key, own in zip(keys, codes, strict=True):
                entry = entries[key]
                taken = Print(
                    entry.facts, group.signatures, own, quantiles[key], entry.coarse
                )
                text = json.dumps(taken.as_json(), sort_keys=True)
                lines[entry.facts.place, entry.facts.commit] = text.encode() + b"\n"
    with whole(folder / PRINTS) as partial, open(partial, "wb") as handle:
        for _, line in sorted(lines.items()):
            handle.write(line)
            digest.update(line)
    about = {"protocol": PROTOCOL, "prints": len(lines), "sha256": digest.hexdigest()}
    write_json(folder / ABOUT, about)
    return len(lines), len(entries) - len(lines)


def may_publish(facts: Facts) -> bool:
    """Whether a model's print may be given on: not what somebody else states of it."""
    is_open = facts.on_hub and not (facts.gated or facts.private or facts.index)
    return is_open and (facts.licence or "").lower() in OPEN_LICENCES


def read_published(folder: Path) -> Iterator[Print]:
    """The prints of a published index. ModelFileError where it is none, or where its
    bytes are not those that it states.
    """
    try:
        about = lenient((folder / ABOUT).read_bytes()[:MAX_LINE])
        stated = about["protocol"], about["sha256"]
        with open(folder / PRINTS, "rb") as handle:
            actual = hashlib.file_digest(handle, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelFileError(
            f"{folder}: not an index of prints; give a folder with {ABOUT} and {PRINTS}"
        ) from None
    if stated[0] != PROTOCOL:
        raise ModelFileError(
            f"{folder}: prints of protocol {fact(str(stated[0]))}, this is"
            f" {PROTOCOL}; get an index made for it"
        )
    if stated[1] != actual:
        raise ModelFileError(
            f"{folder}/{PRINTS}: its sha256 is {actual}, {ABOUT} says another; fetch it"
            " again"
        )
    with open(folder / PRINTS, "rb") as handle:
        for number in range(1, MAX_PRINTS):
            line = handle.readline(MAX_LINE + 1)
            if not line:
                return
            yield _parsed(line, f"{folder}/{PRINTS}, line {number}", actual)


def _parsed(line: bytes, where: str, index: str) -> Print:
    """One line as a print. index: the sha256 of all of them."""
    try:
        stated = lenient(line)
        signatures = tuple(map(_text, stated["signatures"]))
        codes = _array(stated["codes"], "<u2", (BLOCKS, ELEMENTS))
        quantiles = _array(stated["quantiles"], "<f4", (NORMS, QUANTILES))
        if len(signatures) != BLOCKS:
            raise ValueError
        facts = replace(_facts(stated["facts"]), index=index)
        return Print(facts, signatures, codes, quantiles, bool(stated["coarse"]))
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise ModelFileError(
            f"{where}: not a print of protocol {PROTOCOL}; fetch the index again"
        ) from None


def _facts(stated: Mapping[str, Any]) -> Facts:
    """What is said of a model, bounded."""
    place, commit = stated["place"], stated["commit"]
    if not re.fullmatch(REPOSITORY, place) or not re.fullmatch("[0-9a-f]{40}", commit):
        raise ValueError
    known: dict[str, Any] = {"place": place, "commit": commit, "on_hub": True}
    for name in ("created", "licence", "relation", "architecture"):
        known[name] = fact(stated[name]) if isinstance(stated.get(name), str) else None
    for name in ("parents", "merged", "tokenizer", "weights"):
        known[name] = [_text(each) for each in _listed(stated.get(name))]
    if known["created"]:
        span(known["created"])  # ValueError where it is no date
    return from_json(Facts, known, "a print")


def _listed(value: Any) -> Iterable[Any]:
    return value[:MAX_OF_MODEL] if isinstance(value, list) else ()


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_SIGNATURE:
        raise ValueError
    return value


def _array(text: str, dtype: str, shape: tuple[int, int]) -> AnyArray:
    raw = base64.b64decode(text, validate=True)
    return np.frombuffer(raw, dtype).reshape(shape)
