"""The levels of packed formats: codes of a few bits stand for a short list of numbers,
which a scale multiplies and a shift is added to.

A number is stored as the level that lies nearest, so that every code confines the
number that it was made of to a cell: from halfway to the next lower level to halfway to
the next higher one, and without an end beyond the last. Formats of GGUF:
https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h; MXFP4 and
NVFP4 hold E2M1 numbers (OCP Microscaling formats v1.0, section 5.3.3), here doubled, as
GGUF's scales are halved. INT4, INT8 and I8_SIGNED are compressed-tensors' integers with and
without an offset, INT4_ZEROS those with zero points, I8_127 bitsandbytes', of which 127
stands for the greatest number; FP4_E2M1 are the codes of MXFP4 and NVFP4 in safetensors,
UINT4 and UINT8 those of MLX.
"""

from collections.abc import Mapping

E2M1_DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
NON_LINEAR_4 = (
    *(-127, -104, -83, -65, -49, -35, -22, -10),
    *(1, 13, 25, 38, 53, 69, 89, 113),
)
E2M1 = tuple(level / 2 for level in E2M1_DOUBLED)
# of bitsandbytes, as float32 holds them: quantiles of the normal distribution, and a
# float of two exponent bits and one fraction bit over its largest number
NORMAL_4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634),
    *(0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
    *(0.7229568362236023, 1.0),
)
FLOAT_4 = (
    *(0.0, 0.0052083334885537624, 0.6666666865348816, 1.0),
    *(0.3333333432674408, 0.5, 0.1666666716337204, 0.25),
    *(0.0, -0.0052083334885537624, -0.6666666865348816, -1.0),
    *(-0.3333333432674408, -0.5, -0.1666666716337204, -0.25),
)
STACKED = "MXFP4_EXPERTS"
"""MXFP4 of experts that are stored together."""
SIGNED_BYTES = (*range(128), *range(-128, 0))

E4M3 = tuple(
    sorted(
        {
            sign * (fraction + 8 * (exponent > 0)) * 2.0 ** (max(exponent, 1) - 10)
            for sign in (-1, 1)
            for exponent in range(16)
            for fraction in range(8)
            if (exponent, fraction) != (15, 7)
        }
    )
)
"""The numbers of F8_E4M3."""

GRID_NAME = "GRID_"
"""How the names of grids begin."""
SHIFTED = "GRID_SHIFTED"
"""The grid of evenly spaced levels from each group's least number on."""
GRIDS: Mapping[str, tuple[str, ...]] = {
    "GRID_INT8": ("GRID_E2M1", "GRID_INT4", "GRID_INT5", "GRID_INT6"),
    "GRID_NF4": (),
    "GRID_FP4": (),
    "GRID_FP8": (),
}
"""Grids on which numbers of 16 bits may lie that were quantised and written back, the
first looked for first; by kind the narrower ones, of which one that holds all is meant.
"""

LEVELS: Mapping[str, tuple[float, ...]] = {
    "GRID_E2M1": E2M1_DOUBLED,
    "GRID_INT4": tuple(range(-8, 8)),
    "GRID_INT5": tuple(range(-16, 16)),
    "GRID_INT6": tuple(range(-32, 32)),
    "GRID_INT8": tuple(range(-128, 128)),
    SHIFTED: tuple(range(32)),
    "GRID_NF4": NORMAL_4,
    "GRID_FP4": tuple(sorted(set(FLOAT_4))),
    "GRID_FP8": E4M3,
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
    "INT4_ZEROS": tuple(range(-8, 8)),
    "INT8": tuple(range(-128, 128)),
    "I8_SIGNED": SIGNED_BYTES,
    "I8_127": tuple(level / 127 for level in SIGNED_BYTES),
    "FP4_E2M1": E2M1,
    "NF4": NORMAL_4,
    "NF4_NESTED": NORMAL_4,
    "FP4": FLOAT_4,
    "FP4_NESTED": FLOAT_4,
    "UINT4": tuple(range(16)),
    "UINT8": tuple(range(256)),
    "GPTQ4": tuple(range(16)),
    "GPTQ8": tuple(range(256)),
    "AWQ4": tuple(range(16)),
    STACKED: E2M1,
    "INT4_SMOOTHED": tuple(range(-8, 8)),
    "INT4_ZEROS_SMOOTHED": tuple(range(-8, 8)),
    "INT8_SMOOTHED": tuple(range(-128, 128)),
    "I8_SIGNED_SMOOTHED": SIGNED_BYTES,
}
"""The levels of every packed format, by code."""
MULTIPLIED_FIRST: Mapping[str, str] = {
    name: f"{name}_SMOOTHED" for name in ("INT4", "INT4_ZEROS", "INT8", "I8_SIGNED")
}
"""By the name of compressed-tensors' integers what they are called where a tool multiplied
rows or columns and rounded them before it packed them (SmoothQuant, AWQ).
"""
MOVED_BEFORE = ("GPTQ4", "GPTQ8", "AWQ4", *MULTIPLIED_FIRST.values())
"""Formats whose numbers were changed by a calibration before they were rounded: GPTQ moves
the error of each column into the next, AWQ multiplies columns.
"""
FEW_DECIDE = ("GPTQ4", "GPTQ8")
"""Those of which a few columns of a matrix decide at most: the others' cells are open."""

