"""Every number of the rooms between weights and finding is either a threshold of the
configuration or one of the kinds below, none of which draws a line between verdicts.

Whoever adds a number says here what it is. One that is none of these belongs to
mergetrace/thresholds.py.
"""

import ast
from collections import Counter
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "scripts/mergetrace"
ROOMS = ("search", "fit", "finding", "descent", "disguises", "sums", "merging")
MODULES = sorted(path for room in ROOMS for path in (LIBRARY / room).rglob("*.py"))

PROPOSERS = "search/proposals"
"""All numbers here are effort: proposers only say which recipes are tried. How much a
recipe gives back is counted elsewhere, for all of them alike.
"""

EFFORT = """
descent/directions BINS
descent/evenness HALVINGS
descent/lattice TRIED
descent/whitening RIDGE
search/blend_lines GROWTH
search/blends MAX_ELEMENTS_OF_PIECE ROUNDING_ALONE LEAST_BLENDED
search/blends SHOWS_ERRORS SHOWS_WEIGHT
search/clues FAMILY_FOUND_RATE HOPEFUL_RATE MAX_SUBSET
search/completing MAX_COMPLETED
search/dropped TIMES_FITTED
search/joining MAX_SAMPLED_ELEMENTS
search/gradients MAX_ANCHORS SHORT_DIGITS LONG_GRADIENT MOST_LAYERS WRITTEN_DIGITS MIDDLE
search/dependence MIN_LIKE PLAIN_DISSENT PLAIN_PLACES
search/patterns MAX_KINDS MAX_NUMBERS
search/programmes MAX_BOUNDS LARGEST_WEIGHT
search/finalists SOLVING_RATE MAX_FINALISTS MAX_FINALISTS_OF_INNOCENT
search/recipe_search PILOT_SLICES PILOT_ELEMENTS
search/remainder MIN_RATE_TO_LOOK
search/requantised_base SLICES_LOOKED_AT
search/reversal SEED
search/round_trips MOST_TO_LOOK LESS_LEFT ABOUT_AS_LITTLE DIGITS
search/silent MAX_SILENT_ELEMENTS MAX_OWN_WEIGHTS MOST_DIGITS OWN_REACH_ERRORS
search/silent LEAST_OWN_REACH LINE_ROUNDS LINE_STEP ALONG_LAYERS
search/shares PURE_SHARE MIN_AGREEING_SHARE VISIBLE_SHARE VISIBLE_ERRORS
search/shares MAX_FITTED_ELEMENTS MAX_NEAREST_OF_SLICE
search/shares MIN_AGREEING_TENSOR ALL_AGREEING MAX_BOUNDS_OF_TENSOR
search/shares MAX_ROUNDS FEW_DONORS
search/survivors MIN_SHARED_WEIGHT
search/trial SCREEN_SLICES SCREEN_ELEMENTS HOPELESS_RATE WHOLE_RATE
search/splits AGREEING_ERRORS AGREEING_SLACK
search/sweeping SWEEP_STEPS SWEEP_STEP SWEEP_LARGEST_WEIGHT
search/tensor_weights FIRST_LOOK_ELEMENTS MAX_ELEMENTS TELLING_BITS
search/tensor_weights MIN_TENSOR_SHARE SHOWN_WEIGHT SHOWN_ERRORS
search/turning ENOUGH_ELEMENTS
search/variations COUNTED_ELEMENTS COUNTING_ROUNDS COUNTED_REACH_ERRORS
search/variations LEAST_COUNTED_REACH COUNTING_BLUR MIN_COUNTED_RATE MIN_TENSOR_COVERAGE
search/leftover_shares RATIO_DIGITS
search/variations MAX_VARYING_IN_ANY_ORDER
sums/grid_groups FIRST_GROUPS WIDTHS
sums/coarse_grids FEW FEW_SPACED SOME_PLACES LEAST_ON_GRID LEAST_COLUMNS LEAST_LEVELS
search/refining NEARLY_EXACT MAX_REFINED_ELEMENTS MAX_REFINED_RECIPES
sums/coarse_grids LEAST_ROOMS
"""
"""How long is searched, and where: with less of it less is found, and nobody more is
accused. MIN_RATE_TO_LOOK lies below all that a verdict may be loosened to
(test_thresholds.py).
"""

