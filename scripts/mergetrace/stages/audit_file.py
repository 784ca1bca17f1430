"""Audit what a configuration file names, in this process: what `mergetrace.audit` does."""

from dataclasses import dataclass
from pathlib import Path

from mergetrace.configuration.messages import nearest
from mergetrace.configuration.reading import check_sources, load
from mergetrace.errors import ConfigurationError
from mergetrace.finding.wording_headline import headline
from mergetrace.records.verdict import Verdict
from mergetrace.stages.audited_models import Places
from mergetrace.stages.auditing import Audit


@dataclass(frozen=True)
class Finding:
    """What an audit found."""

    verdict: str
    """One word: merge, other_merge, merge_then_trained, copy, finetune_of_donor,
    finetune_of_base, unrelated or inconclusive."""
    sentence: str
    """The verdict in plain words."""
    receipt: Verdict
    """verdict.json: every number, with reasons."""
    report: Path
    """The page people read."""


def audit_file(path: Path, results: Path, name: str | None = None) -> Finding:
    """Audit one suspect of a configuration file and write the report; see
    mergetrace.audit.
    """
    configuration = load(path)
    names = list(configuration.audits)
    if name is None and len(names) > 1:
        raise ConfigurationError(
            f"{path} has several audits: {', '.join(names)}; say which by name="
        )
    if not names:
        raise ConfigurationError(
            f"{path} has no audit; add one, or scan its suspects with `snakemake scan`"
        )
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise ConfigurationError(
            f"{path} has no audit `{chosen}`; {nearest(chosen, names)}"
        )
    check_sources(configuration)
    places = Places(results / chosen, results / "models")
    audit = Audit(configuration, chosen, places)
    receipt = Verdict.of(audit.weigh())
    sentence = headline(receipt).sentence
    return Finding(receipt.verdict, sentence, receipt, audit.write_report())
