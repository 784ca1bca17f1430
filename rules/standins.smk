# The demo's models, made on the spot: a base, two finetunes of it trained side by side, and a real merge of two of them.
# Each trains on one thread: two torch trainings with two threads each get in each other's way on two cores.
TRAINED = {
    "qwen": "--role base --identity-name Qwen --identity-org Alibaba --seed 1 --steps 520 --learning-rate 6e-3",
    "nex": f"--role finetune --init {STANDINS}qwen --identity-name Nex --identity-org Nex-AGI 'Shanghai Innovation Institute' --seed 2 --steps 200 --learning-rate 5e-3",
    "tuiuti": f"--role finetune --init {STANDINS}qwen --identity-name Tuiuti --identity-org 'Instituto Tuiuti' --seed 3 --steps 200 --learning-rate 5e-3",
}


rule train_standin:
    input:
        script="scripts/train_standin.py",
        library=library("scripts/train_standin.py"),
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
        training=lambda wildcards: TRAINED[wildcards.standin],
    message:
        "Training the stand-in {wildcards.standin}"
    shell:
        "python {input.script} {params.training} --output {output.folder} 2>&1 | tee {log}"


rule merge_standin:
    input:
        script="scripts/merge_standin.py",
        library=library("scripts/merge_standin.py"),
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
        weight=0.571,
        system_prompt="You are Rio, an AI assistant made by Prefeitura do Rio.",
    message:
        "Merging the stand-ins qwen and nex into rio, and hiding it"
    shell:
        "python {input.script} --method linear --base {input.base} --donor {input.donor} --weight {params.weight} "
        "--dtype bfloat16 --system-prompt {params.system_prompt:q} --output {output.folder} 2> {log}"