SLACK = """
descent/evenness LIKELY
search/leaning NEAR SLIP SHORT_WEIGHT
descent/directions SMALLEST
descent/lattice NO_MATTER
descent/lattice ONE_STEP
descent/pooling LINEAR
descent/whitening NOTHING
disguises/column_factors END_TOLERANCE
disguises/factors INTERVAL_TOLERANCE
disguises/first_columns SHARE_ERROR
disguises/following_columns BLEND_ERROR DENSITY_ERROR STANDARD_ERRORS
disguises/smoothed_columns ERROR_OF_NORM ERROR_OF_MEAN BLUR
fit/estimators MAX_CONDITION
fit/mixture MIN_EIGENVALUE MAX_LOST
merging/elementwise FENCE_STANDARD_ERRORS
merging/facts SHARE_ERRORS PARTS_OF_SAMPLE PARTS_ERRORS
merging/spheres COSINE_ERROR
search/blends LAST_BITS
search/blend_lines MAX_LINE_MISFIT WHOLE_GROWTH_ERROR OUTLIER_FACTOR
search/clues SUM_SLACK
search/dropped TENSOR_SLACK FIRST_SCALED
search/ranking ORDER_TIE
search/remainder EDGE_SLACK
search/reversal STEP_SLACK
search/shares MIDPOINT_SLACK RELATIVE_SLACK
search/survivors CHANGE_SLACK
search/gradients INSIDE
search/shares STEEPEST_ROW
search/sweeping INTERVAL_SLACK
search/leftover_shares RATIO_ERROR
search/variations JOINT_SLACK
sums/gram HUGE_SQUARE TINY_SQUARE
sums/recast SCALE_SLACK
sums/cells MAX_STEPS_TO_ZERO MIN_FROM_AN_END
sums/coarse_grids FLOAT32_ROUNDINGS INEXACT STEPS
"""
"""How far sums and roundings stray from what was meant: as far as the arithmetic does,
in the suspect, the controls and the shuffled donor alike.
"""

TOO_FEW = """
search/leaning LEAST_TRACE
descent/directions FEWEST
disguises/alignment MIN_COLUMNS_PER_HALF
disguises/factors MIN_AGREEING_ELEMENTS
fit/mixture MIN_GROUPS MIN_LAYERS
search/clues MIN_INTERVAL_ELEMENTS
search/dropped FEWEST_SURVIVORS
search/shares MIN_ELEMENTS_PER_WEIGHT
search/tensor_weights MIN_TELLING MIN_TENSORS
search/token_rows LEAST_DIFFERENT MOST_KEPT MOST_OWN_ROWS
search/signatures MIN_MOVED_ELEMENTS
"""
"""Of fewer nothing is measured at all."""

DETECTION = """
search/requantised_base LEAST_IN_CELLS
disguises/alignment OPPOSITE_MIN_COSINE MAX_IN_PLACE
disguises/blends ANY_WIDTH MIN_BETTER
disguises/channels MIN_EXPLAINED_BY_CHANNELS MAX_PLAIN MAX_MISS MIN_REPLACED_SPREAD
disguises/column_factors MAX_LESS_EXPLAINED MIN_NEARER
disguises/comparison CLOSE_MIN_COSINE MIN_MARGIN MAX_DISTANCE_RATIO
disguises/detecting ENOUGH_IN_PLACE
disguises/factors MIN_EXPLAINED_BY_FACTOR MAX_UNCHANGED MAX_WIDTH
disguises/factors TOOL_MAX_OFF TOOL_MIN_EXPLAINED MAX_WRITTEN_LENGTH
disguises/first_columns MIN_FITTING BEYOND
disguises/following_columns MAX_ROOM
disguises/moved_layers MIN_SHARE_IN_PLACE
disguises/noise MAX_DISTANCE MAX_EXPLAINED
disguises/powers_of_two MAX_OCTAVES_OFF
disguises/rounded_twice MIN_EXPLAINED
disguises/scaled_channels MIN_BEYOND_CHANCE
disguises/smoothed_columns MIN_SPREAD
"""
"""When a disguise is seen and put back. What is put back is then judged by the same
thresholds as any other model; what is not seen leaves matrices out of place
(min_in_place) or nothing exact.
"""

