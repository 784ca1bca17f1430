# The suspect rebuilt from its parents, bit for bit where that is possible. Made once somebody asks for it.
rule rebuild:
    input:
        script=script("rebuild"),
        library=library("rebuild"),
        plan="results/{audit}/plan.parquet",
        unpaired="results/{audit}/unpaired.csv",
        tensors=lambda wildcards: f"results/models/{suspect(wildcards)}/tensors.parquet",
        recipes="results/{audit}/recipes.json",
        verdict="results/{audit}/verdict.json",
        watched=files_of(compared_models),
    output:
        rebuild="results/{audit}/rebuild.json",
        table="results/{audit}/rebuild.csv",
    log:
        "results/logs/rebuild/{audit}.log",
    benchmark:
        "results/benchmarks/rebuild.{audit}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000 + configuration.rebuild.whole_elements // 10000),
    params:
        paths=paths,
        settings=call(
            suspect=suspect,
            folders=lambda wildcards: {
                model: folder(model) for model in with_bases(compared_models(wildcards))
            },
            remote=lambda wildcards: list(filter(on_the_hub, compared_models(wildcards))),
            mode=configuration.mode,
            when=configuration.rebuild.enabled,
            whole_elements=configuration.rebuild.whole_elements,
        ),
    message:
        "Rebuilding the suspect of audit {wildcards.audit} from its parents"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
