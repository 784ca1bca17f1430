# Whether what is not decoded (packed codes and their like) is at least the same bytes in the suspect and a parent. Where every tensor is decoded it
# reads nothing; of models on the Hub it compares the hashes of whole files.
rule packed:
    input:
        script="scripts/packed.py",
        library=library("scripts/packed.py"),
        manifests=of_audit("results/models/{model}/manifest.json"),
        tensors=of_audit("results/models/{model}/tensors.parquet"),
        weights=lambda wildcards: [
            file
            for model in models_of(config["audits"][wildcards.audit])
            for file in model_files(model)
        ],
    output:
        packed="results/{audit}/packed.json",
    log:
        "results/logs/packed/{audit}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        roles=roles,
        folders=lambda wildcards: [
            f"{model}={folder(model)}"
            for model in models_of(config["audits"][wildcards.audit])
            if not on_the_hub(model)
        ],
        mode=config["mode"],
    message:
        "Comparing the undecoded bytes of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.roles} --manifests {input.manifests} --tensors {input.tensors} --folders {params.folders:q} "
        "--mode {params.mode} --output {output.packed} 2> {log}"
