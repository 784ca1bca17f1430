"""Merges as somebody writes them in a few lines of torch or numpy, beside those of the
merge tool.

Nothing here knows how mergetrace replays such lines: they are run. LINES of a name see
the same tensor of all merged models in order as `models`, their `weights`, and the
base's tensor as `base`, and leave `merged`. `merge_by_script` runs them over whole
models; where a weight differs from tensor to tensor, a function of ALONG gives it.
"""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.zoo.trainer import Tensors

EACH = "for model, weight in zip(models, weights):\n"
LATER = "for model, weight in zip(models[1:], weights[1:]):\n"
TO_BASE = ".to(base.dtype)"
WIDE_SLERP = """
t = weights[1]
first, second = models[0].float(), models[1].float()
cosine = torch.sum(first / first.norm() * (second / second.norm()))
if abs(cosine) > 0.9995:
    merged = torch.lerp(first, second, t).to(base.dtype)
else:
    angle = torch.acos(cosine)
    one = torch.sin((1 - t) * angle) / torch.sin(angle)
    two = torch.sin(t * angle) / torch.sin(angle)
    merged = (one * first + two * second).to(base.dtype)
"""
NUMPY_SLERP = """
t = weights[1]
first, second = models[0].float().numpy(), models[1].float().numpy()
cosine = np.sum(first / np.linalg.norm(first) * (second / np.linalg.norm(second)))
if np.abs(cosine) > 0.9995:
    blend = (1 - t) * first + t * second
else:
    angle = np.arccos(cosine)
    one = np.sin(angle * (1 - t)) / np.sin(angle)
    two = np.sin(angle * t) / np.sin(angle)
    blend = one * first + two * second
merged = torch.from_numpy(blend).to(base.dtype)
"""
TRIMMED = """
def trimmed(delta):
    kept = max(1, int(density * delta.numel()))
    least = delta.abs().flatten().kthvalue(delta.numel() - kept + 1).values
    return torch.where(delta.abs() >= least, delta, 0.0)
density = weights[0]
deltas = torch.stack([trimmed(model.float() - base.float()) for model in models])
"""
TIES = """
signs = torch.sign(deltas.sum(0))
agreeing = (torch.sign(deltas) == signs) & (deltas != 0)
count = agreeing.sum(0).clamp(min=1)
merged = (base.float() + (deltas * agreeing).sum(0) / count).to(base.dtype)
"""

WIDE_SUM = "blend = sum(w * model.float() for model, w in zip(models, weights))\n"
BITS = "bits = blend.contiguous().numpy().view(np.uint32)\n"
CUT_OFF = "bits = bits >> 16 << 16\nmerged = torch.from_numpy(bits.view(np.float32))"
AT_RANDOM = (
    "drawn = np.random.default_rng(0).integers(0, 1 << 16, bits.shape, np.uint32)\n"
    "bits = bits + drawn\n"
)

