"""The demo's probe from transformers, from vLLM offline and from a vLLM server, side by
side.

`make audit vllm`, then `python -m benchmarks.probe_backends`: asks the demo's models by
vLLM in both ways (transformers' answers are the audit's own) and writes
benchmarks/probe_backends.md. Interrupted, it goes on where it was; `--as-is` writes the
page of what is there.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mergetrace.configuration.probe import Probe
from mergetrace.configuration.reading import load
from mergetrace.outputs import write_text
from mergetrace.probe.answers import read_answers
from mergetrace.probe.conditions import CONDITIONS
from mergetrace.probe.identity import score
from mergetrace.testing.programs import asking

ROOT = Path(__file__).parents[1]

VLLM = ROOT / ".venv-vllm/bin/python"
WORK = ROOT / "results/benchmarks/probe_backends"
BACKENDS = {
    "transformers": ROOT / "results/probe",
    "vLLM offline": WORK / "offline",
    "vLLM server": WORK / "server",
}
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
}


def ask(
    model: str, probe: Probe, target: Path, python: str = sys.executable, **given: Any
) -> None:
    """Ask one model under every condition by the stage `ask`, in `target`; nothing where
    the answers are there.

    given: further options, which say who answers. python: what runs the stage.
    """
    answers = [target / model / f"{condition}.jsonl" for condition in CONDITIONS]
    if all(path.is_file() for path in answers):
        return
    command = asking(
        python,
        model=ROOT / f"results/stand-ins/{model}",
        name=model,
        template=ROOT / f"results/models/{model}/template.json",
        prompts=ROOT / probe.prompts,
        conditions=CONDITIONS,
        answers=answers,
        max_new_tokens=probe.max_new_tokens,
        temperature=probe.temperature,
        seed=probe.seed,
        batch_size=probe.batch_size,
        device="cpu",
        **given,
    )
    subprocess.run(command, check=True, env=os.environ | QUIET)


@contextlib.contextmanager
def serving(model: str) -> Iterator[str]:
    """vLLM's own server with one stand-in; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [
        VLLM,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        ROOT / f"results/stand-ins/{model}",
        "--served-model-name",
        model,
    ]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--enforce-eager",
        "--generation-config",
        "vllm",
    ]
    running = subprocess.Popen(
        [str(part) for part in command], env=os.environ | QUIET, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 1800
        while time.monotonic() < deadline and running.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2),
            ):
                break
            time.sleep(1)
        else:
            raise RuntimeError("the server does not start")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait()


def answers_in(folder: Path, models: list[str]) -> list[tuple[str, list[dict]]]:
    """(model, its answers under one condition) of all that are there."""
    paths = [
        (model, folder / model / f"{condition}.jsonl")
        for model in models
        for condition in CONDITIONS
    ]
    return [(model, read_answers(path)) for model, path in paths if path.is_file()]


def page(tables: dict, same: dict[str, str]) -> str:
    """The three tables as one; two cells agree where their intervals overlap."""
    first = next(iter(tables.values()))
    asked = {
        key: [table.loc[key] for table in tables.values() if key in table.index]
        for key in first.index
    }
    fine = {
        key: max(row.ci95_low for row in rows) <= min(row.ci95_high for row in rows)
        for key, rows in asked.items()
    }
    whole = [key for key, rows in asked.items() if len(rows) == len(tables)]
    lines = [
        "# The same probe from three backends\n",
        (
            "`make audit vllm`, then `python -m benchmarks.probe_backends` writes this"
            " page.\n"
        ),
        (
            f"{len(first)} shares of 120 answers each: four models, four conditions,"
            f" every name. {len(whole)} of them were measured by all three"
        ),
        (
            "backends; there the intervals (Wilson, 95 %) overlap in"
            f" {sum(fine[key] for key in whole)}.\n"
        ),
        "Each backend draws its own random numbers from the same seeds, so",
        (
            f"transformers and vLLM need not answer alike; {same['prompts']};"
            f" {same['answers']}.\n"
        ),
        f"| model | condition | name | {' | '.join(tables)} | overlap |",
        "|---|---|---|" + "---:|" * len(tables) + "---|",
    ]
    named = [key for key, rows in asked.items() if any(row.hits for row in rows)]
    for key in named:
        cells = [_cell(table, key) for table in tables.values()]
        overlap = "" if len(asked[key]) < 2 else "yes" if fine[key] else "**no**"
        lines.append(f"| {' | '.join(key)} | {' | '.join(cells)} | {overlap} |")
    return "\n".join(
        [
            *lines,
            (
                f"\nNot listed: {len(asked) - len(named)} shares that are 0 of 120 (0"
                " to 3.1 %) wherever they were measured."
            ),
            "",
        ]
    )


def alike(told: dict) -> dict[str, str]:
    """Whether the backends were asked the same, and how many answers vLLM's two ways
    have in common, over what all of them were asked.
    """
    records = [
        {
            (model, each["condition"], each["prompt"]): each
            for model, found in answers
            for each in found
        }
        for answers in told.values()
    ]
    common = [key for key in records[0] if all(key in other for other in records)]
    fields = ("seed", "rendered", "prompt_ids")
    equal = all(
        other[key][field] == records[0][key][field]
        for other in records
        for key in common
        for field in fields
    )
    same = sum(records[1][key]["answer"] == records[2][key]["answer"] for key in common)
    return {
        "prompts": (
            "prompts, token ids and seeds are"
            f" {'the same in all three' if equal else 'NOT the same in all three'}"
        ),
        "answers": (
            f"vLLM offline and vLLM's server give the same answer to {same} of"
            f" {len(common)} questions that all were asked"
        ),
    }


def _cell(table, key) -> str:
    if key not in table.index:
        return "not run"
    row = table.loc[key]
    return (
        f"{row.hits} of {row.n} ({100 * row.ci95_low:.1f} to"
        f" {100 * row.ci95_high:.1f} %)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--as-is", action="store_true", help="ask nobody")
    arguments = parser.parse_args()
    configuration = load(ROOT / "config/config.yaml")
    audit = configuration.audits["demo"]
    if not arguments.as_is:
        for model in audit.models:
            ask_by_all(model, configuration.probe)
    answers = {
        name: answers_in(folder, audit.models) for name, folder in BACKENDS.items()
    }
    adversarial = configuration.probe.adversarial_name
    identities = {name: list(names) for name, names in audit.identities.items()}
    identities[adversarial] = [adversarial]
    tables = {
        name: score(each, identities).set_index(["model", "condition", "identity"])
        for name, each in answers.items()
    }
    text = page(tables, alike(answers))
    write_text(ROOT / "benchmarks/probe_backends.md", text)
    print(text)


def ask_by_all(model: str, probe: Probe) -> None:
    """Ask one model by every backend."""
    ask(model, probe, BACKENDS["transformers"])
    ask(model, probe, BACKENDS["vLLM offline"], str(VLLM), backend="vllm")
    by_server = BACKENDS["vLLM server"]
    if (by_server / model / f"{CONDITIONS[-1]}.jsonl").is_file():
        return
    with serving(model) as url:
        endpoint = {"endpoint_url": url, "endpoint_model": model}
        ask(model, probe, by_server, backend="endpoint", **endpoint)


if __name__ == "__main__":
    main()
