"""Experts that were renumbered, or copied from the MLP of a dense model."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from mergetrace.disguises.alignment import Match, cosine, match_rows
from mergetrace.disguises.glimpses import Array, Key
from mergetrace.disguises.placing import MARGIN, SAME, WRITES_HIDDEN, Placing
from mergetrace.tensors.naming import component_of

PRINT_ROWS = 24
MOST_SPLIT = 2  # experts whose neurons are looked for in a larger one
TINY = 1e-30  # a length
SPLIT = re.compile(r"\.mlp\.experts\.(gate_proj|up_proj)$")


def find_copied_experts(placing: Placing) -> list[str]:
    """Give experts the MLP of a dense parent as their counterpart, where they lie
    there. Returns what was found, in words.
    """
    copied = _copies(placing)
    if not copied:
        return []
    share = np.mean([placing.cosine(key) for key in copied])
    experts = len({(key[0].rpartition(".experts.")[0], key[1]) for key in copied})
    return [
        f"{experts} experts lie where a dense parent's MLP does (cosine {share:.2f}): a"
        " model of experts made from dense ones."
    ]


def find_renumbered_experts(placing: Placing) -> list[str]:
    """Give every expert its counterpart. Returns what was found, in words."""
    layers: dict[str, list[Key]] = defaultdict(list)
    for key in placing.keys:
        if key[1] and ".experts." in key[0]:
            layers[key[0].split(".experts.")[0]].append(key)
    renumbered = [
        found
        for prefix, keys in layers.items()
        if (found := _renumber(placing, prefix, keys)) is not None
    ]
    if not renumbered:
        return []
    agreement, wrong = np.median(renumbered, axis=0)
    return [
        f"The experts of {len(renumbered)} layers were renumbered; put back by the rows"
        " of their routers or their own elements (likeness of the experts, on elements"
        f" the assignment did not see, {agreement:.2f}, of neighbours {wrong:.2f})."
    ]


def split_experts(placing: Placing) -> list[str]:
    """Experts that hold some of the neurons of one larger expert, or of a dense
    parent's MLP, each: seen, and not undone. In words.
    """
    gates = [key for key in placing.keys if SPLIT.search(key[0])]
    for key in gates[:: max(1, len(gates) // MOST_SPLIT)]:
        own = placing.own.views[key]
        names = (key[0], SPLIT.sub(r".mlp.\1.weight", key[0]))
        larger = {
            other: view
            for other, view in placing.parent.views.items()
            if other[0] in names and view.cols == own.cols and view.rows > own.rows
        }
        if not larger:
            return []
        neurons = _unit(placing.own.rows(key, PRINT_ROWS))
        closest = [
            np.abs(neurons @ _unit(placing.parent.rows(other, view.rows)).T).max(1)
            for other, view in larger.items()
        ]
        likeness = float(np.median(np.max(closest, axis=0)))
        if likeness >= SAME:
            sizes = (
                f"experts of {own.rows} neurons, which are among the"
                f" {next(iter(larger.values())).rows} of one of {placing.parent.name}'s"
            )
            return [
                f"{placing.own.name} holds {sizes} (cosine {likeness:.2f}): experts cut"
                " into finer ones, which is not undone."
            ]
    return []


def _unit(rows: Array) -> Array:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), TINY)


def _copies(placing: Placing) -> list[Key]:
    """Experts, shared ones too, where the parent has one dense MLP."""
    copied = []
    for key in placing.keys:
        goal = placing.goal(key)
        if (
            component_of(key[0]) not in ("routed_experts", "shared_expert")
            or goal in placing.parent.views
        ):
            continue
        plain = (
            goal[0]
            .replace(".experts.", ".")
            .replace(".shared_expert.", ".")
            .replace(".shared_experts.", ".")
        )
        dense = next(
            (
                name
                for name in (plain, plain + ".weight")
                if (name, "") in placing.parent.views
            ),
            None,
        )
        if dense is not None:
            placing.counterpart[key] = (dense, "")
            if key[1]:
                copied.append(key)
    if (
        copied
        and np.median([placing.cosine(key) for key in copied]) < SAME
        and _prints(placing, copied) < SAME
    ):
        for key in copied:
            del placing.counterpart[key]
        return []
    return copied


def _prints(placing: Placing, keys: Sequence[Key]) -> float:
    """The median likeness whatever the order of neurons."""
    downs = [
        key
        for key in keys
        if WRITES_HIDDEN.search(key[0]) and placing.target(key) is not None
    ]
    return (
        float(
            np.median(
                [
                    placing.print_likeness(key, placing.goal(key), PRINT_ROWS)
                    for key in downs
                ]
            )
        )
        if downs
        else 0.0
    )


def _renumber(
    placing: Placing, prefix: str, keys: Sequence[Key]
) -> tuple[float, float] | None:
    """Renumber one layer's experts if they do not lie where they should; by the
    router's rows where those tell, else by their own elements.
    """
    experts = sorted({key[1] for key in keys}, key=int)
    names = sorted({key[0] for key in keys})
    goals = [placing.goal((name, experts[0]))[0] for name in names]
    whole = all(
        (goal, number) in placing.parent.views for goal in goals for number in experts
    )
    if not whole or min(placing.cosine(key) for key in keys) >= SAME:
        return None
    for assign in (_by_router, _by_elements):
        match = assign(placing, prefix, names, goals, experts)
        if (
            match is None
            or len(match.order) != len(experts)
            or (match.order == np.arange(len(experts))).all()
        ):
            continue
        proposed = {
            (name, experts[own]): (goal, experts[place])
            for place, own in enumerate(match.order)
            for name, goal in zip(names, goals, strict=True)
        }
        agreement, wrong = _judge(
            placing, proposed, experts, unseen=assign is _by_elements
        )
        if agreement >= SAME and agreement - wrong >= MARGIN:
            placing.counterpart |= proposed
            return agreement, wrong
    return None


def _by_router(
    placing: Placing,
    prefix: str,
    names: list[str],
    goals: list[str],
    experts: list[str],
) -> Match | None:
    router = next(
        (
            key
            for key in placing.own.views
            if key[0].startswith(prefix + ".") and component_of(key[0]) == "router"
        ),
        None,
    )
    target = None if router is None else placing.same_shape(router)
    return (
        None
        if router is None or target is None
        else match_rows(placing.parent.columns(target), placing.own.columns(router))
    )


def _by_elements(
    placing: Placing,
    prefix: str,
    names: list[str],
    goals: list[str],
    experts: list[str],
) -> Match | None:
    def stack(runs, tensors: list[str]):
        return np.stack(
            [
                np.concatenate([runs((name, number)) for name in tensors])
                for number in experts
            ]
        )

    return match_rows(stack(placing.parent.runs, goals), stack(placing.own.runs, names))


def _judge(
    placing: Placing, proposed: dict[Key, Key], experts: list[str], unseen: bool
) -> tuple[float, float]:
    """The median likeness of experts with their counterparts and with their
    counterparts' neighbours: by element, else by fingerprint.

    unseen: leave out the elements that `_by_elements` assigned by.
    """
    following = dict(zip(experts, [*experts[1:], experts[0]], strict=True))

    def alike(
        measure: Callable[[Key, Key], float], some: Sequence[Key]
    ) -> tuple[float, float]:
        right = [measure(key, proposed[key]) for key in some]
        wrong = [
            measure(key, (proposed[key][0], following[proposed[key][1]]))
            for key in some
        ]
        return float(np.median(right)), float(np.median(wrong))

    def by_element(key: Key, goal: Key) -> float:
        mine, its = placing.runs(key, goal)
        return abs(cosine(mine[1::2], its[1::2]) if unseen else cosine(mine, its))

    found = alike(by_element, list(proposed))
    downs = [key for key in proposed if WRITES_HIDDEN.search(key[0])]
    return (
        found
        if found[0] >= SAME or not downs
        else alike(
            lambda key, goal: placing.print_likeness(key, goal, PRINT_ROWS), downs
        )
    )
