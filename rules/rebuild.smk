# The recipe applied to the whole parents, and the result compared with the suspect's bytes. Says why where there is nothing to rebuild.
rule rebuild_suspect:
    input:
        script="scripts/rebuild.py",
        library=library("scripts/rebuild.py"),
        plan="results/{audit}/plan.parquet",
        unpaired="results/{audit}/unpaired.csv",
        tensors=lambda wildcards: f"results/models/{config['audits'][wildcards.audit]['suspect']}/tensors.parquet",
        recipes="results/{audit}/recipes.json",
        verdict="results/{audit}/verdict.json",
        weights=lambda wildcards: [
            file for model in compared_models(wildcards) for file in model_files(model)
        ],
    output:
        rebuild="results/{audit}/rebuild.json",
        table="results/{audit}/rebuild.csv",
    log:
        "results/logs/rebuild/{audit}.log",
    benchmark:
        "results/benchmarks/rebuild.{audit}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000 + config["rebuild"]["whole_elements"] // 10000),
    params:
        suspect=lambda wildcards: config["audits"][wildcards.audit]["suspect"],
        folders=lambda wildcards: [
            f"{model}={folder(model)}" for model in compared_models(wildcards)
        ],
        remote=lambda wildcards: (
            " ".join(["--remote", *remote])
            if (remote := list(filter(on_the_hub, compared_models(wildcards))))
            else ""
        ),
        mode=config["mode"],
        rebuild=config["rebuild"],
    message:
        "Rebuilding the suspect of audit {wildcards.audit} from its parents"
    shell:
        "python {input.script} --suspect {params.suspect} --folders {params.folders:q} {params.remote} --plan {input.plan} --unpaired {input.unpaired} "
        "--tensors {input.tensors} --recipes {input.recipes} --verdict {input.verdict} --mode {params.mode} --when {params.rebuild[enabled]} "
        "--whole-elements {params.rebuild[whole_elements]} --output {output.rebuild} --table {output.table} 2> {log}"
