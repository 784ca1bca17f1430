# Asking each model who it is, once for all audits: the model is loaded once and asked under every condition.
MEMORY_TO_START = {"transformers": 2000, "vllm": 4000, "endpoint": 2000}  # MB
ASKED_WITH = (
    "conditions",
    "temperature",
    "max_new_tokens",
    "neutral_system",
    "adversarial_name",
    "samples",
    "seed",
    "batch_size",
    "backend",
    "tensor_parallel_size",
)


rule ask:
    input:
        script=script("ask"),
        library=library("ask", but=others_than(configuration.probe.backend)),
        template="results/models/{model}/template.json",
        prompts=PROMPTS,
        watched=lambda wildcards: [*model_files(wildcards.model), *whole_model(wildcards.model)],
    output:
        answers=expand(
            "results/probe/{{model}}/{condition}.jsonl", condition=configuration.probe.conditions
        ),
    log:
        "results/logs/ask/{model}.log",
    benchmark:
        "results/benchmarks/ask.{model}.tsv"
    conda:
        "../envs/vllm.yaml" if configuration.probe.backend == "vllm" else "../envs/probe.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt
        * (
            MEMORY_TO_START[configuration.probe.backend]
            + int(1.2 * megabytes_to_ask(wildcards.model, input))
        ),
        gpu=gpus_to_ask(),
    params:
        paths=paths,
        settings=call(
            endpoint,
            name=lambda wildcards: wildcards.model,
            model=lambda wildcards: (
                RESULTS / f"models/{wildcards.model}/whole"
                if asked_whole(wildcards.model)
                else folder(wildcards.model)
            ),
            device=configuration.compute.device,
            **settings("probe", *ASKED_WITH),
        ),
        python=shlex.quote(configuration.probe.vllm_python) if VLLM_OF_ITS_OWN else "python",
    message:
        "Asking {wildcards.model} who it is"
    shell:
        "{params.python} {input.script} {params.paths} {params.settings} --threads {threads} 2> {log}"
