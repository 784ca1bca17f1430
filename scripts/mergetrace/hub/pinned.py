"""A model on the Hugging Face Hub, pinned: what the repository holds at one commit,
found out in one request before anything is read.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers

from mergetrace import __version__
from mergetrace.errors import AuditError
from mergetrace.files.further_templates import (
    FOLDER,
    choose_templates,
    keep_templates,
    listed_templates,
)
from mergetrace.files.safetensors_file import (
    Header,
    Model,
    assemble,
    header_length,
    parse_header,
)
from mergetrace.files.strict_json import shown
from mergetrace.files.weight_files import INDEX_NAME, MAX_INDEX_BYTES
from mergetrace.hub.ranges import HOW_TO_GET_IN, Patience, RangeReader
from mergetrace.outputs import whole

MAX_FILES = 100_000
MAX_SIZE = 1 << 50  # bytes of one file
FIRST_READ = (
    1 << 16
)  # bytes of a shard: holds the header of most shards with fused experts
MAX_HEADERS = 1 << 30  # bytes of all headers of a model together
ATTEMPTS = 4
Answer = TypeVar("Answer")
BROKEN = (
    "the file is so on the Hub; only its publisher can mend it, or another revision is"
    " whole"
)
UNPUBLISHED = (
    "the repository does not list them, so only its publisher can add them; name"
    " another revision if one has them"
)


@dataclass(frozen=True)
class RemoteFile:
    """A file as the Hub lists it: bytes, and its sha256 where it is kept in large-file
    storage, else git's id.
    """

    size: int
    sha256: str | None
    git_id: str | None

    @property
    def listed(self) -> str | None:
        """The hash that its bytes must have, as `hasher` makes it; None where the Hub
        lists none.
        """
        return self.sha256 or self.git_id

    def hasher(self) -> "hashlib._Hash":
        """A hash to be fed with the file's bytes: sha256, or git's."""
        return (
            hashlib.sha256()
            if self.sha256 or not self.git_id
            else hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        )


@dataclass(frozen=True)
class Pinned:
    """A repository at one commit."""

    repo: str
    revision: str
    commit: str
    private: bool
    gated: bool
    files: Mapping[str, RemoteFile]
    created: str | None = None  # when the repository was made, as the Hub says
    published: Mapping[str, str | None] | None = (
        None  # since when its weights are there (see history)
    )
    remarks: Sequence[str] = ()  # what must be said of that

    @property
    def sizes(self) -> dict[str, int]:
        return {name: file.size for name, file in self.files.items()}

    @property
    def place(self) -> str:
        """Its name for messages."""
        return f"{self.repo}@{self.commit[:12]}"

    @property
    def source(self) -> dict[str, Any]:
        """The manifest's `source`."""
        return {"path": None} | {
            key: getattr(self, key)
            for key in ("repo", "revision", "commit", "private", "gated")
        }

    def as_json(self) -> dict[str, Any]:
        """All of it; `from_json` reads it back."""
        return asdict(self)


def from_json(stated: Mapping[str, Any]) -> Pinned:
    """A repository as it was pinned."""
    if "published" not in stated:  # by an older version of this program
        stated = {
            **stated,
            "remarks": [
                f"{stated['repo']}: it was pinned before the Hub was asked for dates;"
                " `--forcerun pin` asks."
            ],
        }
    return Pinned(
        **{
            **stated,
            "files": {
                name: RemoteFile(**file) for name, file in stated["files"].items()
            },
        }
    )


def pin(repo: str, revision: str) -> Pinned:
    """Resolve a revision to its commit and list the files there, with the user's own
    token and endpoint (huggingface_hub's usual places).
    """
    label = f"{repo}@{revision}"
    try:
        info = patiently(
            lambda: client().model_info(
                repo, revision=revision, files_metadata=True, timeout=60
            )
        )
    except GatedRepoError:
        raise AuditError(f"{label}: the repository is gated; {HOW_TO_GET_IN}") from None
    except RevisionNotFoundError:
        raise AuditError(
            f"{label}: the repository has no such revision; name a branch, a tag or a"
            " commit that is there"
        ) from None
    except RepositoryNotFoundError:
        raise AuditError(
            f"{label}: no such repository, or a private one; check the name, and"
            f" {HOW_TO_GET_IN}"
        ) from None
    except OfflineModeIsEnabled:
        raise AuditError(
            f"{label}: HF_HUB_OFFLINE is set, and a model on the Hub needs the network;"
            " unset it, or give a local folder"
        ) from None
    except HfHubHTTPError as error:
        raise AuditError(
            f"{label}: the Hub answers with status {error.response.status_code}; run"
            " again later"
        ) from None
    # its HTTP client's own errors, whichever client that is, and replies that are no
    # JSON
    except Exception as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise AuditError(
            f"{label}: the Hub at {constants.ENDPOINT} cannot be reached or understood"
            f" ({why}); is there a network?"
        ) from None
    return _checked(repo, revision, info)


def client() -> HfApi:
    """The Hub's own client, with the user's token and endpoint."""
    return HfApi(library_name="mergetrace", library_version=__version__)


