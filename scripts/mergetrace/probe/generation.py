"""Answers from a model folder by transformers, one random stream per prompt."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers

from mergetrace.errors import AuditError, Unaskable
from mergetrace.probe.fitting import refuse_implausible
from mergetrace.probe.records import Reply
from mergetrace.probe.spoken import finished, one_line, refuse_prompts, stop_tokens


@dataclass(frozen=True)
class Speaker:
    """A loaded model with what its answers need."""

    model: Any
    """A transformers model, in evaluation mode."""
    tokenizer: Any
    stops: frozenset[int]
    """The tokens that end an answer."""
    pad: int
    """The token that fills shorter prompts of a batch up, on the left."""


def load(folder: Path, device: str, turn_end: str | None) -> Speaker:
    """Load a model and its tokenizer from `folder` alone: no network, no remote code,
    no pickle; dtype as stored.

    turn_end: what the chat template prints after an answer. Raises Unaskable with the
    reason where the model cannot be loaded as its files have it.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        refuse_implausible(folder, **local)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
        model, info = _loaded(
            folder,
            dtype="auto",
            use_safetensors=True,
            device_map={"": device},
            **local,
        )
    except Unaskable:
        raise
    except Exception as error:  # a stranger's files can make transformers raise any
        raise Unaskable(
            f"transformers {transformers.__version__} cannot load it:"
            f" {type(error).__name__}: {one_line(error)}"
        ) from error
    vocabularies = tokenizer.vocab_files_names.values()
    if not any((folder / name).is_file() for name in vocabularies):
        raise Unaskable(
            "no tokenizer in the model folder (transformers would invent one)"
        )
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise Unaskable(
            f"transformers would invent {len(missing)} weights that the files do not"
            f" hold, such as {missing[0]}"
        )
    configs = (model.generation_config, model.config.get_text_config())
    stops = stop_tokens(tokenizer, configs, turn_end)
    pad = tokenizer.pad_token_id
    if pad is None:
        pad = min(stops, default=0)
    return Speaker(model.eval(), tokenizer, stops, pad)


def _loaded(folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The model, and what transformers says of loading it; its own annotation leaves
    the second out.
    """
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, **options
    )
    model, info = loaded
    return model, info


def answer(
    speaker: Speaker,
    prompts: list[str],
    seeds: list[int],
    temperature: float,
    max_new_tokens: int,
) -> list[Reply]:
    """Answer rendered prompts in one batch.

    Plain sampling at `temperature` (0: the most probable token), whatever the model's
    generation_config.json suggests. Row i draws from its own stream of seeds[i]: its
    answer depends on its batch only as far as floating point does.
    """
    rows = [
        speaker.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        for prompt in prompts
    ]
    text_config = speaker.model.config.get_text_config()
    positions = getattr(text_config, "max_position_embeddings", None)
    refuse_prompts(
        rows,
        speaker.model.get_input_embeddings().num_embeddings,
        positions,
        max_new_tokens,
    )
    width = max(map(len, rows))
    ids = torch.tensor([[speaker.pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    config = transformers.GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(speaker.stops) or None,
        pad_token_id=speaker.pad,
    )
    # generate() also reads the model's own; nothing is taken from its file.
    speaker.model.generation_config = config
    device = speaker.model.device
    try:
        generated = speaker.model.generate(
            ids.to(device),
            attention_mask=mask.to(device),
            generation_config=config,
            logits_processor=[_sampler(seeds, temperature)],
        )
    except torch.OutOfMemoryError:
        raise AuditError(
            f"out of GPU memory with {len(prompts)} prompts at a time; lower"
            " probe.batch_size"
        ) from None
    answers = generated[:, width:].tolist()
    return [
        finished(speaker.tokenizer, speaker.stops, prompt, row, tokens)
        for prompt, row, tokens in zip(prompts, rows, answers, strict=True)
    ]


def versions() -> dict[str, str]:
    """The versions of the packages that answers depend on."""
    return {name: version(name) for name in ("torch", "transformers", "tokenizers")}


def _sampler(
    seeds: list[int], temperature: float
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A logits processor after which the greatest entry of each row is a sample at
    `temperature`: the Gumbel-max trick, with exponential waiting times as the noise.

    Inverting the cumulative distribution would take one random number instead of one
    per vocabulary entry, but there a last-bit difference in any logit moves every later
    boundary: in bf16, 5 to 15 % of the answers changed with the batch size, against 1
    to 3 % here (in float32 none does).
    """
    streams: list[torch.Generator] = []

    def draw(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Of the tokens so far [rows, length] and logits [rows, vocabulary]."""
        greatest = logits.max(dim=-1).values  # NaN where a row holds a NaN
        if not torch.isfinite(greatest).all():
            raise Unaskable("the model's logits are not finite numbers")
        if temperature == 0:
            return logits
        streams.extend(
            torch.Generator(logits.device).manual_seed(seed)
            for seed in seeds[len(streams) :]
        )
        # In float32 rare tokens would come too often.
        row = torch.empty(logits.shape[-1], dtype=torch.float64, device=logits.device)
        waits = torch.stack(
            [row.exponential_(generator=stream).clone() for stream in streams]
        )
        return logits.double() / temperature - waits.log()

    return draw
