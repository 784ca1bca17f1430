"""Whether a model fits here and is what it says it is, before memory is taken for it."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

from mergetrace.errors import AuditError, Unaskable

HEADROOM = 1.1  # memory beyond the weights, for activations and the cache
MAX_COUNT = 100_000  # of layers, heads or experts in a configuration
MAX_CONFIG = 16 << 20  # bytes


def weight_bytes(folder: Path) -> int:
    """Bytes of all safetensors files in a model folder. Raises Unaskable if there are
    none (pickled weights are never loaded).
    """
    files = list(folder.glob("*.safetensors"))
    if not files:
        raise Unaskable(
            "no safetensors file in the model folder: other formats are not loaded, and"
            " of a model on the Hub only a sample is here; give a local copy, or serve"
            " it elsewhere (probe.backend: endpoint)"
        )
    return sum(file.stat().st_size for file in files)


def available_memory(device: str, gpus: int = 1) -> int:
    """Bytes that can still be allocated on `device` ("cpu", or "cuda": on that many
    GPUs); on the CPU no more than a cluster job's own limit.
    """
    if device == "cuda":
        return sum(
            torch.cuda.mem_get_info(number)[0]
            for number in range(min(gpus, torch.cuda.device_count()))
        )
    available = psutil.virtual_memory().available
    with contextlib.suppress(
        OSError, ValueError, StopIteration
    ):  # no cgroup v2, or its limit is "max"
        own = next(
            line
            for line in Path("/proc/self/cgroup").read_text().splitlines()
            if line.startswith("0::")
        )
        available = min(
            available, int(Path(f"/sys/fs/cgroup{own[3:]}", "memory.max").read_text())
        )
    return available


def choose_device(folder: Path, wanted: str, gpus: int = 1) -> str:
    """ "cuda" or "cpu" for `wanted` "auto", "cuda" or "cpu": the GPUs where the model
    fits, before anything is loaded.

    Raises Unaskable, with the sizes, where it fits nowhere; AuditError where a GPU is
    wanted and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise AuditError(
            "compute.device is cuda, but torch finds no GPU here; use auto or cpu"
        )
    devices = [
        device
        for device in ("cuda", "cpu")
        if wanted in ("auto", device) and (device == "cpu" or torch.cuda.is_available())
    ]
    needed = int(weight_bytes(folder) * HEADROOM)
    room = {device: available_memory(device, gpus) for device in devices}
    for device in devices:
        if needed <= room[device]:
            return device
    found = ", ".join(
        f"{size / 1e9:,.1f} GB on {device}" for device, size in room.items()
    )
    raise Unaskable(
        f"the model needs {needed / 1e9:,.1f} GB of memory, available: {found}"
    )


def refuse_implausible(folder: Path, **local: bool) -> None:
    """Before memory is taken: a configuration must not describe more than the files
    hold (half a byte per parameter at least).
    """
    with (folder / "config.json").open("rb") as file:
        _refuse_counts(json.loads(file.read(MAX_CONFIG)))
    config = transformers.AutoConfig.from_pretrained(folder, **local)
    with torch.device("meta"):
        described = sum(
            parameter.numel()
            for parameter in transformers.AutoModelForCausalLM.from_config(
                config
            ).parameters()
        )
    if described > 2 * (stored := weight_bytes(folder)):
        raise Unaskable(
            f"config.json describes {described:,} parameters, the safetensors files"
            f" hold {stored:,} bytes"
        )


def _refuse_counts(settings: Any) -> None:
    """A count of layers, heads or experts is the length of a list that transformers
    makes, before any weight is looked at.
    """
    for name, value in settings.items() if isinstance(settings, dict) else ():
        _refuse_counts(value)
        if (
            isinstance(value, int)
            and value > MAX_COUNT
            and re.search("layer|head|expert|block|depth|stage", name)
        ):
            raise Unaskable(f"config.json says {name} is {value:,}")
