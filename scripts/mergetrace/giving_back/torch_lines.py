"""A recipe as lines of torch, which give the same bits.

Lines see `models`, the tensors of the merged models in order and in the dtype of the
arithmetic, their `weights` and, where the recipe has one, the `base`'s tensor. They
leave the result in `merged`.
"""

from collections.abc import Callable, Mapping

from mergetrace.merging.methods import METHODS
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.scripts import SCRIPTS
from mergetrace.merging.settings import single_value

EACH = "for model, weight in zip(models, weights):\n"
IN_DTYPE = "weights = torch.tensor(weights, dtype=models[0].dtype)\n"
WEIGHED = "models = [model for model, weight in zip(models, weights) if weight]\n"
"""A mean is of those models that have a weight in the tensor."""

LERP = """\
start, end = models[0].float(), models[1].float()
t = torch.tensor(weights[1])
if abs(t) < 0.5:
    merged = start + t * (end - start)
else:
    merged = end - (end - start) * (1 - t)"""

SLERP = """\
first, second = models[0].float(), models[1].float()
t = torch.tensor(weights[1])
directions = [tensor / (tensor.norm() or 1.0) for tensor in (first, second)]
cosine = (directions[0] * directions[1]).sum().clamp(-1, 1)
if abs(cosine) > 0.9995:  # nearly parallel
    merged = (1 - t) * first + t * second
else:
    angle = torch.acos(cosine)
    one = torch.sin((1 - t) * angle) / torch.sin(angle)
    other = torch.sin(t * angle) / torch.sin(angle)
    merged = one * first + other * second"""

TIES_BY_DENSITY = """\
for delta, density in zip(deltas, DENSITIES):
    sizes = delta.abs().flatten()
    kept = int(density * sizes.numel())
    least = sizes.kthvalue(sizes.numel() - kept + 1).values if kept else torch.inf
    delta[delta.abs() < least] = 0"""
TIES_FROM_SIZE = """\
for delta, least in zip(deltas, SIZES):
    delta[delta.abs() < least] = 0"""
TIES_MEAN = """
agreeing = torch.stack([weight * one for weight, one in zip(weights, agree)]).sum(dim=0)
agreeing[agreeing.abs() < 1e-8] = 1
merged = merged / agreeing"""

PASSTHROUGH = "merged = models[weights.index(1)]"


def torch_lines(recipe: Recipe) -> str | None:
    """The lines of a recipe; None where nobody has written them yet, and where a
    setting other than the weights differs between tensors.
    """
    if recipe.script:
        script = SCRIPTS[recipe.script]
        is_partial = script.weighing == "equal" and _leaves_out(recipe)
        return WEIGHED * is_partial + script.lines
    values = [single_value(value) for _, value in recipe.settings]
    if None in values or recipe.method not in WRITERS:
        return None
    if recipe.dtype == "float64" and recipe.method != "passthrough":
        return None
    if recipe.setting("cast") and recipe.dtype != "float32":
        return None
    return WRITERS[recipe.method](recipe)


def _leaves_out(recipe: Recipe) -> bool:
    """Whether a model has no weight in some tensors."""
    return any(0 in numbers for setting in recipe.weights for _, numbers in setting)


def _linear(recipe: Recipe) -> str:
    if recipe.dtype != "float32":
        return _narrow_linear(recipe)
    addition = (
        "    merged.addcmul_(model, torch.tensor(weight))"
        if recipe.setting("fused")
        else "    merged += model * weight"
    )
    lines = "merged = torch.zeros_like(models[0])\n" + EACH + addition
    if recipe.setting("normalize"):
        lines += "\nmerged = merged / torch.tensor(weights).sum()"
    return lines


def _narrow_linear(recipe: Recipe) -> str:
    """Every product rounded, their sum rounded once."""
    lines = IN_DTYPE if recipe.setting("weights_rounded") else ""
    lines += (
        "products = [model * weight for model, weight in zip(models, weights)]\n"
        "merged = torch.stack(products).sum(dim=0)"
    )
    if recipe.setting("normalize"):
        whole = (
            "weights.sum()"
            if recipe.setting("weights_rounded")
            else "torch.tensor(weights).sum().to(merged.dtype)"
        )
        lines += f"\nmerged = merged / {whole}"
    return lines


def _task_arithmetic(recipe: Recipe) -> str:
    lines = IN_DTYPE + (
        "deltas = [(model - base) * weight for model, weight in zip(models, weights)]\n"
        "merged = torch.stack(deltas).sum(dim=0)\n"
    )
    if recipe.setting("normalize"):
        lines += "merged = merged / weights.sum()\n"
    scale = recipe.setting("lambda")
    if scale != 1:
        lines += f"merged = merged * {scale!r}\n"
    return lines + "merged = base + merged"


def _ties_by_hand(recipe: Recipe) -> str | None:
    """Lines of the tool's own TIES nobody needs: mergekit's configuration says it."""
    if not recipe.chooses_by_hand or recipe.setting("rescale"):
        return None
    sizes = [dict(recipe.settings).get(f"least.{name}") for name in recipe.models]
    if all(sizes):
        kept = [single_value(size) for size in sizes if size]
        trimming = TIES_FROM_SIZE.replace("SIZES", repr(kept))
    elif any(sizes) or not recipe.setting("inclusive"):
        return None
    else:
        kept = [recipe.setting(f"density.{name}") for name in recipe.models]
        trimming = TIES_BY_DENSITY.replace("DENSITIES", repr(kept))
    votes = "terms.sign()" if recipe.setting("counted") else "terms"
    lines = [
        IN_DTYPE + "deltas = [model - base for model in models]",
        trimming,
        "terms = torch.stack([delta * weight for delta, weight in zip(deltas, weights)])",
        f"elected = {votes}.sum(dim=0).sign()",
        f"elected[elected == 0] = {recipe.setting('cancelled')!r}",
        "agree = terms.sign() == elected",
        "merged = (terms * agree).sum(dim=0)"
        + TIES_MEAN * bool(recipe.setting("normalize")),
    ]
    scale = recipe.setting("lambda")
    if scale != 1:
        lines.append(f"merged = merged * {scale!r}")
    return "\n".join([*lines, "merged = base + merged"])


def _fixed(lines: str) -> Callable[[Recipe], str]:
    return lambda recipe: lines


WRITERS: Mapping[str, Callable[[Recipe], str | None]] = {
    "linear": _linear,
    "lerp": _fixed(LERP),
    "slerp": _fixed(SLERP),
    "task_arithmetic": _task_arithmetic,
    "passthrough": _fixed(PASSTHROUGH),
    "ties": _ties_by_hand,
}
"""By method how its lines are written; of the others mergekit's configuration is the
shorter way.
"""

assert set(WRITERS) <= set(METHODS)
