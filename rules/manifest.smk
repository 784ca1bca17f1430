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
            repo=lambda wildcards: source(wildcards.model).repository,
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
    wildcard_constraints:
        model="|".join(
            [*filter(lambda model: not is_adapter(model), configuration.models), *CHOSEN]
        ),
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
            file=lambda wildcards: source(wildcards.model).file,
            connections=lambda wildcards: (
                configuration.compute.connections if on_the_hub(wildcards.model) else None
            ),
        ),
    message:
        "Reading the headers of {wildcards.model}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


# What a model holds that is an adapter merged into its base, and the adapter as it is added when the base is read.
if adapters():

    rule adapter:
        input:
            script=script("adapter"),
            library=library("adapter"),
            watched=lambda wildcards: (
                [] if configuration.models[wildcards.model].on_hub else own_files(wildcards.model)
            ),
            pinned=lambda wildcards: (
                "results/models/{model}/pinned.json"
                if configuration.models[wildcards.model].on_hub
                else []
            ),
            base_manifest=lambda wildcards: f"results/models/{holder(wildcards.model)}/manifest.json",
            base_tensors=lambda wildcards: f"results/models/{holder(wildcards.model)}/tensors.parquet",
            base_files=lambda wildcards: f"results/models/{holder(wildcards.model)}/files",
        output:
            manifest="results/models/{model}/manifest.json",
            tensors="results/models/{model}/tensors.parquet",
            files=directory("results/models/{model}/files"),
            adapter="results/models/{model}/adapter.safetensors",
        log:
            "results/logs/adapter/{model}.log",
        wildcard_constraints:
            model="|".join(adapters()) or "none",
        conda:
            "../envs/weights.yaml"
        threads: 1
        resources:
            mem_mb=growing(2000),
        params:
            paths=paths,
            settings=call(
                name=lambda wildcards: wildcards.model,
                folder=lambda wildcards: (
                    None
                    if configuration.models[wildcards.model].on_hub
                    else placed(configuration.models[wildcards.model].folder)
                ),
                rounding=lambda wildcards: configuration.models[wildcards.model].rounding,
                connections=configuration.compute.connections,
            ),
        message:
            "Preparing the adapter {wildcards.model}"
        shell:
            "python {input.script} {params.paths} {params.settings} 2> {log}"
