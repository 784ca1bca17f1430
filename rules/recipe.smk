# The merge recipe that gives most of each audited model back, bit for bit, searched on the evidence of all layers.
rule recipe:
    input:
        script="scripts/recipe.py",
        library=library("scripts/recipe.py"),
        fits=of_batches("results/{audit}/fits/{batch}.parquet"),
        evidence=of_batches("results/{audit}/evidence/{batch}.safetensors"),
    output:
        recipes="results/{audit}/recipes.json",
        slices="results/{audit}/recipe_slices.parquet",
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
        roles=roles,
        width=config["verdict"]["replay_width"],
        stayed=config["verdict"]["min_stayed"],
    message:
        "Searching the recipe of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.roles} --fits {input.fits} --evidence {input.evidence} --replay-width {params.width} --min-stayed {params.stayed} "
        "--recipes {output.recipes} --slices {output.slices} 2> {log}"
