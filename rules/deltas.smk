# The one place where weights are read, each once.
rule deltas:
    input:
        script=script("deltas"),
        library=library("deltas"),
        chosen=chosen_siblings,
        plan="results/{audit}/plan.parquet",
        watched=weight_files,
    output:
        deltas="results/{audit}/deltas/{batch}.parquet",
        evidence="results/{audit}/evidence/{batch}.safetensors",
    log:
        "results/logs/deltas/{audit}.{batch}.log",
    benchmark:
        "results/benchmarks/deltas.{audit}.{batch}.tsv"
    # Before the next files are fetched, so that those of this layer go.
    priority: 10
    conda:
        "../envs/weights.yaml"
    # Batches of layers run side by side; on a cluster's node, `--set-threads deltas=8` reads one with more.
    threads: 1
    resources:
        # 300 for the program and its buffers; the rest is the evidence of a layer of 512 experts.
        mem_mb=growing(1000),
        gpu=1 if configuration.compute.device == "cuda" else 0,
    params:
        paths=paths,
        settings=call(
            roles,
            batch=lambda wildcards: wildcards.batch,
            folders=weights,
            stream=lambda wildcards: (
                RESULTS / wildcards.audit / "plan.json" if streamed(wildcards.audit) else None
            ),
            mode=configuration.mode,
            **settings("sampling", "block_elements", "seed"),
            device=configuration.compute.device,
        ),
    message:
        "Summing the deltas of layers {wildcards.batch} for audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} --threads {threads} 2> {log}"
