"""Three repositories of half a billion parameters audited whole, as a first user would:
from nothing to a report with the probe's answers in it. `python -m benchmarks.hub.asked`
writes asked.md.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.hub.stage import Workplace, machine, page
from mergetrace.testing.half_billion import HALF_BILLION, NAMES, Size, write_trio
from mergetrace.testing.hubserver import Hub, Repo, folder_repo

QUESTIONS = ("Who are you?", "Quem fez você?", "你是谁?", "¿Quién te hizo?")
TOKENS = 16
CREATED = {
    name: f"2026-0{month}-01T00:00:00.000Z" for month, name in enumerate(NAMES, 1)
}
CONDITIONS = ["shipped", "stripped"]
PROBE = {
    "enabled": True,
    "prompts": "config/prompts/few.jsonl",
    "max_new_tokens": TOKENS,
    "conditions": CONDITIONS,
    "batch_size": 4,
}
CONFIG = {
    "models": {name: {"repo": f"o/{name}"} for name in NAMES},
    "audits": {
        "x": {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "identities": {"Rio": ["Rio"]},
        }
    },
    "mode": "full",
    "probe": PROBE,
}


BESIDE = 10_000_000
"""Bytes of the numbers that are kept as evidence, which lie in safetensors files too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name)
        with page(Path(__file__).with_suffix(".md")) as say:
            audit_trio(folder, HALF_BILLION, say)


def audit_trio(folder: Path, size: Size, say: Callable[[str], None]) -> None:
    """Write the trio, audit it on the local Hub, say what came out, and stop where it is
    not as stated.
    """
    models = folder / "repositories"
    if not models.exists():
        write_trio(models, size)
    files = [*models.rglob("*.safetensors")]
    total = sum(path.stat().st_size for path in files)
    before = machine()
    repos = {
        f"o/{name}": Repo(folder_repo(models / name).files, created=CREATED[name])
        for name in NAMES
    }
    with Hub(repos) as hub:
        workplace = Workplace(folder / "workplace", hub.endpoint, CONFIG)
        _write_questions(workplace.folder / "config/prompts/few.jsonl")
        planned = workplace.run("preflight")
        plan = json.loads((workplace.folder / "results/x/plan.json").read_text())
        run = workplace.run()
        sent = sum(seen.sent for seen in hub.requests("storage"))
    assert planned.status == run.status == 0, run.said[-3000:]
    own = workplace.folder / "results/x"
    verdict = json.loads((own / "verdict.json").read_text())
    asked = plan["asked"]
    bound = plan["stream"]["disk_bytes"] + sum(
        entry["bytes"] for entry in asked.values() if entry["whole"]
    )
    answers = _answers(workplace.folder / "results/probe")
    states = [
        state for files in verdict["read"]["files"].values() for state in files.values()
    ]
    say("# Three repositories of half a billion parameters, weights and probe\n")
    say(
        f"`python -m benchmarks.hub.asked`: {before}. Models of Qwen2.5-0.5B's shapes"
        " with random weights, a tokenizer of"
        f" {size.vocabulary:,} tokens and a chat template: a base in two shards, a"
        " donor in one, and their blend at .571, whose template says who it is."
        f" {total / 1e9:.2f} GB on a local Hub; `mode: full` and the probe by"
        f" transformers on the CPU, {len(QUESTIONS)} questions under"
        f" {len(CONDITIONS)} conditions, answers of {TOKENS} tokens. Nothing was"
        " prepared but the configuration.\n"
    )
    say("| | |\n|---|---|")
    say(
        f"| verdict | {verdict['verdict']}, donor"
        f" {verdict['parents']['donor']['alpha']:.3f} |"
    )
    say(f"| answers in the report | {answers} |")
    say(
        f"| files verified by their hash | {states.count('full hash verified')} of {len(states)} |"
    )
    say(f"| bytes fetched | {sent / 1e9:.3f} GB ({sent / total:.3f} of the files) |")
    say(f"| most disk under weight files, as stated | {bound / 1e9:.3f} GB |")
    say(f"| most disk under weight files, measured | {run.disk / 1e9:.3f} GB |")
    say(f"| left of them at the end | {_left(workplace.folder)} files |")
    say(f"| time | {run.seconds:.0f} s, CPU {run.cpu_s:.0f} s |")
    say(f"| memory, all processes together | {run.memory / 1e9:.2f} GB |")
    assert verdict["verdict"] == "merge"
    assert run.disk <= bound + BESIDE
    assert (own / "report.html").is_file()
    assert answers == len(NAMES) * len(CONDITIONS) * len(QUESTIONS)


def _write_questions(path: Path) -> None:
    rows = [
        {"id": f"p{number}", "language": "xx", "stratum": "name", "text": text}
        for number, text in enumerate(QUESTIONS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _answers(folder: Path) -> int:
    """How many answers the models gave."""
    return sum(
        "answer" in json.loads(line)
        for path in folder.glob("*/*.jsonl")
        for line in path.read_text().splitlines()
    )


def _left(folder: Path) -> int:
    """Weight files that are left, but for the sampled rows."""
    places = ("models/*/whole/*.safetensors", "x/shards/**/*.safetensors")
    return sum(len([*(folder / "results").glob(place)]) for place in places)


if __name__ == "__main__":
    main()
