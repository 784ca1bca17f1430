# Several audits at once: two revisions of one suspect compared, and one line for each finding.
rule compare:
    input:
        script="scripts/compare.py",
        library=library("scripts/compare.py"),
        templates=TEMPLATES,
        findings=lambda wildcards: [
            f"results/{audit}/{name}"
            for audit in revisions(wildcards).values()
            for name in ("verdict.json", "tensors.csv", "layout.json", "plan.parquet")
        ],
    output:
        page="results/comparisons/{comparison}.html",
        summary="results/comparisons/{comparison}.json",
        table="results/comparisons/{comparison}.csv",
    log:
        "results/logs/compare/{comparison}.log",
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        sides=lambda wildcards: " ".join(
            f"--{side} results/{audit}" for side, audit in revisions(wildcards).items()
        ),
    message:
        "Comparing the revisions of {wildcards.comparison}"
    shell:
        "python {input.script} --name {wildcards.comparison} {params.sides} --table {output.table} --summary {output.summary} "
        "--page {output.page} 2> {log}"


rule index:
    input:
        script="scripts/index.py",
        library=library("scripts/index.py"),
        templates=TEMPLATES,
        reports=expand("results/{audit}/report.html", audit=AUDITS),
        comparisons=expand(
            "results/comparisons/{comparison}.json", comparison=config["comparisons"]
        ),
    output:
        index="results/index.html",
    log:
        "results/logs/index.log",
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
    message:
        "Listing the findings"
    shell:
        "python {input.script} --results results --output {output.index} 2> {log}"