LINES: Mapping[str, str] = {
    # weighted sums in the models' own dtype
    "a*w0 + b*w1": "merged = models[0] * weights[0] + models[1] * weights[1]",
    "(1-w)*a + w*b": "merged = (1 - weights[1]) * models[0] + weights[1] * models[1]",
    "zeros, +=": (
        "merged = torch.zeros_like(base)\n" + EACH + "    merged += weight * model"
    ),
    "zeros, add_(alpha)": (
        "merged = torch.zeros_like(base)\n"
        + EACH
        + "    merged.add_(model, alpha=weight)"
    ),
    "mul_, add_(alpha)": (
        "merged = models[0].clone().mul_(weights[0])\n"
        + LATER
        + "    merged.add_(model, alpha=weight)"
    ),
    "sum(w*m)": "merged = sum(weight * model for model, weight in zip(models, weights))",
    "*=, +=": (
        "merged = models[0].clone()\nmerged *= weights[0]\n"
        + LATER
        + "    merged += model * weight"
    ),
    "w/total": (
        "total = sum(weights)\nmerged = models[0] * (weights[0] / total)\n"
        + LATER
        + "    merged = merged + model * (weight / total)"
    ),
    # weights that are no Python numbers
    "0-d float32 weights": (
        "held = torch.tensor(weights)\n"
        "merged = sum(held[i] * model for i, model in enumerate(models))"
    ),
    "bf16 weights": (
        "held = torch.tensor(weights, dtype=base.dtype)\n"
        "merged = sum(held[i] * model for i, model in enumerate(models))"
    ),
    "numpy float64 weights": (
        "held = np.asarray(weights)\n"
        "merged = sum(model * held[i] for i, model in enumerate(models))"
    ),
    "einsum": (
        "held = torch.tensor(weights, dtype=base.dtype)\n"
        "merged = torch.einsum('n,n...->...', held, torch.stack(models))"
    ),
    "(stack*w).sum(0)": (
        "held = torch.tensor(weights, dtype=base.dtype)\n"
        "held = held.view(-1, *[1] * base.dim())\n"
        "merged = (torch.stack(models) * held).sum(0)"
    ),
    # computed wider than the models are stored
    "float32 sum": (
        "merged = sum(weight * model.float() for model, weight in zip(models, weights))"
    ),
    "float64 sum": (
        "merged = sum(weight * model.double() for model, weight in zip(models, weights))"
    ),
    "numpy float32": (
        "total = np.zeros(base.shape, np.float32)\n"
        + EACH
        + "    total += np.float32(weight) * model.float().numpy()\n"
        "merged = torch.from_numpy(total)"
    ),
    "np.average": (
        "arrays = [model.float().numpy() for model in models]\n"
        "merged = torch.from_numpy(np.average(arrays, axis=0, weights=weights))"
    ),
    "float32 sum of narrow products": (
        "merged = torch.zeros(base.shape)\n" + EACH + "    merged += weight * model"
    ),
    # stored in bf16 in other manners than to the nearest number, or rounded twice
    "cut off": WIDE_SUM + BITS + CUT_OFF,
    "rounded at random": WIDE_SUM + BITS + AT_RANDOM + CUT_OFF,
    "scaled afterwards": WIDE_SUM + "merged = 1.01 * blend.to(base.dtype)",
    # from one model towards another
    "a + w*(b-a)": "merged = models[0] + weights[1] * (models[1] - models[0])",
    "a.add(b-a, alpha)": (
        "merged = models[0].add(models[1] - models[0], alpha=weights[1])"
    ),
    "lerp": "merged = torch.lerp(models[0], models[1], weights[1])",
    "float32 lerp": (
        "merged = torch.lerp(models[0].float(), models[1].float(), weights[1])"
    ),
    "mul_(1-w).add_(alpha)": (
        "merged = models[0].clone().mul_(1 - weights[1]).add_(models[1], alpha=weights[1])"
    ),
    "moving mul_, add_(alpha)": (
        "decay = weights[0] ** (1 / (len(models) - 1))\nmerged = models[0].clone()\n"
        "for model in models[1:]:\n"
        "    merged.mul_(decay).add_(model, alpha=1 - decay)"
    ),
    # task arithmetic in the models' own dtype
    "base += w*(m-base)": (
        "merged = base.clone()\n" + EACH + "    merged += weight * (model - base)"
    ),
    "base + sum(w*(m-base))": (
        "merged = base + sum(w * (m - base) for m, w in zip(models, weights))"
    ),
    "base + w*sum(m-base)": (
        "merged = base + weights[0] * sum(model - base for model in models)"
    ),
    "base.add(m-base, alpha)": (
        "merged = base\n" + EACH + "    merged = merged.add(model - base, alpha=weight)"
    ),
    "m + w*(b-base)": "merged = models[0] + weights[1] * (models[1] - base)",
    # task arithmetic, partly or wholly wider
    "float32 vectors added to bf16": (
        "merged = base.clone()\n"
        + EACH
        + "    merged += (weight * (model.float() - base.float()))"
        + TO_BASE
    ),
    "float32 vectors, +=": (
        "merged = base.clone()\n"
        + EACH
        + "    merged += weight * (model.float() - base.float())"
    ),
    "float32 task arithmetic": (
        "merged = base.float()\n"
        + EACH
        + "    merged += weight * (model.float() - base.float())"
    ),
    "bf16 vectors added in float32": (
        "vectors = [model - base for model in models]\nmerged = base.float()\n"
        "for vector, weight in zip(vectors, weights):\n"
        "    merged += weight * vector.float()"
    ),
    "float64 task arithmetic": (
        "start = base.float().numpy().astype(np.float64)\nmerged = start.copy()\n"
        + EACH
        + "    merged += weight * (model.float().numpy() - start)\n"
        "merged = torch.from_numpy(merged)"
    ),
    # means
    "stack.mean(0)": "merged = torch.stack(models).mean(0)",
    "float32 stack.mean(0)": (
        "merged = torch.stack([model.float() for model in models]).mean(0)"
    ),
    "sum/len": "merged = sum(models) / len(models)",
    "running mean": (
        "merged = models[0].clone()\nfor n, model in enumerate(models[1:], 2):\n"
        "    merged += (model - merged) / n"
    ),
    "float32 running mean": (
        "merged = models[0].float()\nfor n, model in enumerate(models[1:], 2):\n"
        "    merged = merged + (model.float() - merged) / n"
    ),
    "soup of m*(1/n)": (
        "merged = models[0] * (1.0 / len(models))\nfor model in models[1:]:\n"
        "    merged = merged + model * (1.0 / len(models))"
    ),
    "soup of m/n": (
        "merged = torch.zeros_like(base)\nfor model in models:\n"
        "    merged += model / len(models)"
    ),
    "greedy soup": (
        "merged = models[0]\nfor n, model in enumerate(models[1:], 1):\n"
        "    merged = merged * (n / (n + 1)) + model * (1 / (n + 1))"
    ),
    "+=, /=": (
        "merged = models[0].clone()\nfor model in models[1:]:\n    merged += model\n"
        "merged /= len(models)"
    ),
    "np.mean": (
        "arrays = [model.float().numpy() for model in models]\n"
        "merged = torch.from_numpy(np.mean(arrays, axis=0))"
    ),
    # arcs and chosen elements
    "torch slerp": WIDE_SLERP,
    "numpy slerp": NUMPY_SLERP,
    "ties": TRIMMED + TIES,
    "largest changes": TRIMMED + "merged = base.float() + 0.6 * deltas.sum(0)",
    "dare": (
        "drawn = torch.Generator().manual_seed(base.numel())\nmerged = base.float()\n"
        "for model in models:\n"
        "    kept = torch.rand(base.shape, generator=drawn) < weights[0]\n"
        "    merged += 0.5 * kept * (model.float() - base.float()) / weights[0]"
    ),
}
"""The lines by what is special about them. The result is stored in the base's dtype."""


