"""What the stages of a scan hand to one another as JSON: candidates, prints, what was
found. A scan accuses nobody: all of it says where to look.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Why a model is looked at."""

    source: str
    """`audit`, `card`, `ancestor`, `child`, `names`, `history`, `listing`, `path` or `index`."""
    detail: str = ""
    """The file, the model or the commit that names it."""


@dataclass(frozen=True)
class Candidate:
    """A model that a suspect's print is compared with."""

    place: str
    """The repository (owner/name), or the folder."""
    on_hub: bool
    reasons: tuple[Reason, ...]
    revision: str = ""
    """The commit, of a model on the Hub."""
    created: str | None = None
    """When the Hub made the repository."""
    file: str = ""
    """The GGUF file of a repository that is read; empty of any other model."""


@dataclass(frozen=True)
class LeftOut:
    """A model that was not compared."""

    place: str
    code: str
    """Why, as a code (see scan.wording.LEFT_OUT)."""
    detail: str = ""


@dataclass(frozen=True)
class Candidates:
    """What is compared with a suspect."""

    suspect: Candidate
    candidates: tuple[Candidate, ...]
    """In the order of their places."""
    left_out: tuple[LeftOut, ...]
    asked: Mapping[str, int]
    """How many models each source named."""
    parameters: int
    """The suspect's numbers."""
    published: str | None = None
    """When the suspect's weights were last changed, where the Hub says so."""
    first: str | None = None
    """When its first weights were there."""
    names: tuple[str, ...] = ()
    """What the Hub calls it now, where it was renamed."""


@dataclass(frozen=True)
class Batch:
    """The prints of some candidates."""

    keys: Mapping[str, str]
    """By place the key of the print in the index."""
    left_out: tuple[LeftOut, ...]
    bytes: int
    """That all of them take, those included that another scan had read already."""


@dataclass(frozen=True)
class Indexed:
    """The prints that a suspect is compared with."""

    suspect: str
    """The key of its print."""
    keys: Mapping[str, str]
    """By place the key of every print."""
    foreign: Mapping[str, str]
    """The same of prints that pulled indexes hold, by place."""
    left_out: tuple[LeftOut, ...]
    bytes: int
    digest: str
    """The sha256 over what the index says of all of them."""


@dataclass(frozen=True)
class Trace:
    """A sign that was left behind, found without reading a weight."""

    place: str
    """The model that it points to."""
    kind: str
    """`same_files`, `same_tokenizer`, `declared_parent`, `declared_child`,
    `merge_file`, `name_left`, `old_card`."""
    detail: str = ""


@dataclass(frozen=True)
class Ranked:
    """One model in the order of its likeness."""

    place: str
    revision: str
    on_hub: bool
    part: str
    """`base`, `donor`, `same` (as another one), `sibling` or `` (not proposed)."""
    equal: int
    compared: int
    chance: float
    """Equal numbers that chance gives."""
    surprise: float
    """Standard deviations above chance."""
    signs: int
    """Numbers of the same sign."""
    related: bool
    """Whether it has more of the suspect's numbers, or of their signs, than chance
    gives."""
    cosine: float | None = None
    """Between its change from the base and the suspect's."""
    weight: float | None = None
    """Of a donor, its share in the blend that explains most."""
    own: float | None = None
    """Of a donor, the share of its own numbers that the suspect has."""
    of_base: float | None = None
    """The share of its numbers that are the base's."""
    of_donor: float | None = None
    """The greatest share of its numbers that are one of the donors'."""
    norms: float | None = None
    """How far its sorted norms lie from the suspect's, as a share of them."""
    branches: int | None = None
    """Of a base, the independent branches of relatives that start at it."""
    same_as: str = ""
    """The model that stands for it, where its print is the same."""
    younger: bool = False
    """Whether its repository was made after the suspect's weights."""
    created: str | None = None
    licence: str | None = None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Proposed:
    """A model of the proposed audit."""

    place: str
    revision: str
    on_hub: bool
    part: str
    """`base`, `donor` or `control`."""
    code: str
    """Why, as a code (see scan.wording.PROPOSED)."""
    numbers: Mapping[str, float]
    """That its sentence names."""


@dataclass(frozen=True)
class Scan:
    """What a scan found (screen.json)."""

    suspect: str
    """Its name in the configuration."""
    place: str
    revision: str
    on_hub: bool
    elements: int
    """Numbers of the suspect's print."""
    compared: int
    """Models it was compared with."""
    relatives: int
    """Models that have more of its numbers than chance gives."""
    explained: float
    """The share of its change from the base that the donors explain, in squares."""
    bytes: int
    protocol: int
    digest: str
    """The sha256 over the prints."""
    traces: tuple[Trace, ...]
    ranked: tuple[Ranked, ...]
    """The nearest first, at most as many as are listed."""
    proposed: tuple[Proposed, ...]
    left_out: tuple[LeftOut, ...]
    asked: Mapping[str, int]
    file: str = ""
    """The suspect's GGUF file, where it is one of a repository."""


@dataclass(frozen=True)
class Sibling:
    """A relative that an audit takes as a control."""

    place: str
    revision: str
    on_hub: bool
    cosine: float
    """Between its change from the base and the suspect's."""
    of_base: float
    """The share of its numbers that are the base's."""


@dataclass(frozen=True)
class Siblings:
    """The controls that a scan chose for an audit (siblings.json)."""

    base: str
    """The place of the base that they are siblings of; "" where none is known."""
    offered: bool
    """Whether that is one of the bases that the audit offers."""
    relatives: int
    """Relatives that they were chosen from."""
    siblings: tuple[Sibling, ...]
    """The hardest first: those whose change points most along the suspect's."""


@dataclass(frozen=True)
class Carrier:
    """A younger model that may carry the watched one. A candidate, and no finding."""

    place: str
    revision: str
    created: str | None
    cosine: float
    """Between its change from the base and the watched model's."""
    errors: float
    """By how many standard deviations that exceeds what relatives show."""
    own: float
    """Of the watched model's own numbers, the share that it has."""
    usual_own: float
    """The share that a relative in the middle has."""
    declares: bool
    """Whether it names the watched model as a parent."""
    measured: str = ""
    """The sha256 of its print, by which weights that were exchanged show."""


@dataclass(frozen=True)
class Watched:
    """Which younger models may carry a model (watch.json)."""

    model: str
    """Its name in the configuration."""
    place: str
    published: str | None
    """When its weights were last changed; None where that is not known."""
    compared: int
    relatives: int
    younger: int
    """Relatives that are younger."""
    base: str
    """The model that the others were made from; "" where none was found."""
    carriers: tuple[Carrier, ...]
    """The most striking first."""
    new: tuple[str, ...]
    """Those that the last run, of other prints, did not name, or with other weights."""
    gone: tuple[str, ...]
    """Those that it named and that are not among them now."""
    digest: str
    """The sha256 over the prints."""
