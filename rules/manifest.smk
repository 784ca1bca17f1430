# A model on the Hub is pinned to a commit once, and everything later reads that commit. The revision is resolved again when the
# configuration names another, or by `--forcerun pin`; an edited program is no reason.
rule pin:
    input:
        script=ancient("scripts/pin.py"),
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
        source=lambda wildcards: {
            key: value
            for key, value in config["models"][wildcards.model].items()
            if key != "published"
        },
    message:
        "Pinning {wildcards.model} to a commit"
    shell:
        "python {input.script} --repo {params.source[repo]} --revision {params.source[revision]:q} --output {output.pinned} 2> {log}"


# What each model holds. Shared by every audit that names the model.
rule manifest:
    input:
        script="scripts/manifest.py",
        library=library("scripts/manifest.py"),
        files=lambda wildcards: model_files(wildcards.model),
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
        source=lambda wildcards, input: (
            f"--pinned {input.pinned} --connections {config['compute']['connections']}"
            if on_the_hub(wildcards.model)
            else f"--folder {shlex.quote(folder(wildcards.model))}"
        ),
    message:
        "Reading the headers of {wildcards.model}"
    shell:
        "python {input.script} --name {wildcards.model} {params.source} --manifest {output.manifest} "
        "--tensors {output.tensors} --files {output.files} 2> {log}"
