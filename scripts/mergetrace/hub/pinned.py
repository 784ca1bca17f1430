"""A model on the Hugging Face Hub, pinned: what the repository holds at one commit,
found out in one request before anything is read.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from mergetrace.errors import ConfigurationError, NetworkError, TooManyBytesError
from mergetrace.files.further_templates import (
    FOLDER,
    choose_templates,
    keep_templates,
    listed_templates,
)
from mergetrace.files.safetensors_file import Model, assemble
from mergetrace.files.safetensors_header import Header, header_length, parse_header
from mergetrace.files.strict_json import shown
from mergetrace.files.weight_files import INDEX_NAME, MAX_INDEX_BYTES
from mergetrace.hub import answers
from mergetrace.hub.ranges import HOW_TO_GET_IN, Patience, RangeReader
from mergetrace.hub.waiting import requested_wait
from mergetrace.outputs import whole

MAX_FILES = 100_000  # of a repository
MAX_FILE_BYTES = 1 << 50
# bytes of a shard that are read first: most headers with fused experts fit in
FIRST_READ_BYTES = 1 << 16
MAX_ALL_HEADERS_BYTES = 1 << 30  # of a model
HUB_ATTEMPTS = 4  # where the Hub is busy; two where nothing answers
MAX_WAIT_S = 60.0  # between two attempts, whatever the Hub asks for
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
    """A file as the Hub lists it."""

    size: int  # bytes
    sha256: str | None  # where it is kept in large-file storage
    git_id: str | None  # the id of git's blob, where it is not

    @property
    def listed(self) -> str | None:
        """The hash that its bytes must have, made by `hasher`; None where the Hub lists
        none.
        """
        return self.sha256 or self.git_id

    def hasher(self) -> "hashlib._Hash":
        """A hash to be fed with the file's bytes: sha256, or git's."""
        if self.sha256 or not self.git_id:
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)


@dataclass(frozen=True)
class Pinned:
    """A repository at one commit."""

    repo: str  # owner/name
    revision: str  # the branch, tag or commit that was asked for
    commit: str  # the hash that it stood for
    private: bool
    gated: bool  # access must be asked for
    files: Mapping[str, RemoteFile]  # by path in the repository
    created: str | None = None  # when the repository was made, as the Hub says
    # since when its weights are there: `first`, `last`, `created` (see history)
    published: Mapping[str, str | None] | None = None
    remarks: Sequence[str] = ()  # sentences on these dates for the reader

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of its files, by path."""
        return {name: file.size for name, file in self.files.items()}

    @property
    def place(self) -> str:
        """Its name for messages."""
        return f"{self.repo}@{self.commit[:12]}"

    @property
    def source(self) -> dict[str, Any]:
        """The manifest's `source` as JSON (see manifest.Source)."""
        return {
            "path": None,
            "repo": self.repo,
            "revision": self.revision,
            "commit": self.commit,
            "private": self.private,
            "gated": self.gated,
        }

    def as_json(self) -> dict[str, Any]:
        """The whole as JSON, which `from_json` reads back."""
        return asdict(self)


def from_json(stated: Mapping[str, Any]) -> Pinned:
    """A repository as it was pinned. stated: of `Pinned.as_json`."""
    fields = dict(stated)
    fields["files"] = {
        name: RemoteFile(**file) for name, file in stated["files"].items()
    }
    if "published" not in stated:  # by an older version of this program
        fields["remarks"] = [
            f"{stated['repo']}: it was pinned before the Hub was asked for dates;"
            " `--forcerun pin` asks."
        ]
    return Pinned(**fields)


def pin(repo: str, revision: str) -> Pinned:
    """Resolve a revision to its commit and list the files there.

    The user's own token and endpoint are taken, from huggingface_hub's usual places.
    ConfigurationError where there is no such revision or repository, NetworkError where
    the Hub cannot be reached or gives no access.
    """
    label = f"{repo}@{revision}"
    try:
        said = patiently(lambda: answers.repository(repo, revision, files=True))
    except GatedRepoError:
        raise NetworkError(
            f"{label}: the repository is gated; {HOW_TO_GET_IN}"
        ) from None
    except RevisionNotFoundError:
        raise ConfigurationError(
            f"{label}: the repository has no such revision; name a branch, a tag or a"
            " commit that is there"
        ) from None
    except RepositoryNotFoundError:
        raise ConfigurationError(
            f"{label}: no such repository, or a private one; check the name, and"
            f" {HOW_TO_GET_IN}"
        ) from None
    except OfflineModeIsEnabled:
        raise NetworkError(
            f"{label}: HF_HUB_OFFLINE is set, and a model on the Hub needs the network;"
            " unset it, or give a local folder"
        ) from None
    except HfHubHTTPError as error:
        raise NetworkError(
            f"{label}: the Hub answers with status {error.response.status_code}; run"
            " again later"
        ) from None
    # the HTTP client's own errors, whichever client that is, and replies that are not
    # JSON
    except Exception as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise NetworkError(
            f"{label}: the Hub at {constants.ENDPOINT} cannot be reached or understood"
            f" ({why}); is there a network?"
        ) from None
    return checked(repo, revision, said)


def patiently(ask: Callable[[], Answer], attempts: int = HUB_ATTEMPTS) -> Answer:
    """The answer to one question to the Hub, which is asked again where the Hub is busy
    or does not answer. The last error is raised where that does not help. attempts:
    where a quota is used up; what fails is asked for HUB_ATTEMPTS times at most.
    """
    for attempt in range(1, attempts + 1):
        try:
            return ask()
        except OfflineModeIsEnabled:
            raise
        except HfHubHTTPError as error:
            status = error.response.status_code
            most = attempts if status == 429 else min(attempts, HUB_ATTEMPTS)
            if attempt >= most or (status != 429 and status < 500):
                raise
            asked = requested_wait(error.response.headers)
            time.sleep(min(MAX_WAIT_S, 2.0**attempt if asked is None else asked))
        except Exception:  # see pin
            if attempt == 2:
                raise
            time.sleep(1)
    raise AssertionError("the last attempt returns or raises")


