"""What rebuild.json and rebuild.csv say in words."""

from collections.abc import Mapping, Sequence

from mergetrace.merging.methods import Needs

NO_COUNTERPART = "no counterpart in the parents"
PUT_BACK = "compared as the layout was put back, not as the file holds it"
PACKED = (
    "The suspect is stored in few bits: what a recipe gives are the numbers before they"
    " were quantised, which are in no file. They can be computed by the recipe, and lie"
    " in the cells of what is stored."
)
NO_RECIPE = "No recipe was found that could be applied."
ONLY_A_SAMPLE = (
    "Only a sample was read (mode: sample); with rebuild.enabled: always the whole"
    " parents are read and merged again."
)
OPEN_ELEMENTS: Mapping[Needs, str] = {
    "sums": (
        "Norms and angles of whole tensors are float32 sums whose order depends on the"
        " machine: that can move the last bit of some elements."
    ),
    "rows": (
        "The tool takes the quartiles of a tensor of over a million elements from a"
        " random million. `undecided` counts the differing elements near them, and every"
        " differing element of a tensor too large to be held whole."
    ),
    "sizes": (
        "When several deltas equal the threshold, which of them the tool keeps depends"
        " on its sort; `undecided` counts the differing elements at a threshold."
    ),
}
"""By what a method needs: why a few elements may differ although the recipe is right.
Not shown to be the cause of any one of them.
"""


def not_here(models: Sequence[str]) -> str:
    """The weights of some models are not kept here."""
    return (
        f"The weights of {', '.join(models)} are on the Hub and are not kept here; with"
        " local copies (path) they are merged again."
    )


def not_a_merge(verdict: str) -> str:
    """The verdict rests on no recipe."""
    return (
        f"The verdict is `{verdict}`, which rests on no recipe that should give the"
        " suspect back; rebuild.enabled: always rebuilds all the same."
    )


def without_counterpart(elements: int) -> str:
    """A part of a tensor was not compared."""
    return f"{elements:,} elements have no counterpart in the parents"


def equal_to(parent: str) -> str:
    """A tensor is a parent's."""
    return f"every number is that of {parent}"
