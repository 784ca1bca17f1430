# From sums and evidence to alpha, cos_fit and replay, slice by slice. No weights are read.
rule fit:
    input:
        script="scripts/fit.py",
        library=library("scripts/fit.py"),
        plan="results/{audit}/plan.parquet",
        deltas="results/{audit}/deltas/{batch}.parquet",
        evidence="results/{audit}/evidence/{batch}.safetensors",
    output:
        fits="results/{audit}/fits/{batch}.parquet",
    log:
        "results/logs/fit/{audit}.{batch}.log",
    benchmark:
        "results/benchmarks/fit.{audit}.{batch}.tsv"
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        roles=roles,
        verdict=thresholds,
        seed=config["sampling"]["seed"],
    message:
        "Fitting layers {wildcards.batch} of audit {wildcards.audit}"
    shell:
        "python {input.script} {params.roles} --plan {input.plan} --deltas {input.deltas} --evidence {input.evidence} "
        "--min-vote-elements {params.verdict[min_vote_elements]} --replay-width {params.verdict[replay_width]} "
        "--seed {params.seed} --output {output.fits} 2> {log}"
