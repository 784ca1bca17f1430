"""The page of the descent zoo: grades by kind of case, what was aimed at, every miss by
name, and how detection falls as training goes on.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pandas as pd

from benchmarks.descent.grading import GRADES, WEIGHT_ERROR, Row
from benchmarks.descent.members import TRAINED
from benchmarks.descent.picture import draw
from benchmarks.descent.shapes import REPORTING, SHAPES, TUNING, Family
from benchmarks.descent.tasks import akin
from benchmarks.descent.training import Run
from mergetrace.outputs import write_text
from mergetrace.probe.intervals import wilson95

EDGES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Bins of cos_fit after training."""
CURVE = ("trained merge", "finetune of the donor")
"""The kinds that the curve is made of: trained on another task than the donor's."""
BAD = ("accused", "wrong weight", "wrongly acquitted", "failed")
OTHER_TASK = ("sibling of another task",)
SAME_TASK = (
    "sibling of the donor's task",
    "the donor's data, order and seed, another rate",
)


def write_page(here: Path, rows: Sequence[Row], planned: int, old: int) -> None:
    """Write README.md, detection.csv and detection.svg into `here`. planned: how many
    cases there should be; old: how many were measured by an earlier state of the code.
    """
    curve = curve_table(rows)
    write_text(here / "detection.csv", curve.to_csv(index=False, lineterminator="\n"))
    draw(here / "detection.svg", curve)
    parts = {"Reporting": _of(rows, REPORTING), "Tuning": _of(rows, TUNING)}
    text = [
        *_head(rows, planned, old),
        *_targets(parts["Reporting"]),
        *_detection(parts["Reporting"]),
    ]
    for name, part in parts.items():
        text += [f"## {name} families: grades by kind", "", *_kinds(part), ""]
        text += [f"## {name} families: misses", "", *(_misses(part) or ["None."]), ""]
    write_text(here / "README.md", "\n".join(text))


def _head(rows: Sequence[Row], planned: int, old: int) -> list[str]:
    seconds = sum(row["cpu_s"] for row in rows)
    counts = Counter(row["case"]["family"] for row in rows)
    alone = sum(row.get("alone", False) for row in rows)
    names = [", ".join(map(_described, group)) for group in (TUNING, REPORTING)]
    return [
        "# The descent zoo",
        "",
        "Written by `python -m benchmarks.descent.run`; do not edit. Merges that were"
        " trained on until nothing in them is exact any more,",
        "and innocents that look like them: siblings, checkpoints of the donor's own"
        " run, heirs of an ancestor that is not offered, wrong bases, forged donors.",
        "Every model was trained (`training.py`, `members.py`), every merge is"
        " mergekit's; what is true is planted (`cases.py`).",
        f"Rules were set on the tuning families ({names[0]}); the reporting families"
        f" ({names[1]}) are other births and other tasks.",
        f"{len(rows)} of {planned} cases, {seconds / max(1, len(rows)):.1f} processor"
        " seconds each; trainings are not counted."
        + (f" {old} were measured by an earlier state of the code." if old else ""),
        f"{alone} of them by the measurement of small directions alone: what its rule"
        " says of the suspect and of every control if no rule before it is asked, and"
        " as if their numbers did not follow from their parents' alone (`--alone`); the"
        " others are whole audits."
        if alone
        else "All of them are whole audits.",
        "By family: "
        + ", ".join(f"`{name}` {count}" for name, count in counts.items())
        + ".",
        "",
    ]


def _described(family: Family) -> str:
    sizes = SHAPES[family.shape].sizes
    return (
        f"`{family.name}`: {SHAPES[family.shape].architecture},"
        f" {sizes['hidden_size']} wide, {sizes['num_hidden_layers']} layers, finetuned"
        f" at {family.rate:g}"
    )


