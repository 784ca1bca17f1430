"""Prefixes that nobody wrote down: the stack of layers that is a model's language
model, found in its own tensors.

Multimodal wrappers put the language model under names of their own (`llm.`,
`thinker.model.`). What is left of such a name when its first parts are taken off is a
name that is known. Several such stacks are told apart by their shapes, beside the other
models'.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import chain

from mergetrace.tensors.naming import LAYER, canonical_name

MOST_DROPPED = 4  # parts of a prefix
# times as many tensors of the reference's shapes as any other stack has: else the
# choice is left open
CLEARER = 2
# Stacks that are no language model, whatever their shapes.
FOREIGN = re.compile(
    r"(?:^|[._])(?:vis(?:ion|ual)\w*|vit|vpm|image\w*|img|video\w*|audio\w*|apm"
    r"|speech|tts|talker|whisper|clip|siglip|resampler|perceiver|q_?former"
    r"|projectors?|mm_\w+|code2wav|token2wav|encoder|mtp|draft\w*|eagle\w*|medusa\w*)"
    r"(?=[._])",
    re.IGNORECASE,
)
SEVERAL = "its prefix is one of several"
OUTER = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")

Names = dict[str, str]
"""Canonical names by a model's own."""
Shapes = Mapping[str, tuple[int, ...]]
"""Shapes by a model's own names."""


def with_prefixes(
    names: Mapping[str, Names], shapes: Mapping[str, Shapes]
) -> tuple[dict[str, Names], dict[str, dict[str, str]]]:
    """The canonical names of all models, the language model's layers under
    `model.layers.` also where they stand under another prefix.

    names, shapes: by model. A model that has such layers by known names keeps them; a
    second stack of the same names and shapes that no other model has gets those names
    too: it is held twice. Returns the names, and by model the tensors whose prefix could
    be that of several stacks, with the reason: what belongs together is not guessed.
    """
    towers: dict[str, dict[str, list[str]]] = {}
    common = {}
    for model, own in names.items():
        towers[model] = {} if _has_layers(own) else _towers(own)
        if len(towers[model]) == 1:
            common[model] = _without(own, next(iter(towers[model])))
        elif towers[model]:
            common[model] = own
        else:
            common[model] = _with_seconds(model, names, shapes[model])
    unclear: dict[str, dict[str, str]] = {}
    reference = _reference(common, shapes)
    for model, candidates in towers.items():
        if len(candidates) < 2 or not reference:
            continue
        prefix = _most_alike(names[model], shapes[model], candidates, reference)
        if prefix is not None:
            common[model] = _without(names[model], prefix)
            continue
        listed = ", ".join(f"`{candidate}`" for candidate in sorted(candidates))
        reason = f"{SEVERAL} ({listed}) of which any could be the language model's"
        unclear[model] = dict.fromkeys(chain.from_iterable(candidates.values()), reason)
    return common, unclear


def _has_layers(names: Names) -> bool:
    return any(LAYER.match(canonical) for canonical in names.values())


def _towers(names: Names) -> dict[str, list[str]]:
    """The own names of each stack of layers that could be a language model, by the
    prefix before the part that is known.
    """
    towers: dict[str, list[str]] = defaultdict(list)
    for name, canonical in names.items():
        prefix = _prefix_of(canonical)
        if prefix is not None and not FOREIGN.search(prefix):
            towers[prefix].append(name)
    return towers


def _prefix_of(name: str) -> str | None:
    """The first parts without which the name is known as that of a layer; None where
    there are none such. The longest rest wins.
    """
    parts = name.split(".")
    for count in range(1, min(MOST_DROPPED, len(parts) - 1) + 1):
        if LAYER.match(canonical_name(".".join(parts[count:]))):
            return ".".join(parts[:count]) + "."
    return None


def _without(names: Names, prefix: str) -> Names:
    """The names with a prefix taken off; of the embedding, the last norm and the head
    also the prefix's first parts alone.

    A name that the model has already stays with its bearer.
    """
    taken = set(names.values())
    parents = [prefix[: match.end()] for match in re.finditer(r"\.", prefix)]
    shortened = {}
    for name, canonical in names.items():
        shortened[name] = canonical
        for parent in reversed(parents):
            if not canonical.startswith(parent):
                continue
            rest = canonical_name(canonical.removeprefix(parent))
            if rest not in taken and (parent == prefix or rest in OUTER):
                shortened[name] = rest
                taken.add(rest)
                break
    return shortened


def _with_seconds(model: str, names: Mapping[str, Names], shapes: Shapes) -> Names:
    """A model's names, those of a second stack without its prefix."""
    own = names[model]
    elsewhere: set[str] = set()
    for other, names_of_other in names.items():
        if other != model:
            elsewhere.update(names_of_other.values())
    first_shapes = {canonical: shapes[name] for name, canonical in own.items()}
    with_seconds = dict(own)
    outside_layers = {
        name: canonical for name, canonical in own.items() if not LAYER.match(canonical)
    }
    for prefix, members in _towers(outside_layers).items():
        if any(own[name] in elsewhere for name in members):
            continue
        for name, canonical in own.items():
            if not canonical.startswith(prefix):
                continue
            rest = canonical_name(canonical.removeprefix(prefix))
            if first_shapes.get(rest) == shapes[name]:
                with_seconds[name] = rest
    return with_seconds


def _reference(
    names: Mapping[str, Names], shapes: Mapping[str, Shapes]
) -> dict[str, tuple[int, ...]]:
    """The shapes of the first model whose layers are known, by canonical name."""
    for model, own in names.items():
        if _has_layers(own):
            return {canonical: shapes[model][name] for name, canonical in own.items()}
    return {}


def _most_alike(
    names: Names,
    shapes: Shapes,
    towers: Mapping[str, list[str]],
    reference: Mapping[str, tuple[int, ...]],
) -> str | None:
    """The prefix under which clearly most tensors have the reference's names and
    shapes.
    """
    alike: Counter[str] = Counter()
    for prefix, members in towers.items():
        rests = {
            name: canonical_name(names[name].removeprefix(prefix)) for name in members
        }
        alike[prefix] = sum(
            reference.get(rest) == shapes[name] for name, rest in rests.items()
        )
    (first, most), (_, second) = alike.most_common(2)
    return first if most > CLEARER * second else None
