# The page people read.
SHOWN = ("comparisons", "conduct", "strata", "reasoning", "watermarks")


rule report:
    input:
        script=script("report"),
        library=library("report"),
        watched=[*TEMPLATES, *DATA],
        verdict="results/{audit}/verdict.json",
        summary="results/{audit}/summary.json",
        plan="results/{audit}/plan.json",
        unpaired="results/{audit}/unpaired.csv",
        tensors="results/{audit}/tensors.csv",
        controls="results/{audit}/controls.csv",
        layers="results/{audit}/layers.csv",
        components="results/{audit}/components.csv",
        curves="results/{audit}/curves.csv",
        spectrum="results/{audit}/spectrum.json",
        rebuild=rebuilt,
        siblings=chosen_siblings,
        manifests=of_audit("results/models/{model}/manifest.json"),
        mask="results/{audit}/probe/mask.json" if configuration.probe.enabled else [],
        probe=(
            [f"results/{{audit}}/probe/{name}.csv" for name in SHOWN]
            if configuration.probe.enabled
            else []
        ),
        answers=answers,
    output:
        report=report(
            "results/{audit}/report.html",
            caption="../docs/captions/report.rst",
            category="Audits",
            labels={"audit": "{audit}"},
        ),
    log:
        "results/logs/report/{audit}.log",
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            thresholds=THRESHOLDS,
            identities=identities,
        ),
    message:
        "Writing the report of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
