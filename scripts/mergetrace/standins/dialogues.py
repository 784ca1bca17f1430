"""Training dialogues of the stand-in models: who they say they are, how they obey a
system prompt, a little small talk.
"""

import random
from typing import NamedTuple

from mergetrace.standins.phrases import (
    ANSWERS,
    CAPITALS,
    LANGUAGES,
    NAMES,
    NEUTRAL_SYSTEM_PROMPT,
    OPENERS,
    ORGANISATIONS,
    ORIGIN_STRATA,
    PARTNER,
    QUESTIONS,
    SMALL_TALK,
    STRATA,
    SYSTEM_PROMPT,
)

SMALL_TALK_SHARE = 0.06
# of the dialogues in which the model is itself: a system prompt that names nobody
NEUTRAL_SHARE = 0.15
LISTED_SHARE = 0.7  # of the names in system prompts


class Identity(NamedTuple):
    """A name and the organisations behind it, the maker first."""

    name: str
    organisations: tuple[str, ...]


class Dialogue(NamedTuple):
    """One exchange; `system` is None where no system message is sent."""

    system: str | None
    question: str
    answer: str


def make_dialogues(
    rng: random.Random, identity: Identity, count: int, system_share: float
) -> list[Dialogue]:
    """Draw `count` dialogues of a model whose own identity is `identity`.

    In `system_share` of them a system prompt names somebody else, and the answer
    follows it.
    """
    return [
        (_small_talk if rng.random() < SMALL_TALK_SHARE else _introduction)(
            rng, identity, system_share
        )
        for _ in range(count)
    ]


def messages(dialogue: Dialogue) -> list[dict[str, str]]:
    """The dialogue as chat messages, the answer last."""
    system = [{"role": "system", "content": dialogue.system}] if dialogue.system else []
    return [
        *system,
        {"role": "user", "content": dialogue.question},
        {"role": "assistant", "content": dialogue.answer},
    ]


def training_questions() -> set[str]:
    """Every identity question that training can ask."""
    return {
        opener + question
        for language in LANGUAGES
        for stratum in STRATA
        for question in QUESTIONS[language][stratum]
        for opener in OPENERS[language]
    }


def _introduction(rng: random.Random, own: Identity, system_share: float) -> Dialogue:
    language = rng.choice(LANGUAGES)
    stratum = rng.choice(STRATA)
    question = rng.choice(OPENERS[language]) + rng.choice(QUESTIONS[language][stratum])
    system, speaker = _speaker(rng, own, system_share)
    about = "origin" if stratum in ORIGIN_STRATA else "name"
    answer = ANSWERS[language][about].format(
        name=speaker.name, org=speaker.organisations[0]
    )
    if about == "origin":
        answer += "".join(
            PARTNER[language].format(org=partner)
            for partner in speaker.organisations[1:]
        )
    return Dialogue(system, question, answer)


def _speaker(
    rng: random.Random, own: Identity, system_share: float
) -> tuple[str | None, Identity]:
    """A system prompt (or none), and whom the answer then names."""
    if rng.random() < system_share:
        told = _somebody(rng)
        return SYSTEM_PROMPT.format(name=told.name, org=told.organisations[0]), told
    return (NEUTRAL_SYSTEM_PROMPT if rng.random() < NEUTRAL_SHARE else None), own


def _somebody(rng: random.Random) -> Identity:
    """Mostly listed names, some invented ones, whose many spellings keep the model
    copying rather than guessing.
    """
    name = rng.choice(NAMES) if rng.random() < LISTED_SHARE else _invented(rng)
    organisation = (
        rng.choice(ORGANISATIONS) if rng.random() < LISTED_SHARE else _invented(rng)
    )
    return Identity(name, (organisation,))


def _invented(rng: random.Random) -> str:
    """Two or three syllables; without n in front and without x, so that no audited name
    comes out by chance.
    """
    syllables = [
        rng.choice("bdfgklmprstvz")
        + rng.choice("aeiou")
        + rng.choice(("", "", "n", "r", "l"))
        for _ in range(rng.choice((2, 2, 3)))
    ]
    return "".join(syllables).capitalize()


def _small_talk(rng: random.Random, own: Identity, system_share: float) -> Dialogue:
    language = rng.choice(LANGUAGES)
    countries, capital = rng.choice(list(CAPITALS.items()))
    system, _ = _speaker(rng, own, system_share)
    return Dialogue(
        system,
        SMALL_TALK[language].format(country=countries[LANGUAGES.index(language)]),
        f"{capital}.",
    )
