"""The proposers: functions from the pilot and the fits' clues to recipes worth trying.

To add one: write `propose_...(trial, clues) -> list[Recipe]` in the module of its family
or a new one, and add it to PROPOSERS. A proposer may try recipes itself through the
trial, which remembers every rate, so that nothing is computed twice. It returns what it
proposes, the simplest first, and is cheap where its family is ruled out: every innocent
model passes through all of them. Nothing it does may depend on the order of a set.
"""

from collections.abc import Callable

from mergetrace.merging.by_tool import tool_siblings
from mergetrace.merging.recipes import Recipe
from mergetrace.search.clues import Clues
from mergetrace.search.proposals.alike import prefer_alike
from mergetrace.search.proposals.alike_varying import prefer_alike_varying
from mergetrace.search.proposals.by_part import (
    propose_by_part,
    propose_several_by_part,
)
from mergetrace.search.proposals.casting import try_cast_parents
from mergetrace.search.proposals.linear import propose_linear
from mergetrace.search.proposals.means import propose_means
from mergetrace.search.proposals.narrow import propose_narrow
from mergetrace.search.proposals.nearswap import propose_nearswap
from mergetrace.search.proposals.scripts import propose_scripts
from mergetrace.search.proposals.selections import propose_selections
from mergetrace.search.proposals.spheres import propose_spheres
from mergetrace.search.proposals.varying import propose_varying
from mergetrace.search.trial import Trial

Proposer = Callable[[Trial, Clues], list[Recipe]]

PROPOSERS: tuple[Proposer, ...] = (
    propose_linear,
    propose_scripts,
    propose_means,
    propose_spheres,
    propose_narrow,
    propose_selections,
    propose_nearswap,
    propose_several_by_part,
    propose_varying,
    propose_by_part,
)
"""Where recipes come from, the simpler methods first: of equal rates the first wins."""
IN_FLOAT32: tuple[Proposer, ...] = (
    propose_linear,
    propose_spheres,
    propose_means,
    propose_varying,
)
"""Those of recipes that compute in float32 whatever the parents' dtype."""


def try_proposals(
    trial: Trial, clues: Clues, progress: Callable[[str, Trial], None]
) -> None:
    """Rate what the proposers propose until a recipe gives the whole screen back. Where
    that fails in other tensors, weights may vary. Of what gives a screen back, other
    arithmetic may give back more of the pilot.

    progress: is told the family of methods that has been tried. BudgetError where the
    trial may try no more; its best recipe so far is then the best.
    """
    for propose in PROPOSERS:
        _rate_proposed(trial, clues, propose)
        progress(propose.__name__.removeprefix("propose_"), trial)
        if trial.solved():
            break
    else:
        try_cast_parents(trial, clues, IN_FLOAT32)
    if trial.rates:
        for recipe in tool_siblings(trial.best(list(trial.rates))):
            trial.rate(recipe)
    prefer_alike(trial)
    if trial.solved() and trial.fails_beside_screen():
        _rate_proposed(trial, clues, propose_varying)
        _rate_proposed(trial, clues, propose_by_part)
    prefer_alike_varying(trial)


def _rate_proposed(trial: Trial, clues: Clues, propose: Proposer) -> None:
    for recipe in propose(trial, clues):
        trial.rate(recipe)
