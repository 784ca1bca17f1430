"""Chat templates beside the default one, as transformers keeps them:
`additional_chat_templates/NAME.jinja`.

They are kept under numbers: a name that a stranger gave is text in NAMES and never a
path.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mergetrace.outputs import whole, write_json

FOLDER = "additional_chat_templates"
NAMES = "names.json"
PLAIN_NAME = r"[^./\\\0][^/\\\0]*"  # of a file that is asked for on the Hub
MOST = 16  # templates kept of one model
# of one; what is longer than the renderer takes is refused there, with the reason
MAX_BYTES = 4_000_000
MAX_NAMES_LOOKED_AT = 10_000  # names looked at


def copy_templates(folder: Path, target: Path) -> None:
    """Copy the further templates of a model folder into `target`, which is there."""
    try:
        with os.scandir(folder / FOLDER) as listed:
            entries = [
                entry
                for entry, _ in zip(listed, range(MAX_NAMES_LOOKED_AT), strict=False)
            ]
            sizes = {
                entry.name: entry.stat().st_size
                for entry in entries
                if _is_template(entry.name) and entry.is_file()
            }
    except OSError:  # none, or one that may not be read
        return
    kept, left_out = choose_templates(sizes)
    texts = []
    for name in kept:
        with (folder / FOLDER / name).open("rb") as handle:
            texts.append(handle.read(MAX_BYTES))
    keep_templates(target, kept, left_out, texts)


def listed_templates(sizes: Mapping[str, int]) -> dict[str, int]:
    """Those of a repository's files that are further templates, by their names in
    FOLDER, with their sizes.

    Of one whose name is not asked for the size is more than is kept.
    """
    within = f"{FOLDER}/"
    inside = {
        name.removeprefix(within): size
        for name, size in sizes.items()
        if name.startswith(within) and _is_template(name)
    }
    return {
        name: size if re.fullmatch(PLAIN_NAME, name) else MAX_BYTES + 1
        for name, size in inside.items()
    }


def choose_templates(sizes: Mapping[str, int]) -> tuple[list[str], int]:
    """Those that are kept, the first by name that are not too large, and how many there
    are beside.
    """
    kept = sorted(name for name, size in sizes.items() if size <= MAX_BYTES)[:MOST]
    return kept, len(sizes) - len(kept)


def keep_templates(
    target: Path, names: Sequence[str], left_out: int, texts: Sequence[bytes]
) -> None:
    """Write templates into `target`, numbered in this order, and what they are called;
    nothing where there are none.
    """
    if not names and not left_out:
        return
    for number, text in enumerate(texts):
        with whole(target / FOLDER / f"{number:03}.jinja") as partial:
            partial.write_bytes(text)
    plain = [name.encode("utf-8", "replace").decode() for name in names]
    write_json(target / FOLDER / NAMES, {"names": plain, "left_out": left_out})


def _is_template(name: str) -> bool:
    return name.endswith(".jinja")