def patiently(ask: Callable[[], Answer]) -> Answer:
    """What the Hub answers; it is asked again where it is busy or does not answer, and
    the last error goes on where that does not help.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except OfflineModeIsEnabled:
            raise
        except HfHubHTTPError as error:
            status = error.response.status_code
            if attempt == ATTEMPTS or (status != 429 and status < 500):
                raise
            asked = error.response.headers.get("retry-after", "")
            time.sleep(
                min(60.0, float(asked))
                if asked.replace(".", "", 1).isdigit()
                else 2.0**attempt
            )
        except Exception:  # see pin
            if attempt == 2:
                raise
            time.sleep(1)
    raise AssertionError("the last attempt returns or raises")


def _checked(repo: str, revision: str, info: Any) -> Pinned:
    """What the Hub said, believed only where it can be true."""
    commit = info.sha
    siblings = info.siblings or []
    if not _is_hex(commit, 40):
        raise AuditError(
            f"{repo}@{revision}: the Hub names {shown(str(commit))} as its commit,"
            " which is none"
        )
    if len(siblings) > MAX_FILES:
        raise AuditError(
            f"{repo}@{revision}: {len(siblings)} files, more than any model needs; it"
            " is not read"
        )
    files = {}
    for entry in siblings:
        name = entry.rfilename
        size = entry.size
        lfs = entry.lfs
        if (
            not isinstance(name, str)
            or type(size) is not int
            or not 0 <= size <= MAX_SIZE
            or name in files
        ):
            raise AuditError(
                f"{repo}@{revision}: the Hub lists {shown(str(name))} of"
                f" {shown(str(size))} bytes, which cannot be"
            )
        sha256 = lfs.sha256 if lfs is not None and _is_hex(lfs.sha256, 64) else None
        files[name] = RemoteFile(
            size,
            sha256,
            entry.blob_id if lfs is None and _is_hex(entry.blob_id, 40) else None,
        )
    created = info.created_at.isoformat() if info.created_at else None
    return Pinned(
        repo, revision, commit, bool(info.private), bool(info.gated), files, created
    )


def open_reader(
    source: Mapping[str, Any],
    sizes: Mapping[str, int],
    connections: int,
    patience: Patience,
) -> RangeReader:
    """A reader of a pinned repository. source: repo and commit (a manifest's `source`).
    sizes: of its files, in bytes.
    """
    if constants.HF_HUB_OFFLINE:
        raise AuditError(
            f"{source['repo']}: HF_HUB_OFFLINE is set, and a model on the Hub needs the"
            " network; unset it, or give a local folder"
        )
    headers = build_hf_headers(library_name="mergetrace", library_version=__version__)
    return RangeReader(
        constants.ENDPOINT.rstrip("/"),
        source["repo"],
        source["commit"],
        sizes,
        headers,
        connections,
        patience,
    )


def fetch_small_files(
    reader: RangeReader,
    pinned: Pinned,
    names: tuple[str, ...],
    largest: int,
    target: Path,
) -> None:
    """Fetch the named files that the repository has and that are no larger than
    `largest` into `target` (created), hashes checked.

    Its further chat templates too: see mergetrace.files.further_templates.
    """
    target.mkdir(parents=True, exist_ok=True)
    further, left_out = choose_templates(listed_templates(pinned.sizes))
    templates = {f"{FOLDER}/{name}": b"" for name in further}
    small = [
        name
        for name in names
        if name in pinned.files and pinned.files[name].size <= largest
    ]
    for (name, _, _), data in reader.read_many(
        [(name, 0, pinned.files[name].size) for name in [*small, *templates]]
    ):
        check_hash(data, pinned.files[name], f"{pinned.place}/{name}")
        if name in templates:
            templates[name] = data
            continue
        with whole(target / name) as partial:
            partial.write_bytes(data)
    keep_templates(target, further, left_out, list(templates.values()))


def check_hash(data: bytes, file: RemoteFile, label: str) -> None:
    """AuditError unless `data` has the sha256 or the git id the Hub lists."""
    digest = file.hasher()
    digest.update(data)
    if file.listed and digest.hexdigest() != file.listed:
        raise AuditError(
            f"{label}: its hash is {digest.hexdigest()}, the Hub lists {file.listed};"
            " it was damaged on the way, run again"
        )


def read_remote_model(reader: RangeReader, pinned: Pinned, folder: Path) -> Model:
    """The weight files and their headers (see safetensors_file.read_model), of which
    nothing but headers is fetched.

    folder: where the small files are, the shard index among them.
    """
    index = None
    if INDEX_NAME in pinned.files:
        kept = folder / INDEX_NAME
        wanted = min(pinned.files[INDEX_NAME].size, MAX_INDEX_BYTES + 1)
        index = (
            kept.read_bytes() if kept.is_file() else reader.read(INDEX_NAME, 0, wanted)
        )
    present = sorted(name for name in pinned.files if not name.startswith("."))
    return assemble(
        present,
        index,
        lambda shards: _headers(reader, pinned, shards, pinned.place),
        pinned.place,
        UNPUBLISHED,
    )


def _headers(
    reader: RangeReader, pinned: Pinned, shards: list[str], place: str
) -> list[Header]:
    sizes = pinned.sizes
    first = {
        name: data
        for (name, _, _), data in reader.read_many(
            [(shard, 0, min(FIRST_READ, sizes[shard])) for shard in shards]
        )
    }
    ends = {
        shard: 8 + header_length(first[shard], sizes[shard], f"{place}/{shard}", BROKEN)
        for shard in shards
    }
    if sum(ends.values()) > MAX_HEADERS:
        raise AuditError(
            f"{place}: headers of {sum(ends.values())} bytes, more than any model"
            " needs; they are not read"
        )
    missing = [
        (shard, len(first[shard]), end - len(first[shard]))
        for shard, end in ends.items()
        if end > len(first[shard])
    ]
    for (name, _, _), data in reader.read_many(missing):
        first[name] += data
    return [
        parse_header(first[shard], sizes[shard], f"{place}/{shard}", BROKEN)
        for shard in shards
    ]


def _is_hex(value: Any, length: int) -> bool:
    return (
        isinstance(value, str)
        and len(value) == length
        and set(value) <= set("0123456789abcdef")
    )
