"""What rebuild.json and rebuild.csv say in words."""

from collections.abc import Collection, Mapping, Sequence

from mergetrace.merging.manners import BY_WAY_OF, PLAIN
from mergetrace.merging.methods import Needs
from mergetrace.numerics.levels import MOVED_BEFORE
from mergetrace.readable import count, plural, rate

NO_COUNTERPART = "no counterpart in the parents"
PUT_BACK = "compared as the layout was put back, not as the file holds it"
WITH_ITS_SCALES = (
    "the scales are the file's own: those of no known tool give as much back"
)
SEARCHED = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")
"""Formats whose tool tries several scales."""
MANNERS = {
    "quotient": "divided by the scale in float32",
    "inverse": "multiplied by a factor of which one over it is stored",
    "narrow": "divided by the scale in 16 bits",
    "times": "multiplied by one over the scale",
    "apart": "multiplied by a factor, and the scale computed by itself",
    "narrow_inverse": "multiplied in bf16 by a factor of which one over it is stored",
    "power": "divided by the next power of two above",
    "nearest_power": "divided by the nearest power of two",
    "power_below": "divided by the power of two below",
    "power_above": "divided by the power of two above",
    "greatest": "multiplied by one over the greatest number",
    PLAIN: "",
    BY_WAY_OF["bfloat16"]: "rounded to bfloat16 before",
    BY_WAY_OF["float16"]: "rounded to float16 before",
}
"""How a tool computed, by the words of a manner."""
NO_RECIPE = "No recipe was found that could be applied."
ONLY_A_SAMPLE = (
    "Only a sample was read (mode: sample); with rebuild.enabled: always the whole"
    " parents are read and merged again."
)
WRITTEN_BACK = (
    "The suspect's numbers lie on a coarse grid: they were probably quantised and written"
    " back after the merge. That is not repeated here, so that what went through it"
    " differs by the steps of the grid."
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


def how_made(manner: str | None) -> str | None:
    """How a tool computed what came back, None where there is nothing to say."""
    words = [MANNERS.get(word, word) for word in (manner or "").split()]
    return "; ".join(word for word in words if word) or None


def scales_taken(dtype: str) -> str:
    """Why the scales of a packed tensor were not computed."""
    if dtype in SEARCHED:
        return (
            f"{dtype}: the tool searches for the scales in floating-point arithmetic whose"
            " last bits differ between builds, so that its bytes were not tried"
        )
    if dtype in MOVED_BEFORE:
        return (
            f"{dtype}: a calibration moved the numbers before they were rounded, by data"
            " that are in no file"
        )
    return (
        f"{dtype}: how its tool computes the scales is not repeated here, or the tensor is"
        " larger than rebuild.whole_elements or stored in another order"
    )


def goes_with(tensor: str) -> str:
    """A tensor that holds what the numbers of another depend on."""
    return f"goes with {tensor}"


def quantised(numbers: Mapping[str, int], notes: Collection[str]) -> str:
    """What came back of tensors that were quantised again. notes: why scales were
    taken.
    """
    sentences = []
    if numbers["tensors"]:
        blocks = (
            f"{count(numbers['blocks_exact'])} of {count(numbers['blocks'])} blocks"
        )
        sentence = (
            "Merged and quantised again,"
            f" {plural(numbers['identical'], 'tensor')} of"
            f" {count(numbers['tensors'])} came back byte for byte, and {blocks} with every"
            " code and their scale."
        )
        if numbers["blocks_exact"] < numbers["blocks"]:
            sentence += (
                " Where a block did not, its tool may have computed in another order or"
                " precision, which changes the last bits of a scale and the codes next to"
                " the middle of two levels, or the file was changed since."
            )
        sentences.append(sentence)
    if numbers["scales_taken"]:
        share = rate(numbers["codes_exact"] / max(numbers["codes"], 1))
        of_these = plural(numbers["scales_taken"], "tensor")
        why = "; ".join(sorted(notes))
        sentences.append(
            f"Of {of_these} the file's scales were taken: {share} of the merged numbers lie"
            f" where its codes confine them ({why})."
        )
    return " ".join(sentences)


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
