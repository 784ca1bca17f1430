"""The reasons of a decision as the sentences of verdict.json."""

from collections.abc import Callable, Iterable, Mapping

from mergetrace.finding import (
    wording_alone,
    wording_cells,
    wording_coverage,
    wording_descent,
    wording_following,
    wording_merge,
    wording_order,
    wording_origin,
    wording_stops,
)
from mergetrace.finding.case import Reason
from mergetrace.finding.reasons_coverage import TracesOfPart


def sentences(reasons: Iterable[Reason]) -> list[str]:
    """The reasons in words, in their order. Most are one sentence or a few that belong
    together; what lists something gives one text for each entry, or none.
    """
    texts: list[str] = []
    for reason in reasons:
        text = SENTENCES[type(reason)](reason)
        if isinstance(text, str):
            texts.append(text)
        else:
            texts += text
    return texts


def traces_of_part(reason: TracesOfPart) -> str:
    return (
        f"What was compared shows the traces of `{reason.verdict}`, which hold for that"
        f" part alone: {' '.join(sentences(reason.reasons))}"
    )


SENTENCES: Mapping[type[Reason], Callable[..., str | list[str]]] = {
    **wording_alone.SENTENCES,
    **wording_merge.SENTENCES,
    **wording_following.SENTENCES,
    **wording_descent.SENTENCES,
    **wording_origin.SENTENCES,
    **wording_stops.SENTENCES,
    **wording_order.SENTENCES,
    **wording_coverage.SENTENCES,
    **wording_cells.SENTENCES,
    TracesOfPart: traces_of_part,
}
"""By what was found the function that says it."""
