# The evidence bundle: everything a stranger needs to check the finding once the models are gone.
rule pack:
    input:
        script="scripts/bundle.py",
        library=library("scripts/bundle.py"),
        verifier=["scripts/verify.py", *(f"scripts/mergetrace/{module}.py" for module in VERIFIER)],
        readme="scripts/mergetrace/templates/bundle.md",
        lock="requirements.lock",
        prompts=config["probe"]["prompts"] if config["probe"]["enabled"] else [],
        findings=expand("results/{{audit}}/{finding}", finding=FINDINGS),
        tables=expand("results/{{audit}}/{table}.csv", table=TABLES),
        plan="results/{audit}/plan.parquet",
        slices="results/{audit}/recipe_slices.parquet",
        deltas=of_batches("results/{audit}/deltas/{batch}.parquet"),
        evidence=of_batches("results/{audit}/evidence/{batch}.safetensors"),
        fits=of_batches("results/{audit}/fits/{batch}.parquet"),
        manifests=of_audit("results/models/{model}/manifest.json"),
        answers=answers,
        rebuild=rebuilt,
    output:
        folder=directory("results/{audit}/bundle"),
        archive="results/{audit}/bundle.zip",
    log:
        "results/logs/pack/{audit}.log",
    benchmark:
        "results/benchmarks/pack.{audit}.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        models=lambda wildcards: models_of(config["audits"][wildcards.audit]),
        configuration=lambda wildcards: json.dumps(
            published(config, wildcards.audit, models_of(config["audits"][wildcards.audit]))
        ),
    message:
        "Packing the evidence of audit {wildcards.audit}"
    shell:
        "python {input.script} --results results --audit {wildcards.audit} --models {params.models} --configuration {params.configuration:q} "
        "--prompts {input.prompts:q} --lock {input.lock} --output {output.folder} --archive {output.archive} 2> {log}"
