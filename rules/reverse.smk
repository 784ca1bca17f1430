# Whether the parents would be given back from the audited model, as parents that were made from it are.
rule reverse:
    input:
        script=script("reverse"),
        library=library("reverse"),
        chosen=chosen_siblings,
        fits=of_batches("results/{audit}/fits/{batch}.parquet"),
        evidence=of_batches("results/{audit}/evidence/{batch}.safetensors"),
        recipes="results/{audit}/recipes.json",
    output:
        reversal="results/{audit}/reverse.json",
    log:
        "results/logs/reverse/{audit}.log",
    benchmark:
        "results/benchmarks/reverse.{audit}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        paths=paths,
        settings=call(
            roles,
            **settings("verdict", "min_turned_weight", "max_turned_weight"),
        ),
    message:
        "Turning the recipe of audit {wildcards.audit} round"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
