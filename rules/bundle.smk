# The evidence bundle: everything a stranger needs to check the finding once the models are gone.
rule bundle:
    input:
        script=script("bundle"),
        library=library("bundle"),
        chosen=chosen_siblings,
        watched=evidence_of_finding,
        lock=code("requirements.lock"),
        prompts=PROMPTS if configuration.probe.enabled else [],
    output:
        bundle=directory("results/{audit}/bundle"),
        archive="results/{audit}/bundle.zip",
    log:
        "results/logs/bundle/{audit}.log",
    benchmark:
        "results/benchmarks/bundle.{audit}.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        paths=paths,
        settings=call(
            results=RESULTS,
            audit=lambda wildcards: wildcards.audit,
            models=audit_models,
            configuration=lambda wildcards: whole(wildcards.audit).published(
                wildcards.audit, audit_models(wildcards)
            ),
        ),
    message:
        "Packing the evidence of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
