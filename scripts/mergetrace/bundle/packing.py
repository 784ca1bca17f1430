"""The evidence bundle: everything a stranger needs to check a finding after the models
are gone, and nothing that is nobody's business.
"""

import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mergetrace.bundle.attestation import seal
from mergetrace.bundle.contents import (
    CARD,
    FINDINGS,
    MAX_CARD_BYTES,
    OPTIONAL,
    TABLES,
    VERIFY,
    verifier,
)
from mergetrace.outputs import read_json, write_json
from mergetrace.readable import shown_path
from mergetrace.records.csv_tables import read_csv_table
from mergetrace.running.dependencies import Programs

SLICE_COLUMNS = [
    "slice_id",
    "tensor",
    "slice",
    "layer",
    "component",
    "elements",
    "cols",
    "dimensions",
    "weight",
]
"""The columns of tables/slices.csv."""

ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can say: the same bundle is the same bytes whenever it is
made.
"""

LIBRARY = Path(__file__).parents[1]
"""The package mergetrace: the bundle takes what checks it along."""


def write_bundle(
    root: Path,
    results: Path,
    audit: str,
    models: Sequence[str],
    configuration: Mapping[str, Any],
    prompts: Path | None,
    lock: Path,
) -> None:
    """Fill the empty folder `root` with the bundle of one audit that lies under
    `results`, and seal it.

    configuration: see configuration.published. prompts: what was asked, None where
    nobody asked. lock: the lock file.
    """
    folder = results / audit
    optional = [name for name in OPTIONAL if (folder / name).is_file()]
    for name in (*FINDINGS, *optional):
        _copy(folder / name, root / name)
    _hide_paths(root / "plan.json", _plan_sources)
    write_json(root / "configuration.json", configuration)
    _copy(lock, root / "requirements.lock")
    batches = read_json(folder / "layout.json")["batches"]
    _tables(root / "tables", folder, batches)
    for batch in batches:
        _evidence(root, folder, batch)
    for model in models:
        _model(root / f"models/{model}", results / f"models/{model}")
    if prompts is not None:
        _copy(prompts, root / "probe/prompts.jsonl")
        conditions = configuration["probe"]["conditions"]
        _answers(root / "probe", results, audit, models, conditions)
    _library(root)
    _readme(root, audit)
    seal(root)


def write_archive(root: Path, archive: Path, name: str) -> None:
    """Everything under `root` as one zip file, in a folder `name` there; stored and not
    compressed, so that no library shows in the bytes.
    """
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(
                f"{name}/{path.relative_to(root).as_posix()}", ZIP_TIME
            )
            entry.external_attr = 0o100644 << 16
            with (
                open(path, "rb") as source,
                target.open(entry, "w", force_zip64=True) as sink,
            ):
                shutil.copyfileobj(source, sink, 1 << 20)


def _evidence(root: Path, folder: Path, batch: str) -> None:
    """The kept elements of one batch of layers, and its sums as arrays that need no
    further library.
    """
    evidence = f"evidence/{batch}.safetensors"
    _copy(folder / evidence, root / evidence)
    sums = pd.read_parquet(folder / f"deltas/{batch}.parquet")
    columns: dict[str, Any] = {name: _column(sums[name]) for name in sums.columns}
    (root / "deltas").mkdir(exist_ok=True)
    np.savez_compressed(root / f"deltas/{batch}.npz", **columns)


def _library(root: Path) -> None:
    """What checks the bundle: verify.py beside the modules that it imports."""
    for module in verifier(Programs(LIBRARY.parent, [LIBRARY.name])):
        target = "verify.py" if module == VERIFY else module
        _copy(LIBRARY.parent / module, root / target)


def _readme(root: Path, audit: str) -> None:
    """README.md: what the bundle holds, and how it is checked."""
    text = Template((LIBRARY / "templates/bundle.md").read_text(encoding="utf-8"))
    verdict = read_json(root / "verdict.json")
    words = {
        "audit": audit,
        "suspect": verdict["suspect"],
        "verdict": verdict["verdict"],
        "version": verdict["versions"]["mergetrace"],
    }
    (root / "README.md").write_text(text.substitute(words), encoding="utf-8")


def _tables(target: Path, folder: Path, batches: list[str]) -> None:
    """The tables as CSV, for everybody, and as Parquet, typed; slices.csv says which
    slice an id is.
    """
    target.mkdir()
    for name in TABLES:
        _copy(folder / f"{name}.csv", target / f"{name}.csv")
        table = read_csv_table(folder / f"{name}.csv")
        table.to_parquet(target / f"{name}.parquet", index=False)
    for name in ("plan", "recipe_slices"):
        _copy(folder / f"{name}.parquet", target / f"{name}.parquet")
    views = pd.read_parquet(folder / "plan.parquet", columns=SLICE_COLUMNS)
    slices = views.drop_duplicates("slice_id")
    slices.to_csv(target / "slices.csv", index=False)
    fits = [pd.read_parquet(folder / f"fits/{batch}.parquet") for batch in batches]
    pd.concat(fits, ignore_index=True).to_parquet(target / "fits.parquet", index=False)


def _model(target: Path, source: Path) -> None:
    """What is known of one model: its manifest, its template taken apart, the small
    files that the finding quotes.
    """
    _copy(source / "manifest.json", target / "manifest.json")
    _hide_paths(target / "manifest.json", _manifest_sources)
    if (source / "template.json").is_file():
        _copy(source / "template.json", target / "template.json")
    for name in CARD:
        file = source / "files" / name
        if file.is_file() and file.stat().st_size <= MAX_CARD_BYTES:
            _copy(file, target / "files" / name)


def _answers(
    target: Path,
    results: Path,
    audit: str,
    models: Sequence[str],
    conditions: Sequence[str],
) -> None:
    """Every answer, and the tables counted in them."""
    for model in models:
        for condition in conditions:
            _copy(
                results / f"probe/{model}/{condition}.jsonl",
                target / f"{model}/{condition}.jsonl",
            )
    for path in sorted((results / audit / "probe").iterdir()):
        if path.suffix in (".csv", ".json"):
            _copy(path, target / path.name)


def _hide_paths(file: Path, sources: Callable[[Any], Iterable[dict[str, Any]]]) -> None:
    """Cut the local paths of the `sources` in a JSON file to what may be shown."""
    value = read_json(file)
    for source in sources(value):
        if source.get("path"):
            source["path"] = shown_path(source["path"])
    write_json(file, value)


def _plan_sources(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(plan["models"].values())


def _manifest_sources(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [manifest["source"]]


def _column(values: pd.Series) -> NDArray[Any]:
    """A column as an array that loads without pickle."""
    if pd.api.types.is_string_dtype(values.dtype):
        return values.to_numpy(str)
    return values.to_numpy()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
