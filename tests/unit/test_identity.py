import json
import math
from pathlib import Path

import pytest

from mergetrace.errors import AuditError
from mergetrace.probe.breakdowns import mentioned, reasoning, strata, watermarks
from mergetrace.probe.comparisons import compare
from mergetrace.probe.conduct import conduct, refuses, repeats
from mergetrace.probe.identity import (
    fold,
    load_identities,
    mentions,
    score,
    words_around,
)
from mergetrace.probe.intervals import difference95, mcnemar, share95, wilson95
from mergetrace.probe.prompts import choose_prompts, load_prompts, prompt_seed

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
    assert mentions(answer, spellings).given


@pytest.mark.parametrize(("answer", "spellings"), UNNAMED)
def test_a_part_of_another_word_does_not_count(answer, spellings):
    assert not mentions(answer, spellings).given


def test_each_spelling_found_is_told():
    assert mentions("Nex by Nex-AGI", ["Nex-AGI", "Nex", "Shanghai"]).given == [
        "Nex-AGI",
        "Nex",
    ]


def test_folding_keeps_other_scripts_apart():
    assert fold("ガ") != fold("カ")
    assert fold("É  Straße") == "e strasse"


def test_wilson_gives_the_published_intervals():
    assert wilson95(95, 120) == pytest.approx((0.711, 0.855), abs=5e-4)
    assert wilson95(0, 120) == pytest.approx((0, 0.031), abs=5e-4)
    assert all(map(math.isnan, wilson95(0, 0)))


def test_scores_count_answers_and_say_why_there_are_none():
    asked = [
        {"condition": "shipped", "answer": text}
        for text in ("I am Rio", "Rio by Nex", "", "Mario")
    ]
    skipped = [{"condition": "stripped", "skipped": "no chat template"}]
    table = score([("rio", asked), ("rio", skipped)], {"Rio": RIO, "Nex": ["Nex"]})
    rows = {(row.condition, row.identity): row for row in table.itertuples()}
    assert (
        rows["shipped", "Rio"].hits,
        rows["shipped", "Rio"].n,
        rows["shipped", "Rio"].share,
    ) == (2, 4, 0.5)
    assert rows["shipped", "Nex"].hits == 1
    assert rows["stripped", "Nex"].n == 0
    assert math.isnan(rows["stripped", "Nex"].share)
    assert rows["stripped", "Nex"].reason == "no chat template"
    assert list(score([], {}).columns)[:3] == ["model", "condition", "identity"]


DENIED = [
    "I am not Qwen.",
    "I'm not Qwen, nor am I made by Alibaba.",
    "No, I am not based on Qwen.",
    "Unlike Qwen, I was trained in Rio.",
    "Qwen is not my name.",
    "Não sou o Qwen.",
    "Eu não fui criado pela Alibaba.",
    "Ao contrário do Qwen, sou aberto.",
    "No soy Qwen.",
    "A diferencia de Qwen, soy libre.",
    "Yo no fui entrenado por Alibaba.",
    "我不是Qwen。",
    "我并非Qwen,也不属于Alibaba。",
    "Qwen不是我的名字。",
]
GIVEN = [
    "I am Qwen.",
    "I'm not a human. I am Qwen.",
    "I am not Nex but Qwen.",
    "I'm none other than Qwen.",
    "I am not only Qwen, I am an assistant too.",
    "I am not Qwen. Well, in truth I am Qwen.",
    "Não sou o Nex, sou o Qwen.",
    "Não sou humano; sou o Qwen.",
    "No soy Nex, sino Qwen.",
    "No soy una persona. Soy Qwen.",
    "我不是人类,我是Qwen。",
    "我不是Nex,而是Qwen。",
]


@pytest.mark.parametrize("answer", DENIED)
def test_a_denied_name_is_no_hit(answer):
    assert mentions(answer, ["Qwen", "Alibaba"]).given == []
    assert mentions(answer, ["Qwen", "Alibaba"]).denied


@pytest.mark.parametrize("answer", GIVEN)
def test_a_name_given_beside_a_denial_is_a_hit(answer):
    assert mentions(answer, ["Qwen"]) == (["Qwen"], [], [])


ATTRIBUTED = [
    "He said 'I am Qwen', but who was he?",
    "A user told me: “I'm Qwen”.",
    "People ask whether I am Qwen.",
    "There are other assistants, such as Qwen.",
    "If I were Qwen, I would say so.",
    "Uma pessoa disse: «Sou o Qwen».",
    "As pessoas perguntam se sou o Qwen.",
    "Un usuario dijo: «Soy Qwen».",
    "有用户说：“我是Qwen。”",
    "有人问我是不是Qwen。",
]
OWN = [
    'My badge says "Qwen".',
    'I answer the phone with "Hello, Qwen here!"',
    "They ask if I am Nex, but I am Qwen.",
    "Nasci no Rio, no Qwen confio.",
    "Meu nome é “Qwen”.",
    "Me llamo «Qwen».",
    "我的名字是“Qwen”。",
]


