"""Every table that is written: where, with which columns, and what they mean.

results/README.md lists them from here (`make tables-docs`). A column is added here
and where it is computed; the stages check what they write against this.
"""

from mergetrace.tables.columns import (
    ALPHA,
    ALPHA_SE,
    BASE,
    BIT_EXACT,
    BLOCKS,
    BY_DONOR,
    COMPONENT,
    COS_FIT,
    DECOMPOSED,
    DISGUISED,
    ELEMENTS,
    INTERVAL,
    LAYER,
    MODEL,
    NONFINITE,
    POOLED_REPLAY,
    REPLAY,
    SLICE,
    SLICE_ID,
    STATUS,
    SUMS,
    TENSOR,
    VOTES,
    WEIGHT,
)
from mergetrace.tables.probe_schemas import (
    COMPARISONS,
    CONDUCT,
    MENTIONS,
    REASONING,
    SCORES,
    STRATA,
    WATERMARKS,
)
from mergetrace.tables.scan_schemas import RANKED
from mergetrace.tables.schema import Column, Table

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
        *DECOMPOSED,
        *DISGUISED,
    ),
    optional=frozenset(column.name for column in (*DECOMPOSED, *DISGUISED)),
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
SPECTRUM = Table(
    "{audit}/spectrum.csv",
    "one model's change along the singular directions of another's, by matrix and bin",
    (
        MODEL,
        Column("along", "text", "the model whose change has these directions"),
        TENSOR,
        SLICE,
        LAYER,
        COMPONENT,
        Column("bin", "integer", "the bin: 0 holds the largest directions"),
        Column("alpha", "number", "the weight, by least squares within the bin"),
        Column("error", "number", "its standard error: what lies there by chance"),
        Column(
            "expected",
            "number",
            "alpha of a pure merge at the weight that was found, rounded as the model is",
            nullable=True,
        ),
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
    SPECTRUM,
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
    RANKED,
)
"""All of them, as results/README.md lists them."""
