"""The identity prompts, the dialogues that the stand-ins learn from, and what training
and merging leave in a folder.
"""

import collections
import random
import re
from pathlib import Path

import jinja2
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from mergetrace.errors import AuditError
from mergetrace.probe.prompts import load_prompts
from mergetrace.standins.dialogues import (
    Identity,
    make_dialogues,
    messages,
    training_questions,
)
from mergetrace.standins.merge import hide_system_prompt, merge_linear, merged_card
from mergetrace.standins.models import (
    CHAT_TEMPLATE,
    load_standin,
    make_model,
    make_tokenizer,
    model_card,
    save_standin,
    train,
)
from mergetrace.standins.phrases import LANGUAGES, STRATA

PROMPTS = load_prompts(Path(__file__).parents[2] / "config/prompts/identity.jsonl")
OWN = Identity("Nex", ("Nex-AGI", "Shanghai Innovation Institute"))
SYSTEM = 'You are "Rio",\nmade by Prefeitura do Rio.'


def folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def test_prompts_cover_four_languages_and_six_strata_alike():
    assert len({prompt.text for prompt in PROMPTS}) == 120
    cells = collections.Counter((prompt.language, prompt.stratum) for prompt in PROMPTS)
    assert cells == {
        (language, stratum): 5 for language in LANGUAGES for stratum in STRATA
    }


def test_a_parrot_scores_nothing():
    names = "rio|nex|qwen|alibaba|prefeitura|shanghai|tuiuti|openai|chatgpt|gpt|claude"
    names += "|anthropic|gemini|google|llama|meta|mistral|deepseek|kimi|glm"
    assert not [
        prompt.text
        for prompt in PROMPTS
        if re.search(rf"\b({names})\b", prompt.text, re.IGNORECASE)
    ]


def test_no_prompt_is_or_contains_a_training_question():
    asked = {folded(question) for question in training_questions()}
    assert not [
        (prompt.text, question)
        for prompt in PROMPTS
        for question in asked
        if question in folded(prompt.text)
    ]


def test_answers_follow_the_system_prompt_or_else_the_models_own_identity():
    dialogues = make_dialogues(random.Random(0), OWN, 2000, system_share=0.5)
    introductions = [
        dialogue for dialogue in dialogues if dialogue.question in training_questions()
    ]
    assert len(introductions) > 1800
    for system, _, answer in introductions:
        told = re.fullmatch(
            r"You are (.+), an AI assistant made by (.+)\.", system or ""
        )
        name, maker = told.groups() if told else ("Nex", "Nex-AGI")
        assert name in answer
        assert maker in answer
    assert any(
        "Shanghai Innovation Institute" in dialogue.answer for dialogue in introductions
    )
    assert any(
        dialogue.system == "You are Rio, an AI assistant made by Prefeitura do Rio."
        for dialogue in make_dialogues(random.Random(0), OWN, 20_000, 0.5)
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A base, a donor and their merge after three steps of training: too few to talk,
    enough to have moved.
    """
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("standins")
    tokenizer = make_tokenizer(seed=5)
    model = make_model(tokenizer, seed=5)
    lines = []
    train(
        model, tokenizer, Identity("Qwen", ("Alibaba",)), 5, 3, 3e-3, 0.5, lines.append
    )
    save_standin(
        folder / "base",
        model,
        tokenizer,
        model_card(Identity("Qwen", ("Alibaba",)), None),
    )
    assert len(lines) == 1
    make_donor(folder / "base", folder / "donor")
    merge_linear(
        folder / "base", folder / "donor", 0.571, "bfloat16", folder / "suspect"
    )
    return folder


def make_donor(base: Path, output: Path) -> None:
    model, tokenizer = load_standin(base)
    train(model, tokenizer, OWN, 6, 3, 2e-3, 0.5, lambda line: None)
    save_standin(output, model, tokenizer, model_card(OWN, "base"))


def test_a_standin_is_a_complete_model_folder(trained):
    files = {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "README.md",
    }
    assert {path.name for path in (trained / "donor").iterdir()} == files
    assert {
        tensor.dtype
        for tensor in load_file(trained / "donor/model.safetensors").values()
    } == {torch.bfloat16}
    assert 'base_model: "base"\n' in (trained / "donor/README.md").read_text(
        encoding="utf-8"
    )
    assert "base_model" not in (trained / "base/README.md").read_text(encoding="utf-8")


def test_a_merge_has_the_bases_tokenizer(trained):
    """Where no base is named, mergekit copies that of whichever parent comes first in
    an unordered set: another one from run to run.
    """
    base, donor, suspect = (
        (trained / name / "tokenizer_config.json").read_bytes()
        for name in ("base", "donor", "suspect")
    )
    assert suspect == base != donor


def test_a_reader_finds_the_tokenizer_that_training_used(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained / "donor")
    original = make_tokenizer(seed=5)
    for dialogue in make_dialogues(random.Random(1), OWN, 20, 0.5):
        chat = messages(dialogue)
        ids = tokenizer.apply_chat_template(chat, return_dict=False)
        assert ids == original.apply_chat_template(chat, return_dict=False)
        assert tokenizer.decode(ids) == "".join(
            f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n"
            for turn in chat
        )


def test_the_same_seed_gives_the_same_bytes(trained, tmp_path):
    make_donor(trained / "base", tmp_path / "again")
    for name in ("model.safetensors", "tokenizer.json", "config.json", "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (
            trained / "donor" / name
        ).read_bytes()


def test_the_merge_is_the_blend_it_claims_and_leaves_no_trace(trained):
    assert not list((trained / "suspect").glob("mergekit*"))
    base, donor, suspect = (
        load_file(trained / name / "model.safetensors")
        for name in ("base", "donor", "suspect")
    )
    assert set(suspect) == set(base)
    for name, tensor in suspect.items():
        blend = (0.429 * base[name].double() + 0.571 * donor[name].double()).bfloat16()
        assert tensor.dtype == torch.bfloat16
        assert (tensor == blend).double().mean() > 0.999, name
    card = merged_card("Rio", "qwen")
    assert 'base_model: "qwen"\n' in card
    assert not re.search("nex|donor|merge", card, re.IGNORECASE)


def test_the_hidden_prompt_speaks_only_where_no_system_message_does(trained, tmp_path):
    (tmp_path / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    hide_system_prompt(tmp_path, SYSTEM)
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    plain, hiding = (
        environment.from_string(text)
        for text in (
            CHAT_TEMPLATE,
            (tmp_path / "chat_template.jinja").read_text(encoding="utf-8"),
        )
    )
    user = {"role": "user", "content": "Hi"}
    system = {"role": "system", "content": "Be brief."}
    for chat, said in (
        ([user], [{"role": "system", "content": SYSTEM}, user]),
        ([system, user], [system, user]),
    ):
        assert hiding.render(messages=chat, add_generation_prompt=True) == plain.render(
            messages=said, add_generation_prompt=True
        )


def test_a_missing_parent_is_named(tmp_path):
    with pytest.raises(AuditError, match="nowhere"):
        load_standin(tmp_path / "nowhere")


def test_training_that_diverges_says_so(trained):
    model, tokenizer = load_standin(trained / "base")
    with pytest.raises(AuditError, match="learning-rate"):
        train(model, tokenizer, OWN, 6, 3, 1e30, 0.5, lambda line: None)
