import json
import shutil
import signal
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from mergetrace.errors import AuditError, Unaskable
from mergetrace.probe.answers import ask_resumably, finish, make_questions, read_answers
from mergetrace.probe.conditions import Condition
from mergetrace.probe.fitting import choose_device
from mergetrace.probe.generation import answer, load
from mergetrace.probe.prompts import Prompt
from mergetrace.running.command_line import main
from mergetrace.stages import ask, score, template
from mergetrace.testing import tiny_model
from mergetrace.testing.programs import asking
from mergetrace.testing.tiny_model import PLAIN, QUESTIONS

torch = pytest.importorskip("torch")
SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def tiny_numbers_count_again():
    """ask.py flushes denormals for the process that it is alone in; the tests after
    these share this one.
    """
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def speaker(model):
    torch.set_num_threads(1)
    return load(model, "cpu", "<|im_end|>\n")


def copied(model, tmp_path, **changes):
    folder = shutil.copytree(model, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def test_answers_repeat_and_do_not_depend_on_their_batch(speaker):
    seeds = list(range(len(QUESTIONS)))
    together = answer(speaker, QUESTIONS, seeds, 0.7, 24)
    assert answer(speaker, QUESTIONS, seeds, 0.7, 24) == together
    alone = [
        answer(speaker, [question], [seed], 0.7, 24)[0]
        for question, seed in zip(QUESTIONS, seeds, strict=True)
    ]
    assert alone == together
    assert answer(speaker, QUESTIONS, [seed + 1 for seed in seeds], 0.7, 24) != together


def test_sampling_follows_the_model_distribution(speaker):
    rows = 400
    question = QUESTIONS[0]
    first = [
        each["answer"][:1]
        for each in answer(speaker, [question] * rows, list(range(rows)), 1.0, 1)
    ]
    ids = torch.tensor(
        [speaker.tokenizer(question, add_special_tokens=False)["input_ids"]]
    )
    with torch.no_grad():
        likely = torch.softmax(speaker.model(ids).logits[0, -1].double(), -1).max(-1)
    share = first.count(speaker.tokenizer.decode([int(likely.indices)])[:1]) / rows
    assert share == pytest.approx(float(likely.values), abs=0.1)


def test_what_ends_an_answer_is_taken_from_the_template_too(speaker):
    assert speaker.stops == {
        speaker.tokenizer.convert_tokens_to_ids(token)
        for token in ("<|endoftext|>", "<|im_end|>")
    }


def test_length_and_tokens_are_told(speaker):
    result = answer(speaker, QUESTIONS, list(range(7)), 0.7, 8)
    assert {each["finish"] for each in result} <= {"stop", "length"}
    assert all(each["tokens"] == 8 for each in result if each["finish"] == "length")
    assert all(each["tokens"] < 8 for each in result if each["finish"] == "stop")


UNASKABLE = {
    "unknown architecture": (
        {"model_type": "no_such_model", "architectures": ["NoSuchModel"]},
        "cannot load it: ValueError",
    ),
    "too many layers": (
        {"num_hidden_layers": 10**9, "layer_types": None},
        "num_hidden_layers is 1,000,000,000",
    ),
    "too wide": ({"hidden_size": 10**6}, "describes"),
    "a layer more": ({"num_hidden_layers": 3, "layer_types": None}, "would invent"),
}


@pytest.mark.parametrize(("changes", "reason"), UNASKABLE.values(), ids=UNASKABLE)
def test_a_model_that_cannot_be_loaded_says_why(model, tmp_path, changes, reason):
    with pytest.raises(Unaskable, match=reason):
        load(copied(model, tmp_path, **changes), "cpu", None)


def test_a_missing_tokenizer_is_a_reason(model, tmp_path):
    folder = copied(model, tmp_path)
    for file in folder.glob("token*"):
        file.unlink()
    with pytest.raises(Unaskable, match="no tokenizer"):
        load(folder, "cpu", None)


def test_weights_that_are_no_numbers_are_a_reason(model, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(model, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][:] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Unaskable, match="not finite"):
        answer(load(folder, "cpu", None), QUESTIONS[:2], [0, 1], 0.7, 4)


def test_a_model_larger_than_memory_is_refused_by_its_size(tmp_path):
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(800_000_000_000)  # sparse: takes no disk
    with pytest.raises(
        Unaskable, match=r"needs 880\.0 GB of memory, available: [\d.,]+ GB on cpu"
    ):
        choose_device(tmp_path, "cpu")


def test_pickled_weights_are_not_loaded(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(Unaskable, match="no safetensors file"):
        choose_device(tmp_path, "cpu")


def test_a_prompt_beyond_the_model_is_a_reason(speaker):
    with pytest.raises(Unaskable, match="512 positions"):
        answer(speaker, ["x" * 500], [0], 0.7, 24)
    with pytest.raises(Unaskable, match="renders a prompt of 0 tokens"):
        answer(speaker, ["x", ""], [0, 1], 0.7, 24)


def questions(count):
    return [{"prompt": str(i), "condition": "shipped"} for i in range(count)]


@pytest.mark.parametrize("cut", [0, 40, 300, 10_000])
def test_answers_resume_after_a_cut_anywhere(tmp_path, cut):
    asked = []

    def echo(batch):
        asked.append(len(batch))
        return [{"answer": f"é\u2028{question['prompt']}"} for question in batch]

    partial = tmp_path / "x.partial"
    output = tmp_path / "x"
    assert list(ask_resumably(partial, questions(7), echo, 2, {"a": 1})) == [
        0,
        2,
        4,
        6,
        7,
    ]
    finish(partial, output, "shipped")
    whole = output.read_bytes()
    partial.write_bytes(partial.read_bytes()[:cut])
    asked.clear()
    list(ask_resumably(partial, questions(7), echo, 2, {"a": 1}))
    assert (sum(asked) == 0) == (cut > len(whole))
    finish(partial, output, "shipped")
    assert output.read_bytes() == whole
    assert [record["prompt"] for record in read_answers(output)] == list("0123456")


def test_answers_under_other_settings_are_not_mixed(tmp_path):
    def answering(text):
        return lambda batch: [{"answer": text}] * len(batch)

    for setting in (1, 2):
        steps = ask_resumably(
            tmp_path / "x.partial",
            questions(4),
            answering(str(setting)),
            2,
            {"a": setting},
        )
        next(steps)
        next(steps)
    assert (
        next(
            ask_resumably(
                tmp_path / "x.partial", questions(4), lambda batch: [], 2, {"a": 1}
            )
        )
        == 0
    )


def test_a_line_that_is_no_record_is_named(tmp_path):
    (tmp_path / "x").write_text(
        '{"condition": "shipped", "answer": "a"}\n{"condition": "shipped"}\n'
    )
    with pytest.raises(AuditError, match="line 2"):
        read_answers(tmp_path / "x")


def analysed(tmp_path):
    template.run(
        template.Inputs(tmp_path / "files"),
        template.Params({}),
        template.Outputs(tmp_path / "template.json"),
    )


@pytest.fixture
def asked(model, tmp_path):
    """asked(**changes) -> the stage `ask` on the model, as a program, with a masked
    template; its outputs are tmp_path/shipped and stripped.
    """
    tiny_model.write_questions(tmp_path)
    analysed(tmp_path)

    def command(**changes):
        conditions = changes.pop("conditions", ["shipped", "stripped"])
        given = {
            "model": model,
            "template": tmp_path / "template.json",
            "prompts": tmp_path / "prompts.jsonl",
            "batch_size": 2,
            "max_new_tokens": 8,
            "device": "cpu",
            "conditions": conditions,
            "answers": [tmp_path / name for name in conditions],
        }
        return asking(**given | changes)

    return command


def scored(tmp_path, names):
    """Count the answers of these files, which go into a folder with the model's name."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    paths = [(tmp_path / name).rename(folder / name) for name in names]
    tables = [tmp_path / f"{field.name}.csv" for field in fields(score.Outputs)]
    score.run(
        score.Inputs(tuple(paths)),
        score.Params("tiny", {"Rio": ["Rio"]}, {}, "Zed"),
        score.Outputs(*tables),
    )


def run(command):
    """Run a program of the stage `ask` in this process."""
    main(ask, command[2:])


@pytest.mark.slow
@pytest.mark.thorough
def test_a_killed_probe_ends_with_the_same_bytes(asked, tmp_path):
    subprocess.run(asked(), check=True)
    whole = [(tmp_path / name).read_bytes() for name in ("shipped", "stripped")]
    assert b"You are Rio" in whole[0]
    assert b"You are Rio" not in whole[1]
    assert not list(tmp_path.glob("*.partial"))
    (tmp_path / "shipped").unlink()

    process = subprocess.Popen(asked(), stderr=subprocess.PIPE)
    for line in process.stderr:
        if b"shipped: 4 of 7" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stderr.close()
    assert (tmp_path / "shipped.partial").exists()
    again = subprocess.run(asked(), check=True, capture_output=True)
    assert b"shipped: 0 of 7" not in again.stderr
    assert [(tmp_path / name).read_bytes() for name in ("shipped", "stripped")] == whole


def test_the_way_from_folder_to_scores(asked, tmp_path, monkeypatch):
    run(asked(ids=["p1", "p3"]))
    records = read_answers(tmp_path / "shipped")
    assert [record["prompt"] for record in records] == ["p1", "p3"]
    assert set(records[0]) == {
        *(
            "prompt",
            "language",
            "stratum",
            "sample",
            "condition",
            "system",
            "text",
            "rendered",
            "seed",
        ),
        *("prompt_ids", "answer", "reasoning", "finish", "tokens"),
    }
    found = json.loads((tmp_path / "template.json").read_text())
    (tmp_path / "template.json").write_text(
        json.dumps(found | {"stripped": None, "reason": "nothing to strip it with"})
    )
    run(asked())
    assert read_answers(tmp_path / "stripped") == [
        {"condition": "stripped", "skipped": "nothing to strip it with"}
    ]
    scored(tmp_path, ("shipped", "stripped"))
    rows = (tmp_path / "scores.csv").read_text().splitlines()
    assert (
        rows[0]
        == "model,condition,identity,hits,n,share,ci95_low,ci95_high,denied,attributed,reason"
    )
    assert rows[1].startswith("tiny,shipped,Rio,")
    assert rows[2] == "tiny,stripped,Rio,0,0,,,,0,0,nothing to strip it with"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "no chat template among the model's files"),
        (
            "{{ raise_exception('no') }}",
            "prompt p: the template fails to render: TemplateError: no",
        ),
        ("Hello", "prompt p: the chat template does not print it"),
    ],
)
def test_a_template_that_cannot_ask_is_a_reason_in_place_of_answers(source, reason):
    template = {
        "shipped": source,
        "stripped": None,
        "special_tokens": {},
        "reason": reason if source is None else None,
    }
    assert (
        make_questions(
            [Prompt("p", "en", "name", "Who?")],
            template,
            Condition("shipped", "shipped", None),
            0,
        )
        == reason
    )


def test_what_a_template_demands_is_given_when_it_is_asked():
    source = (
        "{{ day }}{{ 'on ' + functions }}{% for part in messages[0].content %}{{"
        " part.text }}{% endfor %}"
    )
    template = {
        "shipped": source,
        "special_tokens": {"day": "Monday"},
        "variables": {"functions": ""},
        "parts": True,
        "reason": None,
    }
    (question,) = make_questions(
        [Prompt("p", "en", "name", "Who?")],
        template,
        Condition("shipped", "shipped", None),
        0,
    )
    assert question["rendered"] == "Mondayon Who?"


def test_a_template_that_injects_nothing_is_asked_once(
    asked, tmp_path, monkeypatch, capsys
):
    (tmp_path / "files" / "chat_template.jinja").write_text(PLAIN, encoding="utf-8")
    analysed(tmp_path)
    run(asked())
    shipped, stripped = (
        read_answers(tmp_path / name) for name in ("shipped", "stripped")
    )
    assert stripped == [record | {"condition": "stripped"} for record in shipped]
    assert "stripped:" not in capsys.readouterr().err


def test_four_conditions_and_several_samples(asked, tmp_path, monkeypatch):
    conditions = ("shipped", "stripped", "neutral", "adversarial")
    outputs = [tmp_path / name for name in conditions]
    run(asked(conditions=conditions, samples=2, ids=["p0", "p2"]))
    records = {path.name: read_answers(path) for path in outputs}
    assert all(
        [(each["prompt"], each["sample"]) for each in found]
        == [("p0", 0), ("p0", 1), ("p2", 0), ("p2", 1)]
        for found in records.values()
    )
    assert len({each["seed"] for each in records["shipped"]}) == 4
    heads = {
        name: found[0]["rendered"].partition("<|im_start|>user")[0]
        for name, found in records.items()
    }
    assert heads == {
        "shipped": "<|im_start|>system\nYou are Rio.<|im_end|>\n",
        "stripped": "",
        "neutral": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
        "adversarial": "<|im_start|>system\nYou are Zed.<|im_end|>\n",
    }
    assert all(each["prompt_ids"] for found in records.values() for each in found)
    scored(tmp_path, conditions)
    assert "tiny,adversarial,Zed," in (tmp_path / "scores.csv").read_text()


def test_a_model_that_cannot_be_asked_sinks_nothing(
    asked, model, tmp_path, monkeypatch
):
    folder = copied(model, tmp_path, model_type="no_such_model")
    run(asked(model=folder))
    for name in ("shipped", "stripped"):
        (record,) = read_answers(tmp_path / name)
        assert record["condition"] == name
        assert "cannot load it" in record["skipped"]
    assert not list(tmp_path.glob("*.partial"))
