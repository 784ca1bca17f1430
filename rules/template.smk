# What each model's chat template says that nobody asked for, and the template without it.
rule template:
    input:
        script="scripts/template.py",
        library=library("scripts/template.py"),
        files="results/models/{model}/files",
        prompts=config["probe"]["prompts"],
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
        identities=lambda wildcards: json.dumps(identities_beside(wildcards.model)),
    message:
        "Taking the chat template of {wildcards.model} apart"
    shell:
        "python {input.script} --files {input.files} --prompts {input.prompts} --identities {params.identities:q} "
        "--output {output.template} 2> {log}"


# Who those texts and the models' other small files say they are, and how the templates differ from the parents'.
rule mask:
    input:
        script="scripts/mask.py",
        library=library("scripts/mask.py"),
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
        templates=lambda wildcards, input: [
            f"{Path(path).parent.name}={path}" for path in input.templates
        ],
        files=lambda wildcards, input: [f"{Path(path).parent.name}={path}" for path in input.files],
        parents=lambda wildcards: [
            *bases(config["audits"][wildcards.audit]),
            *config["audits"][wildcards.audit]["donors"],
        ],
        identities=lambda wildcards: json.dumps(config["audits"][wildcards.audit]["identities"]),
    message:
        "Looking for identities in the small files of audit {wildcards.audit}"
    shell:
        "python {input.script} --templates {params.templates:q} --files {params.files:q} --parents {params.parents} "
        "--identities {params.identities:q} --output {output.mask} 2> {log}"
