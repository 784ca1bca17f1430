"""Every slice's numbers, small enough to travel inside the page: what drilldown.js
searches, sorts and filters.
"""

import base64
import json
import zlib
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.readable import visible

UNITS = {
    "alpha": 1e4,
    "alpha_se": 1e5,
    "cos_fit": 1e5,
    "cos_expected": 1e5,
    "coverage": 1e5,
    "bit_exact_rate": 1e6,
}
"""Steps per one that a number is kept in. Rates are cut and not rounded: what is not
all never reads 100 %.
"""
WORDS = {"layer": "layers", "component": "components", "status": "states"}
LONGEST = 200  # characters of a name


def encode(tensors: pd.DataFrame) -> str:
    """tensors.csv as base64 of zlib-compressed JSON: columns of whole numbers (null
    where there is none) and words, by name.

    `layer`, `component` and `status` are places in lists of words. 100,000 slices take
    about a megabyte.
    """
    columns: dict[str, Any] = {
        "name": [
            _name(tensor, part)
            for tensor, part in zip(tensors["tensor"], tensors["slice"], strict=True)
        ]
    }
    for name, listed in WORDS.items():
        codes, words = pd.factorize(tensors[name].astype(str))
        columns[name] = codes.tolist()
        columns[listed] = [visible(word, LONGEST) for word in words]
    columns["elements"] = tensors["elements"].tolist()
    columns["votes"] = tensors["votes"].astype(int).tolist()
    for name, unit in UNITS.items():
        columns[name] = _whole(
            tensors[name].to_numpy(float),
            unit,
            cut=name in ("coverage", "bit_exact_rate"),
        )
    text = json.dumps(
        {"units": UNITS, **columns},
        ensure_ascii=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _name(tensor: str, part: object) -> str:
    return visible(tensor, LONGEST) + (
        f" [{part}]" if isinstance(part, str) and part else ""
    )


def _whole(values: np.ndarray, unit: float, cut: bool) -> list[int | None]:
    scaled = values * unit
    steps = (
        np.floor(scaled + 1e-6) if cut else np.rint(scaled)
    )  # 1 - 1e-16, the sum of exact parts, is still all
    return [int(step) if np.isfinite(step) else None for step in steps]
