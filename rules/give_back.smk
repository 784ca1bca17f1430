# The recipe for the suspect's owner: a configuration or lines to run, with the proof. Made once somebody asks for it.
rule give_back:
    input:
        script=script("give_back"),
        library=library("give_back"),
        watched=[code("scripts/mergetrace/templates/merge.py.txt")],
        plan="results/{audit}/plan.parquet",
        layout="results/{audit}/layout.json",
        tables=lambda wildcards: [
            f"results/models/{model}/tensors.parquet" for model in compared_models(wildcards)
        ],
        recipes="results/{audit}/recipes.json",
        rebuild="results/{audit}/rebuild.json",
        table="results/{audit}/rebuild.csv",
        verdict="results/{audit}/verdict.json",
    output:
        folder=directory("results/{audit}/recipe"),
    log:
        "results/logs/give_back/{audit}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            suspect=suspect,
            sources=lambda wildcards: {
                model: configuration.models[model].place for model in compared_models(wildcards)
            },
            revisions=lambda wildcards: {
                model: configuration.models[model].revision
                for model in compared_models(wildcards)
                if configuration.models[model].on_hub
                and configuration.models[model].revision != "main"
            },
            adapters=lambda wildcards: list(filter(is_adapter, compared_models(wildcards))),
            min_bit_exact=configuration.verdict.min_bit_exact,
        ),
    message:
        "Giving the recipe of audit {wildcards.audit} back"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
