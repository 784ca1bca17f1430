# One whole weight file of a model on the Hub: fetched when its layer's turn comes near, thrown away when the last layer that needs it is done,
# so that the disk never holds more than plan.json says. Every audit fetches its own: two audits that share a model are rarely at the same layer.
# Only another commit is a reason to fetch it again; an edited program is none. `--notemp` keeps the files.
rule shard:
    input:
        script=ancient(script("shard")),
        pinned=ancient("results/models/{model}/pinned.json"),
        plan=ancient("results/{audit}/plan.json"),
        fetched_whole=lambda wildcards: ancient(whole_model(wildcards.model)),
        watched=lambda wildcards: ancient(
            expand(
                "results/{{audit}}/deltas/{batch}.parquet",
                batch=awaited(stream(wildcards), wildcards.model, int(wildcards.number)),
            )
        ),
    output:
        shard=temp("results/{audit}/shards/{model}/{number}.safetensors"),
        record="results/{audit}/shards/{model}/{number}.json",
    log:
        "results/logs/shard/{audit}.{model}.{number}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
    params:
        commit=lambda wildcards, input: json.loads(Path(input.pinned).read_text())["commit"],
        paths=paths,
        settings=call(
            model=lambda wildcards: wildcards.model,
            number=lambda wildcards: int(wildcards.number),
            partial=lambda wildcards: RESULTS
            / f"{wildcards.audit}/shards/{wildcards.model}/{wildcards.number}.partial",
            piece_mb=configuration.compute.piece_mb,
        ),
    message:
        "Fetching weight file {wildcards.number} of {wildcards.model}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


# A whole model on the Hub, fetched once for all audits so that it can be asked here, and thrown away when it was asked and, in a full audit, read.
# `--notemp` keeps it.
rule fetch_whole:
    input:
        script=ancient(script("fetch_whole")),
        pinned=ancient("results/models/{model}/pinned.json"),
        manifest=ancient("results/models/{model}/manifest.json"),
        files=ancient("results/models/{model}/files"),
    output:
        folder=temp(directory("results/models/{model}/whole")),
    log:
        "results/logs/fetch_whole/{model}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
    params:
        commit=lambda wildcards, input: json.loads(Path(input.pinned).read_text())["commit"],
        paths=paths,
        settings=call(
            model=lambda wildcards: wildcards.model,
            whole_gb=configuration.probe.whole_gb,
            piece_mb=configuration.compute.piece_mb,
            partial=lambda wildcards: RESULTS / f"models/{wildcards.model}/whole.partial",
        ),
    message:
        "Fetching {wildcards.model} whole, to ask it"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
