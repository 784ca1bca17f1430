# Who the answers name, counted with intervals.
rule score:
    input:
        script="scripts/score.py",
        library=library("answers", "identity"),
        answers=lambda wildcards: expand(
            "results/probe/{model}/{condition}.jsonl", model=models_of(config["audits"][wildcards.audit]), condition=config["probe"]["conditions"]
        ),
    output:
        scores="results/{audit}/probe/scores.csv",
    log:
        "results/logs/score/{audit}.log",
    conda:
        "../envs/probe.yaml"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        answers=lambda wildcards, input: [f"{Path(path).parent.name}={path}" for path in input.answers],
        identities=lambda wildcards: json.dumps(config["audits"][wildcards.audit]["identities"]),
        told=config["probe"]["adversarial_name"],
    message:
        "Counting the names in the answers of audit {wildcards.audit}"
    shell:
        "python {input.script} --answers {params.answers:q} --identities {params.identities:q} "
        "--adversarial-name {params.told} --output {output.scores} 2> {log}"
