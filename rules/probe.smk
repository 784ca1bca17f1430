# Asking each model who it is, once for all audits: the model is loaded once and asked under every condition.
MEMORY_TO_START = {"transformers": 2000, "vllm": 4000, "endpoint": 2000}  # MB


rule ask:
    input:
        script="scripts/ask.py",
        library=library("scripts/ask.py", but=others_than(config["probe"]["backend"])),
        template="results/models/{model}/template.json",
        prompts=config["probe"]["prompts"],
        model=lambda wildcards: model_files(wildcards.model),
    output:
        answers=expand(
            "results/probe/{{model}}/{condition}.jsonl", condition=config["probe"]["conditions"]
        ),
    log:
        "results/logs/ask/{model}.log",
    benchmark:
        "results/benchmarks/ask.{model}.tsv"
    conda:
        "../envs/vllm.yaml" if config["probe"]["backend"] == "vllm" else "../envs/probe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt
        * (MEMORY_TO_START[config["probe"]["backend"]] + int(1.2 * input.size_mb)),
        gpu=gpus_to_ask(),
    params:
        folder=lambda wildcards: folder(wildcards.model),
        probe={
            key: value
            for key, value in config["probe"].items()
            if key not in ("enabled", "conditions", "prompts", "endpoints", "vllm_python")
        },
        endpoint=lambda wildcards: endpoint(wildcards.model),
        conditions=",".join(config["probe"]["conditions"]),
        device=config["compute"]["device"],
        python=shlex.quote(config["probe"]["vllm_python"]) if VLLM_OF_ITS_OWN else "python",
    message:
        "Asking {wildcards.model} who it is"
    shell:
        "{params.python} {input.script} --model {params.folder:q} --name {wildcards.model} --template {input.template} --prompts {input.prompts} "
        "--conditions {params.conditions} --temperature {params.probe[temperature]} --max-new-tokens {params.probe[max_new_tokens]} "
        "--neutral-system {params.probe[neutral_system]:q} --adversarial-name {params.probe[adversarial_name]} --samples {params.probe[samples]} "
        "--backend {params.probe[backend]} --gpus {params.probe[tensor_parallel_size]} {params.endpoint} --seed {params.probe[seed]} --batch-size {params.probe[batch_size]} --device {params.device} --threads {threads} "
        "--outputs {output.answers} 2> {log}"
