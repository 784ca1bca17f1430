# The sampled bytes of a model on the Hub, in one small file. What was fetched is kept beside the model's manifest, by commit, and serves every
# audit and every later run: an interrupted one goes on, a more precise one fetches what is new.
rule download:
    input:
        script=script("download"),
        library=library("download"),
        plan="results/{audit}/plan.parquet",
        manifest="results/models/{model}/manifest.json",
    output:
        sample="results/{audit}/samples/{model}.safetensors",
    log:
        "results/logs/download/{audit}.{model}.log",
    benchmark:
        "results/benchmarks/download.{audit}.{model}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            model=lambda wildcards: wildcards.model,
            adapters=lambda wildcards: [
                model
                for model in audit_models(wildcards)
                if is_adapter(model) and holder(model) == wildcards.model
            ],
            **settings("sampling", "block_elements", "seed"),
            mode=configuration.mode,
            connections=configuration.compute.connections,
            fetched=lambda wildcards: RESULTS / f"models/{wildcards.model}/fetched",
        ),
    message:
        "Fetching the sample of {wildcards.model} for audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
