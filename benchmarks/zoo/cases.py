"""Which families the zoo keeps, and the cases of each."""

import random

from benchmarks.zoo.by_hand import innocents_by_hand, merges_by_hand
from benchmarks.zoo.by_part import innocents_by_part, merges_by_part
from benchmarks.zoo.case import Case
from benchmarks.zoo.disguised import disguised_innocents, disguised_merges
from benchmarks.zoo.framings import dated_merges, framings, undated_merges
from benchmarks.zoo.innocents import (
    at_other_rates,
    copies,
    finetunes,
    siblings,
    wrong_questions,
)
from benchmarks.zoo.merges import linear_merges, other_merges, trained_merges
from benchmarks.zoo.unidentified import unidentified_framings, unidentified_merges

TUNING = (("dense", 1), ("dense", 2), ("dense", 4), ("moe", 7))
REPORTING = (("dense", 5), ("dense", 6), ("moe", 8))
"""(architecture, seed): thresholds were set on the first, error rates are reported on
the second, which are other trainings.
"""

MOE = (
    "linear .571, a decoy offered",
    "linear 4:3",
    "linear .9",
    "linear three parents",
    "task arithmetic",
    "slerp .571",
    "ties, one donor",
    "breadcrumbs",
    "dare_linear, one donor",
    "arcee_fusion",
    "passthrough, half and half",
    "linear .571, then 1 steps at 1e-05",
    "linear .571, then 5 steps at 1e-05",
    "sibling of another task",
    "twin: the donor's data, another seed",
    "twin, no control",
    "a blend of nobody offered: twin and base",
    "checkpoint of the donor's run, half way",
    "base, 5 steps at 1e-05 on nex data",
    "donor, 5 steps at 1e-05",
    "twin, wrong base (trained on)",
    "merge, wrong base (trained on)",
    "merge of base and somebody not offered",
    "merge of donor and somebody not offered",
    "donor as suspect, its merge as donor",
    "donor as suspect, its TIES merge as donor",
    "copy of the base",
    "copy of the donor",
    "linear .571, experts renumbered",
    "linear .571, as FP8",
    "twin, experts renumbered",
    "twin, as FP8",
    "by hand, two models",
    "by hand, three models",
    "by hand, weights held",
    "by hand, computed wider",
    "by hand, towards another",
    "by hand, task arithmetic",
    "by hand, along the layers",
    "base, 1 step at 1e-05, two donors",
    "donor, 1 step at 1e-06, two donors",
    "base blended with itself in bf16, two donors",
    "donor blended with itself in bf16, two donors",
    "a blend by hand of nobody offered: twin and base",
    "donor as suspect, its change times 1.2 as donor",
    "donor as suspect, its merge by hand as donor",
)
"""The cases of an architecture that trains four times slower: one of each kind that
mergekit can make (its DELLA fails on a matrix of one row), by their names up to a colon.
"""


def all_cases() -> list[Case]:
    """Every case of every family, tuning seeds first."""
    return [
        case
        for arch, seed in (*TUNING, *REPORTING)
        for case in family_cases(arch, seed)
    ]


def family_cases(arch: str, seed: int) -> list[Case]:
    """The cases of one family: merges, merges with training on top, and at least as
    many that are not merges of what is offered.
    """
    rng = random.Random(f"{arch} {seed}")
    merges = [
        *linear_merges(rng),
        *other_merges(rng),
        *trained_merges(),
        *disguised_merges(),
        *merges_by_hand(seed),
        *merges_by_part(seed),
        *unidentified_merges(),
    ]
    innocents = [
        *siblings(),
        *at_other_rates(),
        *finetunes(),
        *wrong_questions(rng),
        *copies(),
        *disguised_innocents(),
        *innocents_by_hand(seed),
        *innocents_by_part(seed),
    ]
    drafts = [
        *merges,
        *dated_merges(),
        *innocents,
        *framings(),
        *unidentified_framings(),
        *undated_merges(merges),
    ]
    kept = [
        draft
        for draft in drafts
        if (
            _in_moe(draft[0]) if arch == "moe" else "experts renumbered" not in draft[0]
        )
    ]
    return [
        Case(id=f"{arch}-{seed}/{name}", arch=arch, seed=seed, **draft)
        for name, draft in kept
    ]


def _in_moe(name: str) -> bool:
    return name in MOE or name.partition(": ")[0] in MOE
