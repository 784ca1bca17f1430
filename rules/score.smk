# Who the answers name, counted with intervals.
rule score:
    input:
        script="scripts/score.py",
        library=library("answers", "identity", "denials", "intervals", "comparisons", "conduct"),
        answers=lambda wildcards: expand(
            "results/probe/{model}/{condition}.jsonl", model=models_of(config["audits"][wildcards.audit]), condition=config["probe"]["conditions"]
        ),
    output:
        scores="results/{audit}/probe/scores.csv",
        comparisons="results/{audit}/probe/comparisons.csv",
        conduct="results/{audit}/probe/conduct.csv",
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
        suspect=lambda wildcards: config["audits"][wildcards.audit]["suspect"],
        told=config["probe"]["adversarial_name"],
    message:
        "Counting the names in the answers of audit {wildcards.audit}"
    shell:
        "python {input.script} --answers {params.answers:q} --identities {params.identities:q} "
        "--adversarial-name {params.told} --suspect {params.suspect} --comparisons {output.comparisons} --conduct {output.conduct} --output {output.scores} 2> {log}"
