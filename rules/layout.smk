# Where the tensors lie, whatever their names say; which batches of layers follow from that.
checkpoint layout:
    input:
        script=script("layout"),
        library=library("layout"),
        chosen=chosen_siblings,
        watched=lambda wildcards: ["results/{audit}/plan.json", *files_of(glimpsed)(wildcards)],
        manifests=of_audit("results/models/{model}/manifest.json"),
        tensors=of_audit("results/models/{model}/tensors.parquet"),
        by_name="results/{audit}/by_name.parquet",
    output:
        plan="results/{audit}/plan.parquet",
        unpaired="results/{audit}/unpaired.csv",
        layout="results/{audit}/layout.json",
    log:
        "results/logs/layout/{audit}.log",
    # While a checkpoint is unfinished Snakemake throws no fetched file away.
    priority: 20
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(3000),
    params:
        paths=paths,
        settings=call(
            roles,
            folders=folders_of(glimpsed),
            mode=configuration.mode,
            **settings("sampling", "alpha_se", "block_elements", "spectrum_mb", "seed"),
            **settings("verdict", "min_same_cos", "max_chance_in_place", "max_octaves_apart"),
        ),
    message:
        "Looking where the tensors of audit {wildcards.audit} lie"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
