"""Ways to hide a model that do not change what it computes, or hardly: the tensors of a
Qwen3 in another order or size.

Take these on what `realmerge.qwen` makes; each returns a new model and leaves the given
one alone, so that they can be combined. Of a mixture of experts, `experts_permuted`,
`scaled`, `noisy`, `quantised` and `in_half` know the tensors. Only `hidden_rotated`
breaks the model.
"""

import re

import torch

from mergetrace.testing.planting import Tensors

LAYER = re.compile(r"^model\.layers\.(\d+)\.")


def neurons_permuted(tensors: Tensors, seed: int = 0) -> Tensors:
    """The MLP's neurons of every layer in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    found = dict(tensors)
    for name in [name for name in tensors if name.endswith("mlp.gate_proj.weight")]:
        order = torch.randperm(len(tensors[name]), generator=generator)
        up = name.replace("gate_proj", "up_proj")
        down = name.replace("gate_proj", "down_proj")
        found |= {
            name: tensors[name][order],
            up: tensors[up][order],
            down: tensors[down][:, order],
        }
    return _own(found)


def heads_permuted(tensors: Tensors, seed: int = 0) -> Tensors:
    """Whole groups of query heads with their key and value head, and the heads within
    each group.
    """
    generator = torch.Generator().manual_seed(seed)
    found = dict(tensors)
    for name in [name for name in tensors if name.endswith("self_attn.q_proj.weight")]:
        size = len(tensors[name.replace("q_proj.weight", "q_norm.weight")])
        count = len(tensors[name]) // size
        shared = len(tensors[name]) // len(tensors[name.replace("q_proj", "k_proj")])
        groups = torch.randperm(count // shared, generator=generator).flip(0)
        heads = torch.cat(
            [
                group * shared + torch.randperm(shared, generator=generator)
                for group in groups
            ]
        )
        queries = _rows(heads, size)
        keys = _rows(groups, size)
        found[name] = tensors[name][queries]
        for other in ("k_proj", "v_proj"):
            at = name.replace("q_proj", other)
            found[at] = tensors[at][keys]
        output = name.replace("q_proj", "o_proj")
        found[output] = tensors[output][:, queries]
    return _own(found)


def hidden_permuted(tensors: Tensors, seed: int = 0) -> Tensors:
    """The hidden dimensions of the whole model in another order."""
    order = torch.randperm(
        _hidden(tensors), generator=torch.Generator().manual_seed(seed)
    )

    def permuted(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 1:
            return tensor[order] if len(tensor) == len(order) else tensor
        return (
            tensor[order] if re.search(r"o_proj|down_proj", name) else tensor[:, order]
        )

    return _own({name: permuted(name, tensor) for name, tensor in tensors.items()})


def signs_turned(tensors: Tensors, seed: int = 0) -> Tensors:
    """Half of the hidden dimensions and half of the MLP's neurons multiplied by -1: of
    what an activation leaves linear, up_proj and down_proj.
    """
    generator = torch.Generator().manual_seed(seed)

    def signs(size: int) -> torch.Tensor:
        return torch.randint(2, (size,), generator=generator) * 2 - 1

    hidden = signs(_hidden(tensors))
    found = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            found[name] = (
                hidden[:, None] * tensor
                if re.search(r"o_proj|down_proj", name)
                else tensor * hidden
            )
    for name in [name for name in tensors if name.endswith("mlp.up_proj.weight")]:
        down = name.replace("up_proj", "down_proj")
        neurons = signs(len(tensors[name]))
        found |= {name: neurons[:, None] * found[name], down: found[down] * neurons}
    return _own(
        {name: tensor.to(tensors[name].dtype) for name, tensor in found.items()}
    )


def hidden_rotated(tensors: Tensors, seed: int = 0) -> Tensors:
    """The hidden dimensions rotated, rounded to the same dtype; norms are left as they
    are, which is enough for a test of what shows.
    """
    square = torch.randn(
        _hidden(tensors),
        _hidden(tensors),
        generator=torch.Generator().manual_seed(seed),
    )
    rotation = torch.linalg.qr(square)[0]

    def rotated(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 1:
            return tensor
        return (
            rotation.T @ tensor.float()
            if re.search(r"o_proj|down_proj", name)
            else tensor.float() @ rotation
        ).to(tensor.dtype)

    return _own({name: rotated(name, tensor) for name, tensor in tensors.items()})


def scaled(tensors: Tensors, factor: float, pattern: str = ".") -> Tensors:
    """Every tensor whose name matches multiplied by a number, rounded as it is
    stored.
    """
    return {
        name: (
            (tensor.float() * factor).to(tensor.dtype)
            if re.search(pattern, name)
            else tensor
        )
        for name, tensor in tensors.items()
    }


def with_layers(tensors: Tensors, order: list[int]) -> Tensors:
    """The model whose i-th layer is layer order[i]."""
    found = {name: tensor for name, tensor in tensors.items() if not LAYER.match(name)}
    for place, layer in enumerate(order):
        old = f"model.layers.{layer}."
        found |= {
            f"model.layers.{place}." + name.removeprefix(old): tensor.clone()
            for name, tensor in tensors.items()
            if name.startswith(old)
        }
    return found


def experts_permuted(tensors: Tensors, seed: int = 0) -> Tensors:
    """The experts of every layer renumbered, with their router rows: fused tensors or
    one tensor per expert.
    """
    generator = torch.Generator().manual_seed(seed)
    found = dict(tensors)
    for router in [name for name in tensors if name.endswith("mlp.gate.weight")]:
        prefix = router.removesuffix("gate.weight") + "experts."
        order = torch.randperm(len(tensors[router]), generator=generator)
        found[router] = tensors[router][order]
        for name in [name for name in tensors if name.startswith(prefix)]:
            number, _, rest = name.removeprefix(prefix).partition(".")
            if number.isdigit():
                found[name] = tensors[f"{prefix}{order[int(number)]}.{rest}"].clone()
            else:
                found[name] = tensors[name][order]
    return _own(found)


def cut_into_experts(tensors: Tensors, count: int = 4, seed: int = 0) -> Tensors:
    """The neurons of every MLP dealt out to experts."""
    generator = torch.Generator().manual_seed(seed)
    found = {name: tensor for name, tensor in tensors.items() if ".mlp." not in name}
    for name in [name for name in tensors if name.endswith("mlp.gate_proj.weight")]:
        for number, neurons in enumerate(
            torch.randperm(len(tensors[name]), generator=generator).chunk(count)
        ):
            for part in ("gate_proj", "up_proj", "down_proj"):
                whole = tensors[name.replace("gate_proj", part)]
                at = name.replace("mlp.gate_proj", f"mlp.experts.{number}.{part}")
                found[at] = whole[:, neurons] if part == "down_proj" else whole[neurons]
    return _own(found)


def noisy(
    tensors: Tensors,
    size: float,
    seed: int = 0,
    kind: str = "normal",
    pattern: str = ".",
) -> Tensors:
    """Stored as float32, with noise of about this size on every tensor whose name
    matches: normal, uniform, signs (as one step of Adam leaves), tails (half of it
    small, some very large) or relative to the numbers.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(tensor: torch.Tensor) -> torch.Tensor:
        normal = torch.randn(tensor.shape, generator=generator)
        if kind == "uniform":
            return torch.rand(tensor.shape, generator=generator) * 2 - 1
        if kind == "tails":
            return normal / torch.randn(tensor.shape, generator=generator).abs().clamp(
                min=1e-3
            )
        return {
            "normal": normal,
            "signs": normal.sign(),
            "relative": normal * tensor.float() / 0.02,
        }[kind]

    return {
        name: tensor.float() + (noise(tensor) * size if re.search(pattern, name) else 0)
        for name, tensor in tensors.items()
    }


