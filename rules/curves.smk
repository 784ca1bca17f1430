# How much of the evidence every blend weight explains, for the report's picture of it.
rule curves:
    input:
        script=script("curves"),
        library=library("curves"),
        chosen=chosen_siblings,
        fits=of_batches("results/{audit}/fits/{batch}.parquet"),
        evidence=of_batches("results/{audit}/evidence/{batch}.safetensors"),
        summary="results/{audit}/summary.json",
    output:
        curves="results/{audit}/curves.csv",
    log:
        "results/logs/curves/{audit}.log",
    benchmark:
        "results/benchmarks/curves.{audit}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        paths=paths,
        settings=call(
            roles,
            replay_width=configuration.verdict.replay_width,
            seed=configuration.sampling.seed,
        ),
    message:
        "Drawing the coverage of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
