"""The print of a model in a folder or on the Hub. Of one on the Hub little more than the
headers of a few shards is fetched.
"""

import hashlib
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mergetrace.errors import AuditError, ModelFileError, TooManyBytesError
from mergetrace.files.declared_merges import declared_merges
from mergetrace.files.gguf_file import GgufModel, read_gguf
from mergetrace.files.safetensors_file import Model
from mergetrace.files.safetensors_header import Header
from mergetrace.files.sampled import Range, write_sampled
from mergetrace.files.weight_files import (
    INDEX_NAME,
    MAX_INDEX_BYTES,
    choose,
    parse_index,
)
from mergetrace.formats.block_layouts import blocks_of, stored_size
from mergetrace.formats.gguf_facts import (
    declared_license,
    declared_parents,
    gguf_config,
)
from mergetrace.formats.model_config import (
    MAX_CONFIG_BYTES,
    ModelConfig,
    read_config,
)
from mergetrace.formats.scales import bytes_of_scales, rows_of_scales
from mergetrace.planning.manifest import read_card, read_local, table_of
from mergetrace.records.scan import LeftOut
from mergetrace.scan.positions import is_wanted, norms, slots
from mergetrace.scan.prints import (
    Facts,
    Print,
    UnknownLayoutError,
    take_print,
    views_of_print,
)
from mergetrace.tensors.view import Key, View
from mergetrace.tensors.weights import Weights

if TYPE_CHECKING:
    from mergetrace.hub.listing import Listed
    from mergetrace.hub.pinned import Pinned
    from mergetrace.hub.ranges import RangeReader

MODEL = "model"  # what a model is called while its print is taken
TOKENIZER = "tokenizer.json"
ADAPTER = "adapter_config.json"
MAX_HASHED_BYTES = 256 << 20  # of a local tokenizer
PIECE = 1 << 20
PLAIN = ("BF16", "F16", "F32")  # for which no configuration is needed


@dataclass(frozen=True)
class Taken:
    """What came of taking a print."""

    facts: Facts
    found: Print | None
    left_out: LeftOut | None
    """Why there is no print."""
    bytes: int
    """That were asked for."""


def of_folder(folder: Path) -> Taken:
    """The print of a local model. folder: or its GGUF file."""
    facts = folder_facts(folder)
    beside = folder if folder.is_dir() else folder.parent
    try:
        model = read_local(folder)
        table = table_of(model, folder).to_pandas()
        views = _called(views_of_print(table, _config(model, beside)))
        with Weights({MODEL: beside}) as weights:
            taken = take_print(facts, views, weights)
            return Taken(facts, taken, None, weights.bytes_read)
    except AuditError as error:
        code = _code(error, os.listdir(beside))
        return Taken(facts, None, LeftOut(str(folder), code, str(error)), 0)


def folder_facts(folder: Path) -> Facts:
    """What is known of a folder without its weights; of a GGUF file that was given by
    its name what it says itself, since what lies beside it may be another model's.
    """
    if not folder.is_dir():
        return _file_facts(folder)
    card = read_card(folder / "README.md")
    return Facts(
        place=str(folder),
        commit=_state(folder),
        on_hub=False,
        licence=card["license"],
        parents=tuple(card["base_model"] or ()),
        relation=card["relation"],
        merged=_merged(folder),
        tokenizer=_tokenizer(folder / TOKENIZER),
        architecture=read_config(folder / "config.json").model_type,
    )


def _file_facts(file: Path) -> Facts:
    """What a GGUF file says of itself."""
    facts = Facts(place=str(file), commit=_state_of([file]), on_hub=False)
    try:
        model = read_gguf(file)
    except AuditError:
        return facts  # why it cannot be read is said where its print is taken
    names = declared_parents(model.facts) or ()
    return replace(facts, parents=tuple(names), licence=declared_license(model.facts))


def _config(model: Model, folder: Path) -> ModelConfig:
    """What a model's configuration says; a GGUF file has its own."""
    if not isinstance(model, GgufModel):
        return read_config(folder / "config.json")
    names = [name for _, header in model for name in header.tensors]
    return gguf_config(model.facts, names)


