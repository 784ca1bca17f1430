"""Whether a model fits here and is what it says it is, before memory is taken for
it.
"""

import json
import re
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

from mergetrace.errors import AuditError, Unaskable
from mergetrace.files.weight_files import NOT_FETCHED

HEADROOM = 1.1
"""Memory that a model takes, as a multiple of its weights: activations and the cache
need some too.
"""

MAX_COUNT = 100_000
"""Layers, heads or experts that a configuration may state."""

MAX_CONFIG = 16 << 20
"""Bytes of a configuration that are read."""

OWN_CGROUPS = Path("/proc/self/cgroup")
"""Where Linux lists the control groups of this process; other systems have none."""

CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux keeps the limits of control groups."""


def weight_bytes(folder: Path) -> int:
    """Bytes of all safetensors files in a model folder. Raises Unaskable if there are
    none (pickled weights are never loaded).
    """
    files = list(folder.glob("*.safetensors"))
    if (folder / NOT_FETCHED).is_file():
        why = json.loads((folder / NOT_FETCHED).read_text())
        raise Unaskable(
            f"its weights take {why['bytes'] / 1e9:,.1f} GB, and a model on the Hub is"
            f" fetched to be asked up to {why['whole_gb']:g} GB (probe.whole_gb); raise"
            " that, or serve it elsewhere (probe.backend: endpoint)"
        )
    if not files:
        raise Unaskable(
            "no safetensors file in the model folder: other formats are not loaded;"
            " give a copy in safetensors, or serve it elsewhere (probe.backend:"
            " endpoint)"
        )
    return sum(file.stat().st_size for file in files)


def available_memory(device: str, gpus: int = 1) -> int:
    """Bytes that can still be allocated on `device` ("cpu", or "cuda": on that many
    GPUs); on the CPU no more than a cluster job's own limit.
    """
    if device == "cuda":
        used = range(min(gpus, torch.cuda.device_count()))
        return sum(int(torch.cuda.mem_get_info(number)[0]) for number in used)
    available = int(psutil.virtual_memory().available)
    limit = job_memory()
    return available if limit is None else min(available, limit)


def job_memory() -> int | None:
    """The memory limit, in bytes, that a cluster or a container set this process by
    cgroup v2; None where there is none.
    """
    try:
        groups = OWN_CGROUPS.read_text().splitlines()
        own = next(line.removeprefix("0::") for line in groups if line[:3] == "0::")
        return int((CGROUPS / own.lstrip("/") / "memory.max").read_text())
    except (OSError, StopIteration, ValueError):  # ValueError: the limit is "max"
        return None


def choose_device(folder: Path, wanted: str, gpus: int = 1) -> str:
    """Choose "cuda" or "cpu" before anything is loaded: the GPUs where the model fits
    there.

    wanted: "auto", "cuda" or "cpu". Raises Unaskable, with the sizes, where the model
    fits nowhere; AuditError where a GPU is wanted and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise AuditError(
            "compute.device is cuda, but torch finds no GPU here; use auto or cpu"
        )
    present = ["cuda", "cpu"] if has_gpu else ["cpu"]
    devices = [device for device in present if wanted in ("auto", device)]
    needed = int(weight_bytes(folder) * HEADROOM)
    room = {device: available_memory(device, gpus) for device in devices}
    for device in devices:
        if needed <= room[device]:
            return device
    sizes = [f"{size / 1e9:,.1f} GB on {device}" for device, size in room.items()]
    raise Unaskable(
        f"the model needs {needed / 1e9:,.1f} GB of memory, available:"
        f" {', '.join(sizes)}"
    )


def refuse_implausible(folder: Path, **local: bool) -> None:
    """Raise Unaskable where config.json describes more parameters than the weight files
    can hold, at half a byte each; before memory is taken for them.

    local: what keeps transformers from the network and from a model's own code.
    """
    with (folder / "config.json").open("rb") as file:
        _refuse_counts(json.loads(file.read(MAX_CONFIG)))
    config = transformers.AutoConfig.from_pretrained(folder, **local)
    with torch.device("meta"):  # shapes without memory
        model = transformers.AutoModelForCausalLM.from_config(config)
    described = sum(parameter.numel() for parameter in model.parameters())
    stored = weight_bytes(folder)
    if described > 2 * stored:
        raise Unaskable(
            f"config.json describes {described:,} parameters, the safetensors files"
            f" hold {stored:,} bytes"
        )


def _refuse_counts(settings: Any) -> None:
    """Raise Unaskable for a count of layers, heads or experts above MAX_COUNT: each is
    the length of a list that transformers makes before it looks at any weight.
    """
    if not isinstance(settings, dict):
        return
    for name, value in settings.items():
        _refuse_counts(value)
        too_many = isinstance(value, int) and value > MAX_COUNT
        if too_many and _COUNTS.search(name):
            raise Unaskable(f"config.json says {name} is {value:,}")


_COUNTS = re.compile("layer|head|expert|block|depth|stage")
