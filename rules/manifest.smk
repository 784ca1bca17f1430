# Which commit of a repository is read.
rule pin:
    input:
        script=ancient(script("pin")),
    output:
        pinned="results/models/{model}/pinned.json",
    log:
        "results/logs/pin/{model}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
    params:
        paths=paths,
        settings=call(
            repo=lambda wildcards: source(wildcards.model).repo,
            revision=lambda wildcards: source(wildcards.model).revision,
        ),
    message:
        "Pinning {wildcards.model} to a commit"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


# What each model holds. Shared by every audit that names the model.
rule manifest:
    input:
        script=script("manifest"),
        library=library("manifest"),
        watched=lambda wildcards: model_files(wildcards.model),
        pinned=lambda wildcards: (
            "results/models/{model}/pinned.json" if on_the_hub(wildcards.model) else []
        ),
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
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            name=lambda wildcards: wildcards.model,
            folder=lambda wildcards: (
                None if on_the_hub(wildcards.model) else place(wildcards.model)
            ),
            connections=lambda wildcards: (
                configuration.compute.connections if on_the_hub(wildcards.model) else None
            ),
        ),
    message:
        "Reading the headers of {wildcards.model}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
