"""What somebody does to a model so that its past is not seen, short of training it."""

from collections.abc import Callable

import torch

from benchmarks.zoo.trainer import Tensors


def noisy(model: Tensors, steps: int, seed: int = 0) -> Tensors:
    """Every bf16 number moved by up to `steps` of its lattice."""
    random = torch.Generator().manual_seed(seed)

    def moved(own: torch.Tensor) -> torch.Tensor:
        by = torch.randint(-steps, steps + 1, own.shape, generator=random)
        return (own.view(torch.int16) + by.to(torch.int16)).view(torch.bfloat16)

    return {name: moved(own.bfloat16()) for name, own in model.items()}


def requantised(model: Tensors) -> Tensors:
    """Every matrix through eight bits and back, one scale a row."""

    def rounded(own: torch.Tensor) -> torch.Tensor:
        if own.dim() < 2:
            return own
        scale = (own.float().abs().amax(-1, keepdim=True) / 127).clamp(min=1e-12)
        return ((own.float() / scale).round() * scale).bfloat16()

    return {name: rounded(own) for name, own in model.items()}


def pruned(model: Tensors, base: Tensors, share: float) -> Tensors:
    """The smaller changes of every tensor taken back, `share` of all."""

    def kept(own: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        change = (own.float() - start.float()).abs()
        least = change.flatten().kthvalue(max(1, int(share * own.numel()))).values
        return torch.where(change > least, own, start)

    return {name: kept(own, base[name]) for name, own in model.items()}


def low_rank(model: Tensors, base: Tensors, share: float) -> Tensors:
    """Of every matrix's change only the largest singular directions, `share` of all."""

    def kept(own: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        if own.dim() < 2:
            return own
        left, sizes, right = torch.linalg.svd(
            own.double() - start.double(), full_matrices=False
        )
        count = max(1, int(share * sizes.shape[-1]))
        change = (left[..., :count] * sizes[..., None, :count]) @ right[..., :count, :]
        return (start.double() + change).bfloat16()

    return {name: kept(own, base[name]) for name, own in model.items()}


def unblended(
    model: Tensors, base: Tensors, share: float, noise: float, seed: int = 0
) -> Tensors:
    """A donor made up for the model: of a linear merge with this share it would come,
    but for noise as large as the model's change, times `noise`.
    """
    random = torch.Generator().manual_seed(seed)

    def made(own: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        change = own.double() - start.double()
        drawn = torch.randn(own.shape, generator=random).double()
        size = noise * change.square().mean().sqrt()
        return (start.double() + change / share + size * drawn).bfloat16()

    return {name: made(own, base[name]) for name, own in model.items()}


EVASIONS: dict[str, Callable[..., Tensors]] = {
    function.__name__: function
    for function in (noisy, requantised, pruned, low_rank, unblended)
}
