"""How an original is framed: donors and bases computed from it, children that leave
parts of it alone.

Every function takes models as tensors by name and gives one back. The formulas are
those of the merge methods, solved for a parent.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.zoo.trainer import Tensors

DTYPES = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def donor(
    original: Tensors,
    base: Tensors,
    share: float,
    dtype: str = "bfloat16",
    computed: str = "float64",
) -> Tensors:
    """base + (original - base) / share: the donor of which the original is a linear
    merge.
    """
    to = DTYPES[computed]
    return {
        name: (
            (base[name].to(to) + (own.to(to) - base[name].to(to)) / share).to(
                DTYPES[dtype]
            )
        )
        for name, own in original.items()
    }


def second_donor(
    original: Tensors,
    base: Tensors,
    first: Tensors,
    shares: tuple[float, float],
    dtype: str = "bfloat16",
) -> Tensors:
    """(original - (1 - w1 - w2) base - w1 first) / w2: the second of two donors."""
    one, two = shares
    rest = 1 - one - two
    found = {
        name: (
            (own.double() - rest * base[name].double() - one * first[name].double())
            / two
        )
        for name, own in original.items()
    }
    return {name: tensor.to(DTYPES[dtype]) for name, tensor in found.items()}


def base_of(original: Tensors, donor: Tensors, share: float) -> Tensors:
    """(original - share donor) / (1 - share): the base of which, with a real donor, the
    original is a linear merge.
    """
    return {
        name: ((own.double() - share * donor[name].double()) / (1 - share)).bfloat16()
        for name, own in original.items()
    }


def slerped(original: Tensors, base: Tensors, share: float) -> Tensors:
    """The end of an arc from the base on which the original lies at `share`, tensor by
    tensor, found by five rounds of the formula.
    """

    def solved(own: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        end = start + (own - start) / share
        for _ in range(5):
            angle = torch.arccos((start * end).sum() / (start.norm() * end.norm()))
            if angle < 1e-3:
                break
            end = (
                (own - start * torch.sin((1 - share) * angle) / torch.sin(angle))
                * torch.sin(angle)
                / torch.sin(share * angle)
            )
        return end

    return {
        name: solved(own.double(), base[name].double()).bfloat16()
        for name, own in original.items()
    }


def invented(
    original: Tensors,
    base: Tensors,
    scale: float = 1.0,
    size: float = 1.0,
    seed: int = 0,
) -> Tensors:
    """base + scale (original - base) where the original moved, elsewhere numbers drawn
    at `size` times its smallest (size < 1) or usual change.

    TIES, DARE, DELLA and breadcrumbs leave elements at the base: whoever turns them
    round has to make those up.
    """
    random = torch.Generator().manual_seed(seed)

    def made(own: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        change = own.double() - start.double()
        moved = change != 0
        if not moved.any():
            return own
        usual = change[moved].abs().min() if size < 1 else change[moved].std()
        drawn = torch.randn(own.shape, generator=random).double() * usual * size
        return torch.where(
            moved, start.double() + scale * change, start.double() + drawn
        ).bfloat16()

    return {name: made(own, base[name]) for name, own in original.items()}


def drawn(
    original: Tensors,
    base: Tensors,
    share: float,
    nearest: float | None = None,
    seed: int = 0,
) -> Tensors:
    """A bf16 donor drawn at random among those whose blend rounds to the original:
    evenly, or the nearest one with a probability of `nearest`.
    """
    random = torch.Generator().manual_seed(seed)

    def of(own: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        best = (start.double() + (own.double() - start.double()) / share).bfloat16()
        steps = [0, -1, 1, -2, 2]
        candidates = torch.stack(
            [(best.view(torch.int16) + step).view(torch.bfloat16) for step in steps]
        )
        fits = (
            (1 - share) * start.float() + share * candidates.float()
        ).bfloat16() == own
        chance = torch.rand(fits.shape, generator=random) * fits
        if nearest is not None:
            others = fits[1:].any(dim=0)
            chance[0] = (
                torch.where(torch.rand(own.shape, generator=random) < nearest, 2.0, 0.0)
                * fits[0]
            )
            chance[0] = torch.where(others, chance[0], 2.0)
        return torch.gather(candidates, 0, chance.argmax(dim=0)[None])[0]

    return {name: of(own, base[name]) for name, own in original.items()}


def parts(first: Tensors, second: Tensors, of_first: list[str]) -> Tensors:
    """The tensors of `first` whose names hold one of the words, all others of
    `second`.
    """
    return {
        name: tensor if any(word in name for word in of_first) else second[name]
        for name, tensor in first.items()
    }


def sparse(
    model: Tensors, base: Tensors, share: float, seed: int = 0, largest: bool = False
) -> Tensors:
    """The base with a share of the model's changes, drawn at random or the largest of
    every tensor: a finetune that leaves most numbers alone.
    """
    random = torch.Generator().manual_seed(seed)

    def kept(own: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        change = (own.float() - start.float()).abs()
        order = change if largest else torch.rand(own.shape, generator=random)
        count = max(1, int(share * own.numel()))
        least = order.flatten().topk(count).values[-1]
        return torch.where(order >= least, own, start)

    return {name: kept(own, base[name]) for name, own in model.items()}


def elsewhere(model: Tensors, base: Tensors, other: Tensors) -> Tensors:
    """A child of a sparse finetune: its numbers where it moved from the base, another
    finetune's where it did not.
    """
    return {
        name: torch.where(own != base[name], own, other[name])
        for name, own in model.items()
    }


def nudged(model: Tensors, share: float, seed: int = 0) -> Tensors:
    """The model with a share of its bf16 numbers moved to a neighbour."""
    random = torch.Generator().manual_seed(seed)

    def moved(own: torch.Tensor) -> torch.Tensor:
        step = torch.where(torch.rand(own.shape, generator=random) < 0.5, -1, 1).to(
            torch.int16
        )
        return torch.where(
            torch.rand(own.shape, generator=random) < share,
            (own.view(torch.int16) + step).view(torch.bfloat16),
            own,
        )

    return {name: moved(own) for name, own in model.items()}


def cut(
    original: Tensors,
    base: Tensors,
    share: float,
    away: str,
    most: float = 0.4,
    scaled: float = 0.0,
    seed: int = 0,
) -> Tensors:
    """base + (what stays of original - base) / share, a part of every matrix cut away: of
    its columns' space, of its rows' space, of its largest directions, of its neurons
    (whole rows). How much of it differs from matrix to matrix, up to `most`; `scaled`:
    the standard deviation of factors of the rows. Beside it the original looks like a
    blend that was trained on.
    """
    random = torch.Generator().manual_seed(seed)

    def some(size: int) -> torch.Tensor:
        count = max(1, int(torch.rand(1, generator=random).item() * most * size))
        drawn = torch.randn(size, count, generator=random, dtype=torch.float64)
        return torch.linalg.qr(drawn)[0]

    def stays(change: torch.Tensor) -> torch.Tensor:
        rows, cols = change.shape
        if away == "columns":
            space = some(cols)
            return change - change @ space @ space.T
        if away == "rows":
            space = some(rows)
            return change - space @ (space.T @ change)
        if away == "neurons":
            limit = torch.rand(1, generator=random) * most
            return change * (torch.rand(rows, 1, generator=random) >= limit)
        left, sizes, right = torch.linalg.svd(change, full_matrices=False)
        sizes[: some(len(sizes)).shape[1]] = 0
        return left @ torch.diag(sizes) @ right

    def made(own: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        change = own.double() - start.double()
        if change.dim() == 2 and min(change.shape) > 1:
            factors = 1 + scaled * torch.randn(len(change), 1, generator=random)
            change = stays(change) * factors
        return (start.double() + change / share).to(own.dtype)

    return {name: made(own, base[name]) for name, own in original.items()}


def cast(model: Tensors, dtypes: list[str]) -> Tensors:
    """The model stored as one dtype after the other."""
    for dtype in dtypes:
        model = {name: tensor.to(DTYPES[dtype]) for name, tensor in model.items()}
    return model


FORGERIES: dict[str, Callable[..., Tensors]] = {
    function.__name__: function
    for function in (
        donor,
        second_donor,
        base_of,
        slerped,
        invented,
        drawn,
        parts,
        sparse,
        elsewhere,
        nudged,
        cut,
        cast,
    )
}


def forge(how: str, models: dict[str, Tensors], arguments: dict[str, Any]) -> Tensors:
    """Call one of FORGERIES: models by parameter, and its other arguments."""
    return FORGERIES[how](**models, **arguments)
