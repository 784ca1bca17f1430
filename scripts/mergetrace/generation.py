"""Answers from a model folder by transformers, one random stream per prompt."""

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

from mergetrace.errors import AuditError, Unaskable
from mergetrace.reasoning import separate

MAX_PROMPT_TOKENS = 16_384
HEADROOM = 1.1  # memory beyond the weights, for activations and the cache
MAX_COUNT = 100_000  # of layers, heads or experts in a configuration
MAX_CONFIG = 16 << 20  # bytes


@dataclass(frozen=True)
class Speaker:
    """A loaded model with what its answers need: the tokens that end one and the token that pads a prompt on the left."""

    model: Any
    tokenizer: Any
    stops: frozenset[int]
    pad: int


def weight_bytes(folder: Path) -> int:
    """Bytes of all safetensors files in a model folder. Raises Unaskable if there are none (pickled weights are never loaded)."""
    files = list(folder.glob("*.safetensors"))
    if not files:
        raise Unaskable(
            "no safetensors file in the model folder: other formats are not loaded, and of a model on the Hub only a sample is here; "
            "give a local copy, or serve it elsewhere (probe.backend: endpoint)"
        )
    return sum(file.stat().st_size for file in files)


def available_memory(device: str) -> int:
    """Bytes that can still be allocated on `device` ("cpu" or "cuda"); on the CPU no more than a cluster job's own limit."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    available = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError, StopIteration):  # no cgroup v2, or its limit is "max"
        own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        available = min(available, int(Path(f"/sys/fs/cgroup{own[3:]}", "memory.max").read_text()))
    return available


def choose_device(folder: Path, wanted: str) -> str:
    """ "cuda" or "cpu" for `wanted` "auto", "cuda" or "cpu": the GPU where the model fits, before anything is loaded.

    Raises Unaskable, with the sizes, where it fits nowhere; AuditError where a GPU is wanted and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise AuditError("compute.device is cuda, but torch finds no GPU here; use auto or cpu")
    devices = [device for device in ("cuda", "cpu") if wanted in ("auto", device) and (device == "cpu" or torch.cuda.is_available())]
    needed = int(weight_bytes(folder) * HEADROOM)
    room = {device: available_memory(device) for device in devices}
    for device in devices:
        if needed <= room[device]:
            return device
    found = ", ".join(f"{size / 1e9:,.1f} GB on {device}" for device, size in room.items())
    raise Unaskable(f"the model needs {needed / 1e9:,.1f} GB of memory, available: {found}")


def load(folder: Path, device: str, turn_end: str | None) -> Speaker:
    """Load a model and its tokenizer from `folder` alone: no network, no remote code, no pickle; dtype as stored.

    `turn_end` is what the chat template prints after an answer; its special token ends answers too, since a merge
    may have lost the configuration that says so. Raises Unaskable with the reason.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        _refuse_implausible(folder, **local)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", use_safetensors=True, device_map={"": device}, output_loading_info=True, **local
        )
    except Unaskable:
        raise
    except Exception as error:  # a stranger's files can make transformers raise anything
        raise Unaskable(f"transformers {transformers.__version__} cannot load it: {type(error).__name__}: {one_line(error)}") from error
    if not any((folder / name).is_file() for name in tokenizer.vocab_files_names.values()):
        raise Unaskable("no tokenizer in the model folder (transformers would invent one)")
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise Unaskable(f"transformers would invent {len(missing)} weights that the files do not hold, such as {missing[0]}")
    stops = _stops(model, tokenizer, turn_end)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops, default=0)
    return Speaker(model.eval(), tokenizer, stops, pad)


def answer(speaker: Speaker, prompts: list[str], seeds: list[int], temperature: float, max_new_tokens: int) -> list[dict[str, Any]]:
    """Answer rendered prompts in one batch.

    Returns for each {prompt_ids, answer, reasoning (None: there was none), finish ("stop" or "length"), tokens (without the stop token)}.

    Plain sampling at `temperature` (0: the most probable token), whatever the model's generation_config.json suggests.
    Row i draws from its own stream of seeds[i]: its answer depends on its batch only as far as floating point does.
    """
    rows = [speaker.tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    _check(speaker, rows, max_new_tokens)
    width = max(map(len, rows))
    ids = torch.tensor([[speaker.pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    config = transformers.GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=sorted(speaker.stops) or None, pad_token_id=speaker.pad
    )
    speaker.model.generation_config = config  # what generate() would take from the model's own file is not taken
    device = speaker.model.device
    try:
        generated = speaker.model.generate(
            ids.to(device), attention_mask=mask.to(device), generation_config=config, logits_processor=[_sampler(seeds, temperature)]
        )
    except torch.OutOfMemoryError:
        raise AuditError(f"out of GPU memory with {len(prompts)} prompts at a time; lower probe.batch_size") from None
    return [
        {"prompt_ids": row} | _finish(speaker, prompt, own) for prompt, row, own in zip(prompts, rows, generated[:, width:].tolist(), strict=True)
    ]


def one_line(error: BaseException) -> str:
    """An error's message without line breaks and control characters, at most 300 characters."""
    return "".join(char for char in " ".join(str(error).split()) if char.isprintable())[:300]