HALF_STEP_OF_F16 = 2.0**-11
HALF_STEP_OF_BF16 = 2.0**-8
STEP_OF_NESTED = 2.0**-6
FLOAT32_DIVISION = 2.0**-20

SLACK: Mapping[str, float] = {
    **dict.fromkeys(LEVELS, FLOAT32_DIVISION),
    # These divide by the scale before it is rounded to be stored.
    **dict.fromkeys(
        ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "IQ4_NL", "IQ4_XS"),
        HALF_STEP_OF_F16,
    ),
    # What they were divided by is stored in eight bits.
    **dict.fromkeys(("NF4_NESTED", "FP4_NESTED"), STEP_OF_NESTED),
    # Scale and shift are rounded to 16 bits after the division (but see FROM_AN_END).
    **dict.fromkeys(("UINT4", "UINT8"), HALF_STEP_OF_BF16),
    # Tensors in bf16 are divided in bf16, and the zero is added to that in bf16.
    **dict.fromkeys((*MULTIPLIED_FIRST, *MULTIPLIED_FIRST.values()), HALF_STEP_OF_BF16),
    # Of these the tool is not known.
    **dict.fromkeys(
        (name for name in LEVELS if name.startswith(GRID_NAME)), HALF_STEP_OF_BF16
    ),
    # Their shifts are whole numbers of scales that are added to codes.
    **dict.fromkeys(("GPTQ4", "GPTQ8", "AWQ4"), 0.0),
}
"""How far a cell's ends may lie from where the stored scale and shift put them, as a
share of the scaled level, and of the shift unless that is added to codes.
"""
SLACK_OF_NUMBERS: Mapping[str, float] = {
    **dict.fromkeys(LEVELS, 0.0),
    # Divided in bf16 before the zero is added.
    "INT4_ZEROS": HALF_STEP_OF_BF16,
    # Numbers in bf16 are rounded once more when they are multiplied.
    "AWQ4": 2 * HALF_STEP_OF_BF16,
    # So is it in f16, after division in float32.
    **dict.fromkeys(("GPTQ4", "GPTQ8"), HALF_STEP_OF_F16),
    # So are these in bf16, and by what they are divided here is known to some tenths of a
    # thousandth: with SLACK's .0081 in all, measured.
    **dict.fromkeys(MULTIPLIED_FIRST.values(), 1.5 * HALF_STEP_OF_BF16),
    "INT4_ZEROS_SMOOTHED": 2.5 * HALF_STEP_OF_BF16,
}
"""The same as a share of the number itself: of level and shift together."""
ADDED_TO_CODES = ("GPTQ4", "GPTQ8", "AWQ4", "INT4_ZEROS", "INT4_ZEROS_SMOOTHED")
"""Formats whose shift is a whole number of scales, added to codes."""
FROM_AN_END = ("UINT4", "UINT8")
"""Formats whose shift may be an end of a group of numbers, as it is, and a whole number of
scales before these are rounded to be stored.
"""