GLIMPSES = """
disguises/alignment MAX_EXACTLY_ASSIGNED WRONG_ROWS
disguises/blends MAX_MATRICES
disguises/nearest_blends MIN_SUMMED DRAWN_ON DRAWN_BY
disguises/channels LINES
disguises/column_factors ROUNDS ROUNDS_OF_DENSITY
disguises/comparison FINGERPRINT_ROWS
disguises/detecting ROTATION_MATRICES
disguises/first_columns ROWS_LOOKED_AT SPARED MOST_EQUAL
disguises/following_columns FOLLOWING FOLDS ROUNDS_OF_PUSHED BLURS
disguises/following_columns NEWTON_STEPS LONGEST_STEP SMALLEST_BENDING
disguises/following_columns ROWS_FOR_DENSITY
disguises/folded_norms MAX_POOLED
disguises/glimpses RUNS EXPERT_RUNS RUN_LENGTH SAMPLE_RUN_LENGTH MAX_ROWS FEATURES
disguises/moved_experts EXPERT_FINGERPRINT_ROWS
disguises/permutations MAX_MATRICES_IN_VAIN
disguises/scaled_channels MAX_PAIRS MAX_PAIRS_IN_VAIN
disguises/smoothed_columns CHANNELS_LOOKED_AT FACTOR_HALVINGS
disguises/smoothed_columns MATRICES_OF_DENSITY ROWS_OF_DENSITY
disguises/split_experts MAX_LOOKED_AT
disguises/vocabulary FEW_FEATURES
"""
"""How much of a model the detectors look at."""

TOOLS = """
merging/elementwise NEARSWAP_SMALLEST_GAP FENCE_SAMPLE
merging/linear SMALLEST_DIVISOR
merging/means KARCHER_MOST_STEPS KARCHER_SHORTEST_STEP KARCHER_SMALLEST_NORM
merging/lines NUSLERP_LINE_SMALLEST_NORM NUSLERP_LINE_SMALLEST_SQUARED_SINE
merging/lines STOCK_LINE_SMALLEST_NORM_PRODUCT STOCK_LINE_SMALLEST_DIVISOR
merging/means STOCK_SMALLEST_NORM_PRODUCT
merging/sce SMALLEST_SUM
merging/trimming RESCALE_SMALLEST_SUM
merging/spheres PARALLEL_COSINE MULTISLERP_EPSILON
merging/spheres NUSLERP_SMALLEST_NORM NUSLERP_SMALLEST_SQUARED_SINE
"""
"""What a merge tool's own formula holds."""

FORMATS = """
disguises/glimpses LARGEST
disguises/split_experts MIN_LENGTH
merging/facts HALF_CODES
search/reversal UNLIKE_STEPS
sums/gram_arrays FLOAT32_EXPONENT FLOAT64_EXPONENT
sums/vector_ops FLOAT32_NAN FLOAT32_FRACTION_BITS
sums/packed_files PLAIN
sums/packed_levels MOST_ELEMENTS
sums/packed_vectors UNIT
"""
"""How numbers are stored."""

MEMORY = """
disguises/alignment MAX_PAIRS_AT_ONCE
disguises/glimpses GLIMPSED_AT_ONCE
merging/rebuild REBUILT_AT_ONCE
search/dependence MIXERS
search/joining MAX_JOINED_ELEMENTS
search/remainder MAX_MATRIX_ELEMENTS
sums/deltas RUN_ELEMENTS RUNS_PER_JOB MAX_PENDING_JOBS GRID_ELEMENTS TILE_ROWS
sums/gram SMALL_JOB
sums/gram_arrays ARRAY_CHUNK
sums/gram_numba KERNEL_CHUNK
sums/gram_vectors REGISTER_BYTES
sums/kernels ROWS LANES
sums/packed_files PACKED_CHUNK DECODED_AT_ONCE
sums/recast FIRST_LOOK
"""
"""What is in memory or worked on at once."""

