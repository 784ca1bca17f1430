# What is not decoded, compared byte by byte.
rule packed:
    input:
        script=script("packed"),
        library=library("packed"),
        chosen=chosen_siblings,
        watched=files_of(audit_models),
        manifests=of_audit("results/models/{model}/manifest.json"),
        tensors=of_audit("results/models/{model}/tensors.parquet"),
    output:
        packed="results/{audit}/packed.json",
    log:
        "results/logs/packed/{audit}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            roles,
            folders=lambda wildcards: {
                model: folder(holder(model))
                for model in audit_models(wildcards)
                if not on_the_hub(model)
            },
            mode=configuration.mode,
        ),
    message:
        "Comparing the undecoded bytes of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
