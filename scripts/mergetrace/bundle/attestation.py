"""What holds a bundle together: the sha256 of every file, listed twice, and the finding
as an in-toto statement about those files.

Listed in SHA256SUMS for everybody's `sha256sum --check`, and as subjects of
statement.json (https://in-toto.io/Statement/v1), which can be signed. Whoever changes
one byte anywhere changes a digest that two files hold, or one of the two, which the
other then contradicts.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mergetrace.errors import AuditError

STATEMENT = "statement.json"
SUMS = "SHA256SUMS"
SIGNATURE = "statement.json.sig"
TIMESTAMP = (  # empty; Snakemake leaves one in every folder that a rule makes
    ".snakemake_timestamp"
)
PREDICATE = "urn:mergetrace:finding:v1"


def digests(root: Path) -> dict[str, str]:
    """The sha256 of every file under `root` by its path there, sorted, but for the
    three that speak about the others and Snakemake's empty mark.

    AuditError for anything that is neither a file nor a folder: a link could point
    anywhere.
    """
    found = {}
    for path in _walk(root):
        name = path.relative_to(root).as_posix()
        if name in (STATEMENT, SUMS, SIGNATURE) or (
            name == TIMESTAMP and not path.stat().st_size
        ):
            continue
        with open(path, "rb") as handle:
            found[name] = hashlib.file_digest(handle, "sha256").hexdigest()
    return dict(sorted(found.items()))


def statement(root: Path, found: Mapping[str, str]) -> str:
    """The in-toto statement as JSON text, the same bytes for the same bundle: what was
    found, of which models.

    found: see `digests`. The predicate comes from verdict.json and
    models/*/manifest.json, so that it cannot say anything else than they do.
    """
    verdict = _read(root / "verdict.json")
    said = (
        "audit",
        "suspect",
        "verdict",
        "reasons",
        "parents",
        "base",
        "recipe",
        "read",
        "declared",
        "versions",
    )
    manifests = [
        _read(root / name)
        for name in found
        if re.fullmatch(r"models/[a-z0-9-]+/manifest\.json", name)
    ]
    models = {
        manifest["model"]: {"source": manifest["source"], "files": manifest["files"]}
        for manifest in manifests
    }
    predicate = {"finding": {key: verdict[key] for key in said}, "models": models}
    subjects = [
        {"name": name, "digest": {"sha256": digest}} for name, digest in found.items()
    ]
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": predicate,
    }
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def sums(found: Mapping[str, str], stated: str) -> str:
    """SHA256SUMS, as `sha256sum` writes it. stated: the statement's text, which is
    listed too.
    """
    listed = {**found, STATEMENT: hashlib.sha256(stated.encode()).hexdigest()}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(listed.items()))


def seal(root: Path) -> None:
    """Write statement.json and SHA256SUMS over everything that lies under `root`."""
    found = digests(root)
    stated = statement(root, found)
    (root / STATEMENT).write_text(stated, encoding="utf-8")
    (root / SUMS).write_text(sums(found, stated), encoding="utf-8")


def altered(root: Path) -> list[str]:
    """One phrase for every file of a bundle that is not as it was sealed: changed,
    missing, or not listed. Empty where all is well.

    AuditError where `root` is no bundle.
    """
    if not (root / SUMS).is_file() or not (root / STATEMENT).is_file():
        raise AuditError(
            f"{root}: no bundle of mergetrace ({SUMS} or {STATEMENT} is missing)"
        )
    found = digests(root)
    stated = (root / STATEMENT).read_bytes()
    listed = dict(
        line.split("  ", 1)[::-1]
        for line in (root / SUMS).read_text("utf-8", "replace").splitlines()
        if "  " in line
    )
    listed.pop(STATEMENT, None)
    subjects = _subjects(stated)
    problems = []
    for name in sorted(found.keys() | listed.keys() | subjects.keys()):
        sealed = {listed.get(name), subjects.get(name)}
        # Where only one of the two lists differs, that list was changed and not the
        # file.
        if found.get(name) not in sealed:
            problems.append(f"{name}: {_what_happened(name, found, sealed)}")
    if problems:
        return problems
    right = statement(root, found)
    if stated != right.encode():
        problems.append(f"{STATEMENT}: changed")
    if (root / SUMS).read_bytes() != sums(found, right).encode():
        problems.append(f"{SUMS}: changed")
    return problems


def _what_happened(name: str, found: Mapping[str, str], sealed: set[str | None]) -> str:
    """What became of a file. found: the digests of what is there. sealed: those that
    the two lists have of it.
    """
    if name not in found:
        return "missing"
    return "not part of what was sealed" if sealed == {None} else "changed"


def _subjects(stated: bytes) -> dict[str, str]:
    """The digests in a statement; none where it cannot be read."""
    try:
        return {
            str(subject["name"]): str(subject["digest"]["sha256"])
            for subject in json.loads(stated)["subject"]
        }
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AuditError(
            f"{path}: cannot be read ({error}); get the bundle again"
        ) from None


def _walk(root: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(root), key=lambda each: each.name):
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise AuditError(
                f"{entry.path}: neither a file nor a folder; a bundle holds nothing"
                " else"
            )
        if entry.is_dir():
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)
