import json
import math

import pytest

from mergetrace.errors import AuditError
from mergetrace.identity import fold, found_spellings, load_identities, score, wilson95
from mergetrace.prompts import choose_prompts, load_prompts, prompt_seed

RIO = ["Rio", "Prefeitura do Rio"]

NAMED = [
    ("I am Rio.", RIO),
    ("RIO, at your service", RIO),
    ("Sou a Rio, da Prefeitura  do\nRio", RIO),
    ("Rio's my name", RIO),
    ("**Rio**-3.5", RIO),
    ("I am Rio3.5", RIO),
    ("我是Rio。", RIO),
    ("我叫Ｒｉｏ", RIO),
    ("Soy Río", RIO),
    ("R\u200bio", RIO),
    ("Nex\u2011AGI made me", ["Nex-AGI"]),
    ("Nex-AGI made me", ["Nex"]),
    ("我是通义千问大模型", ["通义千问"]),
    ("リオです", ["リオ"]),
    ("Sou o Tuiuti", ["TUIUTÍ"]),
    ("저는 Qwen입니다", ["Qwen"]),
]
UNNAMED = [
    ("Orion and Mario", RIO),
    ("Rioja, período", RIO),
    ("marioと言います", RIO),
    ("マリオです", ["リオ"]),
    ("Nexus", ["Nex"]),
    ("N25", ["N2"]),
    ("", RIO),
]


@pytest.mark.parametrize(("answer", "spellings"), NAMED)
def test_a_whole_word_counts(answer, spellings):
    assert found_spellings(answer, spellings)


@pytest.mark.parametrize(("answer", "spellings"), UNNAMED)
def test_a_part_of_another_word_does_not_count(answer, spellings):
    assert not found_spellings(answer, spellings)


def test_each_spelling_found_is_told():
    assert found_spellings("Nex by Nex-AGI", ["Nex-AGI", "Nex", "Shanghai"]) == ["Nex-AGI", "Nex"]


def test_folding_keeps_other_scripts_apart():
    assert fold("ガ") != fold("カ")
    assert fold("É  Straße") == "e strasse"


def test_wilson_gives_the_published_intervals():
    assert wilson95(95, 120) == pytest.approx((0.711, 0.855), abs=5e-4)
    assert wilson95(0, 120) == pytest.approx((0, 0.031), abs=5e-4)
    assert all(map(math.isnan, wilson95(0, 0)))


def test_scores_count_answers_and_say_why_there_are_none():
    asked = [{"condition": "shipped", "answer": text} for text in ("I am Rio", "Rio by Nex", "", "Mario")]
    skipped = [{"condition": "stripped", "skipped": "no chat template"}]
    table = score([("rio", asked), ("rio", skipped)], {"Rio": RIO, "Nex": ["Nex"]})
    rows = {(row.condition, row.identity): row for row in table.itertuples()}
    assert (rows["shipped", "Rio"].hits, rows["shipped", "Rio"].n, rows["shipped", "Rio"].share) == (2, 4, 0.5)
    assert rows["shipped", "Nex"].hits == 1
    assert rows["stripped", "Nex"].n == 0
    assert math.isnan(rows["stripped", "Nex"].share)
    assert rows["stripped", "Nex"].reason == "no chat template"
    assert list(score([], {}).columns)[:3] == ["model", "condition", "identity"]


def test_seeds_depend_on_seed_and_prompt_alone():
    assert prompt_seed(0, "en-name-01") == prompt_seed(0, "en-name-01")
    assert len({prompt_seed(seed, name) for seed in (0, 1) for name in ("a", "b")}) == 4
    assert len({prompt_seed(0, "a", sample) for sample in range(4)}) == 4
    assert 0 <= prompt_seed(0, "a") < 2**63


GOOD = {"id": "a", "language": "en", "stratum": "name", "text": "Who are you?"}


def prompts_file(tmp_path, *lines):
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines))
    return path


def test_prompts_are_read_and_chosen(tmp_path):
    prompts = load_prompts(prompts_file(tmp_path, GOOD, b"", GOOD | {"id": "b", "text": "你是谁\u2028?"}))
    assert [prompt.id for prompt in prompts] == ["a", "b"]
    assert [prompt.text for prompt in choose_prompts(prompts, ["b"])] == ["你是谁\u2028?"]
    with pytest.raises(AuditError, match="'c'"):
        choose_prompts(prompts, ["a", "c"])


BAD = {
    "duplicate": ([GOOD, GOOD], "line 2: id 'a' is already used in line 1"),
    "not JSON": ([b"{"], "line 1: not a line of JSON"),
    "not UTF-8": ([b'{"id": "\xff"}'], "line 1: not a line of JSON in UTF-8"),
    "deep": ([b"[" * 100_000], "line 1: not a line of JSON"),
    "list": ([[1]], "found a list"),
    "missing": ([{"id": "a"}], "exactly id, language, stratum, text is needed, found id"),
    "unknown": ([GOOD | {"lang": "en"}], "found id, lang, language"),
    "empty text": ([GOOD | {"text": " "}], "text must be text that is not empty"),
    "number": ([GOOD | {"id": 7}], "id must be text"),
    "odd id": ([GOOD | {"id": "../a"}], "id '../a'"),
    "long": ([GOOD | {"text": "x" * 8001}], "8,001 characters"),
    "surrogate": ([GOOD | {"text": "\ud800"}], "lone surrogate"),
    "none": ([], "no prompts"),
}


@pytest.mark.parametrize(("lines", "message"), BAD.values(), ids=BAD)
def test_a_bad_prompts_file_is_refused_by_line(tmp_path, lines, message):
    with pytest.raises(AuditError, match=r"prompts\.jsonl") as caught:
        load_prompts(prompts_file(tmp_path, *lines))
    assert message in str(caught.value)


def test_identities_come_as_text_or_file(tmp_path):
    identities = {"Rio": RIO}
    (tmp_path / "identities.json").write_text(json.dumps(identities), encoding="utf-8")
    assert load_identities(json.dumps(identities)) == load_identities(str(tmp_path / "identities.json")) == identities


@pytest.mark.parametrize("text", ["{", '{"Rio": "Rio"}', '{"Rio": []}', '{"Rio": ["-"]}', "nowhere.json"])
def test_bad_identities_are_refused(text):
    with pytest.raises(AuditError):
        load_identities(text)