def quantised(tensors: Tensors) -> Tensors:
    """Matrices of the layers in FP8 with one float32 scale each, the others as they
    are.
    """
    found = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and LAYER.match(name):
            scale = tensor.float().abs().max() / 448
            found[name] = (tensor.float() / scale).to(torch.float8_e4m3fn)
            found[name.removesuffix(".weight") + ".weight_scale_inv"] = scale.reshape(
                1, 1
            )
    return found


def in_half(tensors: Tensors) -> Tensors:
    """Stored as F16."""
    return {name: tensor.half() for name, tensor in tensors.items()}


def vocabulary_permuted(tensors: Tensors, seed: int = 0) -> Tensors:
    """The tokens in another order; their names, in the tokenizer, would be in that
    order too.
    """
    order = torch.randperm(
        len(tensors["model.embed_tokens.weight"]),
        generator=torch.Generator().manual_seed(seed),
    )
    return _own(
        {
            name: tensor[order] if re.search("embed_tokens|lm_head", name) else tensor
            for name, tensor in tensors.items()
        }
    )


def vocabulary_pruned(tensors: Tensors, every: int = 10, seed: int = 0) -> Tensors:
    """Every tenth token removed, the others in another order."""
    rows = torch.tensor(
        [row for row in range(len(tensors["model.embed_tokens.weight"])) if row % every]
    )
    rows = rows[
        torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    ]
    return _own(
        {
            name: tensor[rows] if re.search("embed_tokens|lm_head", name) else tensor
            for name, tensor in tensors.items()
        }
    )