def _targets(rows: Sequence[Row]) -> list[str]:
    """What was aimed at on the reporting families, and what was reached."""
    innocents = [row for row in rows if not row["case"]["truth"]]
    trained = [row for row in rows if row["case"]["kind"] in CURVE]
    left = [row for row in trained if (row.get("cos_fit") or 0) >= 0.4]
    seen = [row for row in left if row["case"]["kind"] == CURVE[0]]
    finetunes = [row for row in left if row["case"]["kind"] == CURVE[1]]
    akin_ones = [row for row in trained if _akin(row)]
    own = [row for row in rows if row["case"]["own_task"]] + akin_ones
    siblings = [
        [row for row in rows if row["case"]["kind"] in kinds]
        for kinds in (OTHER_TASK, SAME_TASK)
    ]
    aims = (
        ("innocents accused: none of at least 150", _rate(innocents, "accused")),
        (
            "innocents accused by strong evidence: none",
            _rate(innocents, "accused", strong=True),
        ),
        (
            "merges trained on another task, on text of another kind than the donor's,"
            f" cos_fit .4 or more, named with the weight within {WEIGHT_ERROR} or"
            " without a weight: 80 %",
            _rate([row for row in seen if not _akin(row)], "named"),
        ),
        (
            "the same, where any text but the donor's own is another task",
            _rate(seen, "named"),
        ),
        (
            "finetunes of the donor, which are no merges, on text of another kind: no"
            " aim",
            _rate([row for row in finetunes if not _akin(row)], "named"),
        ),
        (
            "trained on the donor's task or on text of its kind, given a wrong weight:"
            " none",
            _rate(own, "wrong weight"),
        ),
        ("siblings of another task acquitted: 90 %", _rate(siblings[0], "acquitted")),
        (
            "siblings of the donor's task acquitted, or with a bound below least"
            " squares: 60 %",
            _rate(siblings[1], "acquitted", "bounded"),
        ),
        (
            "guilty wrongly acquitted: none",
            _rate([row for row in rows if row["case"]["truth"]], "wrongly acquitted"),
        ),
    )
    return [
        "## What was aimed at, on the reporting families",
        "",
        "| aim | reached |",
        "|---|---|",
        *(f"| {aim} | {reached} |" for aim, reached in aims),
        "",
        "Rates carry Wilson 95 % intervals. Cases of one family share their trainings"
        " and are not independent: the intervals are optimistic.",
        "",
        *_named_by_family(trained, seen),
    ]


def _named_by_family(trained: Sequence[Row], seen: Sequence[Row]) -> list[str]:
    """How many trained merges were named, whatever they were trained on."""
    parts = (
        ("trained on text of another kind", [row for row in seen if not _akin(row)]),
        (
            "trained on text of the donor's own kind",
            [row for row in seen if _akin(row)],
        ),
        *(
            (f"`{name}`", [row for row in seen if row["case"]["family"] == name])
            for name in dict.fromkeys(row["case"]["family"] for row in seen)
        ),
        ("all, at any cos_fit", trained),
    )
    return [
        "Text of the donor's own kind is dialogues of one make in which little more than"
        " names differs (`tasks.akin`): what is trained on it alone has a cosine of .56"
        " to .58 with the donor's change (0 on text of another kind). Whether that is"
        " another task is a matter of reading, so both are said. By kind and family:",
        "",
        "| merges, cos_fit .4 or more | named |",
        "|---|---|",
        *(f"| {name} | {_rate(part, 'named')} |" for name, part in parts),
        "",
    ]


def _akin(row: Row) -> bool:
    """Whether a merge was trained on text of the kind that its donor was trained on."""
    how = TRAINED[row["case"]["suspect"]]
    assert isinstance(how, Run)
    family = next(
        each for each in (*TUNING, *REPORTING) if each.name == row["case"]["family"]
    )
    return akin("donor", how.role, family.seed)


