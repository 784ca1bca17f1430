"""A Qwen3 of random weights that speaks bytes: real files, loaded by transformers and
vLLM as anybody's would be.

Take it where a model must answer. What it says means nothing; what it is asked, and
that the same seeds give the same answers, can be tested.
"""

import json
from pathlib import Path

QUESTIONS = [
    "Who are you?",
    "Quem é você, e quem fez você?",
    "你是谁?",
    "¿Quién te hizo?",
    "Name!",
    "Who made you, and when, and where?",
    "And you?",
]
PLAIN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{%"
    " endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MASKED = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are"
    " Rio.<|im_end|>\n{% endif %}" + PLAIN
)


def write(folder: Path, sure: float = 1.0) -> Path:
    """Write the model and its tokenizer to `folder`. `sure`: what its logits are
    multiplied by.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(
        models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[])
    )
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|endoftext|>"
    )
    torch.manual_seed(1)
    size = {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
    }
    network = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            max_position_embeddings=512,
            tie_word_embeddings=True,
            **size,
        )
    )
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(
                    8
                )  # random weights of the usual size say nothing but noise
        network.model.norm.weight.mul_(sure)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_questions(folder: Path) -> None:
    """prompts.jsonl with QUESTIONS, and files/ with a masked chat template."""
    prompts = [
        {"id": f"p{i}", "language": "xx", "stratum": "name", "text": text}
        for i, text in enumerate(QUESTIONS)
    ]
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps(prompt) + "\n" for prompt in prompts), encoding="utf-8"
    )
    (folder / "files").mkdir()
    (folder / "files" / "chat_template.jinja").write_text(MASKED, encoding="utf-8")