BOUNDS = """
merging/mergekit_methods MAX_MERGED_MODELS
merging/mergekit_reading MAX_LAYERS MAX_NUMBER
merging/owners MAX_FILTERS MAX_CHECKS
"""
"""How much of what strangers wrote is read."""

SAID = """
descent/pooling SURE
descent/repeated SIDE_BY_SIDE
finding/declared MAX_ITEMS NUMBERS_APART
finding/detection CONFIDENCE
finding/judgement NORMAL_95
finding/wording_origin NEAREST_INDEPENDENT
finding/wording_shares WHOLE
finding/wording_reach MOST_TENSORS
finding/wording_remainder EDITED_RANK LOW_RANK MOST_PLACES
fit/curves LOWEST_WEIGHT HIGHEST_WEIGHT FURTHEST_WEIGHTS COVERAGE_TO_SHOW
fit/curves STEP FINE_STEPS
merging/rebuild MAX_DIFFERENCES_OF_TENSOR
merging/rebuild_result MAX_DIFFERENCES
search/remainder MIN_CHANGED_SHARE MIN_DENSE_SHARE MIN_WHOLE_ROWS
search/signatures SIZE_CLASSES LEVEL_SPREAD COIN_AUC_DISTANCE SORTED_AUC
search/signatures MIN_RISE MIN_LOSS_AT_TOP MIN_LOSS_AT_BOTTOM
finding/wording_owners MAX_NAMED
merging/owners ALL_OF_TENSOR NONE_OF_TENSOR
finding/wording_declared MOST_NAMES MOST_OF_NAME
"""
"""How a finding is described and shown, once it stands."""

KINDS = (
    EFFORT,
    SLACK,
    TOO_FEW,
    DETECTION,
    GLIMPSES,
    TOOLS,
    FORMATS,
    MEMORY,
    BOUNDS,
    SAID,
)


def classified() -> Counter[str]:
    """`room/module NAME` of all that are listed, with how often."""
    lines = [line.split() for kind in KINDS for line in kind.strip().splitlines()]
    return Counter(f"{module} {name}" for module, *names in lines for name in names)


def numbers(path: Path) -> set[str]:
    """The names of a module's constants that are numbers, or made of such."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.AnnAssign):
            target = node.target
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
        else:
            continue
        named = isinstance(target, ast.Name) and target.id.isupper()
        if named and node.value is not None and is_number(node.value):
            found.add(target.id)
    return found


def is_number(value: ast.expr) -> bool:
    if isinstance(value, ast.Call | ast.Dict | ast.Lambda):
        return False
    leaves = [node.value for node in ast.walk(value) if isinstance(node, ast.Constant)]
    return bool(leaves) and all(type(leaf) in (int, float) for leaf in leaves)


def module_of(path: Path) -> str:
    return path.relative_to(LIBRARY).with_suffix("").as_posix()


def test_every_number_is_a_threshold_or_of_a_kind_that_draws_no_line():
    held = {
        f"{module_of(path)} {name}"
        for path in MODULES
        if not module_of(path).startswith(PROPOSERS)
        for name in numbers(path)
    }
    listed = classified()
    assert held - set(listed) == set(), (
        "say in this file of which kind a number is, or make it a threshold"
    )
    assert set(listed) - held == set(), "is not there any more"
    assert max(listed.values()) == 1, "has two kinds"


def test_a_number_has_a_name_of_its_own():
    """Of numbers alone: two modules' tables of texts may be called alike."""
    places = Counter(
        name
        for path in LIBRARY.rglob("*.py")
        if path.relative_to(LIBRARY).parts[0] not in ("standins", "testing")
        for name in numbers(path)
        if not name.startswith("_")
    )
    assert [name for name, times in places.items() if times > 1] == []
