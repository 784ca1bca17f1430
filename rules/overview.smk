# Two revisions of one suspect, and the list of all findings.
COMPARED = ("verdict.json", "tensors.csv", "layout.json", "plan.parquet")


rule compare:
    input:
        script=script("compare"),
        library=library("compare"),
        watched=lambda wildcards: [
            *TEMPLATES,
            *(
                f"results/{audit}/{name}"
                for audit in (revisions(wildcards).before, revisions(wildcards).after)
                for name in COMPARED
            ),
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
        paths=paths,
        settings=call(
            name=lambda wildcards: wildcards.comparison,
            before=lambda wildcards: RESULTS / revisions(wildcards).before,
            after=lambda wildcards: RESULTS / revisions(wildcards).after,
        ),
    message:
        "Comparing the revisions of {wildcards.comparison}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


rule overview:
    input:
        script=script("overview"),
        library=library("overview"),
        watched=[
            *TEMPLATES,
            *expand("results/{audit}/report.html", audit=AUDITS),
            *expand("results/comparisons/{comparison}.json", comparison=configuration.comparisons),
        ],
    output:
        overview="results/index.html",
    log:
        "results/logs/overview.log",
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
    params:
        paths=paths,
        settings=call(
            results=RESULTS,
        ),
    message:
        "Listing the findings"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
