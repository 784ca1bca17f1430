"""What a scan found: the models in the order of their likeness, traces that were left
behind, and the audit that it proposes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mergetrace.numerics.arrays import Singles
from mergetrace.records.scan import (
    Candidate,
    Candidates,
    Indexed,
    Proposed,
    Ranked,
    Scan,
    Trace,
)
from mergetrace.scan.ancestors import MIN_BRANCHES, BaseCandidate
from mergetrace.scan.explaining import Explanation, Relative, explain
from mergetrace.scan.gathering import is_younger
from mergetrace.scan.held import SAME_SHARE
from mergetrace.scan.index import Entry, Index
from mergetrace.scan.likeness import (
    Likeness,
    is_relative,
    likenesses,
    nearness,
    relatives_of,
)
from mergetrace.scan.positions import PROTOCOL
from mergetrace.scan.prints import Facts, Print

MAX_RANKED = 200  # models of the table, beside those that are proposed
MAX_TRACES = 200
BASES_STEP = 0.1
"""Of dependence, up to which another ancestor is proposed as a base beside the first:
the audit tells them apart. Of suspects of the tuning families the true base lay up to
.07 behind a checkpoint near it.
"""
MIN_MOVED = 1 / 3
"""Of the suspect's distance from the base, that a control must have gone. One that
hardly moved holds the base's numbers, which recipes with next to nothing of a donor give
back: a checkpoint of a quarter of the distance was given back by .37 that way.
"""
UNKNOWN_DATE = "9999"  # comes after all that are known


@dataclass(frozen=True)
class Found:
    """All that is known of the models that a suspect is compared with."""

    suspect: Print
    entries: Mapping[str, Entry]
    """By key; the suspect's not among them."""
    candidates: Mapping[str, Candidate]
    """By place."""
    likeness: Sequence[Likeness]
    quantiles: Mapping[str, Singles]
    published: str | None
    """When the suspect's weights were last changed."""
    first: str | None = None
    """When its first weights were there."""
    names: frozenset[str] = frozenset()
    """The suspect's names: a repository that was renamed has two."""

    def facts(self, key: str) -> Facts:
        """What is known of a model without its weights."""
        return self.entries[key].facts

    def is_younger(self, key: str) -> bool:
        """Whether its repository was made after the suspect's weights."""
        return is_younger(self.facts(key).created, self.published)

    def may_be_younger(self, key: str) -> bool:
        """The same, where it is not known when the suspect's weights were there."""
        return self.published is None or self.is_younger(key)

    def is_child(self, key: str) -> bool:
        """Whether it names the suspect as its base."""
        return not self.names.isdisjoint(self.facts(key).parents)

    def may_be_child(self, key: str) -> bool:
        """The same of a model that was not there before the suspect: of one that was,
        the name is wrong.
        """
        return self.is_child(key) and not is_younger(
            self.first, self.facts(key).created
        )

    def rank(self) -> dict[str, int]:
        """The models in the order in which they are believed to be the first of their
        kind: older ones, then those that name no other of them as their base, then those
        that the suspect names. Where nothing tells two apart their rank is the same: a
        name says nothing.
        """
        declared = {*self.suspect.facts.parents, *self.suspect.facts.merged}
        places = {self.facts(key).place for key in self.entries}

        def order(key: str) -> tuple[str, bool, bool]:
            facts = self.facts(key)
            has_parent = not (places - {facts.place}).isdisjoint(facts.parents)
            is_named = facts.place in declared
            return facts.created or UNKNOWN_DATE, has_parent, not is_named

        ordered = sorted({order(key) for key in self.entries})
        ranks = {each: rank for rank, each in enumerate(ordered)}
        return {key: ranks[order(key)] for key in self.entries}

    def sizes(self) -> dict[str, int]:
        """The bytes that were read for each print."""
        return {key: entry.bytes for key, entry in self.entries.items()}


def screen(
    index: Index,
    candidates: Candidates,
    indexed: Indexed,
    name: str,
    most: Sequence[int],
) -> Scan:
    """Compare a suspect with what is indexed. name: the suspect's in the configuration.
    most: donors, and controls, that are proposed.
    """
    found = found_of(index, candidates, indexed)
    groups = index.groups(found.entries)
    may_be = may_be_parents(found)
    explained = explain(
        found.suspect, groups, may_be, found.rank(), found.sizes(), most[0]
    )
    donors = list(_donors(found, explained, may_be))
    bases = list(_bases(found, explained, {each.place for each in donors}))
    aside = {each.place for each in (*donors, *bases)}
    controls = _controls(found, explained, aside)[: most[1]]
    proposed = [*bases, *donors, *controls] if bases else []
    ranked = _ranked(found, explained)
    facts = found.suspect.facts
    return Scan(
        suspect=name,
        place=facts.place,
        revision=facts.commit if facts.on_hub else "",
        on_hub=facts.on_hub,
        elements=int(np.count_nonzero(found.suspect.codes)),
        compared=len(found.entries),
        relatives=len(relatives_of(found.likeness)),
        explained=explained.explained,
        bytes=indexed.bytes,
        protocol=PROTOCOL,
        digest=indexed.digest,
        traces=tuple(_traces(found))[:MAX_TRACES],
        ranked=tuple(ranked),
        proposed=tuple(proposed),
        left_out=indexed.left_out,
        asked=candidates.asked,
        file=facts.file,
    )


