"""Every slice's numbers, small enough to travel inside the page: what drilldown.js
searches, sorts and filters.
"""

import base64
import json
import zlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mergetrace.readable import visible

STEPS_PER_ONE = {
    "alpha": 1e4,
    "alpha_se": 1e5,
    "cos_fit": 1e5,
    "cos_expected": 1e5,
    "coverage": 1e5,
    "bit_exact_rate": 1e6,
}
"""Steps per one that a number is kept in."""
RATES = ("coverage", "bit_exact_rate")
"""Numbers that are cut and not rounded: what is not all never reads 100 %."""
WORD_LISTS = {"layer": "layers", "component": "components", "status": "states"}
"""By column of words, what the list of its words is called."""
LONGEST_NAME = 200
"""Characters of a name."""


def encode(tensors: pd.DataFrame) -> str:
    """tensors.csv as base64 of zlib-compressed JSON: columns of whole numbers (null
    where there is none) and words, by name.

    `layer`, `component` and `status` are places in lists of words. 100,000 slices take
    about a megabyte.
    """
    parts = zip(tensors["tensor"], tensors["slice"], strict=True)
    columns: dict[str, Any] = {"name": [_name(tensor, part) for tensor, part in parts]}
    for name, list_name in WORD_LISTS.items():
        codes, words = pd.factorize(tensors[name].astype(str))
        columns[name] = codes.tolist()
        columns[list_name] = [visible(word, LONGEST_NAME) for word in words]
    columns["elements"] = tensors["elements"].tolist()
    columns["votes"] = tensors["votes"].astype(int).tolist()
    for name, unit in STEPS_PER_ONE.items():
        values = tensors[name].to_numpy(float)
        columns[name] = _steps(values, unit, cut=name in RATES)
    text = json.dumps(
        {"units": STEPS_PER_ONE, **columns},
        ensure_ascii=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _name(tensor: str, part: object) -> str:
    name = visible(tensor, LONGEST_NAME)
    return f"{name} [{part}]" if isinstance(part, str) and part else name


def _steps(values: NDArray[np.float64], unit: float, cut: bool) -> list[int | None]:
    """Each value as a whole number of steps."""
    scaled = values * unit
    # 1 - 1e-16, the sum of exact parts, is still all
    steps = np.floor(scaled + 1e-6) if cut else np.rint(scaled)
    return [int(step) if np.isfinite(step) else None for step in steps]
