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
TIMESTAMP = ".snakemake_timestamp"
"""Snakemake leaves this file, which is empty, in every folder that a rule makes."""
PREDICATE = "urn:mergetrace:finding:v1"
"""The type of what the statement says."""
FINDING_KEYS = (
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
"""The keys of verdict.json that the statement repeats."""

Digests = Mapping[str, str]
"""By path below the bundle's folder the sha256 of a file."""


def digests(root: Path) -> dict[str, str]:
    """The sha256 of every file under `root`, by path there, sorted; without the three
    files that speak about the others and Snakemake's empty mark.

    AuditError for anything that is neither a file nor a folder: a link could point
    anywhere.
    """
    by_name = {}
    for path in _walk(root):
        name = path.relative_to(root).as_posix()
        empty_mark = name == TIMESTAMP and not path.stat().st_size
        if name in (STATEMENT, SUMS, SIGNATURE) or empty_mark:
            continue
        with open(path, "rb") as handle:
            by_name[name] = hashlib.file_digest(handle, "sha256").hexdigest()
    return dict(sorted(by_name.items()))


def statement(root: Path, files: Digests) -> str:
    """The in-toto statement as JSON text, the same bytes for the same bundle: what was
    found, of which models.

    files: see `digests`. The predicate comes from verdict.json and
    models/*/manifest.json, so that it cannot say anything else than they do.
    """
    verdict = _read_json(root / "verdict.json")
    manifests = [
        _read_json(root / name)
        for name in files
        if re.fullmatch(r"models/[a-z0-9-]+/manifest\.json", name)
    ]
    models = {
        manifest["model"]: {"source": manifest["source"], "files": manifest["files"]}
        for manifest in manifests
    }
    finding = {key: verdict[key] for key in FINDING_KEYS}
    subjects = [
        {"name": name, "digest": {"sha256": digest}} for name, digest in files.items()
    ]
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {"finding": finding, "models": models},
    }
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def sums(files: Digests, statement_text: str) -> str:
    """SHA256SUMS, as `sha256sum` writes it, of the files and of the statement."""
    of_statement = hashlib.sha256(statement_text.encode()).hexdigest()
    listed = {**files, STATEMENT: of_statement}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(listed.items()))


def seal(root: Path) -> None:
    """Write statement.json and SHA256SUMS over everything that lies under `root`."""
    files = digests(root)
    text = statement(root, files)
    (root / STATEMENT).write_text(text, encoding="utf-8")
    (root / SUMS).write_text(sums(files, text), encoding="utf-8")


def altered(root: Path) -> list[str]:
    """One phrase for every file of a bundle that is not as it was sealed: changed,
    missing, or not listed. Empty where all is well.

    AuditError where `root` is no bundle.
    """
    if not (root / SUMS).is_file() or not (root / STATEMENT).is_file():
        raise AuditError(
            f"{root}: no bundle of mergetrace ({SUMS} or {STATEMENT} is missing)"
        )
    files = digests(root)
    listed = _listed(root)
    subjects = _subjects(root)
    problems = []
    for name in sorted(files.keys() | listed.keys() | subjects.keys()):
        sealed = {listed.get(name), subjects.get(name)}
        # Where only one of the two lists differs, that list was changed and not the
        # file.
        if files.get(name) not in sealed:
            problems.append(f"{name}: {_what_happened(name, files, sealed)}")
    if problems:
        return problems
    text = statement(root, files)
    if (root / STATEMENT).read_bytes() != text.encode():
        problems.append(f"{STATEMENT}: changed")
    if (root / SUMS).read_bytes() != sums(files, text).encode():
        problems.append(f"{SUMS}: changed")
    return problems


def _what_happened(name: str, files: Digests, sealed: set[str | None]) -> str:
    """What became of a file. files: the digests of what is there. sealed: those that
    the two lists have of it.
    """
    if name not in files:
        return "missing"
    return "not part of what was sealed" if sealed == {None} else "changed"


def _listed(root: Path) -> dict[str, str]:
    """The digests in SHA256SUMS, without the statement's."""
    by_name = {}
    for line in (root / SUMS).read_text("utf-8", "replace").splitlines():
        digest, separator, name = line.partition("  ")
        if separator:
            by_name[name] = digest
    by_name.pop(STATEMENT, None)
    return by_name


def _subjects(root: Path) -> dict[str, str]:
    """The digests in the statement; none where it cannot be read."""
    try:
        subjects = json.loads((root / STATEMENT).read_bytes())["subject"]
        return {
            str(subject["name"]): str(subject["digest"]["sha256"])
            for subject in subjects
        }
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AuditError(
            f"{path}: cannot be read ({error}); get the bundle again"
        ) from None


def _walk(root: Path) -> Iterator[Path]:
    """Every file under a folder."""
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
