# Who the answers name, counted with intervals.
COUNTED = ("scores", "comparisons", "conduct", "strata", "reasoning", "watermarks", "mentions")


rule score:
    input:
        script=script("score"),
        library=library("score"),
        answers=lambda wildcards: expand(
            "results/probe/{model}/{condition}.jsonl",
            model=audit_models(wildcards),
            condition=configuration.probe.conditions,
        ),
    output:
        **{name: f"results/{{audit}}/probe/{name}.csv" for name in COUNTED},
    log:
        "results/logs/score/{audit}.log",
    conda:
        "../envs/probe.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            suspect=suspect,
            identities=identities,
            phrases=lambda wildcards: configuration.audits[wildcards.audit].watermarks,
            adversarial_name=configuration.probe.adversarial_name,
        ),
    message:
        "Counting the names in the answers of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
