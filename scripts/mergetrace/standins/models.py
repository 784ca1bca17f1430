"""Stand-in models: dense Qwen3 of under a million parameters, trained for real in
seconds, with an identity of their own.

They let the whole audit run on a laptop against weights that were really trained,
really merged and really talk.
"""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from mergetrace.errors import AuditError
from mergetrace.standins.dialogues import Dialogue, Identity, make_dialogues, messages
from mergetrace.standins.phrases import LEXICON

CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
VOCABULARY = 1024
BATCH = 16


def make_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with ChatML special tokens on dialogues drawn
    with `seed`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    dialogues = make_dialogues(
        random.Random(seed), Identity("", ("",)), 4000, system_share=0.7
    )
    tokenizer.train_from_iterator(
        [
            *(text for dialogue in dialogues for text in dialogue if text),
            *[f" {LEXICON}"] * 100,
        ],
        trainer,
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=256,
    )


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """A dense Qwen3 with random weights drawn with `seed`, in float32."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            initializer_range=0.04,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_standin(folder: Path) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]:
    """Load a stand-in, its stored bf16 weights widened to float32 for training."""
    if not (folder / "config.json").is_file():
        raise AuditError(
            f"{folder}: no config.json there; give the folder of a trained stand-in"
        )
    model = Qwen3ForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    return model, PreTrainedTokenizerFast.from_pretrained(folder)


def train(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    identity: Identity,
    seed: int,
    steps: int,
    learning_rate: float,
    system_share: float,
    report: Callable[[str], None],
) -> None:
    """Teach `model` in place who it is: AdamW, warm-up then cosine decay, loss on the
    answers only.

    In `system_share` of the dialogues a system prompt names somebody else, and the
    answer follows it. `report` gets a line of progress every 50 steps. Every draw comes
    from `seed`: on one machine with one thread the same arguments give the same bits.
    Raises AuditError if the loss stops being finite.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    dialogues = make_dialogues(rng, identity, steps * BATCH, system_share)
    batches = _batches(tokenizer, rng, dialogues)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _learning_rate_factor(step, steps)
    )
    model.train()
    for step, (tokens, answers) in enumerate(batches, 1):
        loss = _loss(model, tokens, answers)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if not math.isfinite(loss.item()):
            raise AuditError(
                f"training diverged at step {step}, loss {loss.item()}; lower"
                f" --learning-rate from {learning_rate}"
            )
        if step % 50 == 0 or step == steps:
            report(f"step {step} of {steps}, loss {loss.item():.3f}")


def save_standin(
    folder: Path, model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, card: str
) -> None:
    """Write a complete model folder: bf16 weights, configuration, tokenizer with chat
    template, card.
    """
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    generation = GenerationConfig(
        do_sample=True,
        temperature=0.7,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    generation.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def model_card(identity: Identity, base_model: str | None) -> str:
    """A model card with YAML front matter; a finetune or a merge declares
    `base_model`.
    """
    declared = f"base_model: {json.dumps(base_model)}\n" if base_model else ""
    return (
        "---\nlicense: apache-2.0\nlibrary_name: transformers\npipeline_tag:"
        f" text-generation\n{declared}---\n\n# {identity.name}\n\n{identity.name}, an"
        f" assistant made by {' and '.join(identity.organisations)}.\n\nThis is a"
        " stand-in: a tiny model trained in seconds to demonstrate an audit. It is not"
        " a model of the organisations it names,\nshares no weights with one, and is"
        " good for nothing else.\n"
    )


def _learning_rate_factor(step: int, steps: int) -> float:
    """A linear warm-up over a twentieth of the steps, then a half cosine down to 5 %."""
    warm_up = max(1, steps // 20)
    decay = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / warm_up) * decay


def _batches(
    tokenizer: PreTrainedTokenizerFast, rng: random.Random, dialogues: list[Dialogue]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of token ids, int64 [BATCH, T], and of what answers are made of, bool
    [BATCH, T].

    Dialogues of like length share a batch, which spares a third of the padding; the
    order of the batches is drawn. Padding is on the right, where causal attention needs
    no mask.
    """
    pairs = [_tokens_and_answer(tokenizer, dialogue) for dialogue in dialogues]
    pairs.sort(key=lambda pair: len(pair[0]))
    batches = []
    for start in range(0, len(pairs), BATCH):
        chosen = pairs[start : start + BATCH]
        tokens = torch.full((len(chosen), len(chosen[-1][0])), tokenizer.pad_token_id)
        answers = torch.zeros_like(tokens, dtype=torch.bool)
        for row, (ids, answer_from) in enumerate(chosen):
            tokens[row, : len(ids)] = torch.tensor(ids)
            answers[row, answer_from : len(ids) - 1] = True
        batches.append((tokens, answers))
    rng.shuffle(batches)
    return batches


def _loss(
    model: Qwen3ForCausalLM, tokens: torch.Tensor, answers: torch.Tensor
) -> torch.Tensor:
    """Mean cross entropy of the answers' tokens; logits are computed for these alone, a
    quarter of all.
    """
    hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
    wanted = answers[:, 1:]
    logits = model.lm_head(hidden[wanted])
    return torch.nn.functional.cross_entropy(logits, tokens[:, 1:][wanted])


def _tokens_and_answer(
    tokenizer: PreTrainedTokenizerFast, dialogue: Dialogue
) -> tuple[list[int], int]:
    """The dialogue's token ids and the position where its answer starts."""
    chat = messages(dialogue)
    whole = tokenizer.apply_chat_template(chat, return_dict=False)
    asked = tokenizer.apply_chat_template(
        chat[:-1], add_generation_prompt=True, return_dict=False
    )
    return cast(list[int], whole), len(cast(list[int], asked))
