# The evidence bundle: everything a stranger needs to check the finding once the models are gone.
def evidence_of_finding(wildcards):
    """What the bundle is packed from, and the library that checks it."""
    audit = f"results/{wildcards.audit}"
    packed = [f"{audit}/{finding}" for finding in FINDINGS]
    packed += [f"{audit}/{table}.csv" for table in TABLES]
    packed += [f"{audit}/plan.parquet", f"{audit}/recipe_slices.parquet"]
    for pattern in (
        "deltas/{batch}.parquet",
        "evidence/{batch}.safetensors",
        "fits/{batch}.parquet",
    ):
        packed += of_batches(f"results/{{audit}}/{pattern}")(wildcards)
    packed += of_audit("results/models/{model}/manifest.json")(wildcards)
    checking = [code(f"scripts/{module}") for module in verifier(PROGRAMS)]
    return [
        *packed,
        *answers(wildcards),
        *rebuilt(wildcards),
        *checking,
        code("scripts/mergetrace/templates/bundle.md"),
    ]


rule pack:
    input:
        script=script("bundle"),
        library=library("bundle"),
        watched=evidence_of_finding,
        lock=code("requirements.lock"),
        prompts=PROMPTS if configuration.probe.enabled else [],
    output:
        bundle=directory("results/{audit}/bundle"),
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
        options=call(
            results=RESULTS,
            audit=lambda wildcards: wildcards.audit,
            models=audit_models,
            configuration=lambda wildcards: configuration.published(
                wildcards.audit, audit_models(wildcards)
            ),
        ),
    message:
        "Packing the evidence of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.options} 2> {log}"
