# How much of the evidence every blend weight explains, for the report's picture of it.
rule coverage:
    input:
        script="scripts/curve.py",
        library=library("scripts/curve.py"),
        fits=of_batches("results/{audit}/fits/{batch}.parquet"),
        evidence=of_batches("results/{audit}/evidence/{batch}.safetensors"),
        summary="results/{audit}/summary.json",
    output:
        curves="results/{audit}/coverage.csv",
    log:
        "results/logs/coverage/{audit}.log",
    benchmark:
        "results/benchmarks/coverage.{audit}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        roles=roles,
        width=config["verdict"]["replay_width"],
        seed=config["sampling"]["seed"],
    message:
        "Drawing the coverage of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.roles} --fits {input.fits} --evidence {input.evidence} --summary {input.summary} "
        "--replay-width {params.width} --seed {params.seed} --output {output.curves} 2> {log}"
