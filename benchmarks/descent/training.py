"""One training: from whom, on what, how hard, and what is kept of it on the way."""

import math
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax, logsigmoid
from torch.nn.utils import parametrize

from benchmarks.descent.shapes import SHAPES, Family
from benchmarks.descent.tasks import texts
from benchmarks.zoo.trainer import Tensors

RANK = 4  # of LoRA's change
LORA_SCALE = 2.0
SHARPNESS = 2.0  # of a preference, in the logistic function


class Run(NamedTuple):
    """How a model comes to be.

    `start`: a member, or None for random weights. `role`: whose task (tasks.py), drawn
    with `data`, in the order `order`. `rate`: a multiple of the family's, or the rate
    itself where nothing is the start. `loss`: one of LOSSES, of which `distilled` has a
    `teacher`. `stops`: members that are kept on the way, by step.
    """

    start: str | None
    role: str
    data: int
    order: int
    steps: int
    rate: float
    loss: str = "supervised"
    teacher: str | None = None
    lora: bool = False
    stops: tuple[tuple[int, str], ...] = ()
    float32: bool = False  # whether it is kept in float32, too, as NAME-f32


Loss = Callable[[Any, torch.Tensor, Any, Iterator[torch.Tensor]], torch.Tensor]


def _supervised(
    model: Any, tokens: torch.Tensor, teacher: Any, others: Iterator[torch.Tensor]
) -> torch.Tensor:
    logits = model(input_ids=tokens).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0)


def _distilled(
    model: Any, tokens: torch.Tensor, teacher: Any, others: Iterator[torch.Tensor]
) -> torch.Tensor:
    with torch.no_grad():
        taught = log_softmax(teacher(input_ids=tokens).logits, -1).flatten(0, 1)
    own = log_softmax(model(input_ids=tokens).logits, -1).flatten(0, 1)
    return kl_div(own, taught, log_target=True, reduction="batchmean")


def _preferred(
    model: Any, tokens: torch.Tensor, teacher: Any, others: Iterator[torch.Tensor]
) -> torch.Tensor:
    """Text of the task above other text (Meng et al. 2024, arXiv 2405.14734)."""
    chances = [_mean_chance(model, each) for each in (tokens, next(others))]
    return -logsigmoid(SHARPNESS * (chances[0] - chances[1])).mean()


def _mean_chance(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    logits = log_softmax(model(input_ids=tokens).logits[:, :-1], -1)
    wanted = tokens[:, 1:]
    found = logits.gather(-1, wanted[..., None])[..., 0]
    there = (wanted != 0).float()
    return (found * there).sum(-1) / there.sum(-1).clamp(min=1)


LOSSES: dict[str, Loss] = {
    "supervised": _supervised,
    "distilled": _distilled,
    "preferred": _preferred,
}


def run(
    family: Family, how: Run, start: Tensors | None, teacher: Tensors | None
) -> Iterator[tuple[int, Tensors]]:
    """Train; yields the weights in float32 after every step of `how.stops` and after
    the last, by the step's number before it was shortened to the family's length.
    """
    torch.manual_seed(family.seed * 1000 + how.order)
    model = build(family, start)
    taught = None if teacher is None else build(family, teacher).eval()
    if how.lora:
        _add_lora(model)
    parameters = [each for each in model.parameters() if each.requires_grad]
    rate = how.rate if start is None else how.rate * family.rate
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    steps = _shortened(how.steps, family)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _factor(step, steps)
    )
    kept = {
        _shortened(step, family): step
        for step in (*(step for step, _ in how.stops), how.steps)
    }
    others = _batches(family, how._replace(role="general"), steps)
    model.train()
    for step, tokens in enumerate(_batches(family, how, steps), 1):
        LOSSES[how.loss](model, tokens, taught, others).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step in kept and not how.lora:
            yield kept[step], weights(model)
    if how.lora:
        _fold_lora(model)
        yield how.steps, weights(model)


def build(family: Family, start: Tensors | None = None) -> Any:
    """A model of the family in float32: with the given weights, or random ones drawn
    from torch's generator.
    """
    import transformers

    shape = SHAPES[family.shape]
    config = getattr(transformers, f"{shape.architecture}Config")(
        **shape.sizes, architectures=[f"{shape.architecture}ForCausalLM"]
    )
    model = getattr(transformers, f"{shape.architecture}ForCausalLM")(config)
    if start is not None:
        numbers = {name: tensor.float() for name, tensor in start.items()}
        model.load_state_dict(numbers, strict=False)
    return model


def weights(model: Any) -> Tensors:
    """A copy of the model's weights, without the tied head."""
    return {
        name: tensor.detach().clone()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }


def _shortened(steps: int, family: Family) -> int:
    return max(1, round(steps * family.length))


def _factor(step: int, steps: int) -> float:
    """The learning rate's course: a warm-up, then half a cosine down to a twentieth."""
    warm_up = max(1, steps // 20)
    fallen = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / warm_up) * (0.05 + 0.95 * fallen)


def _batches(family: Family, how: Run, steps: int) -> Iterator[torch.Tensor]:
    """Bytes of text, int64 [batch, width], zero where a piece ends early."""
    batch, width = SHAPES[family.shape].batch, SHAPES[family.shape].width
    pieces = texts(how.role, family.seed, how.data, steps * batch)
    random.Random(f"{family.seed} {how.order}").shuffle(pieces)
    for first in range(0, len(pieces), batch):
        rows = [
            piece.encode()[:width].ljust(width, b"\0")
            for piece in pieces[first : first + batch]
        ]
        yield torch.tensor([list(row) for row in rows])


class _Lora(torch.nn.Module):
    """W + B A of a low rank (Hu et al. 2021, arXiv 2106.09685)."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        drawn = torch.randn(RANK, columns) / math.sqrt(columns)
        self.down = torch.nn.Parameter(drawn)
        self.up = torch.nn.Parameter(torch.zeros(rows, RANK))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + LORA_SCALE * self.up @ self.down


def _add_lora(model: Any) -> None:
    model.requires_grad_(False)
    layers = [each for each in model.model.layers.modules()]
    for module in layers:
        if isinstance(module, torch.nn.Linear):
            parametrize.register_parametrization(
                module, "weight", _Lora(*module.weight.shape)
            )


def _fold_lora(model: Any) -> None:
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