def may_be_parents(found: Found) -> list[Likeness]:
    """The relatives that may be parents: none that is younger or names the suspect as
    its base. Those in eight bits count only where there are few others: what rounding
    did to them looks like a change of their own, and another such model shares it.
    """
    relatives = [
        each
        for each in relatives_of(found.likeness)
        if not found.is_younger(each.key) and not found.may_be_child(each.key)
    ]
    fine = [each for each in relatives if not found.entries[each.key].coarse]
    return fine if len(fine) >= MIN_BRANCHES else relatives


def found_of(index: Index, candidates: Candidates, indexed: Indexed) -> Found:
    """All that is known of the models that a suspect is compared with."""
    keys = [*indexed.keys.values(), *indexed.foreign.values()]
    entries = index.entries(keys)
    own = index.entries([indexed.suspect])[indexed.suspect]
    suspect = taken_print(index, own)
    return Found(
        suspect=suspect,
        entries=entries,
        candidates={each.place: each for each in candidates.candidates},
        likeness=likenesses(suspect, index.groups(keys)),
        quantiles=index.quantiles(keys),
        published=candidates.published,
        first=candidates.first,
        names=frozenset([suspect.facts.place, *candidates.names]),
    )


def taken_print(index: Index, entry: Entry) -> Print:
    """One print of an index."""
    (group,) = index.groups([entry.key])
    (_, codes) = next(group.pieces())
    quantiles = index.quantiles([entry.key])[entry.key]
    return Print(
        entry.facts, group.signatures, codes[0].copy(), quantiles, entry.coarse
    )


def _bases(
    found: Found, explained: Explanation, donors: set[str]
) -> Iterator[Proposed]:
    """The base candidates: the one that fits best; others only where it is not an
    ancestor of several branches, or where they fit as well, or are declared. Of those
    that have no donor beside them none is one. donors: their places.
    """
    if not explained.bases:
        return
    first = explained.bases[0]
    declared = set(found.suspect.facts.parents)
    for each in explained.bases:
        place = found.facts(each.key).place
        is_ancestor = each.branches >= MIN_BRANCHES
        near = each.dependence < first.dependence + BASES_STEP
        fits = is_ancestor and near and not each.outvoted
        is_open = first.branches < MIN_BRANCHES
        may_be = (is_open and not each.outvoted) or fits or place in declared
        if each is first or (may_be and donors != {place}):
            code = "ancestor" if is_ancestor else "possible_base"
            yield _proposed(found, each.key, "base", code, _of_base(each))


def _of_base(each: BaseCandidate) -> dict[str, float]:
    return {"branches": each.branches, "explained": each.explained}


def _donors(
    found: Found, explained: Explanation, relatives: Sequence[Likeness]
) -> Iterator[Proposed]:
    """The models that explain what the base does not; where there is none, the nearest
    relative.
    """
    for donor in explained.donors:
        numbers = {"weight": donor.weight, "cosine": donor.cosine, "own": donor.own}
        yield _proposed(found, donor.key, "donor", "explains", numbers)
    if explained.donors or not explained.bases:
        return
    aside = {explained.bases[0].key, *explained.same.get(explained.bases[0].key, ())}
    for each in relatives:
        if each.key not in aside:
            numbers = {"share": each.share}
            yield _proposed(found, each.key, "donor", "nearest", numbers)
            return


def _controls(found: Found, explained: Explanation, aside: set[str]) -> list[Proposed]:
    """The siblings whose change from the base points most along the suspect's, and that
    are neither of a donor's line nor merges by their own word. aside: the places of
    base and donors.
    """
    lines = {found.facts(donor.key).place for donor in explained.donors}
    chosen = []
    for each in explained.relatives:
        is_aside = found.facts(each.key).place in aside
        if not is_aside and is_sibling(found, each, lines):
            numbers = {"cosine": each.cosine, "of_base": each.of_base}
            chosen.append(_proposed(found, each.key, "control", "sibling", numbers))
    return chosen


