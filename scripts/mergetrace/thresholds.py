"""Every limit that can change a verdict, once, with the measurement behind it.

A plain dataclass of the standard library, since an evidence bundle judges again with
Python and numpy alone. `mergetrace.configuration` checks what a user writes against the
types and bounds here; the text under each field is what the report and config/README.md
say of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self

from mergetrace.field_texts import field_texts

Accusation = Literal[
    "copy", "merge", "other_merge", "merge_then_trained", "finetune_of_donor"
]
"""The verdicts that accuse."""


def limit(default: float, **bounds: float) -> Any:
    """A field with its default and its bounds: `ge` and `le`, or `gt` where the bound
    itself is excluded. A text is no number (`strict`).
    """
    return field(default=default, metadata={"strict": True, **bounds})


@dataclass(frozen=True)
class Thresholds:
    """Where the lines between verdicts are drawn."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "allow_inf_nan": False,
    }

    accuse_with: tuple[Accusation, ...] = (
        "copy",
        "merge",
        "other_merge",
        "merge_then_trained",
    )
    """The accusing verdicts that are given. Any other ends in `inconclusive` with its
    traces stated and no parent named. Left out by default is what accused an innocent
    on the zoo of version 0.1: `finetune_of_donor`, where the suspect is an earlier
    checkpoint of the donor's own run, since weights do not say which of two models came
    first (benchmarks/zoo/README.md has the rates).
    """

    accuse_by_small_directions: bool = True
    """Whether `merge_then_trained` is given where it rests on the weight of the donor's
    small singular directions alone, which is strong evidence and never exact. Otherwise
    it ends in `inconclusive` with the weight stated. Of 228 hard innocents of the
    reporting families it accused none, and named 30 of 51 merges trained on another task
    to a cosine of .4 or more: those of families whose finetunes go ways of their own
    (benchmarks/descent/README.md).
    """

    min_compared: float = limit(0.9, ge=0, le=1)
    """The share of a model's parameters that must have been compared before anything is
    said of it, in accusation or acquittal; below it the verdict is `inconclusive`, with
    what was not read and what would make it readable. On the open world's tuning seed
    those of whom the compared part told something untrue of the whole had at most .85
    compared (a finetune whose fused query, key and value found no counterpart, the rest
    frozen; packed models .23 to .74), those of whom it told the truth at least .97 (a
    vision tower or new tokens of their own).
    """

    max_not_finite: float = limit(0.001, ge=0, le=1)
    """The share of the elements read that may be NaN or infinite, and so not compared,
    in what is called a copy. A copy cast to float16 loses what is greater than 65,504:
    of trained weights a few elements in a model, if any; whatever loses more is not
    known to be a copy.
    """

    min_vote_elements: int = limit(4096, ge=1)
    """Slices with fewer elements, and norms, biases and other vectors of any size, are
    shown but do not vote. In a true merge of small models they showed alpha .59 to .64
    at a true .571, in innocents cosines up to .88.
    """

    replay_width: float = limit(0.25, gt=0, le=1)
    """An element is informative when its replay interval (the blend weights that round
    to what is stored) is narrower than this. Wider ones hold almost any weight and
    prove nothing.
    """

    min_informative: int = limit(1000, ge=1)
    """Fewer informative elements than this, over all voting slices, and no exactness is
    claimed.
    """

    min_informative_share: float = limit(0.05, ge=0, le=0.5)
    """Of the elements whose stored number confines the weights, the share that must be
    able to refute a recipe. Up to it the recipe counts as giving nothing back: it says
    little more than that a parent was kept. Recipes that gave a merge of the zoo back
    had .47 (passthrough) to 1; those tried on a copy of the donor 0 to .02.
    """

    max_recipes: int = limit(20_000, ge=100)
    """How many recipes a search may try before it ends with the best so far, and says
    that it was ended. The merges of the zoo and of 57 manners of scripts were found, or
    given up, within 3,400.
    """

    min_bit_exact: float = limit(0.995, ge=0.5, le=1)
    """The share of informative elements a recipe must give back bit for bit before a
    merge is called reproduced. Pure fp32 merges measured 0.99999 to 1; a drift of 1 %
    of the delta's size lowers it to .95.
    """

    min_exact_slices: float = limit(0.99, ge=0, le=1)
    """The share of voting slices that must each reach min_bit_exact. Below it, part of
    the model has another history.
    """

    max_control_bit_exact: float = limit(0.25, ge=0, le=1)
    """A merge is only called where every control and the shuffled donor (beyond what is
    simply the base's) stay below this under the same recipe search. Controls on the
    zoo's tuning seeds, same-task siblings included, measured at most .11.
    """

    max_control_cells: float = limit(0.5, ge=0, le=1)
    """The same where the audited model is stored in few bits (GGUF): of these an element
    is informative for one recipe and not for another, and chance reaches more.
    Same-task siblings of cosine .96, quantised, reached .22 to .37, shuffled donors .11
    to .21, checkpoints on the donor's way .43 to .97; merges 1 (benchmarks/packed.md).
    """

    min_informative_cells: int = limit(600, ge=1)
    """So many of the informative elements must be packed ones where a model is stored in
    few bits in part: an embedding in 16 bits may be another model's, which a finetune
    leaves frozen. Of 600 of which none lies outside its cell it is known with 95 %
    certainty that at least `min_bit_exact` do not.
    """

    min_informative_columns: int = limit(100, ge=1)
    """The same of GPTQ's formats, where one column of a matrix decides."""

    min_informative_following: int = limit(150, ge=1)
    """The same where the columns behind it decide too. A donor some hundredths of the
    change from the true parent is refuted there a quarter to half as often (four trained
    families).
    """

    max_missed_cells: float = limit(0.0005, ge=0, le=0.005)
    """The share of the packed informative elements that may lie outside their cells under
    a recipe: a merge with a model that the donor is a light finetune of looks like one
    with the donor, but for these. Pure merges in eleven formats left 0 of up to 145,444;
    with a donor .008 of the change away .13 % and more.
    """

    max_missed_round_trip: float = limit(0.001, ge=0, le=0.005)
    """The share of the informative elements that parents which were quantised and written
    back may leave: numbers in the middle of two levels have another code in another
    build. Pure blends left .06 % under bitsandbytes' eight bits, .01 % and less under other
    tools; with a donor .002 of the change away .31 % (int8) and .42 % (Q8_0), .01 away
    2.2 % (int8) and .25 % (nf4).
    """

    min_partly_round_trip: float = limit(0.5, gt=0, le=1)
    """Where parents that were quantised and written back give this share of the
    informative elements and miss more than `max_missed_round_trip`, the small directions
    name nobody: the donor may be a near relative of the one that went through the tool.
    """

    max_quantised_share: float = limit(0.5, ge=0, le=0.9)
    """A model that is stored in few bits is only acquitted where the energy of
    quantising is at most this share of its change from the base: of more the direction
    of the change says nothing.
    """

    max_unexplained: float = limit(0.0005, ge=0, le=0.01)
    """A reproduced merge is said to be untouched since where at most this share of all
    elements (small tensors included) lies beyond rounding of the recipe. Untouched
    merges measured 0 (linear, task arithmetic, TIES) to .00046 (slerp, whose angle
    depends on the order of float32 sums), one step of training at a rate of 1e-6 .008
    (benchmarks/detection_limit.md).
    """

    min_share: float = limit(0.02, ge=0, le=0.5)
    """A model counts in a recipe only where its share is at least this, taken or taken
    away, and a recipe needs two such models; the base has what the donors leave to one.
    A finetune a few steps from its start is otherwise a "merge" of .003 of anybody.
    Where not every element comes back a donor's share must also lie between this and
    one less this: beyond it lies a suspect that the donor was made from.
    """

    min_share_whole: float = limit(0.002, ge=0, le=0.5)
    """The same where every informative element comes back: merges of .0136 and .004 did
    (dense 1 and 2); with this limit no innocent of dense 5 was accused, nor any beside 18
    donors that were forged at shares of .002 to .015 (dense 2). A model that a recipe
    takes less of may be there by chance: of .001 of a change of a tenth one bf16 number
    in forty moves.
    """

    max_inflation: float = limit(5.0, ge=1.01)
    """Two donors are alike where each inflates the variance of the other's
    least-squares share this many times (1/(1-cos^2) of their changes; 5 is a cosine of
    .894). A donor is then only named where the elements tell it from its like.
    """

    min_told_apart: float = limit(10.0, ge=1)
    """Of two donors that are alike, one is named only where the elements that it alone
    explains are this many times those that the other alone explains; else "cannot be
    told apart" is said and neither is named. The true parent beside a relative measured
    17 and more, trained on or not; two relatives of a parent that was not offered 1 to
    4.4 where one was up to twice as far from it as the other
    (benchmarks/several_donors.md).
    """

    max_single_parent: float = limit(0.95, ge=0, le=1)
    """Where one parent alone gives more than this share of the informative elements, no
    merge is called; the rest may be a sparse finetune. The greatest on the tuning seeds
    was .91, in an arcee_fusion merge.
    """

    min_trace: float = limit(0.5, ge=0.2, le=1)
    """The share of informative elements that must lie on the trace of one blend (or on
    the donor's own values) before training on top of it is called. On the zoo's tuning
    seeds innocents reached .33 (the first steps of the donor's own run), merges after 1
    to 5 gentle steps .82 to .92; after 50 gentle steps .32 to .33 are left, as after
    few hard ones, and such merges end in `inconclusive`. Below .2 nothing is searched
    further.
    """

    min_trace_over_null: float = limit(4.0, ge=1)
    """How many times the coverage of the shuffled donor and of every control such a
    trace must reach. On the tuning seeds blends with the donor's twin reached 4.6 times
    and a merge held against the wrong base 5.3 (both below min_trace), merges after 1
    to 5 gentle steps 13 to 22 times.
    """

    min_peak_share: float = limit(0.9, ge=0, le=1)
    """A finetune of the donor is called where the donor's own values reach this share
    of the greatest coverage; below it a blend explains more. On the tuning seeds .95 to
    1 in finetunes of the donor, 0 to .06 in linear merges.
    """

    max_single_of_blend: float = limit(0.5, ge=0, le=1)
    """Where one parent's own values make up more than this part of the elements on a
    blend's trace, the trace is that parent's and no blend's. On the tuning seeds 0 to
    .06 in linear merges, .95 to 1 in finetunes of the donor.
    """

    max_base_trace: float = limit(0.1, ge=0, le=1)
    """A finetune of the donor is called only where no more than this share of the
    informative elements is at the base's values; on the tuning seeds at most .001 in
    finetunes of the donor.
    """

    max_alpha_spread: float = limit(0.02, ge=0, le=1)
    """The weighted median distance of the tensors' replay weights from their median,
    beyond which a blend has no one weight. On the tuning seeds 0 to .001 in merges then
    trained gently, .05 and more where tensors had different weights.
    """

    min_survivors: float = limit(0.9, ge=0.2, le=1)
    """In a merge that drops or chooses elements, the share of moved elements that one
    weight per tensor must explain. Pure drops on the tuning seeds measured .985 and
    more. Below .2 nothing is searched further.
    """

    min_survivors_over_null: float = limit(0.4, ge=0, le=1)
    """By how much the share that `min_survivors` asks for must exceed the shuffled
    donor's and every control's.
    """

    min_stayed: float = limit(0.02, ge=0, le=1)
    """The share of informative elements that must be exactly the base's before a merge
    that drops or chooses elements is called. By chance .017 to .018 of an innocent
    sibling's are (tuning seed dense 1), half of them where half were dropped. Recipes
    that choose elements are looked for from here on, too.
    """

    min_chosen: float = limit(0.95, ge=0, le=1)
    """The share of informative elements that must be exactly the base's or exactly the
    donor's, both being there, before a merge that chooses between the two is called
    without a recipe. On the tuning seeds passthrough and arcee_fusion merges measured
    .99 and more.
    """

    min_turned_weight: float = limit(0.02, gt=0, le=0.5)
    """A recipe is turned round, to see which model is the older, where a parent enters
    with at least this weight. Through a smaller one its numbers are hidden behind more
    than fifty steps of rounding.
    """

    max_turned_weight: float = limit(0.985, ge=0.5, le=0.999)
    """Nor is it turned round where the parent's weight lies between this and its
    reciprocal: there rounding hides at most 1.5 % of a true parent, half of what
    `max_reverse_over_expected` allows, and a true parent and one computed from the
    suspect look alike.
    """

    max_reverse_over_expected: float = limit(0.03, ge=0.001, le=0.5)
    """Turned round, a recipe gives back of a true parent the share of elements that
    rounding leaves (.575 of a donor of .571 in bf16); of a parent that was computed
    from the suspect all. A parent that comes back by more than this over what is
    expected of a true one is not taken for the older (near 1, half of what is left to 1
    is allowed). True parents of planted merges lay at most .02 from it, in every dtype
    and method; donors forged in the plain way .1 to .7 over it.
    """

    max_reverse_under_expected: float = limit(0.1, ge=0.001, le=1)
    """A parent that comes back by more than this under what is expected of a true one
    was blended by another arithmetic than the one that is turned round, of which
    nothing follows. True parents of planted merges lay at most .08 under it; a donor
    forged on an arc and turned round as a straight line .60.
    """

    max_expected_reverse: float = limit(0.98, ge=0.5, le=1)
    """Where more than this share of a true parent is expected back, it and a forged one
    look alike, and what comes back decides nothing; nor does the recipe, where it would
    give back more than this with a forged one.
    """

    max_forged_misses: float = limit(0.25, gt=0, le=1)
    """Where more than `max_expected_reverse` of a true parent is expected back, the
    recipe decides (a donor's change taken more than once, a suspect stored in finer
    steps than its parents): it must miss at most this part of what it would miss of any
    model with a donor computed from it, which it cannot give back whole: at a weight of
    1.5 two numbers in three can be reached. Planted merges of 1.05, 1.1 and 1.5 missed
    none of it. Drops of one donor and two, of .5 to .9 of their changes, missed up to
    .11 of it, in bf16 arithmetic .23 (dense 2); drops forged from sparse finetunes, with
    changes divided by 1.1 to 2 and shared out between one donor or two, .44 and more
    (dense 2, by 1.1 on dense 1 too).
    """

    max_moved_alone: float = limit(0.001, ge=0, le=1)
    """A merge moves no element on which donor and base agree; training does. Where at
    most this share of them moved, nothing was trained. On the tuning seeds merges of
    one donor moved none, one step of training at a rate of 1e-5 moved .0034.
    """

    max_dissent: float = limit(0.00003, ge=0, le=0.1)
    """A merge in any arithmetic computes every element from its parents' elements: where
    all of them hold the same numbers (up to a power of two and a sign) at two places of a
    tensor, the merge holds the same number. The greatest share of such places that may
    hold another. Scripts of every kind measured 0, one that rounds by way of f16 .00002
    (its smallest numbers are rounded otherwise); one step of training at a rate of 1e-6
    after the merge .00016 (tuning seed dense 1), at 1e-5 .0076; finetunes .64 and more.
    """

    min_dissent_without: float = limit(0.1, ge=0.01, le=1)
    """Without one of its parents' numbers at least this share of the same places must
    disagree, and at least this share of every control's: then it takes all of them.
    Merges of two to four models measured .46 to .96 without one of them.
    """

    min_turned_dissent: float = limit(0.1, ge=0.01, le=1)
    """Turned round, a parent of which nobody says when it was published has to hold other
    numbers at this share of the places where the model and the other parents are alike:
    one that was computed from them holds the same. True parents (tuning seed dense 1,
    three trainings) measured .12 and more at weights of .1 to .7, .06 to .14 at .8, less
    above; one that was computed at most .03, and where every number was rounded up or
    down at random .01 to .18, but then the model did not follow from it (`max_dissent`).
    """

    min_within_rounding: float = limit(0.95, ge=0.5, le=1)
    """Where at least this share of the elements lies within two last bits of the nearest
    weighted sum, rounding is all that the sum leaves, and its weights are the model's.
    Scripts in narrow arithmetic measured 1.
    """

    max_moved_trained: float = limit(0.35, ge=0, le=1)
    """Training light enough to leave those traces leaves most elements on which donor
    and base agree where they are. The greatest share that may have moved. On the tuning
    seeds merges after 1 to 5 gentle steps moved at most .016 of them and after 50 up to
    .39, innocents trained as hard as the donor at least .50; where the base itself was
    trained gently it was less, and there the base's own values stand against a blend.
    """

    max_leaning: float = limit(0.65, ge=0.5, le=1)
    """Elements that miss a blend by one step, where the blend lies off the middle of its
    own: the greatest share of them that may be missed to the side where the blend lies,
    before a trace of it counts. Half are after training that began at a stored blend
    (.475 to .566 on the tuning seeds), .89 to .99 where the donor's own run was repeated
    at another rate, and less, the less of it the blend explains.
    """

    max_beyond_finer: float = limit(0.0005, ge=0, le=0.01)
    """A blend of finer numbers than were offered, of float32 releases or of an adapter
    at another weight, leaves every number within the roundings. The greatest
    share of numbers that may lie beyond them. None did of such blends; where the donor's
    run was repeated at another rate .025 and more did (tuning seeds, two steps and more).
    """

    min_counted: int = limit(100, ge=1)
    """A share of fewer elements than this is noise. So many must be there on which
    donor and base agree before it counts how many of them moved, and so many must speak
    for one of two donors that are alike.
    """

    min_slightly_changed: float = limit(0.95, ge=0, le=1)
    """Where at least this share of the informative elements is that of a rounded blend,
    and none moved on which donor and base agree, the rest is taken for a change after
    the merge, too slight to move those, and not for another method. One step of
    training at a rate of 1e-6 left .989 of them and moved none of 5,361 others (tuning
    seed dense 1).
    """

    max_innocent_cos: float = limit(0.3, ge=0, le=1)
    """A finetune of the base is only called innocent where cos_fit stays below this.
    Same-task siblings reach .96 without any merge, so above it, without exactness, the
    verdict is inconclusive and never an accusation.
    """

    max_innocent_same_sign: float = limit(0.6, ge=0.5, le=1)
    """A finetune of the base is only called innocent where fewer of its moved elements
    than this share move with a donor. Chance is .50; random-drop merges measured 1.00
    at a cosine that a low density can push under any limit.
    """

    min_shared_step: float = limit(0.5, ge=0, le=1)
    """Where the controls (without any, the donors among themselves) have at least this
    cos_fit, the base may be a wrong one, and other candidates are asked for; no verdict
    rests on it. Siblings of another task measured .05 on the right base, .59 to .97 on
    a wrong one.
    """

    max_unevenness: float = limit(0.12, ge=0, le=1)
    """A blend that was trained on is called by the weight of the donor's small singular
    directions where that is one weight: what an ancestor of both would have to have left
    differs between matrices, and between bins of directions, by at most this part of
    itself (95 % limit, changes weighed by what else the models hold). Of 175 innocents of
    the tuning family dense-1 that are not stopped by being turned round the least had
    .16 (a nearly equal run of the donor's in its place), then .25; of dense-2, wide-3 and
    moe-4 all are stopped so. Merges trained on another task to cosines of .4 to .95 had
    .03 to .11, at .33 .19, at .21 .52, which is too little to tell. 0 calls nobody.
    """

    min_spectrum_matrices: int = limit(12, ge=3)
    """In fewer matrices nothing is said of a donor's small directions: evenness is a
    standard deviation between them.
    """

    min_spectrum_weight: float = limit(0.08, ge=0.01, le=0.5)
    """A blend is called by small directions only where the donor's weight lies between
    this and one less this. Beyond lie the last checkpoints of the donor's own run: .95 to
    1 on the tuning families, averages of them included.
    """

    max_control_tail: float = limit(0.25, gt=0, le=1)
    """Where every control holds more than this part of the suspect's weight of a donor's
    small directions, an ancestor that was not offered is spoken of; no verdict rests on
    it. On the tuning families siblings of other tasks had -.03 to .04.
    """

    max_control_weight: float = limit(0.5, gt=0, le=1)
    """A blend is called by small directions only where every control's weight of them
    stays below this part of the suspect's: else the base is no common base. On the tuning
    families siblings of other tasks had -.03 to .04, of a wrong base .76 to .84 beside .83;
    where all that is trained from a young base goes the same way .37 to .45 beside .78 to
    .83 (dense-2, moe-4), and there unevenness stops the rule.
    """

    min_control_over_even: float = limit(4.0, ge=1)
    """A control that holds more than `max_control_weight` is none against a blend where
    its weights differ between matrices this many times as much as the suspect's: then it
    shares something else with the donor, such as a like task, and no share is stated. Of
    innocents beside such controls on the tuning families dense-1, dense-2 and moe-4 the
    greatest was 2.6 (a checkpoint of the donor's run, which three other limits stop), but
    for a forged base (38), which is even turned round; none was stopped by the control
    alone. Merges that nothing else stops had 3.7 to 14.
    """

    min_turned_over_even: float = limit(4.5, ge=1)
    """Turned round, the weights of the suspect's small directions in the donor must
    differ this many times as much as the donor's in the suspect. A donor that was made
    from the suspect holds it evenly (0 to .5 on the tuning families), two models of one
    ancestor are as uneven both ways (.1 to 1.4). Nearest came two: a nearly equal run
    offered in the donor's place (2.4), and trained on from the donor's own earlier
    checkpoint (4.0), which unevenness stops too. Merges trained on another task to
    cosines of .4 and more had 4.6 to 18.
    """

    max_unevenness_light: float = limit(0.03, ge=0, le=1)
    """Where the weight is this even, what was trained since is little, and the donor's
    weights in the suspect differ little too: `min_turned_light` is asked in place of
    `min_turned_over_even`. Of models of the merge zoo's dense-1 and dense-2 that hold
    nothing of the donor only those that it was made from were as even; the others had
    .07 (beside a forged base), .10 and more.
    """

    min_turned_light: float = limit(1.5, ge=1)
    """As `min_turned_over_even`, where unevenness is at most `max_unevenness_light`. Both
    sides are ends of 95 % intervals. Donors made from the suspect had 0 to .52 (dense-1
    and dense-2 of the merge zoo); merges that were trained lightly, beyond exact traces,
    1.2 to 4.4 (dense-1, 2 and 4).
    """

    min_overlap: float = limit(0.75, ge=0, le=1)
    """A blend is called by small directions only where what its weight leaves lies this
    far in the directions of the donor's change, in the median matrix: 1 is chance,
    training has as much or more. Merges of the merge zoo's dense-1, 2 and 4 had .95 to
    1.03 after training too light to be seen so, else 1.5 to 3; originals beside a donor
    that was cut out of them (their largest directions, a space of columns or of rows,
    neurons left out, dense-1) at most .002, with every row of it scaled on its own by 5 %
    as well .09 and .49.
    """

    max_repeated: float = limit(0.05, ge=0, le=1)
    """A blend is called by small directions only where at most this share of its numbers
    is as large as another beside them (median matrix, 16 bits and more): above it many
    still lie on a grid of few bits. Models of the descent zoo had .028 to .029, any matrix
    of them at most .04; int8 written back .17, FP8 .33, and trained 5 and 20 steps since
    .28 and .08, where the average of the donor's own checkpoints was as even as a blend.
    """

    max_participation: float = limit(0.4, ge=0, le=1)
    """Where what the weight leaves is spread over more than this part of what noise
    takes (median matrix), noise lies over the model, and `max_unevenness_light` is asked
    in place of `max_unevenness`: the donor turned round differs then whoever the model
    is. After training on the tuning families dense-1 and dense-2 it was .03 to .22, and
    up to .93 after training so light that rounding is most of what is left, where
    unevenness was .02 or less. Of averages of the donor's own checkpoints under noise of
    .5 to 4 % of a matrix' standard deviation (.08 to 1) nothing else stopped 13: two of
    .35, half the donor itself, and eleven of .48 and more, with an unevenness of .045 and
    more. Blends under such noise had .005 to .03, and .15.
    """

    min_dissent_trained: float = limit(0.1, ge=0.01, le=1)
    """A blend is called by small directions only where its numbers differ at this share
    of the places where those of base and donors are alike (as `max_dissent`): below it
    arithmetic that nobody identified may have made it of them alone.
    """

    max_first_over: float = limit(0.08, ge=0, le=1)
    """Where the donor's largest directions hold more than the small ones, by this part
    of the weight, the model may have been trained on what is like the donor's task, which
    raises the weight: no share is stated. On the tuning family dense-1 training on the
    donor's task brought .10 to .28, on another -.13 to .01; on wide-3 hard training on
    another .07.
    """

    max_stayed: float = limit(0.1, ge=0, le=1)
    """Where more than this of the numbers that a blend would have moved are exactly the
    base's, changes were taken back, which lowers the weight, or never taken over: no
    share is stated. On the tuning families dense-1, dense-2 and moe-4 the median matrix
    of what was trained had 0, where the smaller half of the changes had been taken back
    .49 to .52, and merges that drop half of the changes .44 to .49 before training.
    """

    max_shared_tail: float = limit(0.1, ge=0, le=1)
    """Two donors are not named together by their small directions where one holds more
    than this of the other's. Independent siblings held at most .03.
    """

    not_told_within: float = limit(0.3, ge=0, le=1)
    """A model that differs from a donor by up to this part of the donor's change from the
    base may be named by small directions in its place; the verdict says so. Of blends
    of the donors of dense-1 and dense-5, trained on, beside relatives (light finetunes,
    other checkpoints, the same run at another rate) 54 of 134 were named .01 to .09 of the
    change away, 3 of 26 .12 to .14 away, 2 of 136 further away, both .26.
    """

    max_innocent_tail: float = limit(0.1, ge=0, le=0.5)
    """A finetune of the base is called innocent, whatever its cosine, where it can hold
    at most this of every donor.
    """

    min_shown_tail: float = limit(0.06, ge=0, le=1)
    """A finetune of the base is not called innocent, whatever its cosine and whatever the
    controls hold, where at least this of a donor's small directions is shown (lower 95 %
    limit). Siblings of other tasks measured at most .04; a merge with .1 of the donor,
    trained to a cosine of .12, .08; one with .2, trained to .23 on the tuning family
    dense-2, .19, beside a control of the donor's kind of task that had .39.
    """

    max_unlearned: float = limit(0.5, ge=0, le=0.9)
    """What later training may have taken away of a donor's small directions, where it is
    said how much a model can hold at most. The most on the tuning families was .49 in one
    component: the donor's own run, gone on with at a full learning rate; .32 in a merge
    that was distilled from a model which had not learned the donor's task.
    """

    max_unlearned_tail: float = limit(0.25, ge=0, le=0.9)
    """The same of all small directions together, where less is lost than in one component
    and bin. The most on the tuning families was .19, in a merge that was distilled from a
    model which had not learned the donor's task; .06 after pruning, .04 elsewhere.
    """

    min_over_rounding: float = limit(2.0, ge=1)
    """The energy of a model's own small directions over that of rounding alone, below
    which nothing is said of how much of a donor it can hold: its change was cut to few
    directions, as LoRA and low-rank approximations are, with whatever stood in the others.
    """

    max_faded: float = limit(0.06, ge=0, le=0.5)
    """By what part of itself a weight may have been another before it was trained on,
    which widens its interval on either side. Training on another task took 0 to 6 %;
    gentle training on the donor's own task added 5 to 8 % before it showed in the bins.
    """

    spectrum_bin_room: float = limit(2.0, ge=0)
    """How many times the fall of the weight along the bins beyond the first its interval
    goes down further. Training on the donor's own task raised weights by up to 1.8 times
    that fall before their unevenness showed.
    """

    min_base_apart: float = limit(1.1, ge=1)
    """Where no recipe decides between base candidates, and the suspect moved less than
    this many times as far (in energy) from another as from the chosen one, the choice
    is said not to be certain. Not measured; no verdict rests on it.
    """

    min_base_cos: float = limit(0.5, ge=0, le=1)
    """Below this cosine of the suspect's and the base's raw weights they have no
    visible common origin. Independent trainings measured about 0; finetunes of one base
    .9 and more.
    """

    min_same_cos: float = limit(0.5, ge=0.3, le=0.9)
    """The cosine, at the same place or in any order of rows and columns that was found,
    from which a matrix is a parent's, changed. Relatives measured above .99 once every
    disguise was undone, independent trainings below .2 (benchmarks/layout.md).
    """

    max_octaves_apart: float = limit(0.25, ge=0.02, le=1)
    """By how many powers of two the size of a matrix may differ from its counterpart's.
    Beyond, it was multiplied by something that is not known, and no model is called a
    finetune of its base. In models of the zoo of which nothing was multiplied at most
    .07.
    """

    max_chance_in_place: float = limit(0.02, ge=0, le=1)
    """The share of a model's matrices that lies where one of a parent's does, up to
    which there is no common origin. Of independent trainings none did
    (benchmarks/layout.md).
    """

    min_in_place: float = limit(0.9, ge=0, le=1)
    """Below this share of matrices that lie where a parent has its own, what the others
    hide is open, and no model is called a finetune of its base.
    """

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The thresholds that a completed configuration's `verdict` holds, as a bundle
        or a rule hands it on.

        Names that are no thresholds are passed over, and a threshold that an earlier
        version did not have yet gets its default.
        """
        names = {entry.name for entry in fields(cls)}
        chosen = {name: value for name, value in values.items() if name in names}
        if "accuse_with" in chosen:
            chosen["accuse_with"] = tuple(chosen["accuse_with"])
        return cls(**chosen)


def threshold_descriptions() -> dict[str, str]:
    """What each threshold means and which measurement set its default, by name."""
    return field_texts(Thresholds)