def _sampler(seeds: list[int], temperature: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A logits processor after which the greatest entry of each row is a sample at `temperature` (the Gumbel-max trick).

    Inverting the cumulative distribution would take one random number instead of one per vocabulary entry, but there a
    last-bit difference in any logit moves every later boundary: in bf16, 5 to 15 % of the answers changed with the batch
    size, against 1 to 3 % here (in float32 none does).
    """
    streams: list[torch.Generator] = []

    def draw(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:  # [rows, tokens so far], [rows, vocabulary]
        if not torch.isfinite(logits.max(dim=-1).values).all():  # the maximum of a row with a NaN is NaN
            raise Unaskable("the model's logits are not finite numbers")
        if temperature == 0:
            return logits
        streams.extend(torch.Generator(logits.device).manual_seed(seed) for seed in seeds[len(streams) :])
        row = torch.empty(logits.shape[-1], dtype=torch.float64, device=logits.device)  # in float32 rare tokens would come too often
        waits = torch.stack([row.exponential_(generator=stream).clone() for stream in streams])
        return logits.double() / temperature - waits.log()

    return draw


def _finish(speaker: Speaker, prompt: str, tokens: list[int]) -> dict[str, Any]:
    end = next((place for place, token in enumerate(tokens) if token in speaker.stops), None)
    own = tokens[:end]
    reasoning, answer = spoken(speaker.tokenizer, own, prompt)
    return {"answer": answer, "reasoning": reasoning, "finish": "length" if end is None else "stop", "tokens": len(own)}


def spoken(tokenizer: Any, tokens: list[int], prompt: str) -> tuple[str | None, str]:
    """(reasoning or None, answer) of generated tokens, without special tokens, which may be what tells the two apart."""
    reasoning, answer = separate(tokenizer.decode(tokens, skip_special_tokens=False), prompt)
    if reasoning is None:
        return None, tokenizer.decode(tokens, skip_special_tokens=True)
    special = re.compile("|".join(map(re.escape, tokenizer.all_special_tokens)) or r"(?!)")
    return special.sub("", reasoning), special.sub("", answer)


def closing_tokens(tokenizer: Any, turn_end: str | None) -> list[int]:
    """The special token that the chat template prints after an answer, if it is one."""
    ids = tokenizer(turn_end or "", add_special_tokens=False)["input_ids"]
    return [token for token in ids if token in tokenizer.added_tokens_decoder][:1]


def _stops(model: Any, tokenizer: Any, turn_end: str | None) -> frozenset[int]:
    """Every token that somebody declares to end an answer: tokenizer, both configurations, chat template."""
    declared = [tokenizer.eos_token_id]
    for config in (model.generation_config, model.config.get_text_config()):
        value = getattr(config, "eos_token_id", None)
        declared += value if isinstance(value, list) else [value]
    declared += closing_tokens(tokenizer, turn_end)
    return frozenset(token for token in declared if isinstance(token, int))


def _check(speaker: Speaker, rows: list[list[int]], max_new_tokens: int) -> None:
    longest = max(map(len, rows))
    if longest > MAX_PROMPT_TOKENS or not all(rows):
        raise Unaskable(f"its chat template renders a prompt of {longest if all(rows) else 0:,} tokens; 1 to {MAX_PROMPT_TOKENS:,} are asked")
    vocabulary = speaker.model.get_input_embeddings().num_embeddings
    if max(map(max, rows)) >= vocabulary:
        raise Unaskable(f"its tokenizer gives token {max(map(max, rows)):,}, its embedding has {vocabulary:,} rows")
    positions = getattr(speaker.model.config.get_text_config(), "max_position_embeddings", None)
    if positions and longest + max_new_tokens > positions:
        raise Unaskable(
            f"prompt and answer may take {longest + max_new_tokens:,} tokens, the model has {positions:,} positions; lower probe.max_new_tokens"
        )


def _refuse_implausible(folder: Path, **local: bool) -> None:
    """Before memory is taken: a configuration must not describe more than the files hold (half a byte per parameter at least)."""
    with (folder / "config.json").open("rb") as file:
        _refuse_counts(json.loads(file.read(MAX_CONFIG)))
    config = transformers.AutoConfig.from_pretrained(folder, **local)
    with torch.device("meta"):
        described = sum(parameter.numel() for parameter in transformers.AutoModelForCausalLM.from_config(config).parameters())
    if described > 2 * (stored := weight_bytes(folder)):
        raise Unaskable(f"config.json describes {described:,} parameters, the safetensors files hold {stored:,} bytes")


def _refuse_counts(settings: Any) -> None:
    """A count of layers, heads or experts is the length of a list that transformers makes, before any weight is looked at."""
    for name, value in settings.items() if isinstance(settings, dict) else ():
        _refuse_counts(value)
        if isinstance(value, int) and value > MAX_COUNT and re.search("layer|head|expert|block|depth|stage", name):
            raise Unaskable(f"config.json says {name} is {value:,}")
