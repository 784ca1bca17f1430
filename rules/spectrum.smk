# How far one weight explains a model's change along every direction of a donor's: whole rows of some matrices are decomposed.
rule spectrum:
    input:
        script=script("spectrum"),
        library=library("spectrum"),
        chosen=chosen_siblings,
        plan="results/{audit}/plan.parquet",
        summary="results/{audit}/summary.json",
        watched=whole_rows,
    output:
        spectrum="results/{audit}/spectrum.json",
        table="results/{audit}/spectrum.csv",
    log:
        "results/logs/spectrum/{audit}.log",
    benchmark:
        "results/benchmarks/spectrum.{audit}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        # 300 for the program; the rest is one matrix of every model, decoded and decomposed.
        mem_mb=growing(2000),
    params:
        paths=paths,
        settings=call(
            roles,
            folders=rows_of_models,
        ),
    message:
        "Decomposing rows of the models of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
