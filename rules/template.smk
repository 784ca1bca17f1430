# What each model's chat template says that nobody asked for, and the template without it.
rule template:
    input:
        script=script("template"),
        library=library("template"),
        files="results/models/{model}/files",
        prompts=PROMPTS,
    output:
        template="results/models/{model}/template.json",
    log:
        "results/logs/template/{model}.log",
    conda:
        "../envs/probe.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            identities=identities_beside,
        ),
    message:
        "Taking the chat template of {wildcards.model} apart"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


# Who those texts and the models' other small files say they are, and how the templates differ from the parents'.
rule mask:
    input:
        script=script("mask"),
        library=library("mask"),
        templates=of_audit("results/models/{model}/template.json"),
        files=of_audit("results/models/{model}/files"),
    output:
        mask="results/{audit}/probe/mask.json",
    log:
        "results/logs/mask/{audit}.log",
    conda:
        "../envs/probe.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            identities=identities,
            parents=lambda wildcards: compared_models(wildcards)[1:],
        ),
    message:
        "Looking for identities in the small files of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
