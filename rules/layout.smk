# Where each tensor lies in the parents, whatever its name says: layers moved, experts renumbered, rows permuted. The only checkpoint: it
# decides which batches of layers there are. It reads a little of local models; of models on the Hub it says that nothing was looked for.
checkpoint layout:
    input:
        script="scripts/layout.py",
        library=library("scripts/layout.py"),
        manifests=of_audit("results/models/{model}/manifest.json"),
        tensors=of_audit("results/models/{model}/tensors.parquet"),
        named="results/{audit}/by_name.parquet",
        unpaired="results/{audit}/by_name_unpaired.csv",
        summary="results/{audit}/plan.json",
        weights=lambda wildcards: [
            file for model in glimpsed(wildcards) for file in model_files(model)
        ],
    output:
        plan="results/{audit}/plan.parquet",
        unpaired="results/{audit}/unpaired.csv",
        facts="results/{audit}/layout.json",
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
        roles=roles,
        folders=lambda wildcards: [f"{model}={folder(model)}" for model in glimpsed(wildcards)],
        mode=config["mode"],
        sampling=config["sampling"],
    message:
        "Looking where the tensors of audit {wildcards.audit} lie"
    shell:
        "python {input.script} {params.roles} --manifests {input.manifests} --tensors {input.tensors} --folders {params.folders:q} "
        "--mode {params.mode} --alpha-se {params.sampling[alpha_se]} --block-elements {params.sampling[block_elements]} --seed {params.sampling[seed]} "
        "--named {input.named} --named-unpaired {input.unpaired} "
        "--plan {output.plan} --unpaired {output.unpaired} --facts {output.facts} 2> {log}"
