"""Count which identity each model gave itself, per condition, with 95 % intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mergetrace.outputs import whole
from mergetrace.probe.answers import read_answers
from mergetrace.probe.breakdowns import mentioned, reasoning, strata, watermarks
from mergetrace.probe.comparisons import compare
from mergetrace.probe.conduct import conduct
from mergetrace.probe.identity import score
from mergetrace.probe.records import Answers
from mergetrace.running.log import say
from mergetrace.tables.probe_schemas import (
    COMPARISONS,
    CONDUCT,
    MENTIONS,
    REASONING,
    SCORES,
    STRATA,
    WATERMARKS,
)


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    answers: tuple[Path, ...]
    """The answers, each file in a folder with the name of its model."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    suspect: str
    """The model that every other is compared with."""
    identities: Mapping[str, tuple[str, ...]]
    """The names to look for, with their spellings."""
    phrases: Mapping[str, tuple[str, ...]]
    """Sentences of a backstory, per identity."""
    adversarial_name: str
    """Whom the adversarial condition names, counted as an identity of its own."""


@dataclass(frozen=True)
class Outputs:
    """What is written, all as CSV."""

    scores: Path
    """How often each identity was given."""
    comparisons: Path
    """What changes between conditions and between models."""
    conduct: Path
    """How many answers were cut, empty, repeating or refusals."""
    strata: Path
    """The count by kind of question and by language."""
    reasoning: Path
    """The count in what thinking models said to themselves."""
    watermarks: Path
    """How many answers hold each sentence of a backstory."""
    mentions: Path
    """Every place where a name stands, with the words around it."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Count what was answered; no model is asked here."""
    answers = [(path.parent.name, read_answers(path)) for path in inputs.answers]
    phrases = {name: list(each) for name, each in params.phrases.items()}
    identities = _identities(answers, params)
    table = score(answers, identities)
    tables = {
        outputs.scores: (SCORES, table),
        outputs.comparisons: (
            COMPARISONS,
            compare(answers, identities, params.suspect),
        ),
        outputs.conduct: (CONDUCT, conduct(answers)),
        outputs.strata: (STRATA, strata(answers, identities)),
        outputs.reasoning: (REASONING, reasoning(answers, identities)),
        outputs.watermarks: (WATERMARKS, watermarks(answers, phrases)),
        outputs.mentions: (MENTIONS, mentioned(answers, identities)),
    }
    for path, (kind, frame) in tables.items():
        kind.check(frame)
        with whole(path) as partial:
            frame.to_csv(partial, index=False)
    for row in table.to_dict("records"):
        reason = f" ({row['reason']})" if row["reason"] else ""
        counted = f"{row['identity']} {row['hits']} of {row['n']}{reason}"
        say(f"{row['model']}, {row['condition']}: {counted}")


def _identities(answers: Answers, params: Params) -> dict[str, list[str]]:
    """The identities, and the name that the adversarial condition gave, if it was used."""
    identities = {name: list(each) for name, each in params.identities.items()}
    conditions = {record["condition"] for _, records in answers for record in records}
    name = params.adversarial_name
    if identities and name and "adversarial" in conditions:
        identities[name] = [*identities.get(name, []), name]
    return identities
