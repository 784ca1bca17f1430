"""Stands in until packed formats have a module of their own."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

BESIDE = re.compile(r"[._](?:weight_)?(?:scale_inv|scales?|qzeros|g_idx|absmax|quant_map|quant_state\..+|weight_shape|zero_point)$")


def stands_for(name: str, dtype: str, shape: Sequence[int], config: Mapping[str, Any]) -> int:
    """How many weights a stored tensor stands for."""
    if BESIDE.search(name):
        return 0
    return math.prod(int(length) for length in shape) * {"I32": 8, "U8": 2}.get(dtype, 1)
