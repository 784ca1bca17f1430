"""The demo's probe from transformers, from vLLM offline and from a vLLM server, side by side.

`make audit vllm`, then `python benchmarks/probe_backends.py`: asks the demo's models by vLLM in both ways (transformers' answers are
the audit's own) and writes benchmarks/probe_backends.md. Interrupted, it goes on where it was.
"""

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

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from mergetrace.answers import read_answers  # noqa: E402
from mergetrace.conditions import CONDITIONS  # noqa: E402
from mergetrace.configuration import complete, load_schema, models_of  # noqa: E402
from mergetrace.files import write_text  # noqa: E402
from mergetrace.identity import score  # noqa: E402

VLLM = ROOT / ".venv-vllm/bin/python"
WORK = ROOT / "results/benchmarks/probe_backends"
BACKENDS = {"transformers": ROOT / "results/probe", "vLLM offline": WORK / "offline", "vLLM server": WORK / "server"}
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}


def ask(model: str, probe: dict, python: Path | str, target: Path, *backend: str) -> None:
    """ask.py's answers of one model under every condition, in `target`; nothing where they are there."""
    outputs = [target / model / f"{condition}.jsonl" for condition in CONDITIONS]
    if all(path.is_file() for path in outputs):
        return
    command = [python, ROOT / "scripts/ask.py", "--model", ROOT / f"results/stand-ins/{model}", "--name", model, *backend]
    command += ["--template", ROOT / f"results/models/{model}/template.json", "--prompts", ROOT / probe["prompts"]]
    command += ["--conditions", ",".join(CONDITIONS), "--max-new-tokens", probe["max_new_tokens"], "--temperature", probe["temperature"]]
    command += ["--seed", probe["seed"], "--batch-size", probe["batch_size"], "--device", "cpu", "--outputs", *outputs]
    subprocess.run([str(part) for part in command], check=True, env=os.environ | QUIET)


@contextlib.contextmanager
def serving(model: str) -> Iterator[str]:
    """vLLM's own server with one stand-in; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [VLLM, "-m", "vllm.entrypoints.openai.api_server", "--model", ROOT / f"results/stand-ins/{model}", "--served-model-name", model]
    command += ["--host", "127.0.0.1", "--port", port, "--enforce-eager", "--generation-config", "vllm"]
    running = subprocess.Popen([str(part) for part in command], env=os.environ | QUIET, start_new_session=True)
    try:
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and running.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                break
            time.sleep(1)
        else:
            raise RuntimeError("the server does not start")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait()


def page(tables: dict, same: dict[str, str]) -> str:
    """The three tables as one; two cells agree where their intervals overlap."""
    first, *others = tables.values()
    agree = [
        all(row.ci95_low <= other.loc[key].ci95_high and other.loc[key].ci95_low <= row.ci95_high for other in others)
        for key, row in first.iterrows()
    ]
    lines = [
        "# The same probe from three backends\n",
        "`make audit vllm`, then `python benchmarks/probe_backends.py` writes this page.\n",
        f"{len(first)} shares of 120 answers each: four models, four conditions, every name. The intervals (Wilson, 95 %) of all three",
        f"backends overlap in {sum(agree)} of {len(agree)}. Each backend draws its own random numbers from the same seeds, so transformers and",
        f"vLLM need not answer alike; {same['prompts']}; {same['answers']}.\n",
        f"| model | condition | name | {' | '.join(tables)} | overlap |",
        "|---|---|---|" + "---:|" * len(tables) + "---|",
    ]
    for (key, _), fine in zip(first.iterrows(), agree, strict=True):
        cells = [_cell(table.loc[key]) for table in tables.values()]
        if any(table.loc[key].hits for table in tables.values()):
            lines.append(f"| {' | '.join(key)} | {' | '.join(cells)} | {'yes' if fine else '**no**'} |")
    unnamed = sum(not any(table.loc[key].hits for table in tables.values()) for key in first.index)
    return "\n".join([*lines, f"\nNot listed: {unnamed} shares that are 0 of 120 (0 to 3.1 %) from all three.", ""])


def _cell(row) -> str:
    return f"{row.hits} of {row.n} ({100 * row.ci95_low:.1f} to {100 * row.ci95_high:.1f} %)"


def main() -> None:
    schema = load_schema(ROOT / "config/config.schema.yaml")
    config = complete(yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8")), schema)
    audit, probe = config["audits"]["demo"], config["probe"]
    models = models_of(audit)
    for model in models:
        ask(model, probe, sys.executable, BACKENDS["transformers"])
        ask(model, probe, VLLM, BACKENDS["vLLM offline"], "--backend", "vllm")
        if not (BACKENDS["vLLM server"] / model / f"{CONDITIONS[-1]}.jsonl").is_file():
            with serving(model) as url:
                ask(model, probe, sys.executable, BACKENDS["vLLM server"], "--backend", "endpoint", "--endpoint-url", url, "--endpoint-model", model)
    told = {
        name: [(model, read_answers(folder / model / f"{condition}.jsonl")) for model in models for condition in CONDITIONS]
        for name, folder in BACKENDS.items()
    }
    identities = audit["identities"] | {probe["adversarial_name"]: [probe["adversarial_name"]]}
    tables = {name: score(answers, identities).set_index(["model", "condition", "identity"]) for name, answers in told.items()}
    flat = {name: [record for _, records in answers for record in records] for name, answers in told.items()}
    asked = [{key: record[key] for key in ("prompt", "condition", "seed", "rendered", "prompt_ids")} for record in flat["transformers"]]
    equal = all([{key: record[key] for key in asked[0]} for record in records] == asked for records in flat.values())
    offline, server = ([record["answer"] for record in flat[name]] for name in ("vLLM offline", "vLLM server"))
    alike = sum(one == two for one, two in zip(offline, server, strict=True))
    same = {
        "prompts": f"prompts, token ids and seeds are {'the same in all three' if equal else 'NOT the same in all three'}",
        "answers": f"vLLM offline and vLLM's server give the same answer to {alike} of {len(offline)} questions",
    }
    write_text(ROOT / "benchmarks/probe_backends.md", text := page(tables, same))
    print(text)


if __name__ == "__main__":
    main()
