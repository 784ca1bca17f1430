# The numbers turned into one word, with reasons: the suspect's and, by the same rules, every control's.
rule verdict:
    input:
        script=script("verdict"),
        library=library("verdict"),
        chosen=chosen_siblings,
        summary="results/{audit}/summary.json",
        plan="results/{audit}/plan.json",
        layout="results/{audit}/layout.json",
        packed="results/{audit}/packed.json",
        spectrum="results/{audit}/spectrum.json",
        manifests=of_audit("results/models/{model}/manifest.json"),
        fetched=fetched_records,
        scores="results/{audit}/probe/scores.csv" if configuration.probe.enabled else [],
    output:
        verdict="results/{audit}/verdict.json",
    log:
        "results/logs/verdict/{audit}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            audit=lambda wildcards: wildcards.audit,
            thresholds=THRESHOLDS,
            published=lambda wildcards: whole(wildcards.audit).stated_dates(
                audit_models(wildcards)
            ),
        ),
    message:
        "Judging audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
