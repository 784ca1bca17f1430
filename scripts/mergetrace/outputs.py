"""Outputs that appear whole or not at all: written beside the target, fsynced, renamed."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergetrace.errors import ConfigurationError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What a full disk, or a used-up quota, answers."""

# The Snakefile uses this module too, and every job of a cluster starts Snakemake twice:
# nothing heavy is imported here.
if TYPE_CHECKING:
    import pandas as pd


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is fsynced and renamed to
    `path`, on any error removed.

    A reader, a killed job or a full disk therefore never leaves half a file under the
    final name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with open(partial, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, path)
    except OSError as error:
        _name_target(error, path)
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; on success its files are fsynced and it
    is renamed to `folder`, on any error removed.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(
            f"{folder} exists already; remove it or name another output"
        )
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in partial.rglob("*"):
            if path.is_file():
                with open(path, "rb+") as handle:
                    os.fsync(handle.fileno())
        os.replace(partial, folder)
    except OSError as error:
        _name_target(error, folder)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _name_target(error: OSError, path: Path) -> None:
    """Make the error of a full disk name the output that was being written: a write
    that fails does not know its file, and the temporary name means nothing to anybody.
    """
    if error.errno in NO_ROOM:
        error.filename = str(path)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. ValueError for NaN: a
    missing number is null with a reason.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read one of our own JSON files."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_yaml(path: str | Path) -> Any:
    """Read one of our own YAML files, with libyaml where PyYAML has it: our schema
    takes it a tenth of the time.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(Path(path).read_text(encoding="utf-8"), loader)


def write_parquet(path: str | Path, table: "pd.DataFrame") -> None:
    """Write `table` as Parquet without its index, whole or not at all."""
    with whole(path) as partial:
        table.to_parquet(partial, index=False)
