"""The columns that several tables have, and what they mean."""

from mergetrace.tables.schema import Column

MODEL = Column("model", "text", "the model that is audited")
BASE = Column("base", "text", "the base candidate that it is measured against")
SLICE_ID = Column("slice_id", "integer", "the slice, as the plan numbers it")
TENSOR = Column("tensor", "text", "the tensor's common name")
SLICE = Column(
    "slice", "text", "which part of the tensor; empty: all of it", nullable=True
)
LAYER = Column("layer", "text", "the layer's number, or `outer`")
COMPONENT = Column(
    "component", "text", "attention, mlp, experts, norms, embeddings ..."
)
ELEMENTS = Column("elements", "integer", "elements that it has", "elements")
VOTES = Column("votes", "yes or no", "whether it counts in pooled numbers")
WEIGHT = Column("weight", "number", "elements of the slice per element that was read")
STATUS = Column("status", "text", "`ok`, or why there is no alpha")
BLOCKS = Column("blocks", "integer", "blocks that are read; 0: none", "blocks")

ALPHA = Column(
    "alpha", "number", "the least-squares share of the donors together", nullable=True
)
ALPHA_SE = Column(
    "alpha_se", "number", "its standard error (jackknife over blocks)", nullable=True
)
COS_FIT = Column(
    "cos_fit", "number", "the multiple correlation of the fit", nullable=True
)
REPLAY = (
    Column(
        "alpha_replay",
        "number",
        "the blend weight that explains most informative elements",
        nullable=True,
    ),
    Column("alpha_replay_low", "number", "the lower end of that weight", nullable=True),
    Column(
        "alpha_replay_high", "number", "the upper end of that weight", nullable=True
    ),
    Column("coverage", "number", "the share of them that it explains", nullable=True),
    Column(
        "alpha_expected",
        "number",
        "alpha of a pure merge at that weight",
        nullable=True,
    ),
    Column(
        "cos_expected",
        "number",
        "cos_fit of a pure merge at that weight",
        nullable=True,
    ),
)
POOLED_REPLAY = tuple(column for column in REPLAY if "replay_" not in column.name)
BIT_EXACT = Column(
    "bit_exact_rate",
    "number",
    "the share of informative elements that the best recipe gives back",
    nullable=True,
)
INTERVAL = (
    Column(
        "alpha_low",
        "number",
        "of a sample: where alpha of all elements lies, from ...",
        nullable=True,
    ),
    Column("alpha_high", "number", "... to, in 95 of 100 samples", nullable=True),
)
NONFINITE = Column(
    "nonfinite", "integer", "elements that are not finite in some model", "elements"
)

SUMS = (
    Column("n", "integer", "elements that are finite in every model", "elements"),
    NONFINITE,
    Column("uu", "number", "<u, u> with u = audited - base"),
    Column("ub", "number", "<u, base>"),
    Column("bb", "number", "<base, base>"),
    Column(
        "rounding", "number", "the energy that rounding to the stored dtype adds to u"
    ),
    Column("equal_base", "integer", "elements that are the base's", "elements"),
    Column(
        "rounded_base",
        "integer",
        "n where all are the base's once rounded to the stored dtype",
        "elements",
    ),
    Column("uv", "number", "<u, v> with v = donor - base", per="donor"),
    Column("bv", "number", "<base, v>", per="donor"),
    Column("vv", "number", "<v, v'> of two donors", per="pair"),
    Column(
        "equal_donor",
        "integer",
        "elements that are the donor's",
        "elements",
        per="donor",
    ),
    Column(
        "rounded_donor",
        "integer",
        "n where all are the donor's once rounded to the stored dtype",
        "elements",
        per="donor",
    ),
    Column(
        "parents_agree",
        "integer",
        "elements on which donor and base agree",
        "elements",
        per="donor",
    ),
    Column(
        "moved_alone",
        "integer",
        "of these, elements on which the audited model is elsewhere",
        "elements",
        per="donor",
    ),
    Column(
        "stayed_alone",
        "integer",
        "elements that are the base's where the donor has left it",
        "elements",
        per="donor",
    ),
    Column(
        "same_sign",
        "integer",
        "elements that audited model and donor moved to the same side",
        "elements",
        per="donor",
    ),
    Column(
        "both_moved", "integer", "elements that both moved", "elements", per="donor"
    ),
)

BY_DONOR = (
    Column("alpha", "number", "the donor's share", nullable=True, per="donor"),
    Column("alpha_se", "number", "its standard error", nullable=True, per="donor"),
    Column(
        "replay", "number", "the weight that explains most", nullable=True, per="donor"
    ),
    Column("replay_low", "number", "its lower end", nullable=True, per="donor"),
    Column("replay_high", "number", "its upper end", nullable=True, per="donor"),
    Column("coverage", "number", "what it explains", nullable=True, per="donor"),
    Column(
        "coverage_base",
        "number",
        "what the base alone explains",
        nullable=True,
        per="donor",
    ),
    Column(
        "coverage_donor",
        "number",
        "what the donor alone explains",
        nullable=True,
        per="donor",
    ),
    Column(
        "coverage_shuffled",
        "number",
        "what the best weight of a shuffled donor explains",
        nullable=True,
        per="donor",
    ),
    Column("informative", "integer", "informative elements", "elements", per="donor"),
    Column(
        "only",
        "integer",
        "informative elements that the first donor explains and the second does not",
        "elements",
        per="ordered pair",
    ),
)

DECOMPOSED = (
    Column(
        "spectrum_first", "integer", "the first of the rows that are decomposed", "rows"
    ),
    Column("spectrum_rows", "integer", "how many are; 0: none", "rows"),
)

DISGUISED = (
    Column(
        "row_map", "list of integers", "the parent's row of each row", nullable=True
    ),
    Column("col_map", "list of integers", "the parent's column of each", nullable=True),
    Column(
        "row_scale", "list of numbers", "what each row was multiplied by", nullable=True
    ),
    Column(
        "col_scale",
        "list of numbers",
        "what each column was multiplied by",
        nullable=True,
    ),
    Column(
        "row_decides",
        "list of numbers",
        "1 for each row whose packed numbers lie in their cells, else 0",
        nullable=True,
    ),
    Column(
        "col_decides",
        "list of numbers",
        "the same of each column",
        nullable=True,
    ),
    Column(
        "pushed",
        "list of numbers",
        "the least and the most that is added to each of their cells",
        nullable=True,
    ),
    Column("beside", "text", "what else packed numbers depend on; empty: nothing"),
    Column("factor", "number", "what the whole slice was multiplied by"),
    Column("shift", "number", "what is added to the slice's numbers"),
    Column("through", "text", "the dtype it was rounded to before; empty: to none"),
    Column(
        "stored_dtype", "text", "the dtype whose rounding is judged; empty: `dtype`"
    ),
)
"""How a slice is read that lies otherwise than its name says."""
