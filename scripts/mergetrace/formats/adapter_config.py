"""What a PEFT adapter's own configuration says of its change: how it is scaled, and
whether it is one that a merge into the base's weights gives.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from mergetrace.errors import ModelFileError
from mergetrace.files.adapter_files import SETTINGS_NAME
from mergetrace.files.strict_json import shown
from mergetrace.formats.model_config import fact

MAX_RANK = 1 << 15
_NAMES = re.compile(r"\^?[\w.-]+\$?")
_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of init_lora_weights under which the base's own weights stay as they are."""
_UNREAD = (
    "lora_bias",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "alora_invocation_tokens",
    "velora_config",
    "monteclora_config",
    "kasa_config",
)
"""Settings whose change is not the product of two matrices alone, or not the same in
every module.
"""


@dataclass(frozen=True)
class AdapterConfig:
    """How a LoRA adapter's change is made of its matrices."""

    rank: int
    alpha: float
    of_root: bool  # rsLoRA: alpha is divided by the rank's root
    ranks: Mapping[str, Any]  # by ends of modules' names, the first that fits counts
    alphas: Mapping[str, Any]
    transposed: bool  # whether layers hold their matrix the other way round
    base: str | None  # the base that it names: untrusted
    has_sizes: bool = False  # DoRA: every row is brought to a length that was learned

    def rank_of(self, module: str) -> int:
        """The rank that a module's change should have."""
        rank = _pattern(self.ranks, module, self.rank)
        if type(rank) is not int or not 1 <= rank <= MAX_RANK:
            _refuse(f"gives {shown(module)} the rank {shown(str(rank))}, which is none")
        return rank

    def scale_of(self, module: str) -> float:
        """What a module's change is multiplied by."""
        alpha = _number(_pattern(self.alphas, module, self.alpha), "alpha_pattern")
        rank = self.rank_of(module)
        return alpha / (math.sqrt(rank) if self.of_root else rank)


def adapter_config(settings: Mapping[str, Any]) -> AdapterConfig:
    """The configuration, checked. ModelFileError, without the adapter's name, where its
    change cannot be merged or is of a kind that is not read.
    """
    kind = settings.get("peft_type")
    if kind != "LORA":
        _refuse(f"peft_type is {shown(str(kind))}; only LoRA adapters are read")
    for name in _UNREAD:
        if settings.get(name):
            _refuse(
                f"sets {name}, which is not read; merge the adapter into its base (peft:"
                " merge_and_unload) and give that model"
            )
    start = settings.get("init_lora_weights", True)
    if start not in _STARTS:
        _refuse(
            f"init_lora_weights is {shown(str(start))}, which changes the base's weights,"
            " too; merge the adapter into its base and give that model"
        )
    rank = settings.get("r")
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        _refuse(f"r is {shown(str(rank))}, a rank from 1 to {MAX_RANK} is wanted")
    named = settings.get("base_model_name_or_path")
    return AdapterConfig(
        rank=rank,
        alpha=_number(settings.get("lora_alpha"), "lora_alpha"),
        of_root=settings.get("use_rslora") is True,
        ranks=_patterns(settings, "rank_pattern"),
        alphas=_patterns(settings, "alpha_pattern"),
        transposed=settings.get("fan_in_fan_out") is True,
        base=fact(named) if isinstance(named, str) and named else None,
        has_sizes=settings.get("use_dora") is True,
    )


def _patterns(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Ends of names with their numbers. Keys that are more than names would be regular
    expressions of a stranger's, and are not run.
    """
    patterns = settings.get(key) or {}
    if not isinstance(patterns, dict):
        _refuse(f"{key} is no mapping")
    for name in patterns:
        if not _NAMES.fullmatch(name):
            _refuse(
                f"{key} holds the expression {shown(name)}; only names of modules are"
                " read"
            )
    return patterns


def _pattern(patterns: Mapping[str, Any], module: str, otherwise: Any) -> Any:
    """The number of the first name that a module's name ends with; `^` stands for its
    beginning.
    """
    for name, number in patterns.items():
        end = name.lstrip("^").rstrip("$")
        whole = module == end
        if whole or (not name.startswith("^") and module.endswith(f".{end}")):
            return number
    return otherwise


def _number(value: Any, key: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        _refuse(f"{key} is {shown(str(value))}, a number is wanted")
    return float(value)


def _refuse(what: str) -> NoReturn:
    raise ModelFileError(f"{SETTINGS_NAME}: {what}")
