# Who is paired with whom by name, and what that costs.
rule plan:
    input:
        script=script("plan"),
        library=library("plan"),
        chosen=chosen_siblings,
        manifests=of_audit("results/models/{model}/manifest.json"),
        tensors=of_audit("results/models/{model}/tensors.parquet"),
    output:
        by_name="results/{audit}/by_name.parquet",
        by_name_unpaired="results/{audit}/by_name_unpaired.csv",
        plan="results/{audit}/plan.json",
    log:
        "results/logs/plan/{audit}.log",
    # While any plan is missing Snakemake throws no fetched file away.
    priority: 20
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        paths=paths,
        settings=call(
            roles,
            audit=lambda wildcards: wildcards.audit,
            mode=configuration.mode,
            whole_gb=whole_gb(),
            **settings("sampling", "alpha_se", "block_elements", "spectrum_mb", "seed"),
            **settings("compute", "bandwidth_mbit", "connections", "piece_mb", "layers_on_disk"),
        ),
    message:
        "Pairing the tensors of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
