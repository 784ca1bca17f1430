"""The configuration's section `scan`: candidates for a suspect of which no parent is
known.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from mergetrace import timestamps
from mergetrace.configuration.shared import MAX_DONORS, Names, Section, Unique

Source = Literal["card", "tree", "names", "history", "listing"]
_Text = Annotated[str, Field(min_length=1, max_length=300)]


class HubCandidates(Section):
    """What the Hub is asked for. None of it needs a weight."""

    sources: Unique[Source] = Field(
        default=("card", "tree", "names", "history", "listing"), alias="from"
    )
    """`card`: the bases that the suspect's card lists; `names`: models that its small
    files name; `history`: models that older commits of them named; `tree`: the bases of
    all these, those that most of the listed models name, and what names one of them as
    its base; `listing`: models of the
    suspect's kind and size. `[]` asks the Hub nothing.
    """

    filters: Unique[_Text] = ("safetensors",)
    """Tags that a listed model must bear, as the Hub's own filters."""

    parameters: float = Field(default=0.03, gt=0, le=1)
    """By how much the number of parameters of a listed model may differ, as a share."""

    before: str = "suspect"
    """`suspect`: no models whose repository is younger than the suspect's weights, since
    they cannot be its parents; `any`; or a day (2026-05-01).
    """

    most: int = Field(default=2000, ge=1, le=100_000)
    """Models that are compared; those that were named come before those listed."""

    @field_validator("before", mode="before")
    @classmethod
    def _moment(cls, value: Any) -> str:
        """YAML reads some days as dates and others as text."""
        return value if value in ("suspect", "any") else timestamps.stated(value)


class ScanCandidates(Section):
    """Where candidates come from."""

    hub: HubCandidates = HubCandidates()
    """The Hugging Face Hub."""

    paths: Unique[_Text] = ()
    """Local folders, or patterns of them (`/data/models/*`)."""

    indexes: Unique[_Text] = ()
    """Folders of published indexes of prints (docs/scan.md). All that they hold is
    compared.
    """


class ScanBudget(Section):
    """What a scan may cost."""

    megabytes: float = Field(default=1000.0, gt=0)
    """That may be read for prints; a model takes .1 to .35."""

    megabytes_each: float = Field(default=4.0, gt=0)
    """That one print may take. The headers alone of a model with one tensor for each of
    many experts take 13.
    """


class ScanSettings(Section):
    """From a suspect alone to candidates and a proposed audit. It accuses nobody."""

    suspects: Names = ()
    """The models that are scanned, by their names under `models`."""

    watch: Names = ()
    """Models of yours: `snakemake watch` lists the younger models that may carry them,
    and which of those are new since the last run.
    """

    candidates: ScanCandidates = ScanCandidates()
    """What they are compared with."""

    budget: ScanBudget = ScanBudget()
    """What it may cost."""

    keep: int = Field(default=6, ge=1, le=MAX_DONORS)
    """Donors that are handed to the audit, at most."""

    controls: int = Field(default=3, ge=0, le=MAX_DONORS)
    """Siblings that are handed to it as controls, at most: the nearest that nothing ties
    to a donor.
    """