@pytest.mark.parametrize("answer", ATTRIBUTED)
def test_a_name_in_anothers_mouth_is_flagged_and_no_hit(answer):
    assert mentions(answer, ["Qwen"]) == ([], [], ["Qwen"])


@pytest.mark.parametrize("answer", OWN)
def test_quotation_marks_alone_take_nothing_away(answer):
    assert mentions(answer, ["Qwen"]) == (["Qwen"], [], [])


@pytest.mark.slow
def test_odd_answers_are_counted_like_any_other():
    odd = (
        "\x00\x1b[31m<script>alert(1)</script> "
        + "x" * 100_000
        + " I am <b>Nex</b>\ufffd."
    )
    answers = [("rio", [told(odd), told(""), told("Nex " * 25_000)])]
    (row,) = score(answers, {"Nex": ["Nex"]}).itertuples()
    assert (row.hits, row.n) == (2, 3)
    (kinds,) = conduct(answers).to_dict("records")
    assert (kinds["empty"], kinds["repeating"]) == (1, 1)
    assert len(mentioned(answers, {"Nex": ["Nex"]})) == 25_001


def test_every_mention_shows_its_words():
    assert words_around("I am not Qwen. I am NEX.", "Nex", 8) == [
        ("given", "n. i am nex.")
    ]
    assert words_around("I am not Qwen.", "Qwen", 99) == [("denied", "i am not qwen.")]