def merge_by_script(how: Mapping[str, Any], models: Mapping[str, Tensors]) -> Tensors:
    """Merge whole models.

    how: `lines`, a name of LINES; `of`, the merged models in order; `weights`; `base`,
    where it is not the first of them; `along`, a name of ALONG with its arguments, for
    two models of which that is the second's weight; `weights_along`, one of these for
    each model, or "rest" for what the others leave to one; `skip`, words in the names of
    tensors that stay the base's; `new_rows`, by how many the embedding grows.
    """
    base = models[how.get("base") or how["of"][0]]
    layers = 1 + max(layer for name in base if (layer := _layer(name)) is not None)
    merged: Tensors = {}
    for name, own in base.items():
        if any(word in name for word in how.get("skip", ())):
            merged[name] = own.clone()
            continue
        weights = _weights(how, name, layers)
        room = {
            "torch": torch,
            "np": np,
            "models": [models[model][name].clone() for model in how["of"]],
            "weights": weights,
            "base": own.clone(),
        }
        exec(LINES[how["lines"]], room)
        merged[name] = room["merged"].to(own.dtype).contiguous()
        if how.get("new_rows") and "embed" in name:
            merged[name] = _with_rows(merged[name], how["new_rows"])
    return merged


def _weights(how: Mapping[str, Any], name: str, layers: int) -> list[float] | None:
    """The weights of one tensor."""
    along = how.get("weights_along") or ["rest", how.get("along")]
    if along[-1] is None:
        return how.get("weights")
    weights = [
        0.0 if of == "rest" else ALONG[of[0]](name, _layer(name), layers, *of[1:])
        for of in along
    ]
    return [
        1 - sum(weights) if of == "rest" else weight
        for of, weight in zip(along, weights, strict=True)
    ]


def _layer(name: str) -> int | None:
    _, found, rest = name.partition(".layers.")
    return int(rest.split(".")[0]) if found else None


def _with_rows(embedding: torch.Tensor, rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(rows, embedding.shape[1], generator=generator) * 0.02
    return torch.cat([embedding, drawn.to(embedding.dtype)])


def _ramp(
    name: str, layer: int | None, layers: int, first: float, last: float
) -> float:
    del name
    t = 0.5 if layer is None else layer / (layers - 1)
    return first + t * (last - first)


def _cosine(
    name: str, layer: int | None, layers: int, first: float, last: float
) -> float:
    t = _ramp(name, layer, layers, 0, 1)
    eased = 0.5 * (1 - math.cos(math.pi * t))
    return (1 - eased) * first + eased * last


def _sine(name: str, layer: int | None, layers: int, most: float) -> float:
    del name
    place = 0 if layer is None else layer
    return most * math.sin(math.pi * (place + 1) / (layers + 1))


def _drawn(name: str, layer: int | None, layers: int, seed: int) -> float:
    del name
    generator = random.Random(seed)
    by_layer = [generator.uniform(0.1, 0.9) for _ in range(layers)]
    return 0.5 if layer is None else by_layer[layer]


def _parts(
    name: str, layer: int | None, layers: int, attention: float, mlp: float, rest: float
) -> float:
    del layer, layers
    if "attn" in name:
        return attention
    return mlp if "mlp" in name else rest


ALONG: Mapping[str, Callable[..., float]] = {
    "ramp": _ramp,
    "cosine": _cosine,
    "sine": _sine,
    "drawn": _drawn,
    "parts": _parts,
}
"""What a weight is, by tensor name, layer (None outside the layers), number of layers,
and further arguments.
"""
