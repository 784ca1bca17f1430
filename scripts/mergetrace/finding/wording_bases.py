"""Which base candidate was chosen and why, in sentences."""

from collections.abc import Mapping, Sequence

from mergetrace.readable import decimal, known, listing, rate
from mergetrace.records.verdict import BaseCandidate
from mergetrace.thresholds import Thresholds


def base_choice_sentences(
    bases: Mapping[str, BaseCandidate],
    suspect: str,
    limits: Thresholds,
    alone: bool = False,
) -> list[str]:
    """Why one base candidate was chosen, and what the others would have shown; empty
    where there was no choice. alone: no donor was offered, so there are no recipes.
    """
    if len(bases) < 2:
        return []
    chosen = next(base for base, entry in bases.items() if entry.chosen)
    exact = _exact(bases[chosen], limits)
    why = f"{suspect} moved least from it"
    if not alone:
        why += ", though no recipe on any of them gives it back"
    if exact:
        rate_on_it = rate(bases[chosen].bit_exact_rate)
        why = f"a recipe on it gives {rate_on_it} of the informative elements back"
    sentences = [f"Of the base candidates {listing(bases)}, {chosen} fits: {why}."]
    for base, entry in bases.items():
        if base == chosen:
            continue
        sentences.append(_seen_from(base, entry, suspect, chosen, alone))
        trap = _trap(base, entry, suspect, chosen, bases[chosen], limits)
        if trap:
            sentences.append(trap)
        close = entry.times is not None and entry.times < limits.min_base_apart
        if close and not exact:
            sentences.append(
                f"{base} is nearly as close, so the choice between them is not certain."
            )
    return sentences


def _exact(entry: BaseCandidate, limits: Thresholds) -> bool:
    """Whether a recipe on this base gives the suspect back."""
    exact = entry.bit_exact_rate
    return exact is not None and exact >= limits.min_bit_exact


def _seen_from(
    base: str, entry: BaseCandidate, suspect: str, chosen: str, alone: bool
) -> str:
    times = decimal(entry.times, f"{suspect} equals {chosen}", digits=1)
    recipe = f", the best recipe gives back {rate(entry.bit_exact_rate, 'nothing')},"
    return (
        f"Seen from {base}, {suspect} moved {times} times as far (in energy)"
        f"{'' if alone else recipe} and the verdict would have been `{entry.verdict}`."
    )


def _trap(
    base: str,
    entry: BaseCandidate,
    suspect: str,
    chosen: str,
    chosen_entry: BaseCandidate,
    limits: Thresholds,
) -> str | None:
    """That everybody moves alike from a wrong base, where the numbers show it."""
    there = entry.control_cos_fit
    here = chosen_entry.control_cos_fit
    whose = "a control's"
    if there is None or here is None:
        there = entry.cos_fit
        here = chosen_entry.cos_fit
        whose = f"{suspect}'s"
    if there is None or here is None:
        return None
    if not known(there) or there < limits.min_shared_step or there <= here:
        return None
    return (
        f"That is the trap of a wrong base: there {whose} cos_fit is"
        f" {decimal(there, digits=2)}, here {decimal(here, digits=2)}, because whatever"
        f" descends from {chosen} shares the step from {base} to {chosen}, innocent or"
        " not."
    )


def both_roles_sentences(models: Sequence[str], candidates: int) -> list[str]:
    """What became of models that were offered as base and as donor. candidates: the
    number of base candidates.
    """
    if not models:
        return []
    if candidates == 1:
        return [
            f"{models[0]} is offered as base and as donor: it was taken as the base, and"
            " nothing is a donor of itself."
        ]
    verb = "is" if len(models) == 1 else "are"
    return [
        f"{listing(models)} {verb} offered as base and as donor: where one is the base,"
        " the other models are its donors."
    ]