def checked(repo: str, revision: str, said: Mapping[str, Any]) -> Pinned:
    """The Hub's answer as a pinned repository. NetworkError where it cannot be true."""
    commit = said.get("sha")
    listed = answers.objects(said, "siblings")
    if not _is_hex(commit, 40):
        raise NetworkError(
            f"{repo}@{revision}: the Hub names {shown(str(commit))}, which is not a"
            " commit hash"
        )
    if len(listed) > MAX_FILES:
        raise NetworkError(
            f"{repo}@{revision}: {len(listed)} files, more than any model needs; it"
            " is not read"
        )
    files: dict[str, RemoteFile] = {}
    for entry in listed:
        name = entry.get("rfilename")
        size = entry.get("size")
        if (
            not isinstance(name, str)
            or type(size) is not int
            or not 0 <= size <= MAX_FILE_BYTES
            or name in files
        ):
            raise NetworkError(
                f"{repo}@{revision}: the Hub lists {shown(str(name))} of"
                f" {shown(str(size))} bytes, which cannot be"
            )
        files[name] = _remote_file(entry, size)
    return Pinned(
        repo,
        revision,
        str(commit),
        bool(said.get("private")),
        bool(said.get("gated")),
        files,
        answers.created(said),
    )


def _remote_file(entry: Mapping[str, Any], size: int) -> RemoteFile:
    """A file with the hash that the Hub lists, where that can be one."""
    if not entry.get("lfs"):
        git_id = entry.get("blobId")
        return RemoteFile(size, None, git_id if _is_hex(git_id, 40) else None)
    sha256 = answers.within(entry, "lfs").get("sha256")
    return RemoteFile(size, sha256 if _is_hex(sha256, 64) else None, None)


def open_reader(
    source: Mapping[str, Any],
    sizes: Mapping[str, int],
    connections: int,
    patience: Patience,
) -> RangeReader:
    """A reader of a pinned repository.

    source: with `repo` and `commit` (see Pinned.source). sizes: of its files, in bytes.
    """
    if constants.HF_HUB_OFFLINE:
        raise NetworkError(
            f"{source['repo']}: HF_HUB_OFFLINE is set, and a model on the Hub needs the"
            " network; unset it, or give a local folder"
        )
    return RangeReader(
        constants.ENDPOINT.rstrip("/"),
        source["repo"],
        source["commit"],
        sizes,
        answers.headers(),
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
    """Fetch small files into the folder `target` (created) and check their hashes.

    names: of those that are wanted, where the repository has them. largest: the bytes
    of the largest one that is taken. Its further chat templates are fetched too, see
    mergetrace.files.further_templates.
    """
    target.mkdir(parents=True, exist_ok=True)
    further, left_out = choose_templates(listed_templates(pinned.sizes))
    templates = {f"{FOLDER}/{name}": b"" for name in further}
    small = [
        name
        for name in names
        if name in pinned.files and pinned.files[name].size <= largest
    ]
    ranges = [(name, 0, pinned.files[name].size) for name in [*small, *templates]]
    for (name, _, _), data in reader.read_many(ranges):
        check_hash(data, pinned.files[name], f"{pinned.place}/{name}")
        if name in templates:
            templates[name] = data
            continue
        with whole(target / name) as partial:
            partial.write_bytes(data)
    keep_templates(target, further, left_out, list(templates.values()))


def check_hash(data: bytes, file: RemoteFile, label: str) -> None:
    """NetworkError unless `data` has the hash that the Hub lists for the file."""
    digest = file.hasher()
    digest.update(data)
    if file.listed and digest.hexdigest() != file.listed:
        raise NetworkError(
            f"{label}: its hash is {digest.hexdigest()}, the Hub lists {file.listed};"
            " it was damaged on the way, run again"
        )


def read_remote_model(reader: RangeReader, pinned: Pinned, folder: Path) -> Model:
    """The weight files and their headers, of which nothing but headers is fetched (see
    safetensors_file.read_model).

    folder: where the small files are, the index of the shards among them.
    """
    index = None
    if INDEX_NAME in pinned.files:
        fetched = folder / INDEX_NAME
        if fetched.is_file():
            index = fetched.read_bytes()
        else:
            size = pinned.files[INDEX_NAME].size
            index = reader.read(INDEX_NAME, 0, min(size, MAX_INDEX_BYTES + 1))
    present = sorted(name for name in pinned.files if not name.startswith("."))
    return assemble(
        present,
        index,
        lambda shards: read_headers(reader, pinned, shards),
        pinned.place,
        UNPUBLISHED,
    )


def read_headers(
    reader: RangeReader,
    pinned: Pinned,
    shards: list[str],
    most: int | None = None,
) -> list[Header]:
    """The headers of the shards, in two rounds: their first bytes, then what was
    missing. most: bytes of all of them, by default MAX_ALL_HEADERS_BYTES.
    """
    place = pinned.place
    sizes = pinned.sizes
    ranges = [(shard, 0, min(FIRST_READ_BYTES, sizes[shard])) for shard in shards]
    first = {name: data for (name, _, _), data in reader.read_many(ranges)}
    ends = {
        shard: 8 + header_length(first[shard], sizes[shard], f"{place}/{shard}", BROKEN)
        for shard in shards
    }
    if sum(ends.values()) > (MAX_ALL_HEADERS_BYTES if most is None else most):
        raise TooManyBytesError(
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
