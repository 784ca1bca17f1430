# The sampled bytes of a model on the Hub, in one small file. What was fetched is kept beside the model's manifest, by commit, and serves every
# audit and every later run: an interrupted one goes on, a more precise one fetches what is new.
rule download:
    input:
        script="scripts/download.py",
        library=library("scripts/download.py"),
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
        sampling=config["sampling"],
        connections=config["compute"]["connections"],
        fetched="results/models/{model}/fetched",
    message:
        "Fetching the sample of {wildcards.model} for audit {wildcards.audit}"
    shell:
        "python {input.script} --model {wildcards.model} --plan {input.plan} --manifest {input.manifest} "
        "--block-elements {params.sampling[block_elements]} --seed {params.sampling[seed]} --connections {params.connections} "
        "--fetched {params.fetched} --output {output.sample} 2> {log}"
