"""The models that a suspect is compared with, each with the reason, and those that are
left out. No weight is read.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mergetrace.errors import NetworkError
from mergetrace.records.scan import Candidate, Candidates, LeftOut, Reason
from mergetrace.scan.names import Named
from mergetrace.timestamps import span

if TYPE_CHECKING:
    from mergetrace.hub.listing import Listed

ANCESTORS = 4  # generations that are followed upwards
MAX_ANCESTORS = 100
"""Models that are asked for in all of them. A card may name twenty, each of which names
twenty others: whoever publishes a few hundred could keep a scan asking for days.
"""
COMMON_BASES = 5  # of listed models whose children are asked for
MAX_UNREACHABLE = 5
"""Models that may be out of reach: of more it is the Hub itself that is."""
MEGABYTES_OF_A_PRINT = 0.35
"""That a print takes to read at most, as a rule; by this the budget is divided."""
ORDER = ("audit", "card", "names", "history", "ancestor", "path", "child", "listing")
"""Which reasons count first where not all models can be read."""


@dataclass(frozen=True)
class Settings:
    """What is looked for."""

    sources: tuple[str, ...]
    """Of `card`, `tree`, `names`, `history`, `listing`."""
    filters: tuple[str, ...]
    """Tags that a model must bear to be listed."""
    parameters: float
    """By how much a listed model's number of parameters may differ, as a share."""
    before: str
    """`suspect`: no models whose repository is younger than the suspect's weights;
    `any`; or a day."""
    most: int
    """Models that are compared."""
    megabytes: float
    """That may be read for all of them."""
    watches: bool = False
    """Whether it is asked who carries the model: then its declared children count."""


@dataclass
class Gathering:
    """Models found so far."""

    suspect: Candidate
    settings: Settings
    published: str | None
    parameters: int
    first: str | None = None
    """When the suspect's first weights were there, where the Hub says so."""
    names: set[str] = field(default_factory=set)
    """Other names of the suspect on the Hub: a repository that was renamed has two."""
    found: dict[str, Candidate] = field(default_factory=dict)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def take(self, listed: "Listed", reason: Reason) -> None:
        """Take a repository, or leave it out with the reason."""
        self.asked[reason.source] += 1
        if self.is_suspect(listed.repo) or listed.repo in self.left_out:
            return
        known = self.found.get(listed.repo)
        if known is not None:
            reasons = tuple(dict.fromkeys((*known.reasons, reason)))
            self.found[listed.repo] = _with(known, reasons)
            return
        code = self._why_not(listed, reason)
        if code is not None:
            self.left_out[listed.repo] = LeftOut(listed.repo, code, reason.source)
            return
        self.found[listed.repo] = Candidate(
            listed.repo, True, (reason,), listed.commit, listed.created
        )

    def is_suspect(self, repo: str) -> bool:
        """Whether a repository is the suspect's own."""
        return self.suspect.on_hub and repo in {self.suspect.place, *self.names}

    def take_folder(self, folder: Path, source: str = "path") -> None:
        """Take a local folder, unless it is the suspect's own."""
        self.asked[source] += 1
        is_own = not self.suspect.on_hub and (
            folder.resolve() == Path(self.suspect.place).resolve()
        )
        if not is_own:
            place = str(folder)
            reason = Reason(source)
            self.found.setdefault(place, Candidate(place, False, (reason,)))

    def leave_out(self, place: str, code: str, detail: str = "") -> None:
        """Say why a model is not compared."""
        self.left_out.setdefault(place, LeftOut(place, code, detail))

    def result(self) -> Candidates:
        """What is compared: as many as the settings allow, those with the strongest
        reasons first.
        """
        room = int(self.settings.megabytes / MEGABYTES_OF_A_PRINT)
        most = min(self.settings.most, room)
        order = sorted(self.found.values(), key=_urgency)
        beyond = [
            LeftOut(
                each.place,
                "over_most" if most == self.settings.most else "over_budget",
                each.reasons[0].source,
            )
            for each in order[most:]
        ]
        left_out = [*self.left_out.values(), *beyond]
        return Candidates(
            suspect=self.suspect,
            candidates=tuple(sorted(order[:most], key=lambda each: each.place)),
            left_out=tuple(sorted(left_out, key=lambda each: each.place)),
            asked=dict(sorted(self.asked.items())),
            parameters=self.parameters,
            published=self.published,
            first=self.first,
            names=tuple(sorted(self.names)),
        )

    def _why_not(self, listed: "Listed", reason: Reason) -> str | None:
        """Why a repository is not compared; None where it is."""
        is_child = any(map(self.is_suspect, listed.parents))
        # who was there before the suspect is not its child, whatever its card says
        is_older = is_younger(self.first, listed.created)
        if is_child and not is_older and not self.settings.watches:
            return "child"
        if listed.relation == "adapter":
            return "adapter"
        is_named = reason.source not in ("child", "listing")
        if not is_named and is_younger(listed.created, self._limit()):
            return "younger"
        return None

    def _limit(self) -> str | None:
        """The day after which no repository may have been made."""
        before = "any" if self.settings.watches else self.settings.before
        return {"suspect": self.published, "any": None}.get(before, before)


