"""The circumstances under which a model is asked: with which of its templates, and
after which system message.
"""

from dataclasses import dataclass

CONDITIONS = ("shipped", "stripped", "neutral", "adversarial")


@dataclass(frozen=True)
class Condition:
    """`template` is `shipped` or `stripped`; `system` the system message, None for
    none.
    """

    name: str
    template: str
    system: str | None


def condition(name: str, neutral_system: str, adversarial_name: str) -> Condition:
    """The condition of this name. The adversarial one measures how far a model just
    follows what it is told.
    """
    system = {
        "neutral": neutral_system,
        "adversarial": f"You are {adversarial_name}.",
    }.get(name)
    return Condition(name, "stripped" if name == "stripped" else "shipped", system)
