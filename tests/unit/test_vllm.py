"""vLLM for real, offline and as a server: the same prompts, the same seeds, the same
records as transformers gives.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from mergetrace.probe.answers import read_answers
from mergetrace.stages import template
from mergetrace.testing import tiny_model
from mergetrace.testing.programs import asking

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vllm/bin/python"
OWN = ("answer", "reasoning", "finish", "tokens")  # what depends on who generates
CONDITIONS = ("shipped", "stripped", "neutral", "adversarial")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (ROOT / ".venv-vllm/installed").is_file(),
        reason="vLLM is not installed here; `make vllm` does it (3.5 GB)",
    ),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the model, the prompts and the template's analysis."""
    folder = tmp_path_factory.mktemp("vllm")
    tiny_model.write(folder / "model", sure=16)  # vLLM takes no temperature below .01
    tiny_model.write_questions(folder)
    template.run(
        template.Inputs(folder / "files"),
        template.Params({}),
        template.Outputs(folder / "template.json"),
    )
    return folder


def command(place, python, name, **more):
    """The stage `ask` as a program, whose answers go to a folder of this name."""
    given = {
        "model": place / "model",
        "template": place / "template.json",
        "prompts": place / "prompts.jsonl",
        "batch_size": 4,
        "max_new_tokens": 12,
        "temperature": 0.01,
        "device": "cpu",
        "conditions": CONDITIONS,
        "answers": [place / name / f"{condition}.jsonl" for condition in CONDITIONS],
    }
    return asking(str(python), **given | more)


def asked(place, python, name, **more):
    done = subprocess.run(
        command(place, python, name, **more),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [
        record
        for condition in CONDITIONS
        for record in read_answers(place / name / f"{condition}.jsonl")
    ]


@pytest.fixture(scope="module")
def transformers(place):
    return asked(place, sys.executable, "transformers")


@pytest.fixture(scope="module")
def offline(place):
    """Killed after the first batch, then run again: what it ends with must be what
    nobody interrupted, as the server was not.
    """
    running = subprocess.Popen(
        command(place, PYTHON, "offline", backend="vllm"),
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in running.stderr:
        if "shipped: 4 of 7" in line:
            running.send_signal(signal.SIGKILL)
            break
    running.wait()
    running.stderr.close()
    assert (place / "offline/shipped.jsonl.partial").read_text().count("\n") == 5
    return asked(place, PYTHON, "offline", backend="vllm")


@pytest.fixture(scope="module")
def server(place):
    """The address of vLLM's own server with the model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--model",
        place / "model",
        "--served-model-name",
        "tiny",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--enforce-eager",
        "--dtype",
        "float32",
    ]
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OMP_NUM_THREADS": "1",
    }
    serve = [
        PYTHON,
        "-m",
        "vllm.entrypoints.openai.api_server",
        *options,
        "--generation-config",
        "vllm",
    ]
    log = (place / "server.log").open("w")
    running = subprocess.Popen(
        [str(part) for part in serve],
        stdout=log,
        stderr=log,
        env=os.environ | quiet,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 240
        while True:
            assert running.poll() is None, (place / "server.log").read_text()[-4000:]
            assert time.monotonic() < deadline, "the server does not start"
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/health", timeout=2
                ) as answer,
            ):
                if answer.status == 200:
                    break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(60)
        log.close()


@pytest.fixture(scope="module")
def served(place, server):
    return asked(
        place,
        sys.executable,
        "server",
        backend="endpoint",
        endpoint_url=server,
        endpoint_model="tiny",
    )


def test_all_three_ask_the_same_with_the_same_seeds(transformers, offline, served):
    without = [
        [
            {key: value for key, value in record.items() if key not in OWN}
            for record in records
        ]
        for records in (transformers, offline, served)
    ]
    assert without[0] == without[1] == without[2]
    assert all(record["prompt_ids"] and record["rendered"] for record in offline)


def test_all_three_keep_the_same_records(transformers, offline, served):
    assert list(transformers[0]) == list(offline[0]) == list(served[0])
    assert [record["finish"] for record in offline] == [
        record["finish"] for record in served
    ]
    assert [record["tokens"] for record in offline] == [
        record["tokens"] for record in served
    ]


def test_at_no_temperature_all_three_say_the_same(transformers, offline, served):
    # A server does not show the bytes of a character that was cut off.
    answers = [
        [record["answer"].rstrip("\ufffd") for record in records]
        for records in (transformers, offline, served)
    ]
    assert any(answers[0])
    assert answers[1] == answers[2]
    same = sum(one == two for one, two in zip(answers[0], answers[1], strict=True))
    assert same >= 0.9 * len(
        answers[0]
    )  # float32 sums in another order may tip a token


def test_what_cannot_be_loaded_is_one_line_in_place_of_answers(place):
    broken = place / "broken"
    broken.mkdir()
    for file in (place / "model").iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(
        json.dumps(
            config | {"model_type": "no_such_model", "architectures": ["NoSuchModel"]}
        )
    )
    arguments = command(place, PYTHON, "unloaded", backend="vllm", model=broken)
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (record,) = read_answers(place / "unloaded/stripped.jsonl")
    assert "cannot load it: ValueError" in record["skipped"]
    assert "\n" not in record["skipped"]


def test_a_build_for_the_other_device_is_said(place):
    code = "from mergetrace.probe.vllm_offline import built_for; built_for('cuda')"
    done = subprocess.run(
        [str(PYTHON), "-c", code],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "the vLLM in this environment is built for cpu; `make vllm VLLM=gpu`"
        in done.stderr
    )
