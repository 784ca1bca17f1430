# The one place where weights are read, each once.
rule deltas:
    input:
        script="scripts/deltas.py",
        library=library("scripts/deltas.py"),
        plan="results/{audit}/plan.parquet",
        weights=weight_files,
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
        gpu=1 if config["compute"]["device"] == "cuda" else 0,
    params:
        roles=roles,
        folders=lambda wildcards: [
            f"{model}={weights_at(wildcards.audit, model)}"
            for model in models_of(config["audits"][wildcards.audit])
        ],
        stream=lambda wildcards: (
            f"--stream results/{wildcards.audit}/plan.json" if streamed(wildcards.audit) else ""
        ),
        mode=config["mode"],
        sampling=config["sampling"],
        device=config["compute"]["device"],
    message:
        "Summing the deltas of layers {wildcards.batch} for audit {wildcards.audit}"
    shell:
        "python {input.script} {params.roles} --plan {input.plan} {params.stream} --batch {wildcards.batch} --folders {params.folders:q} "
        "--mode {params.mode} --block-elements {params.sampling[block_elements]} "
        "--seed {params.sampling[seed]} --threads {threads} --device {params.device} --deltas {output.deltas} --evidence {output.evidence} 2> {log}"
