"""Cases that people reported in public, one test each: the folder that they describe,
made of random tensors, gets the answer it should.

The folders are the open-world zoo's (benchmarks/openworld), which names the report
behind every one.
"""

import pytest

from benchmarks.openworld import run
from benchmarks.openworld.world import World

pytestmark = [pytest.mark.slow, pytest.mark.thorough]


@pytest.fixture
def right(tmp_path):
    """Whether the program answers rightly: asserts it of every named case of a kind."""

    def check(kind, *names, world="planted"):
        for name in names:
            trial = run.trials_by_id()[f"{world}-1/{kind}: {name}"]
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            found = run.judged(
                trial, {"answer": run.ask(trial, folder, World(world, 1, tmp_path))}
            )
            assert found.outcome == "right", (name, found.faults)

    return check


def test_quantised_suspects_are_not_judged_by_their_embeddings(right):
    right(
        "few bits",
        "GPTQ around random numbers, all else the base's",
        "NF4 of an innocent finetune, embeddings the base's",
    )


def test_retrained_mxfp4_experts_beside_frozen_attention_are_no_copy(right):
    right("MXFP4 experts", "experts retrained, all else frozen", world="experts")


def test_mxfp4_experts_that_are_byte_for_byte_the_bases_are_said_to_be(right):
    right(
        "MXFP4 experts",
        "attention retrained, experts byte for byte the base's",
        world="experts",
    )


def test_mistrals_native_names_are_the_same_model(right):
    right(
        "native names",
        "consolidated.safetensors of a merge",
        "consolidated.safetensors of an innocent finetune",
    )


def test_a_stranger_that_shares_one_norm_of_ones_is_no_copy(right):
    right("little in common", "a stranger with names of its own and one norm of ones")


def test_a_llamafied_merge_is_found_and_a_llamafied_innocent_is_not_accused(right):
    right(
        "fused rows",
        "merge split, parents fused as Phi's",
        "llamafied: only the split parts trained, parents fused",
    )


def test_w_pack_is_cut_into_its_three_matrices(right):
    right(
        "fused rows",
        "merge split, parents fused as Baichuan's",
        "only the split parts trained, parents with W_pack",
    )


def test_short_names_of_norms_are_harmless(right):
    right("other families' names", "innocent finetune with Yi's ln1 and ln2")


def test_a_chat_vector_is_a_merge(right):
    right("recipes", "a chat vector: weights 1.0 and 0.8", "weights 1.0 and 0.3")


def test_negative_and_overscaled_task_vectors_are_merges(right):
    right("recipes", "a negative weight", "a task taken away", "a task taken 1.2 times")


def test_slerp_of_two_finetunes_with_a_gradient_per_filter(right):
    right("recipes", "slerp of two finetunes, a gradient per filter")


def test_a_filter_that_keeps_one_parents_embedding(right):
    right("recipes", "linear, one donor's embedding left out")


def test_experts_of_two_donors(right):
    right("recipes", "experts of two donors")


def test_infinity_in_a_weight_is_named_and_left_out(right):
    right(
        "infinite and NaN",
        "one infinity in a merge",
        "a whole NaN tensor in a merge",
        "f16 that overflowed, an innocent finetune",
    )


def test_experts_held_twice_are_listed(right):
    right(
        "experts' names",
        "stale fused experts of the base beside a merge's own",
        world="experts",
    )


def test_two_prefixes_in_one_folder_are_listed(right):
    right("held twice", "a merge hidden beside a second set, the base's")


def test_a_stale_head_of_a_tied_model_is_named_and_not_judged(right):
    right(
        "tied heads",
        "a stale head of zeros on a merge",
        "a stale head that copies the embedding, nothing said of tying",
    )


def test_fp8_scales_in_four_dimensions(right):
    right(
        "FP8 scales",
        "blocks in four dimensions",
        "a merge in blocks of four dimensions",
        world="wide",
    )


def test_fp8_scales_that_are_exponents(right):
    right(
        "FP8 scales",
        "exponents under .scale",
        "blocks with exponents alone",
        world="wide",
    )


def test_unmerged_adapters_are_said_not_to_be_applied(right):
    right("unmerged adapters", "wrapped merge with its adapters", "an adapter alone")


def test_unknown_prefixes_are_found_from_the_data(right):
    right(
        "prefixes",
        "donor and noise under llm., base under model.",
        "innocent finetune under thinker.",
    )


def test_infinity_in_a_configuration_is_no_fault(right):
    right(
        "configurations",
        "Infinity in config.json",
        "Infinity in config.json of a merge",
        "a key twice in config.json",
    )


def test_an_index_that_promises_a_tensor_is_a_note(right):
    right(
        "indexes",
        "promises a tensor that no shard holds",
        "promises a tensor that no shard holds, a merge",
    )


def test_an_index_that_omits_or_misnumbers_is_a_note(right):
    right(
        "indexes",
        "omits tensors that are there",
        "numbers shards that are not there, the whole set beside it",
    )


def test_what_the_merging_tool_left_is_declared_beside_found(right):
    right("declared beside found", "mergekit's configuration beside a merge")


def test_a_finetune_whose_card_names_nobody(right):
    right("declared beside found", "a finetune whose card names nobody")


def test_the_newest_methods_accuse_nobody_wrongly(right):
    right("recipes", "averages where tasks overlap, sums where they do not")


def test_what_was_handled_stays_handled(right):
    right(
        "depth",
        "layers of base and donor in turn",
        "attention of the base, MLPs of the donor",
    )
    right("vocabulary", "a merge cut to the tokenizer")


def test_mixed_precision_and_a_scaled_up_base_stay_handled(right):
    right("stored in another dtype", "a merge every second tensor in f16")
    right("depth", "the base scaled up in depth, new layers' outputs zero")
