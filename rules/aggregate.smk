# Everything pooled: tables for people, a summary for the verdict.
rule aggregate:
    input:
        script=script("aggregate"),
        library=library("aggregate"),
        chosen=chosen_siblings,
        fits=of_batches("results/{audit}/fits/{batch}.parquet"),
        deltas=(
            of_batches("results/{audit}/deltas/{batch}.parquet")
            if configuration.mode == "sample"
            else []
        ),
        recipes="results/{audit}/recipes.json",
        recipe_slices="results/{audit}/recipe_slices.parquet",
        remainder="results/{audit}/remainder.json",
        reversal="results/{audit}/reverse.json",
    output:
        tensors="results/{audit}/tensors.csv",
        controls_table="results/{audit}/controls.csv",
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
        paths=paths,
        settings=call(
            roles,
            **settings("verdict", "min_bit_exact", "min_same_cos"),
        ),
    message:
        "Pooling the fits of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
