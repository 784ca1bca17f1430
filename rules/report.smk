# The page people read.
SHOWN = ("comparisons", "conduct", "strata", "reasoning", "watermarks")


rule render:
    input:
        script="scripts/report.py",
        library=library("scripts/report.py"),
        templates=TEMPLATES,
        schema="config/config.schema.yaml",
        licences="scripts/mergetrace/data/licences.yaml",
        error_rates=[
            path for path in ["scripts/mergetrace/data/error_rates.json"] if Path(path).is_file()
        ],
        verdict="results/{audit}/verdict.json",
        summary="results/{audit}/summary.json",
        plan="results/{audit}/plan.json",
        unpaired="results/{audit}/unpaired.csv",
        tensors="results/{audit}/tensors.csv",
        controls="results/{audit}/controls.csv",
        layers="results/{audit}/layers.csv",
        components="results/{audit}/components.csv",
        curves="results/{audit}/coverage.csv",
        rebuild=rebuilt,
        manifests=of_audit("results/models/{model}/manifest.json"),
        mask="results/{audit}/probe/mask.json" if config["probe"]["enabled"] else [],
        probe=(
            [f"results/{{audit}}/probe/{name}.csv" for name in SHOWN]
            if config["probe"]["enabled"]
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
        "results/logs/render/{audit}.log",
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        thresholds=json.dumps(thresholds),
        further=lambda wildcards, input: further(input, "error_rates", "rebuild"),
        identities=lambda wildcards: json.dumps(config["audits"][wildcards.audit]["identities"]),
    message:
        "Writing the report of audit {wildcards.audit}"
    shell:
        "python {input.script} --verdict {input.verdict} --summary {input.summary} --plan {input.plan} --unpaired {input.unpaired} "
        "--tensors {input.tensors} --controls {input.controls} --layers {input.layers} --components {input.components} "
        "--curves {input.curves} --licences {input.licences} {params.further} "
        "--manifests {input.manifests} --mask {input.mask} --probe {input.probe} --answers {input.answers} "
        "--thresholds {params.thresholds:q} --identities {params.identities:q} --schema {input.schema} --output {output.report} 2> {log}"
