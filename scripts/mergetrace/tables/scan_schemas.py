"""The table that a scan writes."""

from mergetrace.tables.schema import Column, Table

RANKED = Table(
    "scan/{suspect}/ranked.csv",
    "the models that a suspect was compared with, in the order of their likeness: base and"
    " donors first, at most 200",
    (
        Column("place", "text", "the repository, or the folder"),
        Column("revision", "text", "the commit", nullable=True),
        Column("on_hub", "yes or no", "whether it is a repository on the Hub"),
        Column(
            "part",
            "text",
            "what it is a candidate for: `base`, `donor`; `sibling`: another relative;"
            " `same`: its print is that of another one",
            nullable=True,
        ),
        Column("equal", "integer", "numbers that are the suspect's", "numbers"),
        Column("compared", "integer", "numbers compared", "numbers"),
        Column("chance", "number", "equal numbers that chance gives", "numbers"),
        Column("surprise", "number", "by how many standard deviations more are equal"),
        Column("signs", "integer", "numbers that have the suspect's sign", "numbers"),
        Column(
            "related",
            "yes or no",
            "whether more numbers, or signs, are equal than chance gives",
        ),
        Column(
            "cosine",
            "number",
            "between its change from the base and the suspect's; of a donor what those"
            " before it left",
            nullable=True,
        ),
        Column(
            "weight",
            "number",
            "of a donor: its share in the blend that explains most",
            nullable=True,
        ),
        Column(
            "own",
            "number",
            "of a donor: of its numbers that are not the base's, the share that the"
            " suspect has",
            nullable=True,
        ),
        Column(
            "of_base",
            "number",
            "share of its numbers that are the base's",
            nullable=True,
        ),
        Column(
            "of_donor",
            "number",
            "greatest share of its numbers that are one donor's",
            nullable=True,
        ),
        Column(
            "norms",
            "number",
            "how far its sorted norms lie from the suspect's, as a share of them: near 0"
            " with equal numbers near chance means a disguise or an equal training start",
            nullable=True,
        ),
        Column(
            "branches",
            "integer",
            "independent branches of relatives that start at it",
            nullable=True,
        ),
        Column("same_as", "text", "the model whose print it has", nullable=True),
        Column(
            "younger",
            "yes or no",
            "whether its repository was made after the suspect's weights",
        ),
        Column("created", "text", "when its repository was made", nullable=True),
        Column("licence", "text", "its licence, as its card says", nullable=True),
        Column("reasons", "text", "why it was looked at"),
    ),
)
