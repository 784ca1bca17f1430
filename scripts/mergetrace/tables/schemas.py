"""Every table that is written: where, with which columns, and what they mean.

results/README.md lists them from here (`make tables-docs`). A column is added here
and where it is computed; the stages check what they write against this.
"""

from mergetrace.tables.probe_schemas import (
    COMPARISONS,
    CONDUCT,
    MENTIONS,
    REASONING,
    SCORES,
    STRATA,
    WATERMARKS,
)
from mergetrace.tables.schema import Column, Table

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
    Column("factor", "number", "what the whole slice was multiplied by"),
    Column("through", "text", "the dtype it was rounded to before; empty: to none"),
    Column(
        "stored_dtype", "text", "the dtype whose rounding is judged; empty: `dtype`"
    ),
)
"""How a slice is read that lies otherwise than its name says."""

PLAN = Table(
    "{audit}/plan.parquet",
    "what is compared: one row per slice and model (by_name.parquet: paired by name alone)",
    (
        SLICE_ID,
        TENSOR,
        SLICE,
        LAYER,
        COMPONENT,
        ELEMENTS,
        MODEL,
        Column("source", "text", "the tensor's name in the model's own file"),
        Column("shard", "text", "the file"),
        Column("dtype", "text", "the stored dtype, as safetensors names it"),
        Column("start", "integer", "where the slice begins in the file", "bytes"),
        Column("rows", "integer", "rows of the slice", "rows"),
        Column("cols", "integer", "elements of a row", "elements"),
        Column("dimensions", "integer", "dimensions of the tensor"),
        Column("scale_shard", "text", "of FP8: the file of its scales", nullable=True),
        Column("scale_dtype", "text", "of FP8: their dtype", nullable=True),
        Column("scale_start", "integer", "of FP8: where they begin", "bytes"),
        Column("scale_rows", "integer", "of FP8: rows of scales", "rows"),
        Column("scale_cols", "integer", "of FP8: columns of scales"),
        Column("block_rows", "integer", "of FP8: rows that share a scale", "rows"),
        Column("block_cols", "integer", "of FP8: columns that share a scale"),
        Column(
            "scale_skip",
            "integer",
            "of FP8: rows before the slice's first scale",
            "rows",
        ),
        Column("borrowed", "yes or no", "whether it is another tensor's (a tied head)"),
        BLOCKS,
        WEIGHT,
        Column("batch", "text", "the batch of layers that reads it"),
        *DISGUISED,
    ),
    optional=frozenset(column.name for column in DISGUISED),
)
DELTAS = Table(
    "{audit}/deltas/{batch}.parquet",
    "the sums of every block: one row per block and frame",
    (SLICE_ID, MODEL, BASE, Column("block", "integer", "the block's number"), *SUMS),
)
FITS = Table(
    "{audit}/fits/{batch}.parquet",
    "one row per slice and frame",
    (
        MODEL,
        BASE,
        SLICE_ID,
        TENSOR,
        SLICE,
        LAYER,
        COMPONENT,
        ELEMENTS,
        Column("cols", "integer", "elements of a row", "elements"),
        WEIGHT,
        Column("source", "text", "the tensor's name in the audited model's own file"),
        Column("start", "integer", "where the slice begins in the file", "bytes"),
        VOTES,
        *SUMS,
        *BY_DONOR,
        ALPHA,
        ALPHA_SE,
        COS_FIT,
        STATUS,
        *REPLAY,
    ),
)
RECIPE_SLICES = Table(
    "{audit}/recipe_slices.parquet",
    "how much the best recipe gives back: one row per slice and frame",
    (
        MODEL,
        BASE,
        SLICE_ID,
        Column("recipe_informative", "integer", "informative elements", "elements"),
        Column(
            "recipe_exact", "integer", "of these, given back bit for bit", "elements"
        ),
    ),
)
TENSORS = Table(
    "{audit}/tensors.csv",
    "the suspect, slice by slice (controls.csv: the controls, with `model`)",
    (
        MODEL,
        TENSOR,
        SLICE,
        LAYER,
        COMPONENT,
        ELEMENTS,
        ALPHA,
        ALPHA_SE,
        COS_FIT,
        *REPLAY,
        BIT_EXACT,
        STATUS,
        VOTES,
        NONFINITE,
        *BY_DONOR,
    ),
    optional=frozenset({"model"}),
)
POOLED = Table(
    "{audit}/layers.csv, components.csv",
    "pooled by layer and by component",
    (
        MODEL,
        LAYER,
        COMPONENT,
        VOTES,
        Column("slices", "integer", "slices that were pooled", "slices"),
        ELEMENTS,
        ALPHA,
        ALPHA_SE,
        COS_FIT,
        *POOLED_REPLAY,
        BIT_EXACT,
        *INTERVAL,
        *BY_DONOR,
    ),
    optional=frozenset({"layer", "component"}),
)
PRECISION = Table(
    "{audit}/precision.csv",
    "of a sample audit: what all elements would give, by layer and component",
    (
        MODEL,
        LAYER,
        COMPONENT,
        ALPHA,
        ALPHA_SE,
        *INTERVAL,
        Column("blocks", "integer", "blocks that were read", "blocks"),
        *BY_DONOR,
    ),
)
CURVES = Table(
    "{audit}/curves.csv",
    "how much of the evidence every blend weight explains",
    (
        MODEL,
        Column("donor", "text", "the donor that is blended in"),
        Column("alpha", "number", "the blend weight"),
        Column("coverage", "number", "the share of informative elements it explains"),
        Column("shuffled", "number", "the same of a shuffled donor"),
    ),
)
UNPAIRED = Table(
    "{audit}/unpaired.csv",
    "what is not compared (by_name_unpaired.csv: by name alone)",
    (
        Column("model", "text", "the model that holds it"),
        Column("tensor", "text", "the tensor's common name"),
        Column("reason", "text", "why it is not compared"),
        Column("source", "text", "its name in the model's own file", nullable=True),
    ),
)
MODEL_TENSORS = Table(
    "models/{model}/tensors.parquet",
    "what a model's files hold: one row per tensor",
    (
        Column("name", "text", "the tensor's name in the file"),
        Column("shard", "text", "the file"),
        Column("dtype", "text", "the stored dtype, as safetensors names it"),
        Column("shape", "list of integers", "its dimensions"),
        Column("start", "integer", "where it begins in the file", "bytes"),
        Column("end", "integer", "where it ends", "bytes"),
    ),
)

TABLES = (
    TENSORS,
    POOLED,
    PRECISION,
    CURVES,
    UNPAIRED,
    PLAN,
    DELTAS,
    FITS,
    RECIPE_SLICES,
    MODEL_TENSORS,
    SCORES,
    COMPARISONS,
    CONDUCT,
    STRATA,
    REASONING,
    WATERMARKS,
    MENTIONS,
)
"""All of them, as results/README.md lists them."""
