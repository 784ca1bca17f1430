"""Weights that are stored without their shape: bitsandbytes' four bits lie in one column.
Their shape is that of the same tensor in another model of the audit.
"""

from collections.abc import Mapping
from dataclasses import replace

from mergetrace.tensors.view import Key, View
from mergetrace.tensors.views import Cut

FLAT = ("NF4", "NF4_NESTED", "FP4", "FP4_NESTED")


def with_shapes(cuts: Mapping[str, Cut]) -> None:
    """Give flat views the shape that another model has there, in place; a view of
    another size is left out with the reason.
    """
    shapes: dict[Key, tuple[int, int]] = {}
    for cut in cuts.values():
        for key, view in cut.views.items():
            if view.dtype not in FLAT:
                shapes.setdefault(key, (view.rows, view.cols))
    for cut in cuts.values():
        flat = [key for key, view in cut.views.items() if view.dtype in FLAT]
        for key in flat:
            if key not in shapes:
                continue
            view = cut.views[key]
            shaped, why_not = _shaped(view, *shapes[key])
            if shaped is not None:
                cut.views[key] = shaped
                continue
            del cut.views[key]
            entry = {"tensor": view.source, "reason": why_not, "source": view.source}
            cut.left_out.append(entry)


def _shaped(view: View, rows: int, cols: int) -> tuple[View | None, str]:
    """A flat view with rows and columns, or why it cannot have them."""
    if view.rows * view.cols != rows * cols:
        reason = f"{view.rows * view.cols} numbers, {rows} x {cols} in another model"
        return None, reason
    shaped = replace(view, rows=rows, cols=cols, dimensions=2, block_rows=rows)
    if cols % view.block_cols == 0:
        blocks = cols // view.block_cols
        shaped = replace(shaped, scale_rows=rows, scale_cols=blocks, block_rows=1)
    return shaped, ""
