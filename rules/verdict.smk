# The numbers turned into one word, with reasons: the suspect's and, by the same rules, every control's.
rule verdict:
    input:
        script="scripts/verdict.py",
        library=library("scripts/verdict.py"),
        summary="results/{audit}/summary.json",
        plan="results/{audit}/plan.json",
        layout="results/{audit}/layout.json",
        packed="results/{audit}/packed.json",
        manifests=of_audit("results/models/{model}/manifest.json"),
        fetched=fetched_records,
        scores="results/{audit}/probe/scores.csv" if config["probe"]["enabled"] else [],
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
        thresholds=json.dumps(thresholds),
        scores=lambda wildcards, input: f"--scores {input.scores}" if input.scores else "",
        fetched=lambda wildcards, input: f"--fetched {input.fetched}" if input.fetched else "",
        published=dates,
    message:
        "Judging audit {wildcards.audit}"
    shell:
        "python {input.script} --audit {wildcards.audit} --summary {input.summary} --plan {input.plan} --layout {input.layout} "
        "--packed {input.packed} "
        "--manifests {input.manifests} {params.scores} {params.fetched} {params.published} --thresholds {params.thresholds:q} --output {output.verdict} 2> {log}"
