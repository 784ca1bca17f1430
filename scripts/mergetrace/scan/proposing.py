"""The audit that a scan proposes, as a configuration that runs as it is."""

import json

from mergetrace.configuration.short_names import short_names
from mergetrace.records.scan import Proposed, Scan
from mergetrace.scan import wording

PARTS = ("base", "donor", "control")
HEAD = """\
# Proposed by a scan of {suspect}: candidates, and no finding. A scan accuses nobody;
# whether the suspect is made of any of them, the audit says:
#   make audit CONFIG={path}
"""
NOTHING = """\
# A scan of {suspect} found no candidate for a base among {compared}
# models, so that there is nothing to audit. Offer more of them:
# scan.candidates in the configuration, or PATHS of `make scan`.
models: {{}}
audits: {{}}
"""
ORIGIN_ONLY = (
    "    # no donor stood out: the origin alone is asked for (docs/one_base.md)"
)
REST = """\
mode: sample        # or full: every element of every tensor
probe:
  enabled: false    # true asks the models who they are, where they can be run or are served
"""


def audit_yaml(scan: Scan, path: str) -> str:
    """The configuration. path: where it will lie, for its first lines."""
    parts = {
        part: [each for each in scan.proposed if each.part == part] for part in PARTS
    }
    if not parts["base"]:
        return NOTHING.format(suspect=_comment(scan.suspect), compared=scan.compared)
    others = list(dict.fromkeys(each.place for each in scan.proposed))
    names = dict(
        zip([scan.place, *others], short_names(scan.place, others), strict=True)
    )
    lines = [HEAD.format(suspect=_comment(scan.place), path=path), "models:"]
    source = _source(scan.place, scan.revision, scan.on_hub, scan.file)
    lines.append(f"  {names[scan.place]}: {source}  # the suspect")
    seen = set()
    for each in scan.proposed:
        if each.place not in seen:
            seen.add(each.place)
            lines.append(_model(each, names[each.place]))
    audit = {
        part: [names[each.place] for each in proposed]
        for part, proposed in parts.items()
    }
    lines += ["audits:", f"  {_audit_name(names[scan.place])}:"]
    lines.append(f"    suspect: {names[scan.place]}")
    lines.append(f"    base: {json.dumps(audit['base'])}")
    if _is_enough(parts):
        lines.append(f"    donors: {json.dumps(audit['donor'])}")
    else:
        lines.append(ORIGIN_ONLY)
    lines.append(f"    controls: {json.dumps(audit['control'])}")
    return "\n".join(lines) + "\n" + REST


def _is_enough(parts: dict[str, list[Proposed]]) -> bool:
    """Whether there are donors, and every base candidate has one beside it."""
    donors = {each.place for each in parts["donor"]}
    return bool(donors) and all(donors - {base.place} for base in parts["base"])


def _model(each: Proposed, name: str) -> str:
    source = _source(each.place, each.revision, each.on_hub)
    return f"  {name}: {source}\n    # {each.part}: {wording.proposed(each)}"


def _source(place: str, revision: str, on_hub: bool, file: str = "") -> str:
    """Where a model lies, in YAML's way that is also JSON's."""
    if not on_hub:
        return json.dumps({"path": place})
    of_file = {"file": file} if file else {}
    return json.dumps({"repo": place, **of_file, "revision": revision})


def _audit_name(suspect: str) -> str:
    return f"{suspect[:50].rstrip('-')}-scan"


def _comment(text: str) -> str:
    """Text that stays within a line."""
    return " ".join(text.split()) if text.isprintable() else "a model"