def is_sibling(found: Found, each: Relative, lines: set[str]) -> bool:
    """Whether a relative looks like an independent finetune of the base. lines: the
    donors' places.
    """
    facts = found.facts(each.key)
    is_merge = facts.relation == "merge" or len(facts.parents) > 1 or facts.merged
    is_of_donor = each.of_donor > each.of_base or not lines.isdisjoint(facts.parents)
    moved = each.of_base < SAME_SHARE and each.moved >= MIN_MOVED
    return not is_merge and not is_of_donor and moved


def _proposed(
    found: Found, key: str, part: str, code: str, numbers: Mapping[str, float]
) -> Proposed:
    facts = found.facts(key)
    return Proposed(
        facts.place,
        facts.commit if facts.on_hub else "",
        facts.on_hub,
        part,
        code,
        numbers,
    )


def _ranked(found: Found, explained: Explanation) -> list[Ranked]:
    """Base and donors first, then the other relatives by how far they point along the
    suspect's change, then the others by equal numbers.
    """
    plain = {each.key: _plain(found, each) for each in found.likeness}
    near = {each.key: nearness(each) for each in found.likeness}
    rows: dict[str, Ranked] = {}
    for number, base in enumerate(explained.bases):
        row = replace(plain[base.key], branches=base.branches or None)
        rows[base.key] = replace(row, part="base") if number == 0 else row
    for donor in explained.donors:
        row = rows.get(donor.key, plain[donor.key])
        rows[donor.key] = replace(
            row,
            part="donor",
            weight=donor.weight,
            cosine=donor.cosine,
            own=donor.own,
        )
    order = [explained.bases[0].key] if explained.bases else []
    order += [donor.key for donor in explained.donors]
    for each in explained.relatives:
        row = rows.get(each.key, plain[each.key])
        rows[each.key] = replace(
            row,
            part=row.part or "sibling",
            cosine=each.cosine,
            of_base=each.of_base,
            of_donor=each.of_donor,
        )
        order.append(each.key)
    for first, others in explained.same.items():
        for key in others:
            rows[key] = replace(
                plain[key], part="same", same_as=found.facts(first).place
            )
    nearest = sorted(plain, key=lambda key: (-near[key], plain[key].place))
    everything = dict.fromkeys([*order, *nearest])
    return [rows.get(key, plain[key]) for key in everything][:MAX_RANKED]


def _plain(found: Found, each: Likeness) -> Ranked:
    facts = found.facts(each.key)
    known = found.candidates.get(facts.place)
    return Ranked(
        place=facts.place,
        revision=facts.commit if facts.on_hub else "",
        on_hub=facts.on_hub,
        part="",
        equal=each.equal,
        compared=each.compared,
        chance=each.chance,
        surprise=each.surprise,
        signs=each.signs,
        related=is_relative(each),
        norms=_norms(found.suspect.quantiles, found.quantiles[each.key]),
        younger=found.is_younger(each.key),
        created=facts.created,
        licence=facts.licence,
        reasons=known.reasons if known else (),
    )


def _norms(one: Singles, other: Singles) -> float | None:
    """How far two models' sorted norms lie from each other, as a share of them; None
    where they have none in common.
    """
    known = np.isfinite(one) & np.isfinite(other)
    if not known.any():
        return None
    mine = one[known].astype(np.float64)
    apart = mine - other[known]
    return float(np.sqrt((apart**2).sum() / max((mine**2).sum(), 1e-30)))


def _traces(found: Found) -> Iterator[Trace]:
    """What was left behind, without a weight."""
    own = found.suspect.facts
    for key in sorted(found.entries, key=lambda key: found.facts(key).place):
        facts = found.facts(key)
        reasons = found.candidates.get(facts.place)
        same = len(set(own.weights) & set(facts.weights))
        if same:
            yield Trace(facts.place, "same_files", f"{same} of {len(own.weights)}")
        if facts.place in own.parents:
            yield Trace(facts.place, "declared_parent", own.relation or "")
        if facts.place in own.merged:
            yield Trace(facts.place, "merge_file")
        if found.is_child(key):
            yield Trace(facts.place, "declared_child", facts.relation or "")
        for reason in reasons.reasons if reasons else ():
            if reason.source in ("names", "history"):
                kind = "name_left" if reason.source == "names" else "old_card"
                yield Trace(facts.place, kind, reason.detail)
    yield from _tokenizers(found)


def _tokenizers(found: Found) -> Iterable[Trace]:
    """The models with the suspect's own tokenizer, those of its relatives alone: a
    whole family shares one.
    """
    own = set(found.suspect.facts.tokenizer)
    nearest = relatives_of(found.likeness)
    with_it = [each for each in nearest if own & set(found.facts(each.key).tokenizer)]
    if own and len(with_it) < len(nearest):
        for each in with_it[:MAX_TRACES]:
            detail = f"{len(with_it)} of {len(nearest)}"
            yield Trace(found.facts(each.key).place, "same_tokenizer", detail)
