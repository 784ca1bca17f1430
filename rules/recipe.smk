# Which merge recipe gives most of each audited model back.
rule recipe:
    input:
        script=script("recipe"),
        library=library("recipe"),
        chosen=chosen_siblings,
        fits=of_batches("results/{audit}/fits/{batch}.parquet"),
        evidence=of_batches("results/{audit}/evidence/{batch}.safetensors"),
        manifests=of_audit("results/models/{model}/manifest.json"),
        layout="results/{audit}/layout.json",
    output:
        recipes="results/{audit}/recipes.json",
        recipe_slices="results/{audit}/recipe_slices.parquet",
    log:
        "results/logs/recipe/{audit}.log",
    benchmark:
        "results/benchmarks/recipe.{audit}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        paths=paths,
        settings=call(
            roles,
            **settings(
                "verdict",
                "replay_width",
                "min_stayed",
                "min_informative_share",
                "max_recipes",
            ),
        ),
    message:
        "Searching the recipe of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
