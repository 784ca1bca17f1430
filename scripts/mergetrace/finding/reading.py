"""How much of each weight file was read, and whether its hash is known to be the
published one: never said to be more than it was.
"""

from collections.abc import Iterable, Mapping
from typing import Any

VERIFIED = "full hash verified"
SAMPLED = "sampled"
NO_HASH = "read, no published hash"
NOT_READ = "not read"


def files_read(
    mode: str,
    manifests: Mapping[str, Mapping[str, Any]],
    fetched: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """`full_hash_verified`: whether every weight file that was read was verified;
    `files`: by model and weight file, what was done with it.

    manifests: by model. fetched: of every file that was fetched whole its model, name
    and published hash (null where there is none).
    """
    hashes = {(record["model"], record["file"]): record["hash"] for record in fetched}
    files: dict[str, dict[str, str]] = {}
    for model, manifest in manifests.items():
        local = manifest["source"]["repo"] is None
        for name in sorted(
            file["name"]
            for file in manifest["files"]
            if file["name"].endswith(".safetensors")
        ):
            if mode == "sample":
                state = SAMPLED
            elif local:
                state = NO_HASH
            else:
                state = (
                    NOT_READ
                    if (model, name) not in hashes
                    else VERIFIED
                    if hashes[model, name]
                    else NO_HASH
                )
            files.setdefault(model, {})[name] = state
    states = {state for listed in files.values() for state in listed.values()} - {
        NOT_READ
    }
    return {"full_hash_verified": states == {VERIFIED}, "files": files}
