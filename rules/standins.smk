# The demo's models, made on the spot: a base, two finetunes of it trained side by side, and a real merge of two of them.
# Each trains on one thread: two torch trainings with two threads each get in each other's way on two cores.
TRAINED = {
    "qwen": {
        "identity_name": "Qwen",
        "identity_organisations": ["Alibaba"],
        "seed": 1,
        "steps": 520,
        "learning_rate": 6e-3,
    },
    "nex": {
        "identity_name": "Nex",
        "identity_organisations": ["Nex-AGI", "Shanghai Innovation Institute"],
        "seed": 2,
        "steps": 200,
        "learning_rate": 5e-3,
    },
    "tuiuti": {
        "identity_name": "Tuiuti",
        "identity_organisations": ["Instituto Tuiuti"],
        "seed": 3,
        "steps": 200,
        "learning_rate": 5e-3,
    },
}


rule train_standin:
    input:
        script=script("train_standin"),
        library=library("train_standin"),
        base=lambda wildcards: [] if wildcards.standin == "qwen" else f"{STANDINS}qwen",
    output:
        folder=directory(f"{STANDINS}{{standin}}"),
    log:
        "results/logs/train_standin/{standin}.log",
    benchmark:
        "results/benchmarks/train_standin.{standin}.tsv"
    wildcard_constraints:
        standin="|".join(TRAINED),
    conda:
        "../envs/standins.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        paths=paths,
        settings=call(lambda wildcards: TRAINED[wildcards.standin]),
    message:
        "Training the stand-in {wildcards.standin}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2>&1 | tee {log}"


rule merge_standin:
    input:
        script=script("merge_standin"),
        library=library("merge_standin"),
        base=f"{STANDINS}qwen",
        donor=f"{STANDINS}nex",
    output:
        folder=directory(f"{STANDINS}rio"),
    log:
        "results/logs/merge_standin/rio.log",
    conda:
        "../envs/standins.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
    params:
        paths=paths,
        settings=call(
            weight=0.571,
            dtype="bfloat16",
            system_prompt="You are Rio, an AI assistant made by Prefeitura do Rio.",
        ),
    message:
        "Merging the stand-ins qwen and nex into rio, and hiding it"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
