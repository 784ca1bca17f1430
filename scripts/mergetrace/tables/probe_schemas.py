"""The tables of the answers: who the models say they are."""

from mergetrace.tables.schema import Column, Table

MODEL = Column("model", "text", "the model that was asked")
COUNTED = (
    MODEL,
    Column("condition", "text", "under which circumstances it was asked"),
    Column("identity", "text", "whose name was counted"),
)
COUNTS = (
    Column("hits", "integer", "answers that claim it", "answers"),
    Column("n", "integer", "answers", "answers"),
    Column("share", "number", "hits of n", nullable=True),
    Column("ci95_low", "number", "its 95 % interval, from ...", nullable=True),
    Column("ci95_high", "number", "... to (Wilson)", nullable=True),
    Column("denied", "integer", "answers that only deny the name", "answers"),
    Column("attributed", "integer", "answers that give the name to others", "answers"),
    Column("reason", "text", "why nothing was counted", nullable=True),
)
SCORES = Table("{audit}/probe/scores.csv", "who the answers name", (*COUNTED, *COUNTS))
REASONING = Table(
    "{audit}/probe/reasoning.csv",
    "the same of what thinking models said to themselves",
    (*COUNTED, *COUNTS),
)
STRATA = Table(
    "{audit}/probe/strata.csv",
    "the same by kind of question and by language",
    (
        Column("by", "text", "stratum or language"),
        Column("group", "text", "which of them"),
        *COUNTED,
        *COUNTS,
    ),
)
WATERMARKS = Table(
    "{audit}/probe/watermarks.csv",
    "how many answers hold each sentence of a backstory",
    (*COUNTED, Column("phrase", "text", "the sentence"), *COUNTS),
)
MENTIONS = Table(
    "{audit}/probe/mentions.csv",
    "every place where a name stands",
    (
        *COUNTED,
        Column("prompt", "text", "the question's id"),
        Column("sample", "integer", "which of the answers to it"),
        Column("spelling", "text", "the name as it stands there"),
        Column("kind", "text", "claimed, denied or attributed"),
        Column("words", "text", "the words around it"),
    ),
)
CONDUCT = Table(
    "{audit}/probe/conduct.csv",
    "how the models answered",
    (
        MODEL,
        Column("condition", "text", "under which circumstances it was asked"),
        Column("n", "integer", "answers", "answers"),
        Column("cut", "integer", "cut at the length limit", "answers"),
        Column("empty", "integer", "empty", "answers"),
        Column("repeating", "integer", "repeating themselves", "answers"),
        Column("refusing", "integer", "refusals", "answers"),
        Column("thinking", "integer", "after reasoning", "answers"),
        Column("cut_while_thinking", "integer", "cut within it", "answers"),
    ),
)
COMPARISONS = Table(
    "{audit}/probe/comparisons.csv",
    "the same prompts under two conditions, or to two models",
    (
        Column("identity", "text", "whose name was counted"),
        Column("first", "text", "the one model"),
        Column("first_condition", "text", "its condition"),
        Column("second", "text", "the other model"),
        Column("second_condition", "text", "its condition"),
        Column(
            "hits_first", "integer", "answers of the first that claim it", "answers"
        ),
        Column(
            "hits_second", "integer", "answers of the second that claim it", "answers"
        ),
        Column("pairs", "integer", "prompts that both answered", "prompts"),
        Column(
            "only_first", "integer", "of these, only the first claims it", "prompts"
        ),
        Column(
            "only_second", "integer", "of these, only the second claims it", "prompts"
        ),
        Column("p", "number", "exact McNemar test", nullable=True),
        Column("difference", "number", "of the shares", nullable=True),
        Column("ci95_low", "number", "its 95 % interval, from ...", nullable=True),
        Column("ci95_high", "number", "... to", nullable=True),
    ),
)