def of_repository(
    listed: "Listed", pinned: "Pinned", connections: int, most: int, file: str = ""
) -> Taken:
    """The print of a model on the Hub. most: bytes that may be asked for. file: the
    GGUF file that is read.
    """
    from mergetrace.hub.pinned import open_reader
    from mergetrace.hub.ranges import Patience

    facts = replace(hub_facts(listed, pinned), file=file)
    with (
        tempfile.TemporaryDirectory() as name,
        open_reader(pinned.source, pinned.sizes, connections, Patience()) as reader,
    ):
        fetch = _Fetch(reader, pinned, Path(name), most)
        try:
            taken = fetch.take_gguf(facts) if file else fetch.take(facts)
        except AuditError as error:
            kinds = (".gguf",) if file else (".safetensors",)
            code = _code(error, pinned.files, pinned.gated, kinds)
            left_out = LeftOut(pinned.repo, code, str(error))
            return Taken(facts, None, left_out, fetch.asked)
        return Taken(facts, taken, None, fetch.asked)


def hub_facts(listed: "Listed", pinned: "Pinned") -> Facts:
    """What the Hub says of a repository."""
    hashes = [
        file.sha256
        for name, file in pinned.files.items()
        if name.endswith(".safetensors") and file.sha256
    ]
    tokenizer = pinned.files.get(TOKENIZER)
    digests = []
    if tokenizer is not None and tokenizer.sha256:
        digests.append(f"sha256:{tokenizer.sha256}")
    elif tokenizer is not None and tokenizer.git_id:
        digests.append(f"git:{tokenizer.git_id}")
    return Facts(
        place=pinned.repo,
        commit=pinned.commit,
        on_hub=True,
        created=pinned.created,
        licence=listed.licence,
        gated=pinned.gated,
        private=pinned.private,
        parents=listed.parents,
        relation=listed.relation,
        tokenizer=tuple(digests),
        weights=tuple(sorted(hashes)),
        architecture=listed.architecture,
    )


class _Fetch:
    """The bytes of one repository's print."""

    def __init__(
        self, reader: "RangeReader", pinned: "Pinned", folder: Path, most: int
    ) -> None:
        self.reader = reader
        self.pinned = pinned
        self.folder = folder
        self.most = most
        self.asked = 0

    def take(self, facts: Facts) -> Print:
        """Raises AuditError where there is no print."""
        model = self._headers(self._shards())
        table = table_of(model, self.pinned.place).to_pandas()
        if not set(table["dtype"]).issubset(PLAIN):
            self._small("config.json", MAX_CONFIG_BYTES)
        config = read_config(self.folder / "config.json")
        return self._read(facts, views_of_print(table, config))

    def take_gguf(self, facts: Facts) -> Print:
        """The same of a GGUF file of the repository, whose header is read whole."""
        from mergetrace.hub.gguf import read_remote_gguf

        before = self.reader.bytes_read
        model = read_remote_gguf(self.reader, self.pinned, facts.file)
        self._count(self.reader.bytes_read - before)
        table = table_of(model, self.pinned.place).to_pandas()
        return self._read(facts, views_of_print(table, _config(model, self.folder)))

    def _read(self, facts: Facts, own: Mapping[Key, View]) -> Print:
        views = _called(own)
        wanted = ranges(views)
        self._count(sum(length for _, _, length in wanted))
        data = {part: piece for part, piece in self.reader.read_many(wanted)}
        path = self.folder / "ranges"
        write_sampled(path, wanted, map(data.__getitem__, wanted), self.pinned.source)
        with Weights({MODEL: path}) as weights:
            return take_print(facts, views, weights)

    def _shards(self) -> list[str]:
        """The weight files that may hold what a print reads."""
        weight_map: Mapping[str, str] = {}
        raw = self._small(INDEX_NAME, MAX_INDEX_BYTES)
        if raw is not None:
            weight_map, _ = parse_index(raw, self.pinned.place)
        present = sorted(name for name in self.pinned.files if not name.startswith("."))
        choice = choose(present, weight_map, self.pinned.place, "none is needed")
        if choice.twin:
            return [choice.twin]
        promised = {shard for name, shard in weight_map.items() if is_wanted(name)}
        return [shard for shard in choice.shards if shard in promised] or choice.shards

    def _headers(self, shards: list[str]) -> Model:
        from mergetrace.hub.pinned import FIRST_READ_BYTES, read_headers

        first = sum(min(FIRST_READ_BYTES, self.pinned.sizes[name]) for name in shards)
        self._count(first)
        room = self.most - self.asked + first
        headers: list[Header] = read_headers(self.reader, self.pinned, shards, room)
        rest = [header.data_start - FIRST_READ_BYTES for header in headers]
        self._count(sum(max(0, size) for size in rest))
        return Model(zip(shards, headers, strict=True))

    def _small(self, name: str, largest: int) -> bytes | None:
        """A small file, which is kept in the folder too; None where there is none."""
        file = self.pinned.files.get(name)
        if file is None or file.size > largest:
            return None
        self._count(file.size)
        data = self.reader.read(name, 0, file.size)
        (self.folder / name).write_bytes(data)
        return data

    def _count(self, size: int) -> None:
        """Count bytes before they are asked for. TooManyBytesError: beyond `most`."""
        if self.asked + size > self.most:
            raise TooManyBytesError(
                f"{self.pinned.place}: {self.asked + size} bytes for a print, more than"
                f" {self.most}"
            )
        self.asked += size