def vocabulary_grown(
    tensors: Tensors, first: int = 40, count: int = 20, seed: int = 77
) -> Tensors:
    """Tokens added in the midst of the vocabulary, drawn like the others."""
    generator = torch.Generator().manual_seed(seed)
    found = dict(tensors)
    for name in [name for name in tensors if re.search("embed_tokens|lm_head", name)]:
        own = tensors[name]
        more = torch.randn(count, own.shape[1], generator=generator) * own.float().std()
        found[name] = torch.cat([own[:first], more.to(own.dtype), own[first:]])
    return found


def channels_scaled(tensors: Tensors, seed: int = 0) -> Tensors:
    """Rows of up_proj and v_proj multiplied by bf16 numbers between 1/2 and 2, the
    columns that read them divided by these.
    """
    generator = torch.Generator().manual_seed(seed)
    found = dict(tensors)
    for rows, columns in (
        ("mlp.up_proj", "mlp.down_proj"),
        ("self_attn.v_proj", "self_attn.o_proj"),
    ):
        for name in [name for name in tensors if name.endswith(rows + ".weight")]:
            reader = name.replace(rows, columns)
            numbers = (
                torch.exp2(2 * torch.rand(len(tensors[name]), generator=generator) - 1)
                .bfloat16()
                .float()
            )
            size = (
                len(tensors[name.replace(rows, "self_attn.q_norm")])
                if "v_proj" in name
                else len(numbers)
            )
            shared = tensors[reader].shape[1] // len(numbers)
            spread = numbers.reshape(-1, 1, size).expand(-1, shared, -1).reshape(-1)
            found[name] = (tensors[name].float() * numbers[:, None]).to(
                tensors[name].dtype
            )
            found[reader] = (tensors[reader].float() / spread).to(tensors[reader].dtype)
    return _own(found)


def norms_folded(tensors: Tensors, less: float = 0.0) -> Tensors:
    """The weights of the layers' norms multiplied into the columns of the matrices that
    read them, and set to 1. less: what they are stored less.
    """
    found = dict(tensors)
    for norm, readers in (
        ("input_layernorm", r"self_attn\.[qkv]_proj"),
        ("post_attention_layernorm", r"mlp\.(gate|up)_proj"),
    ):
        for name in [name for name in tensors if name.endswith(norm + ".weight")]:
            prefix = re.escape(name.removesuffix(norm + ".weight"))
            for reader in [
                other for other in tensors if re.match(prefix + readers, other)
            ]:
                found[reader] = (
                    tensors[reader].float() * (tensors[name].float() + less)
                ).to(tensors[reader].dtype)
            found[name] = torch.full_like(tensors[name], 1 - less)
    return found


def _hidden(tensors: Tensors) -> int:
    return tensors["model.embed_tokens.weight"].shape[1]


def _rows(heads: torch.Tensor, size: int) -> torch.Tensor:
    """The rows of whole heads."""
    return (heads[:, None] * size + torch.arange(size)).reshape(-1)


def _own(tensors: Tensors) -> Tensors:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}
