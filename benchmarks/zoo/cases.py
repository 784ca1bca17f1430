"""Which families the zoo keeps, and the cases of each."""

import random

from case import Case
from innocents import copies, finetunes, siblings, wrong_questions
from merges import linear_merges, other_merges, trained_merges

TUNING = (("dense", 1), ("dense", 2))
REPORTING = (("dense", 4), ("dense", 5))
"""(architecture, seed): thresholds were set on the first, error rates are reported on the second, which are other trainings."""


def all_cases() -> list[Case]:
    """Every case of every family, tuning seeds first."""
    return [case for arch, seed in (*TUNING, *REPORTING) for case in family_cases(arch, seed)]


def family_cases(arch: str, seed: int) -> list[Case]:
    """The cases of one family: merges, merges with training on top, and at least as many that are not merges of what is offered."""
    rng = random.Random(f"{arch} {seed}")
    merges = [*linear_merges(rng), *other_merges(rng), *trained_merges()]
    drafts = [*merges, *siblings(), *finetunes(), *wrong_questions(rng), *copies()]
    return [Case(id=f"{arch}-{seed}/{name}", arch=arch, seed=seed, **draft) for name, draft in drafts]
