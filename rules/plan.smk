# The same tensors found in every model by their names, and what comparing them will cost. No weight is read.
rule plan:
    input:
        script="scripts/plan.py",
        library=library("scripts/plan.py"),
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
        compute=config["compute"],
    message:
        "Pairing the tensors of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.roles} --audit {wildcards.audit} --manifests {input.manifests} --tensors {input.tensors} --mode {params.mode} "
        "--alpha-se {params.sampling[alpha_se]} --block-elements {params.sampling[block_elements]} --seed {params.sampling[seed]} "
        "--bandwidth-mbit {params.compute[bandwidth_mbit]} --connections {params.compute[connections]} --piece-mb {params.compute[piece_mb]} "
        "--layers-on-disk {params.compute[layers_on_disk]} --plan {output.plan} --summary {output.summary} --unpaired {output.unpaired} 2> {log}"