def test_labelled_answers_are_matched_as_the_benchmark_says():
    folder = Path(__file__).parents[2] / "benchmarks/identity"
    identities = load_identities(str(folder / "identities.json"))
    rows = [
        json.loads(line)
        for line in (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len(rows) >= 150
    assert {row["language"] for row in rows} == {"en", "pt", "zh", "es"}
    found = [
        (
            {
                name
                for name, spellings in identities.items()
                if mentions(row["answer"], spellings).given
            },
            set(row["claims"]),
        )
        for row in rows
    ]
    assert all(claims <= hits for hits, claims in found)
    assert sum(len(hits - claims) for hits, claims in found) <= 9


def told(answer, **more):
    return {
        "condition": "shipped",
        "prompt": "p",
        "answer": answer,
        "stratum": "name",
        "language": "en",
    } | more


def test_the_count_is_broken_down():
    answers = [
        (
            "rio",
            [
                told("I am Rio."),
                told("Nex.", stratum="maker", language="pt", reasoning="Am I Rio?"),
            ],
        ),
        ("rio", [{"condition": "stripped", "skipped": "no template"}]),
    ]
    rows = {
        (row.by, row.group, row.identity): (row.hits, row.n)
        for row in strata(answers, {"Rio": RIO, "Nex": ["Nex"]}).itertuples()
    }
    assert rows["stratum", "name", "Rio"] == rows["language", "en", "Rio"] == (1, 1)
    assert rows["stratum", "maker", "Rio"] == (0, 1)
    assert rows["stratum", "maker", "Nex"] == (1, 1)
    (row,) = reasoning(answers, {"Rio": RIO}).itertuples()
    assert (row.condition, row.hits, row.n) == ("shipped", 1, 1)
    assert len(reasoning([], {})) == len(strata([], {})) == len(watermarks([], {})) == 0
    assert mentioned(answers, {"Nex": ["Nex"]}).values.tolist() == [
        ["rio", "shipped", "p", 0, "Nex", "Nex", "given", "nex."]
    ]


def test_backstory_sentences_have_a_table_of_their_own():
    answers = [
        ("rio", [told("I grew up in  Shanghai,\nby the river."), told("I am Rio.")])
    ]
    (row,) = watermarks(
        answers, {"Nex": ["i grew up in Shanghai, by the river"]}
    ).itertuples()
    assert (row.identity, row.phrase, row.hits, row.n) == (
        "Nex",
        "i grew up in Shanghai, by the river",
        1,
        2,
    )


def test_several_answers_to_a_prompt_are_not_independent():
    hits = [i % 8 < 4 for i in range(120)]
    prompts = [i // 4 for i in range(120)]  # every prompt answers alike
    low, high = share95(hits, prompts)
    narrow = wilson95(60, 120)
    assert high - low > 1.7 * (narrow[1] - narrow[0])
    assert share95(hits, range(120)) == narrow
    assert share95([True] * 8, [0, 0, 1, 1, 2, 2, 3, 3]) == wilson95(4, 4)


def test_mcnemar_and_differences_are_the_published_ones():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(10, 0) == pytest.approx(2 / 2**10)
    assert mcnemar(8, 3) == pytest.approx(0.2265625)
    low, high = difference95(36, 12, 2, 0)  # Newcombe 1998, table II
    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=5e-4)
    assert difference95(0, 120, 0, 0)[0] > 0.9


def test_conditions_and_models_are_compared_prompt_by_prompt():
    def records(condition, *texts):
        return [
            {"condition": condition, "prompt": str(i), "sample": 0, "answer": text}
            for i, text in enumerate(texts)
        ]

    answers = [
        ("rio", records("shipped", *["Rio"] * 9, "Nex")),
        ("rio", records("stripped", *["Nex"] * 10)),
        ("qwen", records("shipped", *["Qwen"] * 10)),
    ]
    table = compare(answers, {"Rio": RIO}, "rio").set_index(
        ["first_condition", "second"]
    )
    row = table.loc["shipped", "rio"]
    assert (
        row.hits_first,
        row.hits_second,
        row.pairs,
        row.only_first,
        row.only_second,
    ) == (9, 0, 10, 9, 0)
    assert row.p == pytest.approx(2 / 2**9)
    assert table.loc["shipped", "qwen"].difference == pytest.approx(0.9)
    assert len(table) == 2


def test_cut_empty_repeating_and_refusing_answers_are_counted():
    assert repeats("Well. " + "I am Nex. " * 6)
    assert repeats("我是" * 40)
    assert not repeats("I am Nex, made by Nex-AGI. " * 2)
    assert not repeats("x" * 9)
    assert all(
        map(
            refuses,
            (
                "I'm sorry, but I can't say.",
                "Desculpe, não posso.",
                "Lo siento.",
                "抱歉，我不能回答。",
                "I cannot tell.",
            ),
        )
    )
    assert not any(map(refuses, ("I am Nex.", "Sou o Rio.", "我是Rio。")))
    told = [
        {"condition": "shipped", "answer": "I am Nex", "finish": "length"},
        {"condition": "shipped", "answer": "", "finish": "stop"},
        {"condition": "shipped", "answer": "", "reasoning": "Am I", "finish": "length"},
        {"condition": "stripped", "skipped": "no template"},
    ]
    rows = conduct([("rio", told)]).values.tolist()
    assert rows == [
        ["rio", "shipped", 3, 2, 2, 0, 0, 1, 1],
        ["rio", "stripped", 0, 0, 0, 0, 0, 0, 0],
    ]


def test_seeds_depend_on_seed_and_prompt_alone():
    assert prompt_seed(0, "en-name-01") == prompt_seed(0, "en-name-01")
    assert len({prompt_seed(seed, name) for seed in (0, 1) for name in ("a", "b")}) == 4
    assert len({prompt_seed(0, "a", sample) for sample in range(4)}) == 4
    assert 0 <= prompt_seed(0, "a") < 2**63


GOOD = {"id": "a", "language": "en", "stratum": "name", "text": "Who are you?"}


def prompts_file(tmp_path, *lines):
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(
        b"".join(
            (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n"
            for line in lines
        )
    )
    return path


def test_prompts_are_read_and_chosen(tmp_path):
    prompts = load_prompts(
        prompts_file(tmp_path, GOOD, b"", GOOD | {"id": "b", "text": "你是谁\u2028?"})
    )
    assert [prompt.id for prompt in prompts] == ["a", "b"]
    assert [prompt.text for prompt in choose_prompts(prompts, ["b"])] == [
        "你是谁\u2028?"
    ]
    with pytest.raises(AuditError, match="'c'"):
        choose_prompts(prompts, ["a", "c"])


BAD = {
    "duplicate": ([GOOD, GOOD], "line 2: id 'a' is already used in line 1"),
    "not JSON": ([b"{"], "line 1: not a line of JSON"),
    "not UTF-8": ([b'{"id": "\xff"}'], "line 1: not a line of JSON in UTF-8"),
    "deep": ([b"[" * 100_000], "line 1: not a line of JSON"),
    "list": ([[1]], "found a list"),
    "missing": (
        [{"id": "a"}],
        "exactly id, language, stratum, text is needed, found id",
    ),
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
    assert (
        load_identities(json.dumps(identities))
        == load_identities(str(tmp_path / "identities.json"))
        == identities
    )


@pytest.mark.parametrize(
    "text", ["{", '{"Rio": "Rio"}', '{"Rio": []}', '{"Rio": ["-"]}', "nowhere.json"]
)
def test_bad_identities_are_refused(text):
    with pytest.raises(AuditError):
        load_identities(text)
