# From a suspect alone to candidates and a proposed audit. The prints lie in results/prints, shared by all scans: of each commit one is read once.
checkpoint candidates:
    input:
        unpack(pinned_suspect),
        script=ancient(script("candidates")),
        manifest="results/models/{model}/manifest.json",
        tensors="results/models/{model}/tensors.parquet",
        files="results/models/{model}/files",
    output:
        candidates="results/{way}/{model}/candidates.json",
    log:
        "results/logs/candidates/{way}.{model}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            sources=configuration.scan.candidates.hub.sources,
            filters=configuration.scan.candidates.hub.filters,
            parameters=configuration.scan.candidates.hub.parameters,
            before=configuration.scan.candidates.hub.before,
            most=configuration.scan.candidates.hub.most,
            megabytes=configuration.scan.budget.megabytes,
            watches=lambda wildcards: wildcards.way == "watch",
            published=lambda wildcards: configuration.models[wildcards.model].published,
            file=lambda wildcards: configuration.models[wildcards.model].file,
            patterns=configuration.scan.candidates.paths,
            folders=offered(on_hub=False),
            repositories=offered(on_hub=True),
        ),
    message:
        "Looking for candidates for {wildcards.model}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


rule prints:
    input:
        script=script("prints"),
        library=library("prints"),
        candidates="results/{way}/{model}/candidates.json",
    output:
        prints="results/{way}/{model}/batches/{number}.json",
    log:
        "results/logs/prints/{way}.{model}.{number}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
    params:
        paths=paths,
        settings=call(
            number=lambda wildcards: int(wildcards.number),
            batch=PRINTS_AT_A_TIME,
            connections=configuration.compute.connections,
            most_bytes=int(1e6 * configuration.scan.budget.megabytes_each),
            index=RESULTS / "prints",
        ),
    message:
        "Taking prints for {wildcards.model}, batch {wildcards.number}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


rule print_index:
    input:
        script=script("print_index"),
        library=library("print_index"),
        candidates="results/{way}/{model}/candidates.json",
        batches=print_batches,
    output:
        indexed="results/{way}/{model}/indexed.json",
    log:
        "results/logs/print_index/{way}.{model}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            index=RESULTS / "prints",
            indexes=configuration.scan.candidates.indexes,
        ),
    message:
        "Gathering the prints that {wildcards.model} is compared with"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


rule screen:
    input:
        script=script("screen"),
        library=library("screen"),
        candidates="results/scan/{model}/candidates.json",
        indexed="results/scan/{model}/indexed.json",
    output:
        screen="results/scan/{model}/screen.json",
        ranked="results/scan/{model}/ranked.csv",
    log:
        "results/logs/screen/{model}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            name=lambda wildcards: wildcards.model,
            index=RESULTS / "prints",
            **settings("scan", "keep", "controls"),
        ),
    message:
        "Comparing {wildcards.model} with all of them"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


rule propose:
    input:
        script=script("propose"),
        library=library("propose"),
        watched=TEMPLATES,
        screen="results/scan/{model}/screen.json",
    output:
        audit="results/scan/{model}/audit.yaml",
        page="results/scan/{model}/scan.html",
    log:
        "results/logs/propose/{model}.log",
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
    params:
        paths=paths,
        settings=call(),
    message:
        "Proposing an audit of {wildcards.model}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


rule carriers:
    input:
        script=script("carriers"),
        library=library("carriers"),
        watched=TEMPLATES,
        candidates="results/watch/{model}/candidates.json",
        indexed="results/watch/{model}/indexed.json",
    output:
        watch="results/watch/{model}/watch.json",
        page="results/watch/{model}/watch.html",
    log:
        "results/logs/carriers/{model}.log",
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            name=lambda wildcards: wildcards.model,
            index=RESULTS / "prints",
            seen=lambda wildcards: RESULTS / f"watch/{wildcards.model}/seen.json",
        ),
    message:
        "Looking for models that carry {wildcards.model}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"


# Which controls an audit takes from a scan of its suspect: chosen once, so that an audit goes on with what it began with; `--forcerun siblings`
# chooses again. They are models like all others, called after the audit.
checkpoint siblings:
    input:
        script=ancient(script("siblings")),
        candidates=lambda wildcards: ancient(f"results/scan/{suspect(wildcards)}/candidates.json"),
        indexed=lambda wildcards: ancient(f"results/scan/{suspect(wildcards)}/indexed.json"),
    output:
        siblings="results/{audit}/siblings.json",
    log:
        "results/logs/siblings/{audit}.log",
    conda:
        "../envs/weights.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
    params:
        paths=paths,
        settings=call(
            name=lambda wildcards: wildcards.audit,
            index=RESULTS / "prints",
            bases=places_of("bases"),
            donors=places_of("donors"),
            most=lambda wildcards: configuration.audits[wildcards.audit].scanned.most,
        ),
    message:
        "Choosing controls for audit {wildcards.audit}"
    shell:
        "python {input.script} {params.paths} {params.settings} 2> {log}"
