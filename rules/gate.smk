# For publishers: the run fails where the finding is of a kind that verdict.fail_on names. The report and the evidence are written before.
rule gate:
    input:
        script="scripts/gate.py",
        library=library("scripts/gate.py"),
        verdict="results/{audit}/verdict.json",
        manifests=of_audit("results/models/{model}/manifest.json"),
        report="results/{audit}/report.html",
        bundle="results/{audit}/bundle.zip",
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
        grounds=config["verdict"]["fail_on"],
    message:
        "Holding audit {wildcards.audit} against verdict.fail_on"
    shell:
        "python {input.script} --verdict {input.verdict} --manifests {input.manifests} --fail-on {params.grounds} --output {output.passed} 2>&1 | tee {log}"
