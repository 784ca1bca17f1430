"""The levels of packed formats: codes of a few bits stand for a short list of numbers,
which a scale multiplies and a shift is added to.

A number is stored as the level that lies nearest, so that every code confines the
number that it was made of to a cell: from halfway to the next lower level to halfway to
the next higher one, and without an end beyond the last. Formats of GGUF:
https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h; MXFP4 and
NVFP4 hold E2M1 numbers (OCP Microscaling formats v1.0, section 5.3.3), here doubled, as
GGUF's scales are halved. INT4, INT8 and I8 are compressed-tensors' integers with and
without an offset, I8_127 bitsandbytes', of which 127 stands for the greatest number.
"""

from collections.abc import Mapping

E2M1_DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
NON_LINEAR_4 = (
    *(-127, -104, -83, -65, -49, -35, -22, -10),
    *(1, 13, 25, 38, 53, 69, 89, 113),
)
SIGNED_BYTES = (*range(128), *range(-128, 0))

LEVELS: Mapping[str, tuple[float, ...]] = {
    "Q8_0": SIGNED_BYTES,
    "Q4_0": tuple(range(-8, 8)),
    "Q4_1": tuple(range(16)),
    "Q5_0": tuple(range(-16, 16)),
    "Q5_1": tuple(range(32)),
    "Q2_K": tuple(range(4)),
    "Q3_K": tuple(range(-4, 4)),
    "Q4_K": tuple(range(16)),
    "Q5_K": tuple(range(32)),
    "Q6_K": tuple(range(-32, 32)),
    "IQ4_NL": NON_LINEAR_4,
    "IQ4_XS": NON_LINEAR_4,
    "MXFP4": E2M1_DOUBLED,
    "NVFP4": E2M1_DOUBLED,
    "INT4": tuple(range(-8, 8)),
    "INT8": tuple(range(-128, 128)),
    "I8": SIGNED_BYTES,
    "I8_127": tuple(level / 127 for level in SIGNED_BYTES),
}
"""The levels of every packed format, by code."""

HALF_STEP_OF_F16 = 2.0**-11
STEP_OF_BF16 = 2.0**-8
FLOAT32_DIVISION = 2.0**-20

SLACK: Mapping[str, float] = {
    **dict.fromkeys(LEVELS, FLOAT32_DIVISION),
    # These divide by the scale before it is rounded to be stored.
    **dict.fromkeys(
        ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "IQ4_NL", "IQ4_XS"),
        HALF_STEP_OF_F16,
    ),
    # Tensors in bf16 are divided in bf16.
    **dict.fromkeys(("INT4", "INT8", "I8"), STEP_OF_BF16),
}
"""How far a cell's ends may lie from where the stored scale and shift put them, as a
share of the scaled level and of the shift.
"""
