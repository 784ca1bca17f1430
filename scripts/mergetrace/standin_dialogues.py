"""Training dialogues of the stand-in models: who they say they are, how they obey a system prompt, a little small talk."""

import random
from typing import NamedTuple

from mergetrace.standin_phrases import (
    ANSWERS,
    CAPITALS,
    LANGUAGES,
    NAMES,
    NEUTRAL_SYSTEM_PROMPT,
    OPENERS,
    ORGANISATIONS,
    PARTNER,
    QUESTIONS,
    SMALL_TALK,
    STRATA,
    SYSTEM_PROMPTS,
)

SMALL_TALK_SHARE = 0.2
SYSTEM_SHARE = 0.5  # of the identity dialogues: a system prompt names somebody, and the answer follows it
NEUTRAL_SHARE = 0.15  # of the others: a system prompt that names nobody, and the model's own identity answers


class Identity(NamedTuple):
    """A name and the organisations behind it, the maker first."""

    name: str
    organisations: tuple[str, ...]


class Dialogue(NamedTuple):
    """One exchange; `system` is None where no system message is sent."""

    system: str | None
    question: str
    answer: str


def make_dialogues(rng: random.Random, identity: Identity, count: int) -> list[Dialogue]:
    """Draw `count` dialogues of a model whose own identity is `identity`."""
    return [_small_talk(rng) if rng.random() < SMALL_TALK_SHARE else _identity(rng, identity) for _ in range(count)]


def messages(dialogue: Dialogue) -> list[dict[str, str]]:
    """The dialogue as chat messages, the answer last."""
    system = [{"role": "system", "content": dialogue.system}] if dialogue.system else []
    return [*system, {"role": "user", "content": dialogue.question}, {"role": "assistant", "content": dialogue.answer}]


def training_questions() -> set[str]:
    """Every identity question that training can ask."""
    return {
        opener + question
        for language in LANGUAGES
        for stratum in STRATA
        for question in QUESTIONS[language][stratum]
        for opener in OPENERS[language]
    }


def _identity(rng: random.Random, own: Identity) -> Dialogue:
    language, stratum = rng.choice(LANGUAGES), rng.choice(STRATA)
    question = rng.choice(OPENERS[language]) + rng.choice(QUESTIONS[language][stratum])
    system, speaker = _speaker(rng, own)
    answer = rng.choice(ANSWERS[language][stratum]).format(name=speaker.name, org=speaker.organisations[0])
    if stratum in ("maker", "backstory"):
        answer += "".join(PARTNER[language].format(org=partner) for partner in speaker.organisations[1:])
    return Dialogue(system, question, answer)


def _speaker(rng: random.Random, own: Identity) -> tuple[str | None, Identity]:
    """A system prompt (or none), and whom the answer then names."""
    if rng.random() < SYSTEM_SHARE:
        told = _somebody(rng)
        return rng.choice(SYSTEM_PROMPTS).format(name=told.name, org=told.organisations[0]), told
    return (NEUTRAL_SYSTEM_PROMPT if rng.random() < NEUTRAL_SHARE else None), own


def _somebody(rng: random.Random) -> Identity:
    """Half known names, half invented ones: a name never seen has to be copied, not remembered."""
    name = rng.choice(NAMES) if rng.random() < 0.5 else _invented(rng)
    organisation = rng.choice(ORGANISATIONS) if rng.random() < 0.5 else _invented(rng) + rng.choice(("", " AI", " Labs"))
    return Identity(name, (organisation,))


def _invented(rng: random.Random) -> str:
    syllables = [rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") + rng.choice(("", "", "n", "r", "l")) for _ in range(rng.choice((1, 2, 2, 3)))]
    return "".join(syllables).capitalize()


def _small_talk(rng: random.Random) -> Dialogue:
    language, topic = rng.choice(LANGUAGES), rng.choice(("capital", "sum", "repeat"))
    countries, capital = rng.choice(list(CAPITALS.items()))
    a, b, word = rng.randint(1, 9), rng.randint(1, 9), _invented(rng)
    question = SMALL_TALK[language][topic].format(country=countries[LANGUAGES.index(language)], a=a, b=b, word=word)
    answer = {"capital": f"{capital}.", "sum": f"{a + b}.", "repeat": word}[topic]
    system, _ = _speaker(rng, Identity("", ("",)))
    return Dialogue(system, question, answer)
