# What each model's chat template says that nobody asked for, and the template without it.
rule template:
    input:
        script="scripts/template.py",
        library=library("chat_template", "template_files", "jinja_sandbox"),
        files="results/models/{model}/files",
    output:
        template="results/models/{model}/template.json",
    log:
        "results/logs/template/{model}.log",
    conda:
        "../envs/probe.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    message:
        "Taking the chat template of {wildcards.model} apart"
    shell:
        "python {input.script} --files {input.files} --output {output.template} 2> {log}"
