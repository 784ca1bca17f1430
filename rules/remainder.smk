# What the best recipe leaves unexplained: how much, where, how sparse, of what rank.
rule remainder:
    input:
        script=script("remainder"),
        library=library("remainder"),
        chosen=chosen_siblings,
        plan="results/{audit}/plan.parquet",
        fits=of_batches("results/{audit}/fits/{batch}.parquet"),
        evidence=of_batches("results/{audit}/evidence/{batch}.safetensors"),
        recipes="results/{audit}/recipes.json",
    output:
        remainder="results/{audit}/remainder.json",
    log:
        "results/logs/remainder/{audit}.log",
    benchmark:
        "results/benchmarks/remainder.{audit}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        paths=paths,
        settings=call(
            roles,
            **settings("verdict", "replay_width", "max_inflation"),
        ),
    message:
        "Measuring what the recipe of audit {wildcards.audit} leaves"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
