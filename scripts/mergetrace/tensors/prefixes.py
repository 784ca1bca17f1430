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

from mergetrace.tensors.naming import LAYER, canonical_name

MOST_DROPPED = 4  # parts of a prefix
# times as many tensors of the reference's shapes as any other stack has: else the
# choice is left open
CLEARER = 2
# Stacks that are no language model, whatever their shapes.
FOREIGN = re.compile(
    r"(?:^|[._])(?:vis(?:ion|ual)\w*|vit|vpm|image\w*|img|video\w*|audio\w*|apm|speech|tts|talker|whisper|clip|siglip|resampler|perceiver|q_?former"
    r"|projectors?|mm_\w+|code2wav|token2wav|encoder|mtp|draft\w*|eagle\w*|medusa\w*)(?=[._])",
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
    `model.layers.` in those where another prefix was found for them.

    names and shapes: by model. A model that has such layers by known names keeps them; a second stack of the same names and shapes that no other
    model has gets those names too: it is held twice. Returns the names, and by model the tensors whose prefix could be that of several stacks,
    with the reason: what belongs together is not guessed.
    """
    towers = {
        model: {} if _has_layers(own) else _towers(own) for model, own in names.items()
    }
    found = {
        model: own if towers[model] else _with_seconds(model, names, shapes[model])
        for model, own in names.items()
    }
    unclear: dict[str, dict[str, str]] = {}
    for model, held in towers.items():
        if len(held) == 1:
            found[model] = _without(names[model], next(iter(held)))
    reference = _reference(found, shapes)
    for model, held in towers.items():
        if len(held) < 2 or not reference:
            continue
        prefix = _most_alike(names[model], shapes[model], held, reference)
        if prefix is not None:
            found[model] = _without(names[model], prefix)
            continue
        listed = ", ".join(f"`{one}`" for one in sorted(held))
        reason = f"{SEVERAL} ({listed}) of which any could be the language model's"
        unclear[model] = {name: reason for members in held.values() for name in members}
    return found, unclear


def _has_layers(names: Names) -> bool:
    return any(LAYER.match(canonical) for canonical in names.values())


def _towers(names: Names) -> dict[str, list[str]]:
    """The own names of each stack of layers that could be a language model, by the
    prefix before the part that is known.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for name, canonical in names.items():
        prefix = _prefix_of(canonical)
        if prefix is not None and not FOREIGN.search(prefix):
            found[prefix].append(name)
    return found


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
    found = {}
    for name, canonical in names.items():
        found[name] = canonical
        for parent in reversed(parents):
            if not canonical.startswith(parent):
                continue
            rest = canonical_name(canonical.removeprefix(parent))
            if rest not in taken and (parent == prefix or rest in OUTER):
                found[name] = rest
                taken.add(rest)
                break
    return found


def _with_seconds(model: str, names: Mapping[str, Names], shapes: Shapes) -> Names:
    """A model's names, those of a second stack without its prefix."""
    own = names[model]
    elsewhere = {
        canonical
        for other, held in names.items()
        if other != model
        for canonical in held.values()
    }
    first = {canonical: shapes[name] for name, canonical in own.items()}
    found = dict(own)
    for prefix, members in _towers(
        {
            name: canonical
            for name, canonical in own.items()
            if not LAYER.match(canonical)
        }
    ).items():
        if not any(own[name] in elsewhere for name in members):
            held = {
                name: canonical_name(own[name].removeprefix(prefix))
                for name in own
                if own[name].startswith(prefix)
            }
            found |= {
                name: rest
                for name, rest in held.items()
                if first.get(rest) == shapes[name]
            }
    return found


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
