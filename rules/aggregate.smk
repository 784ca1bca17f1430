# Everything pooled: tables for people, a summary for the verdict.
rule aggregate:
    input:
        script="scripts/aggregate.py",
        library=library("scripts/aggregate.py"),
        fits=of_batches("results/{audit}/fits/{batch}.parquet"),
        deltas=(
            of_batches("results/{audit}/deltas/{batch}.parquet")
            if config["mode"] == "sample"
            else []
        ),
        recipes="results/{audit}/recipes.json",
        slices="results/{audit}/recipe_slices.parquet",
        remainder="results/{audit}/remainder.json",
        turned="results/{audit}/reverse.json",
    output:
        tensors="results/{audit}/tensors.csv",
        controls="results/{audit}/controls.csv",
        layers="results/{audit}/layers.csv",
        components="results/{audit}/components.csv",
        precision="results/{audit}/precision.csv",
        summary="results/{audit}/summary.json",
    log:
        "results/logs/aggregate/{audit}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        roles=roles,
        deltas=lambda wildcards, input: f"--deltas {input.deltas}" if input.deltas else "",
        min_bit_exact=config["verdict"]["min_bit_exact"],
    message:
        "Pooling the fits of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.roles} --fits {input.fits} {params.deltas} --recipes {input.recipes} --recipe-slices {input.slices} "
        "--remainder {input.remainder} --reverse {input.turned} --min-bit-exact {params.min_bit_exact} --tensors {output.tensors} --controls-table {output.controls} "
        "--layers {output.layers} --components {output.components} --precision {output.precision} --summary {output.summary} 2> {log}"
