"""mergetrace: is an open-weights model a hidden blend of other people's models?

Pure functions; only running and stages print or read arguments, and none of them knows
Snakemake. One module per idea, one folder per stage of the way from files to a page; a
folder imports from those above it only:

    errors             what can go wrong without being a defect
    outputs            outputs that appear whole or not at all
    readable           numbers and strangers' text as people read them
    timestamps         days and moments, one way of writing them
    field_texts        the text under each field of a class, for documents
    thresholds         every limit that can change a verdict, with the measurement
                       behind it

configuration: what a user asks for, checked and completed
    shared             a section, and the kinds of value that sections share
    short_names        names for models that have none yet
    structure          the keys of a section, and which section lies where
    messages           what is wrong with a configuration, in words
    probe, scan, source, audit, model   its sections as objects, with every default
    reading            read and completed, or refused
    documentation      what those classes say of themselves: README and schema

records: what one stage hands to another as JSON, as typed records
    json_records, csv_tables  records read from JSON and written as JSON; tables as they
                       were written
    recipe_search      what the search for a recipe found, what it leaves, what it gives
                       back turned round
    summary, verdict   every number of an audit; the finding as outsiders rely on it
    manifest           what a model holds, and what is compared, as later stages read it
    scan               what the stages of a scan hand to one another
    declared_merge     what a model's folder says of the merge that made it
    spectrum           a donor's weight along its singular directions
    coverage, layout, packed  how much was compared; which disguises were looked for;
                       what was not decoded

running: a run, and what is left of it
    owner              which Snakemake started a job
    dependencies       which modules a stage's result depends on
    leftovers, resume  what an interrupted run leaves behind, and how it is taken up
    find_recipe        make recipe: an audit for a lost recipe, and its answer
    find_candidates    make scan: candidates for a model of which no parent is known
    progress           how far a run is
    log                a line of progress
    command_line       a stage as a program, its options derived from its fields

numerics: numbers as they are stored
    arrays             names for the types of arrays, and places spread over them
    dtypes             how stored numbers decode, and how numbers are rounded to be
                       stored
    lattice            the spacing of a format, and what rounds to each of its numbers
    levels             the levels of packed formats
    gguf_blocks        the simple formats of GGUF as ggml writes them
    quantisers         tools that round to the nearest level, as they do it
    cell_replay        the merge seen through wide cells
    compiling          what was compiled, kept on disk
    low_rank           the product of two narrow matrices, as torch sums it
    block_scales       the scales of block-quantised weights
    rounding           what rounding does to a merge, and how the merge is seen through
                       it
    arithmetic         every operation rounded, as tensor libraries do
    tool_sums          sums over a tensor in the order the merging tool takes
    simple             numbers a person would write

tables: the tables that are written
    naming             columns that exist once per donor
    schema             what a table holds, and the check that it does
    columns            the columns that several tables have
    schemas, probe_schemas, scan_schemas  every table that is written; those of the
                       answers; that of a scan
    documentation      the same in results/README.md

files: a model's files, untrusted
    strict_json        JSON from strangers, bounded before it is parsed: headers
                       strictly, facts as loaders read them
    safetensors_header  a strict parser of what a weight file says of itself
    safetensors_file   the weight files of a model, their headers and bytes
    gguf_header, gguf_file   the same of GGUF
    safetensors_writer  a safetensors file written piece by piece
    reading_ahead      what the system is told of how files are read
    adapter_files      the files of a PEFT adapter
    tensor_records     the table of a model's tensors, a row as an object
    weight_files       which files of a folder are the model, whatever its index says
    stranger_yaml      YAML from strangers, bounded before and after it is parsed
    tool_traces        what a merging tool wrote beside the weights
    declared_merges    the merges that a folder says it was made by
    further_templates  chat templates beside the default one
    sampled            the sampled byte ranges of a model, in one file

formats: how numbers are stored, and what a configuration says of them
    quantization, heads  what a configuration says of quantised weights; of attention
                       heads
    model_config       all that is read of a configuration
    adapter_config     what an adapter's configuration says of its change
    gguf_facts         what a GGUF file says in place of one
    block_layouts      how the blocks of packed formats lie in a file
    companions         what packed numbers depend on besides codes and scales
    opening            packed codes of safetensors that are read
    matrices           a matrix in a file, with its scales
    scales             the scales of FP8 weights, and which numbers each belongs to
    packed             weights that are packed codes and no numbers: left out, and how
                       many they stand for

tensors: a model's tensors under common names, and their elements
    naming, gguf_names, prefixes
                       one name for a tensor, whatever its writer called it, and
                       whatever stands before that
    tied               heads that are the embedding
    view, views        one matrix of a model and how it is read; a model's tensors cut
                       into such
    fused              q, k, v, gate and up cut out of one tensor, and rows in Mistral's
                       own order
    flat               weights that are stored without their shape
    elements           where a view's elements lie
    beside             what lies beside packed codes, decoded
    stacked_codes      experts that are stored together as MXFP4
    turned             packed matrices whose columns are stored as rows
    open_shards        the files of weights, opened once
    weights            elements read by offset and decoded
    adapter_tensors, adapted   what an adapter changes of its base; the two together, as
                       they are read
    doubles            what a model holds twice

hub: models on the Hugging Face Hub
    gguf               the headers of GGUF files in a repository
    pinned, ranges     a repository at one commit, and its bytes by checked ranges
    meter              how far a transfer is
    waiting            how long a server asks to wait
    history            since when it holds its weights
    answers            what the Hub's API says, as plain JSON
    listing            what the Hub says of many models without a weight
    fetched, shards    the bytes that are here; whole files, resumed and their hash
                       checked

planning: what is compared with what, and what that costs
    manifest, adapter_manifest   what a model holds; what an adapter and its base hold
    holders            whose weight files are read for which model
    pairing, plan      the same tensor found in every model
    slices             the rows of the plan that belong to one slice
    voting             which slices count towards pooled numbers
    asked              which models on the Hub are fetched whole, to be asked
    coverage, unread   how much of every model is compared, in numbers; in words, with
                       what would make the rest readable
    packed_bytes       whether what is not decoded is the same bytes in two models
    unmet              why a tensor met no counterpart, where another model holds it
                       unread
    batches            small layers that share a job
    costs              what comparing will cost, and what differs already
    sampling           which elements are read and which are kept
    submatrices        which whole rows are decomposed
    streaming          whole files in an order that needs little disk

scan: from one suspect to candidates
    positions, prints  which numbers of a model make up its print, and the print
    reading            the print of a folder, or of a repository by ranges
    index, published, publishing   prints on this disk; those that are given to
                       others; the program that does
    names, old_cards   models that small files name, or once named
    gathering          whom a suspect is compared with, and who is left out
    likeness           equal numbers, and how many chance gives
    changes            how numbers differ from a suspect's and from a base's
    held               numbers of some relatives beside the suspect's
    blending           donors that explain what a base does not
    ancestors, voting  which relative the others were made from; the numbers they kept
    given_back         the bases that give a suspect's own numbers back
    explaining         a base that many share, and donors that explain the rest
    compared           what the last steps of a scan and of a watch read
    screening          the models in order, traces left behind, the proposed audit
    siblings           the relatives that an audit takes as its controls
    watching           who carries a model: the prints asked the other way
    proposing, wording the audit as a configuration; a scan in words

sums: weights read once
    frames             who is compared with whom
    stored             elements as a file holds them
    cells              the cells of packed elements
    kernels            what the sums are, exactly, and what an implementation offers
    gram               the sums every later number is made of; records: as rows of a
                       table
    gram_arrays, gram_numba, gram_torch  the sums as formulas on arrays; compiled,
                       faster than files are read; on a GPU
    block_sums         a table of sums as arrays
    gram_vectors, vector_ops   the compiled kernel's arithmetic as vector instructions
    packed_parts, from_files  where the elements of a slice lie in open files, blocks of
                       GGUF among them; the sums that the kernel reads there itself
    packed_levels, packed_vectors, packed_files  blocks of GGUF decoded by compiled
                       loops; levels times scales as vectors; read and summed
    recast             whether elements are a parent's, rounded to another format
    deltas             slices read once, the next run while this one is summed
    evidence           the kept sample
    grid_groups        neighbouring numbers that share a scale
    coarse_grids       numbers of 16 bits that were quantised before: the grid on which
                       they lie
    dividing           in which precision numbers were divided by their scales
    as_stored          numbers rounded as a sample's file would have stored them

disguises: tensors that lie elsewhere than their names say
    findings, wording  what was found, as codes and numbers; in sentences
    likeness, alignment   how alike matrices are; which row is which
    glimpses, adjustments, comparison  a little of a model; how a slice is read; one
                       model beside a parent
    moved_layers, moved_experts, split_experts, vocabulary, permutations
                       what lies elsewhere
    common_vocabulary  the tokens that all parents hold
    column_factors, channels, folded_norms, scaled_channels
                       what was multiplied row by row and column by column
    smoothed_columns   what AWQ multiplied before it rounded
    first_columns, following_columns  the column that GPTQ rounded first; what it pushed
                       onto those behind it
    powers_of_two, factors   what was multiplied as a whole
    blends, nearest_blends   what one blend explains
    rounded_twice, noise     rounded twice on the way, covered with noise
    detecting, layout, rearrange  all of it together; what that gives; the plan that
                       follows from it

merging: a recipe applied to the parents
    settings           a number that differs between tensors, as configurations write it
    facts              what formulas must know of a whole tensor
    merge              what a formula is given
    linear, spheres, means, trimming, sce, elementwise, agents, lines
                       the formulas, by family
    methods            every method's formula and parameters; how to add one
    script_arcs        what numpy does with lines that interpolate directions
    script_formulas    what torch does with lines that people write, operation by operation
    scripts            merges that people write by hand: their lines, and the formulas of them
    recipes            a method with its weights and settings
    applying           a recipe applied to elements of the parents
    owners             whose each tensor of a passthrough is
    mergekit_yaml, passthrough_yaml    a recipe that anyone can run
    mergekit_reading, mergekit_methods, setting_reading, declared_arithmetic, by_tool
                       a declared configuration as recipes that can be replayed
    model_names        which offered model a stranger means
    units              the tensors that are rebuilt
    manners            what a tool may have done before it quantised, and how
    grids, requantising  a merge quantised again: codes with scales of their own; blocks
    rebuild            the recipe applied to the whole parents, compared byte for byte
    rebuild_result, rebuild_wording  what that found: tensor by tensor, in all; in words

fit: from sums to numbers
    estimators         alpha, cos_fit, standard errors
    fits               the numbers of one slice
    replays            which weight explains the rounding of a slice
    pooling, weighting everything pooled; by what each slice counts
    curves             coverage as a curve
    mixture            shares of all donors together, with intervals, and how alike the
                       donors are
    summaries          tables by tensor, layer and component
    sampling_error     how far a sample's alpha may lie from that of all elements

descent: a donor's weight under what was trained since
    directions         the singular directions of a change, and another model's change
                       along them, with what lies there by chance
    whitening          the same, weighed by what else the models hold
    lattice            what a pure merge would show along them, rounded
    evenness           measurements pooled, and how far they lie apart
    overlap            whether a donor was cut out of the model
    repeated           whether its numbers still lie where few bits put them
    participation      whether what a donor does not explain is noise
    measuring, pooling one matrix of all models; many matrices together

search: the recipe that gives most of a model back
    counting           how many elements a recipe gives back, and how many could refute
                       it
    trial              recipes tried on a few slices
    joining            slices joined to the tensors that a tool saw
    shares, programmes the weights that the stored numbers allow together
    clues              what the fits say of the donors
    declared           what a folder declares of its merge, as recipes to be tried first
    patterns, gradients    one number per tensor explained, by name and along the layers
    token_rows         tokens whose rows of the embedding are one parent's own
    tensor_weights     the weights of every tensor on its own
    splits             how the tensors divide into parts that have weights of their own
    leftover_shares    what varying shares leave to the others
    variations         mixtures whose weights vary: how a tensor is measured, what recipes
                       its numbers make
    completing         weights that vary, of every tensor
    silent             weights of what does not vote, such as norms
    at_thresholds      what lines by hand choose of elements at a threshold
    sweeping           the value of one parameter that explains most of a tensor
    blends             the nearest weighted sum, whatever arithmetic made it
    dependence         whether a model's numbers follow from its parents' alone
    leaning            whether a model was rounded as a blend before it was trained
    finer              whether it is a blend of finer numbers than a donor was offered with
    round_trips        whether it is a blend of parents that were quantised and written back
    observing          the last six together: what is seen beside the recipes
    requantised_base   how much of a donor is the base, quantised and written back
    dropped            how much of a change one tensor took, where some was dropped
    survivors          what a merge that chooses elements left and kept
    proposals.proposers    which recipes are worth trying; how to add a proposer
    proposals.declared     what the folder declares
    proposals.linear, varying, spheres, means, narrow, selections, trimming, nearswap,
    proposals.scripts, short_shares, scaled, layered, casting, trimming_packed
                       by family
    proposals.any_weights  weights of any digits, of lines whose every step rounds
    proposals.alike        wide arithmetic that only a few elements of the pilot tell
                       apart
    proposals.alike_varying, ways    the same where weights vary, with more digits
    proposals.by_part, arcs_by_part    lines, and SLERP, whose weights differ between
                       parts of the model
    stacked            which layer, tensor or expert was taken from which parent
    signatures         what random drops leave behind
    recipe_search, finalists    the best recipe; which go on to all of the evidence
    ranking            the finalists by what they give back
    refining           a nearly exact mixture by the elements of all tensors
    lookalikes         that recipe with one donor in place of another that is like it
    remainder          what that recipe leaves: how much, where, of what rank
    reversal, blend_lines, steps    the recipe turned round: is a parent given back
    turning            which recipes are turned

probe: the model asked who it is
    template_files     where a model keeps its chat template
    jinja_child        templates rendered, and their source read, with limits on time
                       and output
    jinja_sandbox      the process that this happens in
    template_records   what is found of a template, on disk
    conversations      what a template is tried on
    turns              what in a prompt is a turn's own frame
    triggers           what a template says only after certain words
    unprinted          what its source holds that no conversation printed
    stripping          the template without what it adds
    first_turn         what a template puts around the first message
    chat_template      what a template says that nobody asked for
    masks              whom that and the other small files name, and how a template
                       differs from its parents'
    prompts            the questions, and the seed of each answer
    conditions         under which circumstances they are asked
    denials            names mentioned only to deny them
    attributions       names put into others' mouths, or given to others
    identity           matching of names, counts
    breakdowns         the count by kind of question and language, in the reasoning, of
                       backstory sentences
    intervals          shares, their intervals, exact tests
    comparisons        between conditions, and between models
    conduct            answers that were cut, empty, repeating, refusals
    answers            questions asked once, and resumed where they stopped
    records            what a question and its answer are on disk
    reasoning          what a thinking model says to itself
    spoken             where an answer ends, and what of it was said
    fitting            whether a model fits here, before memory is taken
    generation, vllm_offline    a model that answers, here: by transformers, by vLLM
    endpoint           a model that answers, behind an OpenAI-compatible interface

finding: numbers turned into words
    dates              when models were published, and which is the older
    case               what a rule is given, and what it answers: numbers and codes
    reasons_merge, reasons_following, reasons_origin, reasons_order, reasons_coverage,
    reasons_cells, reasons_stops
                       everything that a rule can answer
    reasons_descent    what the rule of small directions can answer
    reasons_alone, alone, wording_alone
                       the rules where no donor was offered, and their answers
    traces             what stands out of one audited model's numbers
    stops              what stops each rule that accuses
    coverage           nobody is accused or acquitted on what was not read
    order              whether the parents came first
    copying, accusing, following, round_trip, origin, inconclusive    the rules
    leftover           whether what a blend leaves shows training
    cells              what may be said of a model in few bits
    small_directions   a donor's small directions, as that rule reads them
    descent            the rule that is strong evidence and never exact
    relatives          how near to a donor a model may lie that would be named for it
    verdict            the rules in their order, and which word
    base_choice        which base candidate was chosen, and what another would have
                       shown
    detection          how little would have been seen of what came after a merge
    reading            how much of each weight file was read
    wording_remainder, wording_owners, wording_dates, wording_merge, wording_following,
    wording_origin, wording_order, wording_coverage, wording_cells, wording_stops,
    wording_descent
                       the answers in sentences
    wording_shares     shares as parts of a whole, or as changes added to a base
    wording_reasons    the sentence of every answer
    wording_bases, wording_packed, wording_reach
                       base candidates, bytes that were not decoded, the finding's reach
    judgement          a decision with the numbers that go with it
    receipt            the finding of an audit
    wording_headline   the verdict for somebody who has never merged a model
    wording            what is said beside it
    lineage            declared beside found, and what an honest card would say
    declared, wording_declared
                       the merge that a folder declares, beside what was found
    gate               when a finding fails a run

giving_back: the recipe as something that its owner can run
    pairs              which parents' tensors go into which tensor; what hinders
    torch_lines, programme   a recipe as lines of torch, and as a file to run
    configuration      whether mergekit gives the model back
    wording            the page that says it

report: the page people read, and the other pages
    inputs             what a report is made of
    svg, drawing       a picture as part of a page; what pictures share
    cells, figures, maps, names_figure   the pictures
    spectrum           the weight along singular directions: picture and rows
    tables, offered, coverage_tables, recipes, drilldown
                       what was measured, in words and digits
    names, masks, answer_samples, names_section    what the models call themselves
    declared           the merge that a folder declares, as rows of a table
    sections           what each section prints
    rendering, page    the page
    revisions          two revisions of one suspect compared
    overview, scan     all findings, a line each; what a scan found
    terminal           the last lines of a run

bundle: everything a stranger needs to check a finding
    contents, packing  what it holds; how it is packed
    attestation        its seal: every file's digest, an in-toto statement
    checks, material   published numbers beside recomputed ones; what a bundle holds
    recomputation      one layer recomputed with numpy alone
    verification, verify    all of it; the program

standins: the demo's models
    models, dialogues, phrases, merge

stages: the steps of an audit, as the rules, Python and the tests run them
    pin, manifest, adapter   which commit of a repository is read; what a model holds, and
                       one that is an adapter merged into its base
    plan, layout       what is compared with what, by name and as it lies
    packed, shard, fetch_whole, download   bytes that are not decoded; bytes from the Hub
    deltas, fit        weights read once; every slice fitted
    recipe, remainder, reverse   the recipe, what it leaves, the recipe turned round
    spectrum           rows decomposed
    aggregate, curves  tables, summary and the picture of the evidence
    template, mask, ask, score   the model asked who it is
    verdict, gate      the finding, and whether it fails a run
    rebuild, give_back the suspect made again, bit for bit; its recipe for its owner
    report, overview, compare   the pages
    bundle             the evidence packed
    candidates, prints, print_index, screen, propose   the steps of a scan
    carriers, siblings the last step of a watch; an audit's controls from a scan
    train_standin, merge_standin   the demo's models
    auditing           the stages one after the other, without Snakemake
    audited_models     where the files of its models lie
    audit_file         the same of a configuration file

testing: planted models and audits of them, for tests and benchmarks
    planting, tiny_model, half_billion, moe_models, template_families, template_shapes,
      hostile_headers
                       models and files with a known answer
    realmerge, disguises, quantising, spellings
                       merged, disguised, quantised and renamed
    adapters           adapters, and their merge in lines of torch
    gguf_models        models as GGUF files
    packing            models as packed codes of safetensors
    giving_back        what was given back, run
    audits, programs, reporting, looking    audits of them, and what they found
    scans              families of small models, scanned
    workplace          a copy of the workflow, and Snakemake run in it
    hubserver          a server that speaks the Hub's protocol, and can be told to fail
      content, faults, server    what it holds, what goes wrong, the server
      lineages         models computed in lines of descent
      listing, quotas  lists of repositories by filters; how many questions it answers
      numbers, computed, describe  models whose bytes are computed when they are asked
                       for
      faulty_reads     every fault, and how a reader should end
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mergetrace.stages.audit_file import Finding

__version__ = "0.2.0"
__all__ = ["__version__", "audit"]


def audit(
    configuration: str | Path, folder: str | Path = "results", name: str | None = None
) -> "Finding":
    """Audit one suspect and write the report.

    configuration: a YAML file, as `make audit CONFIG=...` takes it. folder: where the
    results go, laid out as the workflow does. name: which of its audits, where it has
    several. The models are compared and judged; to ask them who they are, to resume
    what was interrupted and to pack the evidence, run the workflow.

    Raises mergetrace.errors.AuditError for what a user can cause.
    """
    # Half a second that a program which only wants the version need not wait.
    from mergetrace.stages.audit_file import audit_file

    return audit_file(Path(configuration), Path(folder), name)
