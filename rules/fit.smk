# From sums and evidence to alpha, cos_fit and replay, slice by slice. No weights are read.
rule fit:
    input:
        script=script("fit"),
        library=library("fit"),
        chosen=chosen_siblings,
        plan="results/{audit}/plan.parquet",
        deltas="results/{audit}/deltas/{batch}.parquet",
        evidence="results/{audit}/evidence/{batch}.safetensors",
    output:
        fits="results/{audit}/fits/{batch}.parquet",
    log:
        "results/logs/fit/{audit}.{batch}.log",
    benchmark:
        "results/benchmarks/fit.{audit}.{batch}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            roles,
            **settings("verdict", "min_vote_elements", "replay_width"),
            seed=configuration.sampling.seed,
        ),
    message:
        "Fitting layers {wildcards.batch} of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
