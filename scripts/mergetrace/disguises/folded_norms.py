"""The weights of norms, multiplied into the columns of the matrices that read them."""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mergetrace.disguises.channels import (
    MAX_MISS,
    MIN_REPLACED_SPREAD,
    exact_factors,
    spread,
)
from mergetrace.disguises.column_factors import ColumnFactors
from mergetrace.disguises.comparison import WRITES_HIDDEN, Comparison
from mergetrace.disguises.findings import (
    Finding,
    NormsFolded,
    NormsReplaced,
    Tensors,
)
from mergetrace.numerics.arrays import Array
from mergetrace.tensors.naming import LAYER, component_of
from mergetrace.tensors.view import Key

MAX_POOLED = 8  # matrices that read one norm, of those that are looked at together

READERS = {
    "input_layernorm": re.compile(r"(self_attn|linear_attn|attn|attention)\."),
    "post_attention_layernorm": re.compile(r"mlp\."),
    "pre_feedforward_layernorm": re.compile(r"mlp\."),
    "norm": re.compile(r"lm_head"),
}
"""Which matrices of its layer a norm's output is read by."""


def find_folded_norms(comparison: Comparison) -> list[Finding]:
    """Divide the columns of matrices that a norm's weights were multiplied into, and
    multiply the norm.
    """
    folded: list[Key] = []
    replaced: list[Key] = []
    factors: list[ColumnFactors] = []
    for norm in replaced_norms(comparison):
        readers = readers_of(comparison, norm)
        of_readers = _factors_of(comparison, readers)
        if of_readers is None or not _makes_up(comparison, norm, of_readers.columns):
            replaced.append(norm)
            continue
        _multiply_norm(comparison, norm, of_readers)
        for key in readers:
            comparison.own.multiply_columns(key, 1 / of_readers.columns)
            comparison.own.read_through(key, of_readers.through)
        folded += readers
        factors.append(of_readers)
    findings: list[Finding] = []
    if factors:
        numbers = np.concatenate([each.columns for each in factors])
        findings.append(
            NormsFolded(
                norms=len(factors),
                tensors=Tensors.of(folded),
                smallest=float(numbers.min()),
                largest=float(numbers.max()),
                explained=float(np.median([each.explained for each in factors])),
                rounded_between=factors[0].through is not None,
            )
        )
    if replaced:
        findings.append(NormsReplaced(len(replaced), comparison.parent.name))
    return findings


def _factors_of(comparison: Comparison, readers: list[Key]) -> ColumnFactors | None:
    """What the columns of the matrices that read a norm were multiplied by."""
    if not readers:
        return None
    step = -(-len(readers) // MAX_POOLED)
    return exact_factors(comparison, readers[::step])


def replaced_norms(comparison: Comparison) -> Iterator[Key]:
    """Norms whose weights are not the parent's, changed a little."""
    for key, view in comparison.own.views.items():
        if component_of(key[0]) != "norm" or view.dimensions > 1:
            continue
        if key in comparison.aside:
            continue
        if comparison.same_shape(key) is None:
            continue
        own, other = weights_of(comparison, key)
        if not np.ptp(other):
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            # What is stored may be the weight less one.
            apart = min(spread(own / other), spread((own + 1) / (other + 1)))
        if not np.ptp(own) or apart > MIN_REPLACED_SPREAD:
            yield key


def weights_of(comparison: Comparison, norm: Key) -> tuple[Array, Array]:
    """A norm's weights as they are stored, the model's and the parent's."""
    own = comparison.own.vector(norm)
    other = comparison.parent.vector(comparison.goal(norm))
    return own.astype(float), other.astype(float)


def readers_of(comparison: Comparison, norm: Key) -> list[Key]:
    """The matrices of the model that read a norm's output."""
    name = LAYER.sub("", norm[0]).removeprefix("model.").removesuffix(".weight")
    if name not in READERS:
        return []
    layer = _layer(norm[0])
    views = comparison.own.views
    size = views[norm].rows
    return [
        key
        for key, view in views.items()
        if _layer(key[0]) == layer
        and READERS[name].match(LAYER.sub("", key[0]))
        and not WRITES_HIDDEN.search(key[0])
        and view.cols == size
        and view.dimensions > 1
        and comparison.same_shape(key) is not None
    ]


def _layer(tensor: str) -> str | None:
    match = LAYER.match(tensor)
    return None if match is None else match[1]


def _makes_up(comparison: Comparison, norm: Key, columns: Array) -> bool:
    """Whether the norm and the numbers make up for each other."""
    own, other = weights_of(comparison, norm)
    less_one = np.abs((1 + own) * columns - (1 + other))
    return _as_stored(own, other, columns) or bool(np.median(less_one) <= MAX_MISS)


def _multiply_norm(comparison: Comparison, norm: Key, factors: ColumnFactors) -> None:
    """Read the norm multiplied, unless what is stored is its weight less one."""
    own, other = weights_of(comparison, norm)
    if _as_stored(own, other, factors.columns):
        held = comparison.own.adjustment(norm)
        multiplied = replace(held, row_scale=factors.columns, through=factors.through)
        comparison.own.adjust(norm, multiplied)


def _as_stored(own: Array, other: Array, columns: Array) -> bool:
    """Whether the stored numbers are a norm's weights, and the columns' numbers make up
    for them.
    """
    miss = np.median(np.abs(own * columns - other))
    return bool(miss <= MAX_MISS * np.median(np.abs(other)))
