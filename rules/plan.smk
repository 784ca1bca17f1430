# The same tensors found in every model by their names, and what comparing them will cost. No weight is read.
rule plan:
    input:
        script="scripts/plan.py",
        library=library("plan", "pairing", "dtypes", "streaming"),
        manifests=of_audit("results/models/{model}/manifest.json"),
        tensors=of_audit("results/models/{model}/tensors.parquet"),
    output:
        plan="results/{audit}/by_name.parquet",
        summary="results/{audit}/plan.json",
        unpaired="results/{audit}/by_name_unpaired.csv",
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
        roles=roles,
        mode=config["mode"],
        sampling=config["sampling"],
        streamed=lambda wildcards: (
            f"--streamed {' '.join(streamed(wildcards.audit))} --layers-on-disk {config['compute']['layers_on_disk']}"
            if streamed(wildcards.audit)
            else ""
        ),
    message:
        "Pairing the tensors of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.roles} --manifests {input.manifests} --tensors {input.tensors} --mode {params.mode} "
        "--blocks {params.sampling[blocks]} --block-elements {params.sampling[block_elements]} "
        "{params.streamed} --plan {output.plan} --summary {output.summary} --unpaired {output.unpaired} 2> {log}"
