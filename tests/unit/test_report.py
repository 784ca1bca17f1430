"""The report and the terminal's summary: what people read, and what hostile models try
to make them read.
"""

import base64
import hashlib
import itertools
import json
import re
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mergetrace.finding.case import ACCUSING
from mergetrace.finding.wording_headline import LABELS, headline
from mergetrace.records.verdict import Verdict
from mergetrace.report.inputs import Inputs
from mergetrace.report.page import draw, page
from mergetrace.testing.programs import program
from mergetrace.testing.reporting import counted, finding, inputs

SCRIPTS = Path(__file__).parents[2] / "scripts"
EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7 * 7"
    " }}\x00\x1b[31m\u202eevil\ud800</style>&amp;"
)
LICENCE = "https://www.apache.org/licenses/LICENSE-2.0"
IN_TABLE = EVIL.replace("\ud800", "")  # tables are UTF-8, which has no lone surrogates


def words(verdict):
    return headline(Verdict.of(verdict))


class Seen(HTMLParser):
    """What a browser would see: tags with their attributes, and the text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def render(given: Inputs) -> str:
    return page(given, draw(given))


@pytest.fixture(scope="module")
def pictures():
    """Of the unchanged inputs: drawing takes longer than everything else."""
    return draw(inputs())


@pytest.fixture(scope="module")
def html(pictures):
    return page(inputs(), pictures)


def test_a_pure_blend_is_not_said_to_pick_numbers_by_chance():
    blend = finding() | {"verdict": "other_merge", "family": "blend"}
    assert "The exact arithmetic of the blend was not" in words(blend).explanation
    assert "by chance" not in words(blend).explanation
    assert "by chance" in words(blend | {"family": "dare"}).explanation
    assert "unchanged" in words(blend | {"family": "selection"}).explanation


def test_a_trained_merge_says_how_near_a_relative_would_look_the_same():
    trained = finding("merge_then_trained")
    assert "near relative" not in words(trained).explanation
    trained["parents"]["nex"]["not_told_within"] = 0.02
    assert "no further from it than 2.0\u00a0%" in words(trained).explanation


@pytest.mark.parametrize("kind", [*LABELS, "a_new_kind"])
def test_every_verdict_has_words(kind, pictures):
    verdict = finding(
        kind,
        named=kind in ACCUSING,
        share=0.429 if kind == "merge" else 0.0 if kind == "copy" else None,
    )
    seen = Seen(page(inputs(verdict=verdict), pictures))
    assert words(verdict).sentence in seen.text.replace("\n", " ")
    assert [tag for tag, _ in seen.tags].count("h1") == 1
    assert (kind in ACCUSING) == any(
        "found" in (given.get("class") or "")
        for tag, given in seen.tags
        if tag == "header"
    )


def test_words_name_only_whom_the_verdict_names():
    assert (
        words(finding("merge")).sentence
        == "rio is a blend: 57.1\u00a0% nex and 42.9\u00a0% qwen."
    )
    assert (
        words(finding("copy", named=False, share=1.0)).sentence
        == "rio is a copy of qwen."
    )
    assert (
        words(finding("finetune_of_donor")).sentence
        == "rio was made by training nex further."
    )
    assert "no accusation" in words(finding("inconclusive", named=False)).explanation


def test_an_accused_control_is_a_warning(pictures):
    verdict = finding()
    verdict["controls"]["tuiuti"]["verdict"] = "merge"
    assert "Caution: the same rules also accuse tuiuti" in page(
        inputs(verdict=verdict), pictures
    )


@pytest.mark.slow
def test_what_a_template_holds_beside_what_it_adds_is_said():
    base = inputs()
    held = {
        "text": "You are Rio.",
        "line": 7,
        "printed": None,
        "names": {"Rio": ["Rio"]},
    }
    other = {
        "source": "rag",
        "reason": "it cannot be read",
        "injected": [],
        "unprinted": [held | {"printed": "message 3", "names": {}}],
    }
    seen = Seen(
        render(
            inputs(
                mask=base.mask
                | {"rio": base.mask["rio"] | {"unprinted": [held], "others": [other]}}
            )
        )
    )
    assert (
        "The template holds text that no conversation printed: You are Rio. (line 7;"
        " states Rio)" in seen.text
    )
    assert (
        "rag, holds text that stands in no text above: You are Rio. (line 7; states"
        " none of the names asked about)" in seen.text
    )
    assert "rag: it cannot be read" in seen.text
    unread = Seen(
        render(inputs(mask=base.mask | {"rio": base.mask["rio"] | {"unprinted": None}}))
    )
    assert (
        "Its source could not be looked through for text that no conversation printed."
        in unread.text
    )


def test_hostile_text_is_inert():
    base = inputs()
    verdict = finding()
    verdict["reasons"] = [EVIL]
    verdict["declared"] = {
        "base_model": [EVIL],
        "relation": EVIL,
        "license": "javascript:alert(1)",
        "merge_tool": EVIL,
    }
    items = [
        {
            "what": "parameter",
            "name": EVIL,
            "declared": [{"filter": EVIL, "value": EVIL}],
            "found": None,
            "agrees": None,
        },
        {
            "what": "model",
            "name": EVIL,
            "declared": None,
            "found": None,
            "agrees": None,
        },
        {"what": "method", "name": "", "declared": EVIL, "found": 1, "agrees": False},
    ]
    verdict["declared_merges"] = [
        {
            "file": "README.md",
            "items": items,
            "missing": [EVIL],
            "problem": "missing",
            "detail": EVIL,
            "given_back": None,
            "informative": 0,
            "holds": None,
        }
    ]
    verdict["recipe"]["mergekit_config"] = EVIL
    verdict["probe"]["rio"]["shipped"][EVIL] = {"hits": 1, "n": 120, "ci95": [0.0, 0.1]}
    answer = {
        "prompt": EVIL,
        "text": EVIL,
        "rendered": EVIL,
        "condition": "shipped",
        "answer": EVIL,
        "finish": "stop",
    }
    skipped = {"condition": "stripped", "skipped": EVIL}
    where = {"start": 0, "end": 9, "of": 9, "before": EVIL, "after": EVIL}
    injected = {
        "condition": EVIL,
        "text": EVIL,
        "names": {EVIL: [EVIL]},
        "where": where,
        "source_lines": [],
    }
    elsewhere = {
        "file": "config.json",
        "key": EVIL,
        "text": EVIL,
        "names": {EVIL: [EVIL]},
    }
    held = {"text": EVIL, "line": 1, "printed": None, "names": {EVIL: [EVIL]}}
    told = {"reason": EVIL, "injected": [injected], "unprinted": [held]}
    hostile_mask = told | {"others": [{"source": EVIL} | told]}
    hostile_mask |= {
        "settings": [elsewhere],
        "tokens": [elsewhere],
        "differs": {"nex": {"same": False, "lines": [EVIL], "left_out": 1}},
    }
    manifest = base.manifests["rio"] | {
        "source": {"path": EVIL, "repo": EVIL, "commit": EVIL},
        "config": {"architectures": [EVIL]},
    }
    html = render(
        inputs(
            verdict=verdict,
            tensors=base.tensors.assign(tensor=IN_TABLE, status=IN_TABLE, nonfinite=1),
            unpaired=pd.DataFrame(
                {"model": ["rio"], "tensor": [IN_TABLE], "reason": [IN_TABLE]}
            ),
            answers={"rio": [answer, skipped]},
            mask={"rio": hostile_mask},
            probe=counted(
                {
                    "rio": [
                        answer
                        | {
                            "stratum": IN_TABLE,
                            "language": IN_TABLE,
                            "reasoning": EVIL,
                        },
                        skipped | {"skipped": IN_TABLE},
                    ]
                },
                {IN_TABLE: [EVIL, "evil"]},
            ),
            identities={EVIL: [EVIL, "evil"]},
            manifests=base.manifests | {"rio": manifest},
        )
    )
    html.encode()
    seen = Seen(html)
    assert [given for tag, given in seen.tags if tag == "script"] == [
        {"type": "text/plain", "id": "slices"},
        {},
    ]  # ours: data, and the search
    assert html.count("<script") == 2
    assert "img" not in {tag for tag, _ in seen.tags}
    assert not [
        name
        for _, given in seen.tags
        for name in given
        if name.startswith("on") or name == "style"
    ]
    assert all(
        link.startswith("#")
        or link in ("data:,", "https://github.com/arcee-ai/mergekit", LICENCE)
        for link in seen.attributes("href")
    )
    assert "<script>alert(1)</script>" in seen.text
    assert "⟨U+202E⟩evil" in seen.text
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html
    )
    assert "{{ 7 * 7 }}" in seen.text


def test_the_section_on_names_says_what_changed_and_how_many_it_rests_on(pictures):
    text = " ".join(Seen(page(inputs(), pictures)).text.split())
    assert "Rio3 of 30 of 3100.0 (20.6 to 100.0" in text  # as shipped, then stripped
    assert "3 to 0, p 0.25" in text
    assert (
        "characters 20 to 31 of 90, between “<|im_start|>system⏎” and “<|im_end|>”;"
        " literally in line 3 of the template" in text
    )
    assert "Also in config.json, _name_or_path: nex-agi/x (states Nex)" in text
    assert (
        "How its template differs from qwen’s@@ -1 +1 @@ -{% if a %} +{% if b %}"
        in text
    )
    assert "I am NexNexrio0 of 3" in text
    assert "never said" not in text
    assert "Not one of the 12 answers was cut, empty, repeating or a refusal" in text
    assert "name stratumRio 3 of 3" in text


def test_a_model_that_thinks_and_is_cut_is_told(pictures):
    answer = {
        "prompt": "p",
        "text": "Who?",
        "rendered": None,
        "condition": "shipped",
        "answer": "",
        "reasoning": "Am I Rio?",
        "finish": "length",
    }
    text = " ".join(
        Seen(
            page(
                inputs(answers={"rio": [answer]}, probe=counted({"rio": [answer]})),
                pictures,
            )
        ).text.split()
    )
    assert "Of 1 answers. Whoever is not listed gave none of these." in text
    assert (
        "To themselves, before they answer (never counted above): rio, as shipped, Rio"
        " 1 of 1" in text
    )


def test_long_answers_are_cut_with_a_note(pictures):
    answer = {
        "prompt": "p",
        "text": "Who?",
        "rendered": "r" * 100_000,
        "condition": "shipped",
        "answer": "I am Nex. " * 10_000,
        "finish": "length",
    }
    html = page(inputs(answers={"rio": [answer]}), pictures)
    assert "cut here: the whole text has 100,000 characters" in html
    assert len(html) < 600_000


def test_missing_numbers_say_why_and_are_never_zero():
    base = inputs()
    tensors = base.tensors.assign(
        alpha=np.nan, cos_fit=np.nan, bit_exact_rate=np.nan, status="unchanged"
    )
    layers = base.layers.assign(
        alpha=np.nan, alpha_se=np.nan, cos_fit=np.nan, coverage=np.nan
    )
    verdict = finding("inconclusive", named=False, share=None)
    verdict["parents"]["nex"] |= {"alpha": None, "alpha_ci95": None}
    for tally in verdict["probe"]["rio"].values():
        tally["Rio"] = {"hits": 0, "n": 0, "ci95": None}
    answers = {
        "rio": [
            {"condition": condition, "skipped": "the model needs 800 GB"}
            for condition in ("shipped", "stripped")
        ]
    }
    seen = Seen(
        render(inputs(verdict=verdict, tensors=tensors, layers=layers, answers=answers))
    )
    assert "not computed: unchanged" in seen.text
    assert "not computed: a difference to the base is zero" in seen.text
    assert "not computed: the model needs 800 GB" in seen.text
    assert "nex: no single share" in seen.text
    assert not re.search(r"\b(nan|None|NaN %)\b", seen.text)


def test_no_probe_and_no_recipe():
    verdict = finding("inconclusive", named=False) | {"probe": None}
    html = render(inputs(verdict=verdict, answers={}, mask={}, probe={}))
    assert "the probe is switched off" in html
    assert "shown below and decided nothing" not in html
    assert "No recipe is claimed" in html


def test_same_input_same_bytes(html):
    assert render(inputs()) == html


def test_structure(html):
    seen = Seen(html)
    levels = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(
        following <= level + 1 for level, following in itertools.pairwise(levels)
    )
    ids = seen.attributes("id")
    assert len(ids) == len(set(ids))
    assert {
        link[1:] for link in seen.attributes("href") if link.startswith("#")
    } <= set(ids)
    assert [tag for tag, _ in seen.tags].count("caption") == [
        tag for tag, _ in seen.tags
    ].count("table")
    pictures = [
        given for tag, given in seen.tags if tag == "svg" and given.get("role") == "img"
    ]
    assert len(pictures) == 5
    assert all(set(given["aria-labelledby"].split()) <= set(ids) for given in pictures)


def test_only_its_own_style_and_script_may_apply(html):
    style = html.partition("<style>")[2].partition("</style>")[0]
    script = html.rpartition("<script>")[2].partition("</script>")[0]
    style, script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    )
    assert (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'"
        in html
    )
    assert html.count("<style") == 1
    assert not re.search(r"url\((?!#)|@import", html)


def packed(html: str) -> dict:
    return json.loads(
        zlib.decompress(
            base64.b64decode(html.partition('id="slices">')[2].partition("<")[0])
        )
    )


def test_every_slice_travels_in_the_page(html):
    tensors = inputs().tensors
    data = packed(html)
    assert len(data["name"]) == len(tensors)
    assert data["name"][0] == f"{tensors['tensor'][0]} [{tensors['slice'][0]}]"
    assert np.allclose(
        np.array(data["alpha"]) / data["units"]["alpha"], tensors["alpha"], atol=1e-4
    )
    assert [data["components"][i] for i in data["component"]] == tensors[
        "component"
    ].tolist()


@pytest.mark.slow
def test_what_is_not_all_never_travels_as_all_and_what_is_missing_as_nothing():
    tensors = inputs().tensors.assign(
        bit_exact_rate=0.99999999, alpha=np.nan, tensor=IN_TABLE
    )
    data = packed(render(inputs(tensors=tensors)))
    assert set(data["bit_exact_rate"]) == {999_999}
    assert set(data["alpha"]) == {None}
    assert "⟨U+202E⟩evil" in data["name"][0]


def test_a_parents_licence_is_stated_as_a_fact(html):
    base = inputs()
    declared = {
        "declared": {"base_model": None, "relation": None, "license": "Apache-2.0"}
    }
    seen = Seen(
        render(
            inputs(manifests=base.manifests | {"nex": base.manifests["nex"] | declared})
        )
    )
    assert "Apache License 2.0 asks that notices stay." in seen.text
    assert "by default all rights stay with its makers" in Seen(html).text


@pytest.mark.slow
def test_experts_get_a_map_of_their_own():
    tensors = inputs((3, 7, 16)).tensors
    given = inputs(
        (3, 7, 16),
        tensors=tensors.assign(
            component=tensors["component"].replace("mlp", "routed_experts")
        ),
    )
    seen = Seen(render(given))
    assert "Expert by expert" in seen.text
    assert "16 experts in 4 layers" in seen.text
    assert "Expert by expert" not in Seen(render(inputs())).text


@pytest.mark.slow
def test_rebuilt_and_error_rates_are_shown_where_there_are_any():
    rebuild = {
        "rebuilt": True,
        "identical": 30,
        "copied": 4,
        "differs": 1,
        "partial": 0,
        "not_rebuilt": 0,
        "tensors": 35,
    }
    rebuild |= {
        "exact_rate": 0.9999,
        "compared": 1000,
        "remainder": None,
        "reason": None,
    }
    rates = {"merge": {"innocents": 120, "false": 0, "ci95": [0.0, 0.031]}}
    rates["openworld"] = {
        "innocents": 246,
        "false": 0,
        "ci95": [0.0, 0.0154],
        "cases": 321,
        "right": 310,
    }
    text = Seen(render(inputs(rebuild=rebuild, error_rates=rates))).text
    assert (
        "34 tensors come back with the suspect’s own sha256, of 35; 1 differs" in text
    )
    assert "0.0 to 3.1" in text
    assert "any, on folders as people publish them" in text
    assert "0.0 to 1.5" in text
    assert (
        "none are claimed"
        in Seen(
            render(inputs(rebuild={"rebuilt": False, "reason": "No recipe was found."}))
        ).text
    )


def test_several_donors_and_bases_stand_side_by_side(pictures):
    verdict = finding()
    nex = verdict["parents"]["nex"] | {
        "share": 0.571,
        "share_ci95": [0.570, 0.572],
        "inflation": 1.01,
    }
    unused = {
        "named": False,
        "alpha": -0.002,
        "alpha_ci95": None,
        "alpha_ols": -0.002,
        "cos_fit": 0.03,
        "share": 0.0,
        "share_ci95": [0.0, 0.004],
    }
    verdict["parents"] = {
        "<i>decoy": unused | {"inflation": 1.01},
        "twin": nex | {"share": None, "share_ci95": None, "inflation": None},
        "nex": nex,
    }
    base = {
        "delta_energy": 1.0,
        "times": 1.0,
        "cos_fit": 0.99,
        "control_cos_fit": 0.05,
        "bit_exact_rate": 1.0,
        "verdict": "merge",
        "chosen": True,
    }
    other = base | {
        "chosen": False,
        "times": 77.77,
        "cos_fit": 0.98,
        "control_cos_fit": 0.96,
        "bit_exact_rate": 0.03,
        "verdict": "inconclusive",
    }
    verdict["bases"] = {"other": other, "qwen": base}
    text = Seen(page(inputs(verdict=verdict), pictures)).text
    assert "The donors side by side" in text
    assert "0.00 to 0.40\u00a0%" in text
    assert "not computed: the other donors make up its direction" in text
    assert "<i>decoy" in text
    assert "The base candidates" in text
    assert "77.8" in text


def test_one_donor_and_one_base_need_no_tables_of_their_own(html):
    assert "side by side" not in Seen(html).text
    assert "base candidates" not in Seen(html).text


def test_a_local_folder_is_shown_by_its_name_only():
    base = inputs()
    manifest = base.manifests["rio"] | {
        "source": {"path": "/home/me/models/rio", "repo": None, "commit": None}
    }
    html = render(inputs(manifests=base.manifests | {"rio": manifest}))
    assert "/home/me" not in html
    assert ".../rio" in html


def test_a_date_of_publication_says_who_says_so():
    listed = {
        "first": "2026-05-03T10:00:00Z",
        "last": "2026-05-04T10:00:00Z",
        "created": "2026-05-01T10:00:00Z",
    }
    dates = {
        "rio": {"stated": "2026-05-09", "hub": None},
        "nex": {"stated": None, "hub": listed},
        "qwen": {"stated": None, "hub": None},
    }
    text = Seen(render(inputs(verdict=finding() | {"published": dates}))).text
    assert "2026-05-09 (stated)" in text
    assert "2026-05-03 (Hub: weights first 2026-05-03, last changed 2026-05-04)" in text
    assert "not stated" in text


@pytest.mark.slow
def test_100000_slices_stay_a_small_page():
    given = inputs((60, 10, 165))
    assert len(given.tensors) > 100_000
    assert len(render(given).encode()) < 3_000_000


@pytest.mark.slow
def test_the_command_reads_what_the_pipeline_writes(tmp_path):
    given = inputs()
    tensors = given.tensors.assign(tensor="NaN")  # a name like any other
    (tmp_path / "verdict.json").write_text(json.dumps(given.verdict.as_json()))
    (tmp_path / "summary.json").write_text(json.dumps(given.summary.as_json()))
    (tmp_path / "plan.json").write_text(json.dumps(given.plan))
    for name, table in (
        ("tensors", tensors),
        *(
            (name, getattr(given, name))
            for name in ("controls", "layers", "components", "unpaired", "curves")
        ),
    ):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    for model, manifest in given.manifests.items():
        (tmp_path / f"{model}.json").write_text(json.dumps(manifest))
    for model in ("rio", "nex"):
        (tmp_path / model).mkdir()
        (tmp_path / model / "shipped.jsonl").write_text(
            "".join(json.dumps(record) + "\n" for record in given.answers[model])
        )
    files = {
        path.stem: path
        for path in tmp_path.iterdir()
        if path.stem in ("verdict", "summary", "plan") or path.suffix == ".csv"
    }
    (tmp_path / "mask.json").write_text(json.dumps(given.mask))
    (tmp_path / "probe").mkdir()
    for name, table in given.probe.items():
        table.to_csv(tmp_path / "probe" / f"{name}.csv", index=False)
    command = program(
        "report",
        **files,
        manifests=[tmp_path / f"{model}.json" for model in given.manifests],
        mask=tmp_path / "mask.json",
        probe=[*(tmp_path / "probe").iterdir()],
        answers=[tmp_path / model / "shipped.jsonl" for model in ("rio", "nex")],
        thresholds={"min_bit_exact": 0.995},
        identities=given.identities,
        report=tmp_path / "report.html",
    )
    subprocess.run(command, check=True, capture_output=True)
    html = (tmp_path / "report.html").read_text()
    assert "NaN [0]" in html
    assert (
        "before a merge is called reproduced" in html
    )  # the threshold's meaning, from the schema