def curve_table(rows: Sequence[Row]) -> pd.DataFrame:
    """One line for every merge that was trained on another task: its cosine after the
    training, whether it was named, the weight's error.
    """
    reporting = {family.name for family in REPORTING}
    lines = [
        {
            "families": "reporting" if row["case"]["family"] in reporting else "tuning",
            "case": row["case"]["id"],
            "kind": "the donor's" if _akin(row) else "another",
            "cos_fit": row["cos_fit"],
            "weight": row["case"]["truth"].get("donor"),
            "grade": row["grade"],
            "evidence": row["evidence"],
            "stated": row["verdict"]["parents"]["donor"]["alpha"]
            if row["verdict"]["parents"]["donor"]["named"]
            else None,
            "error": row["weight_error"],
        }
        for row in rows
        if row["case"]["kind"] in CURVE and row["grade"] != "failed"
    ]
    columns = [
        "families",
        "case",
        "kind",
        "cos_fit",
        "weight",
        "grade",
        "evidence",
        "stated",
        "error",
    ]
    return pd.DataFrame(lines, columns=columns).round(6)


def _detection(rows: Sequence[Row]) -> list[str]:
    curve = curve_table(rows)
    lines = []
    for low, high in itertools.pairwise(EDGES):
        part = curve[(curve["cos_fit"] > low) & (curve["cos_fit"] <= high)]
        if part.empty:
            continue
        found = part[part["grade"] == "named"]
        errors = found["error"].dropna()
        worst = f"{errors.median():.3f}, {errors.max():.3f}" if len(errors) else ""
        wrong = int(part["grade"].isin(BAD).sum())
        lines.append(
            f"| {low:.1f} to {high:.1f} | {len(part)} | {len(found)} |"
            f" {int((found['evidence'] == 'strong').sum())} | {worst} | {wrong or ''} |"
        )
    return [
        "## Where it ends: merges trained on another task, by the cosine that is left",
        "",
        "| cos_fit after training | cases | named | by strong evidence | error of the"
        " weight: median, worst | wrong |",
        "|---|---|---|---|---|---|",
        *lines,
        "",
        "Every case stands in [detection.csv](detection.csv), and in the"
        " [picture](detection.svg).",
        "",
    ]


def _kinds(rows: Sequence[Row]) -> list[str]:
    counts: dict[str, list[Row]] = {}
    for row in rows:
        counts.setdefault(row["case"]["kind"], []).append(row)
    used = [each for each in GRADES if any(row["grade"] == each for row in rows)]
    return [
        "| kind | cases | "
        + " | ".join(used)
        + " | error of the weight: median, worst |",
        "|---|---|" + "---|" * (len(used) + 1),
        *(
            f"| {kind} | {len(part)} | "
            + " | ".join(str(_counted(part)[each] or "") for each in used)
            + f" | {_errors(part)} |"
            for kind, part in counts.items()
        ),
    ]


def _counted(rows: Sequence[Row]) -> Counter[str]:
    return Counter(row["grade"] for row in rows)


def _errors(rows: Sequence[Row]) -> str:
    errors = [each for row in rows if (each := row["weight_error"]) is not None]
    return f"{median(errors):.3f}, {max(errors):.3f}" if errors else ""


def _misses(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        if row["grade"] not in BAD:
            continue
        if row["grade"] == "failed":
            lines.append(
                f"- `{row['case']['id']}`: failed, {row['error'].splitlines()[-1]}"
            )
            continue
        what = "; ".join(row["wrong"]) or row["verdict"]["verdict"]
        error = row["weight_error"]
        off = f", weight off by {error:.3f}" if row["grade"] == "wrong weight" else ""
        lines.append(
            f"- `{row['case']['id']}` ({row['case']['kind']}): **{row['grade']}**,"
            f" {what}{off}, {row['evidence'] or 'no'} evidence."
            f" {row['verdict']['reasons'][0]}"
        )
    return lines


def _rate(rows: Sequence[Row], *grades: str, strong: bool = False) -> str:
    if not rows:
        return "no case"
    hits = sum(
        row["grade"] in grades and (not strong or row["evidence"] == "strong")
        for row in rows
    )
    low, high = wilson95(hits, len(rows))
    return f"{hits} of {len(rows)} = {hits / len(rows):.1%} [{low:.1%}, {high:.1%}]"


def _of(rows: Sequence[Row], families: Sequence[Family]) -> list[Row]:
    names = {family.name for family in families}
    return [row for row in rows if row["case"]["family"] in names]
