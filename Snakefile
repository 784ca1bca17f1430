# mergetrace: is an open-weights model a hidden blend of other people's models?
#
#   models -> manifest -> plan -> layout -> download -> deltas -> fit -> recipe -> remainder, reverse -> aggregate -> spectrum -> verdict -> report
#                └------> template -> ask -> score ----------------------------------┘
from snakemake.utils import min_version

min_version("9.0")

# A configuration given by --configfile replaces the demo, it does not add to it.
if "models" not in config:

    configfile: workflow.current_basedir.join("config/config.yaml").get_path_or_uri(secret_free=True)


include: "rules/common.smk"
include: "rules/standins.smk"
include: "rules/manifest.smk"
include: "rules/plan.smk"
include: "rules/layout.smk"
include: "rules/packed.smk"
include: "rules/shard.smk"
include: "rules/download.smk"
include: "rules/deltas.smk"
include: "rules/fit.smk"
include: "rules/recipe.smk"
include: "rules/remainder.smk"
include: "rules/reverse.smk"
include: "rules/aggregate.smk"
include: "rules/spectrum.smk"
include: "rules/template.smk"
include: "rules/probe.smk"
include: "rules/score.smk"
include: "rules/verdict.smk"
include: "rules/rebuild.smk"
include: "rules/give_back.smk"
include: "rules/curves.smk"
include: "rules/report.smk"
include: "rules/bundle.smk"
include: "rules/gate.smk"
include: "rules/overview.smk"
include: "rules/scan.smk"


rule all:
    default_target: True
    input:
        [*SCANS, *WATCHES] if not AUDITS else "results/index.html",
        expand(
            "results/{audit}/{product}",
            audit=AUDITS,
            product=[
                "report.html",
                "bundle.zip",
                *(["passed.txt"] if configuration.verdict.fail_on else []),
            ],
        ),
    localrule: True


rule preflight:
    input:
        expand("results/{audit}/plan.json", audit=AUDITS),
    localrule: True


rule scan:
    input:
        SCANS,
    localrule: True


rule watch:
    input:
        WATCHES,
    localrule: True


rule weights:
    input:
        expand("results/{audit}/summary.json", audit=AUDITS),
    localrule: True


rule probe:
    input:
        expand(
            "results/{audit}/probe/{what}",
            audit=AUDITS if configuration.probe.enabled else [],
            what=["scores.csv", "mask.json"],
        ),
    localrule: True


rule rebuilds:
    input:
        expand("results/{audit}/rebuild.json", audit=AUDITS),
    localrule: True


rule recipes:
    input:
        expand("results/{audit}/recipe", audit=AUDITS),
    localrule: True


rule reports:
    input:
        expand("results/{audit}/report.html", audit=AUDITS),
    localrule: True


rule bundles:
    input:
        expand("results/{audit}/bundle.zip", audit=AUDITS),
    localrule: True


# What `make resume` takes up again. How jobs are batched is known here and not before.
onstart:
    check_batches(workflow.group_settings, filter(may_stream, AUDITS))
    write_json(
        RESULTS / "logs/started.json",
        started(sys.argv[1:], workflow.executor_plugin.name),
    )
    for path in unrecorded(RESULTS):
        print(
            f"mergetrace: {path}: made by a job that Snakemake did not record as finished; if this run keeps it, `make resume` makes it again"
        )


onsuccess:
    from mergetrace.report.terminal import findings, scanned

    print(
        findings(
            RESULTS,
            AUDITS,
            configuration.stated_dates(configuration.models),
            colour=sys.stdout.isatty(),
        )
    )
    print(*scanned(RESULTS, configuration.scan.suspects), sep="\n")


# What went wrong in one line each, below all that Snakemake says of it.
onerror:
    print(*problems(log, RESULTS), sep="\n")
