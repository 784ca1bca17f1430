# Who the answers name, counted with intervals.
COUNTED = ("comparisons", "conduct", "strata", "reasoning", "watermarks", "mentions")


rule score:
    input:
        script="scripts/score.py",
        library=library("scripts/score.py"),
        answers=lambda wildcards: expand(
            "results/probe/{model}/{condition}.jsonl",
            model=models_of(config["audits"][wildcards.audit]),
            condition=config["probe"]["conditions"],
        ),
    output:
        **{name: f"results/{{audit}}/probe/{name}.csv" for name in COUNTED},
        scores="results/{audit}/probe/scores.csv",
    log:
        "results/logs/score/{audit}.log",
    conda:
        "../envs/probe.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        answers=lambda wildcards, input: [
            f"{Path(path).parent.name}={path}" for path in input.answers
        ],
        identities=lambda wildcards: json.dumps(config["audits"][wildcards.audit]["identities"]),
        phrases=lambda wildcards: json.dumps(config["audits"][wildcards.audit]["watermarks"]),
        further=lambda wildcards, output: [
            part for name in COUNTED for part in (f"--{name}", output[name])
        ],
        suspect=lambda wildcards: config["audits"][wildcards.audit]["suspect"],
        told=config["probe"]["adversarial_name"],
    message:
        "Counting the names in the answers of audit {wildcards.audit}"
    shell:
        "python {input.script} --answers {params.answers:q} --identities {params.identities:q} --phrases {params.phrases:q} "
        "--adversarial-name {params.told} --suspect {params.suspect} {params.further} --output {output.scores} 2> {log}"