def ranges(views: Mapping[Key, View]) -> list[Range]:
    """The bytes of the shards that a print takes, sorted, none twice."""
    wanted = set()
    blocks = [
        (views[slot.key], slot.first, slot.count) for slot in slots(views) if slot
    ]
    blocks += [(norm, 0, norm.rows * norm.cols) for norm in norms(views) if norm]
    for view, first, count in blocks:
        start, many = blocks_of(view.dtype, first, count)
        place = view.start + stored_size(view.dtype, start)
        wanted.add((view.shard, place, stored_size(view.dtype, many)))
        if view.scale_shard:
            rows = rows_of_scales(view, first, count)
            wanted.add((view.scale_shard, *bytes_of_scales(view, *rows)))
    return sorted(wanted)


def _called(views: Mapping[Key, View]) -> dict[Key, View]:
    return {key: replace(view, model=MODEL) for key, view in views.items()}


def _code(
    error: AuditError,
    names: Collection[str],
    gated: bool = False,
    kinds: tuple[str, ...] = (".safetensors", ".gguf"),
) -> str:
    """Why a model has no print. names: of its files. kinds: of those that were read."""
    if isinstance(error, TooManyBytesError):
        return "over_budget"
    if isinstance(error, UnknownLayoutError):
        return "unknown_layout"
    if isinstance(error, ModelFileError) and ADAPTER in names:
        return "adapter"
    if isinstance(error, ModelFileError):
        has_weights = any(name.endswith(kinds) for name in names)
        return "unreadable" if has_weights else "no_safetensors"
    return "gated" if gated else "unreachable"


def _state(folder: Path) -> str:
    """A digest of a folder's files: names, sizes and dates."""
    return _state_of(sorted(folder.iterdir()))


def _state_of(paths: Iterable[Path]) -> str:
    lines = []
    for path in paths:
        if path.is_file():
            about = path.stat()
            lines.append(f"{path.name} {about.st_size} {about.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()[:40]


def _merged(folder: Path) -> tuple[str, ...]:
    """The models that merge files in a folder name."""
    names = [name for merge in declared_merges(folder) for name in merge.models]
    return tuple(dict.fromkeys(names))


def _tokenizer(path: Path) -> tuple[str, ...]:
    """Both digests that the Hub may list of such a file."""
    if not path.is_file() or path.stat().st_size > MAX_HASHED_BYTES:
        return ()
    size = path.stat().st_size
    whole = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with open(path, "rb") as handle:
        while piece := handle.read(PIECE):
            whole.update(piece)
            git.update(piece)
    return f"sha256:{whole.hexdigest()}", f"git:{git.hexdigest()}"