def gather(gathering: Gathering, named: Iterable[Named], kind: str | None) -> None:
    """Ask the Hub for models that may be the suspect's relatives.

    named: the models that its small files name, now or once. kind: its architecture,
    as its configuration calls it. Raises NetworkError where the Hub cannot be asked.
    """
    sources = gathering.settings.sources
    relatives: dict[str, Listed] = {}
    for each in named:
        if each.source in (*sources, "audit"):
            _follow(gathering, each.repo, Reason(each.source, each.file), relatives)
    if "tree" in sources:
        _ancestors(gathering, relatives)
        own = {gathering.suspect.place, *gathering.names}
        asked = sorted(own) if gathering.settings.watches else []
        for repo in [*asked, *sorted(relatives)]:
            _list(gathering, Reason("child", repo), [f"base_model:{repo}"])
    if "listing" in sources and gathering.parameters:
        size = gathering.parameters
        share = gathering.settings.parameters
        within = f"min:{int(size * (1 - share))},max:{int(size * (1 + share)) + 1}"
        tags = [kind] if kind else []
        found = _list(gathering, Reason("listing", within), tags, within)
        if "tree" in sources:
            for repo in _common_bases(found, relatives):
                named_by = Reason("ancestor", "models of its size")
                if _follow(gathering, repo, named_by, relatives) is not None:
                    _list(gathering, Reason("child", repo), [f"base_model:{repo}"])


def called_now(repo: str) -> str:
    """What the Hub calls a repository now; as it is given where that is not known."""
    from mergetrace.hub.listing import about

    try:
        return about(repo).repo
    except NetworkError:
        return repo


def is_younger(created: str | None, limit: str | None) -> bool:
    """Whether a repository was made after a moment. False where one is not known."""
    if not created or not limit:
        return False
    return span(created)[0] > span(limit)[1]


def _list(
    gathering: Gathering,
    reason: Reason,
    tags: Sequence[str],
    parameters: str | None = None,
) -> "list[Listed]":
    from mergetrace.hub.listing import listing

    filters = (*gathering.settings.filters, *tags)
    found, odd = listing(filters, gathering.settings.most, parameters)
    for name in odd:
        gathering.leave_out(name, "not_understood", reason.source)
    for listed in found:
        gathering.take(listed, reason)
    return found


def _common_bases(found: Iterable["Listed"], known: Mapping[str, object]) -> list[str]:
    """The bases that most of the listed models name, those that are known left out: of a
    suspect that names nobody, they lead to relatives of other sizes.
    """
    counts = Counter(parent for listed in found for parent in listed.parents)
    order = sorted(counts, key=lambda repo: (-counts[repo], repo))
    return [repo for repo in order if repo not in known][:COMMON_BASES]


def _follow(
    gathering: Gathering, repo: str, reason: Reason, relatives: dict[str, "Listed"]
) -> "Listed | None":
    """Ask for one repository, and take it; None where there is none."""
    from mergetrace.hub.listing import about, why_not

    try:
        listed = about(repo)
    except NetworkError as error:
        gathering.leave_out(repo, why_not(error), reason.detail)
        codes = [each.code for each in gathering.left_out.values()]
        if codes.count("unreachable") > MAX_UNREACHABLE:
            raise NetworkError(f"{repo}: {error}") from None
        return None
    gathering.take(listed, reason)
    if not gathering.is_suspect(listed.repo):
        relatives[listed.repo] = listed
    return listed


def _ancestors(gathering: Gathering, relatives: dict[str, "Listed"]) -> None:
    """Follow what the named models name as their own bases, the nearest first."""
    generation: Mapping[str, Listed] = dict(relatives)
    asked = 0
    for _ in range(ANCESTORS):
        above: dict[str, Listed] = {}
        for repo, parent in _parents_of(generation):
            if parent in relatives or parent in gathering.left_out:
                continue
            if asked == MAX_ANCESTORS:
                gathering.leave_out(parent, "over_most", repo)
                continue
            asked += 1
            found = _follow(gathering, parent, Reason("ancestor", repo), relatives)
            if found is not None:
                above[found.repo] = found
        generation = above


def _parents_of(generation: Mapping[str, "Listed"]) -> list[tuple[str, str]]:
    """Models and what they name as their base."""
    return [
        (repo, parent)
        for repo, listed in sorted(generation.items())
        for parent in listed.parents
    ]


def _urgency(each: Candidate) -> tuple[int, str]:
    best = min(ORDER.index(reason.source) for reason in each.reasons)
    return best, each.place


def _with(known: Candidate, reasons: tuple[Reason, ...]) -> Candidate:
    return Candidate(known.place, known.on_hub, reasons, known.revision, known.created)
