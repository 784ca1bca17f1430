"""How much of each weight file was read, and whether its hash is known to be the
published one: never said to be more than it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mergetrace.files.adapter_files import WEIGHTS_NAME
from mergetrace.records.manifest import FetchedFile, Manifests, from_hub

VERIFIED = "full hash verified"
SAMPLED = "sampled"
NO_HASH = "read, no published hash"
NOT_READ = "not read"


@dataclass(frozen=True)
class FilesRead:
    """What was done with the weight files."""

    full_hash_verified: bool
    """Whether every weight file that was read has the published hash."""
    files: Mapping[str, Mapping[str, str]]
    """By model and weight file VERIFIED, SAMPLED, NO_HASH or NOT_READ."""


def files_read(
    mode: str,
    manifests: Manifests,
    fetched: Iterable[FetchedFile],
) -> FilesRead:
    """What was done with the weight files of these models.

    mode: `sample` or `full`. manifests: by model. fetched: of every file that was
    fetched whole its model, name and published hash (None where there is none).
    """
    hashes = {(record["model"], record["file"]): record["hash"] for record in fetched}
    files: dict[str, dict[str, str]] = {}
    for model, manifest in manifests.items():
        local = not from_hub(manifest)
        is_adapter = manifest["source"].get("base") is not None
        names = sorted(
            file["name"]
            for file in manifest["files"]
            if file["name"].endswith((".safetensors", ".gguf"))
        )
        for name in names:
            if is_adapter and name == WEIGHTS_NAME:
                state = VERIFIED if manifest["source"]["repo"] else NO_HASH
            elif mode == "sample":
                state = SAMPLED
            elif local:
                state = NO_HASH
            elif (model, name) not in hashes:
                state = NOT_READ
            else:
                state = VERIFIED if hashes[model, name] else NO_HASH
            files.setdefault(model, {})[name] = state
    states = {state for by_name in files.values() for state in by_name.values()}
    return FilesRead(states - {NOT_READ} == {VERIFIED}, files)
