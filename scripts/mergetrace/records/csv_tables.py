"""Our CSV tables, read as they were written."""

from pathlib import Path

import pandas as pd

TEXT_COLUMNS = dict.fromkeys(
    (
        "layer",
        "slice",
        "component",
        "tensor",
        "model",
        "reason",
        "status",
        "identity",
        "phrase",
        "group",
    ),
    str,
)
"""Columns that hold text, even where all of it reads like numbers."""


def read_csv_table(path: Path) -> pd.DataFrame:
    """One of our tables. Only an empty field is missing: a tensor may well be called
    NaN.
    """
    return pd.read_csv(path, dtype=TEXT_COLUMNS, keep_default_na=False, na_values=[""])
