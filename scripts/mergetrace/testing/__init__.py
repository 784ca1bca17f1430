"""Planted models and audits of them, for tests and benchmarks: real files with a known
answer, small enough to be made in the test itself.

Which one to take:

    numbers on disk, any architecture        planting: `random_model`, `finetuned`,
        (fastest; nothing loads them)        `blend`, written by `write_model`
    a model that mergekit and transformers   realmerge: `qwen`, written by `write_qwen`;
        open, or a merge by mergekit itself  `mergekit`, `mergekit_experts`
    the same model hidden: permuted,         disguises, of what `qwen` makes (or a
        scaled, covered with noise           mixture of experts)
    a mixture of experts that was trained    moe_models: `make_moe_models` (a few
        and merged                           seconds: share it between tests)
    other names, fused or regrouped rows     spellings, of `llama`
    FP8 with scales of any layout            quantising: `in_fp8`, `model_in_fp8`
    a damaged or hostile safetensors file    hostile_headers: REFUSED, ACCEPTED
    a model that answers questions           tiny_model: `write`
    a chat template, with what it injects    template_shapes (one by one, as models are
                                             published), template_families (families
                                             times ways: systematic, many)
    a model on the Hub                       hubserver: `Hub`, `Repo`, `Fault`
    a model of hundreds of GB on the Hub     hubserver.computed: `family`
    the Hub misbehaving while bytes are read hubserver.faulty_reads: FAULTS

What to do with it:

    audit it in this process                 audits: `audit` gives verdict.json
    its layout alone, without an audit       looking: `looked`
    start one stage as a program             programs: `program`, `asking`
    Snakemake in a copy of the workflow      workplace: `copy_workflow`, `run_snakemake`
    a report without any audit               reporting: `inputs`, `finding`

Convention: the suspect is `blend(base, donor, 0.571)`, that is 57.1 % donor, unless a
test says otherwise; `sibling` is an innocent finetune of the same base, as a control.
"""
