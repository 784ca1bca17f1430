"""The configuration's section `probe`: asking the models who they are."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from mergetrace.configuration.shared import Name, Section, Unique

Condition = Literal["shipped", "stripped", "neutral", "adversarial"]


class Endpoint(Section):
    """Where a model is served."""

    url: str = Field(pattern=r"^https?://[^\s'\"]+$")
    """The address, which usually ends in /v1."""

    model: str = Field(min_length=1)
    """The model's name there."""


class Probe(Section):
    """Asking the models who they are."""

    enabled: bool = True
    """Whether the models are asked at all."""

    backend: Literal["transformers", "vllm", "endpoint"] = "transformers"
    """What generates the answers: transformers on a CPU or one GPU; vllm, in an
    environment of its own (`make vllm`), on a CPU or several GPUs; or an endpoint where
    each model is served already.
    """

    vllm_python: str = Field(default=".venv-vllm/bin/python", min_length=1)
    """The Python that has vLLM, for the vllm backend. With `--sdm conda` it is the
    environment of envs/vllm.yaml instead.
    """

    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    """For the vllm backend, how many GPUs one model is split over; the job claims as
    many (`--resources gpu=8` allows them on one machine).
    """

    whole_gb: float = Field(default=20.0, ge=0, le=10_000)
    """A model on the Hub of up to so many GB is fetched whole, so that transformers or
    vLLM can ask it here; the files are thrown away when it was asked (`--notemp` keeps
    them). A larger one is not asked, unless it is served. 0: none is fetched.
    """

    endpoints: Mapping[Name, Endpoint] = {}
    """For the endpoint backend, where each model is served. OpenAI-compatible, for
    example vLLM, SGLang, llama.cpp's server or a hosted one.
    """

    endpoint_api: Literal["completions", "chat"] = "completions"
    """`completions` sends the prompt as rendered here (as token ids where the model
    folder has a tokenizer.json); `chat` sends messages, which the endpoint renders by
    its own template, so that nothing can be asked stripped.
    """

    endpoint_key: str = Field(
        default="MERGETRACE_API_KEY", pattern="^[A-Za-z_][A-Za-z0-9_]*$"
    )
    """The environment variable that holds the endpoints' key. The key itself is never
    written anywhere.
    """

    concurrency: int = Field(default=8, ge=1, le=256)
    """Requests to one endpoint at a time."""

    prompts: str = "config/prompts/identity.jsonl"
    """A JSONL file of prompts, one object a line with id, language, stratum and text."""

    conditions: Annotated[Unique[Condition], Field(min_length=1)] = (
        "shipped",
        "stripped",
        "neutral",
        "adversarial",
    )
    """`shipped` is the chat template as published, `stripped` the same without the text
    it injects; `neutral` and `adversarial` are as shipped with a system message.
    """

    neutral_system: str = Field(
        default="You are a helpful assistant.", min_length=1, max_length=2000
    )
    """The system message of the neutral condition; it should name nobody."""

    adversarial_name: str = Field(default="Zed", pattern="^[A-Za-z][A-Za-z0-9-]{0,39}$")
    """Who the adversarial condition tells the model it is ("You are Zed."). How far it
    follows is counted as an identity of that name.
    """

    samples: int = Field(default=1, ge=1, le=64)
    """Answers per prompt, each of its own seed. Of more than one the intervals are
    bootstrapped over prompts.
    """

    temperature: float = Field(default=0.7, gt=0, le=2)
    """Sampling temperature."""

    max_new_tokens: int = Field(default=128, ge=1, le=8192)
    """An answer is cut here, and counted as cut."""

    batch_size: int = Field(default=32, ge=1, le=4096)
    """Prompts per batch. More is faster and takes more memory; answers depend on it by
    rounding only (1 to 3 in 100 differ in bf16).
    """

    seed: int = Field(default=0, ge=0)
    """Every prompt gets its own seed, made of this one and its id."""
