"""The report's section on what the models call themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mergetrace.finding.wording import condition_words, names_said
from mergetrace.probe.records import Record
from mergetrace.report import answer_samples
from mergetrace.report import names as name_tables
from mergetrace.report.inputs import Inputs
from mergetrace.report.masks import MaskRow, masks

BARE_CONDITIONS = ("stripped", "shipped")
"""The conditions under which models are compared: the first that was asked."""

Answers = Mapping[tuple[str, str], list[Record]]
"""By model and condition the records of the answers."""


@dataclass(frozen=True)
class NamesSection:
    """What was asked, and what was answered."""

    said: str
    """Which name the suspect gives most often."""
    conditions: Mapping[str, str]
    """By condition how it is called."""
    names: list[tuple[str, list[name_tables.NameRow]]]
    """By model how many answers give each name."""
    identities: Mapping[str, Sequence[str]]
    """By identity the spellings that count."""
    strata: Mapping[str, list[name_tables.StratumRow]]
    """By model which name it gives most, by kind of question and language."""
    compared: list[name_tables.ComparisonRow]
    """The suspect beside the other models."""
    compared_under: str
    """The condition under which it was compared."""
    changes: list[name_tables.ComparisonRow]
    """The suspect under two conditions."""
    conduct: list[name_tables.ConductRow]
    """How the models answered, where there is anything to say."""
    answers: int
    """The number of answers in all."""
    watermarks: list[name_tables.WatermarkRow]
    """Backstory sentences in the answers."""
    phrases: int
    """How many backstory sentences were looked for."""
    reasoning: list[name_tables.ReasoningRow]
    """Names that thinking models gave to themselves."""
    masks: list[MaskRow]
    """What the chat templates add."""
    samples: Mapping[str, Mapping[str, list[answer_samples.Sample]]]
    """By model and condition some of the answers."""
    reasons: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """By model and condition why it was not asked."""


def names_section(inputs: Inputs) -> NamesSection | None:
    """Tallies, comparisons, masks and sample answers of the models that were asked;
    None where nobody asked.
    """
    if not inputs.verdict.probe:
        return None
    suspect = inputs.suspect
    counts = inputs.counts_by_role()
    asked = list(counts)
    conditions = list(
        dict.fromkeys(condition for each in counts.values() for condition in each)
    )
    words = {condition: condition_words(condition) for condition in conditions}
    records = _records(inputs, asked, conditions)
    reasons = {
        key: record["skipped"]
        for key, found in records.items()
        for record in found
        if "skipped" in record
    }
    probe = inputs.probe
    bare = next((name for name in BARE_CONDITIONS if name in words), conditions[0])
    return NamesSection(
        said=names_said(inputs.verdict),
        conditions=words,
        names=name_tables.names(counts, conditions, reasons),
        identities=inputs.identities,
        strata={
            model: name_tables.strata(probe["strata"], model, conditions)
            for model in asked
        },
        compared=name_tables.models_compared(probe["comparisons"], suspect, bare),
        compared_under=words[bare],
        changes=name_tables.conditions_compared(probe["comparisons"], suspect, words),
        conduct=name_tables.conduct(probe["conduct"], words),
        answers=int(probe["conduct"]["n"].sum()),
        watermarks=name_tables.watermarks(probe["watermarks"], conditions),
        phrases=probe["watermarks"]["phrase"].nunique(),
        reasoning=name_tables.reasoning(probe["reasoning"], words),
        masks=masks(inputs.mask, asked),
        samples={
            model: {
                condition: answer_samples.samples(
                    records[model, condition], inputs.identities
                )
                for condition in conditions
            }
            for model in asked
        },
        reasons=reasons,
    )


def _records(inputs: Inputs, models: list[str], conditions: list[str]) -> Answers:
    records: dict[tuple[str, str], list[Record]] = {
        (model, condition): [] for model in models for condition in conditions
    }
    for model in models:
        for record in inputs.answers.get(model, ()):
            if (model, record["condition"]) in records:
                records[model, record["condition"]].append(record)
    return records
