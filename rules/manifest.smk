# What each model holds. Shared by every audit that names the model.
rule manifest:
    input:
        script="scripts/manifest.py",
        library=library("manifest", "safetensors_file", "strict_json", "dtypes"),
        files=lambda wildcards: model_files(wildcards.model),
    output:
        manifest="results/models/{model}/manifest.json",
        tensors="results/models/{model}/tensors.parquet",
        files=directory("results/models/{model}/files"),
    log:
        "results/logs/manifest/{model}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        folder=lambda wildcards: folder(wildcards.model),
    message:
        "Reading the headers of {wildcards.model}"
    shell:
        "python {input.script} --name {wildcards.model} --folder {params.folder:q} --manifest {output.manifest} "
        "--tensors {output.tensors} --files {output.files} 2> {log}"
