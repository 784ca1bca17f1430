"""What is said of models of 807 GB when nothing in them is exact any more: python
-m benchmarks.hub.descended [--cores 2] [--layout 397b] [--folder DIR]; writes
descended.md.

The computed family in sample mode: a blend that was trained on, a sibling that has
nothing of the donor, and an heir of an ancestor of the donor's that is not offered.
"""

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.hub.sample import spent
from benchmarks.hub.stage import Workplace, machine, options, page
from mergetrace.testing.hubserver import Hub
from mergetrace.testing.hubserver.computed import DESCENDED, family

SUSPECTS = ("trained", "heir")
CONTROLS = ("sibling", "stranger")
NAMES = ("base", "donor", *CONTROLS, *SUSPECTS)
MOST = 300e6
"""Bytes of one model that an audit may ask for."""
CALLED = ("merge", "copy", "other_merge", "merge_then_trained", "finetune_of_donor")


def main() -> None:
    """Run the audits and write the page."""
    parser = options(__doc__, "descended")
    parser.add_argument("--only", choices=SUSPECTS, help="one of the audits")
    given = parser.parse_args()
    suspects = (given.only,) if given.only else SUSPECTS
    repos = family(given.layout, recipes={name: DESCENDED[name] for name in NAMES})
    with Hub(repos) as hub, page(Path(__file__).with_suffix(".md")) as say:
        say(
            f"`python -m benchmarks.hub.descended --layout {given.layout} --cores"
            f" {given.cores}`: {machine()}.\n"
        )
        say("| | |\n|---|---|")
        for suspect in suspects:
            workplace = Workplace(
                given.folder / suspect, hub.endpoint, _config(suspect)
            )
            _audit(say, hub, workplace, suspect, given.cores)


def _config(suspect: str) -> dict:
    names = ("base", "donor", *CONTROLS, suspect)
    audit = {
        "suspect": suspect,
        "base": "base",
        "donors": ["donor"],
        "controls": list(CONTROLS),
    }
    return {
        "models": {name: {"repo": f"computed/{name}"} for name in names},
        "audits": {suspect: audit},
        "mode": "sample",
        "probe": {"enabled": False},
    }


def _audit(
    say: Callable[[str], None], hub: Hub, workplace: Workplace, suspect: str, cores: int
) -> None:
    asked = len(hub.seen)
    run = workplace.run(f"results/{suspect}/verdict.json", cores=cores)
    assert run.status == 0, run.said
    verdict = _verdict(workplace.folder, suspect)
    _say_verdict(say, suspect, verdict)
    for name in CONTROLS:
        _say_verdict(say, f"{name}, beside {suspect}", verdict["controls"][name])
    seen = hub.seen[asked:]
    sent = max(
        sum(each.sent for each in seen if each.repo == f"computed/{name}")
        for name in NAMES
    )
    say(f"| `{suspect}`: bytes of one model, all together | {sent / 1e6:.0f} MB |")
    say(f"| `{suspect}`: small directions | {_stage(workplace.folder, suspect)} |")
    say(f"| `{suspect}`: time, the whole audit | {spent(run)} |")
    say(f"| `{suspect}`: greatest memory | {run.memory / 1e6:.0f} MB |")
    assert sent <= MOST
    _check(suspect, verdict)


def _verdict(folder: Path, audit: str) -> dict:
    found: dict = json.loads((folder / f"results/{audit}/verdict.json").read_text())
    return found


def _say_verdict(say: Callable[[str], None], name: str, verdict: dict) -> None:
    donor = verdict["parents"]["donor"]
    said = [
        f"{verdict['verdict']}, {verdict.get('evidence') or 'no'} evidence",
        f"named {donor['named']}",
        f"weight {donor['alpha']} {donor['alpha_ci95']}",
        f"at most {donor.get('at_most')}",
        *(str(reason) for reason in verdict.get("reasons", ())),
    ]
    planted = _planted(name.split(",", maxsplit=1)[0])
    say(f"| `{name}` ({planted}) | {'; '.join(said)} |")


def _planted(name: str) -> str:
    recipe = DESCENDED[name]
    if name == "sibling":
        return f"{recipe.shared} of the donor's step"
    between = f" ± {recipe.uneven} by tensor" if recipe.uneven else ""
    return (
        f"{recipe.alpha}{between} of the donor's step; on top {recipe.trained} of its"
        f" size ± {recipe.varied:.0%} by tensor"
    )


def _stage(folder: Path, audit: str) -> str:
    spectrum = json.loads((folder / f"results/{audit}/spectrum.json").read_text())
    logs = [
        line
        for path in sorted((folder / "results").rglob("*.log"))
        if audit in str(path)
        for line in path.read_text(errors="replace").splitlines()
        if "decomposed in" in line
    ]
    return (
        f"{spectrum['matrices']} matrices, {spectrum['elements']:,} numbers;"
        f" {'; '.join(logs) or 'no log'}"
    )


def _check(suspect: str, verdict: dict) -> None:
    innocents = list(verdict["controls"].values())
    if suspect == "trained":
        donor = verdict["parents"]["donor"]
        assert verdict["verdict"] == "merge_then_trained", verdict["verdict"]
        assert abs(donor["alpha"] - DESCENDED["trained"].alpha) < 0.02, donor
    else:
        innocents.append(verdict)
    for innocent in innocents:
        assert innocent["verdict"] not in CALLED, innocent["verdict"]
    assert verdict["controls"]["stranger"]["verdict"] == "finetune_of_base"


if __name__ == "__main__":
    main()
