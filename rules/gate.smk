# Where verdict.fail_on names grounds, a finding that meets one fails the run: after its report and its evidence, which say why.
rule gate:
    input:
        script=script("gate"),
        library=library("gate"),
        verdict="results/{audit}/verdict.json",
        manifests=of_audit("results/models/{model}/manifest.json"),
        watched=["results/{audit}/report.html", "results/{audit}/bundle.zip"],
    output:
        passed="results/{audit}/passed.txt",
    log:
        "results/logs/gate/{audit}.log",
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
    params:
        paths=paths,
        settings=call(
            fail_on=configuration.verdict.fail_on,
        ),
    message:
        "Holding audit {wildcards.audit} against verdict.fail_on"
    shell:
        "python {input.script} {params.paths} {params.settings} 2>&1 | tee {log}"
