"""A chat template without the text that it injects."""

from collections.abc import Iterator, Sequence

Cut = tuple[str, bool]
"""A text to be taken out of what a template prints: the first time that it stands
there, or (True) every time.
"""


def cut(rendered: str, cuts: Sequence[Cut]) -> str:
    """What is left of a rendered conversation."""
    for text, everywhere in cuts:
        rendered = rendered.replace(text, "", -1 if everywhere else 1)
    return rendered


def joined(line: str, rendered: str) -> str:
    """`line` with the white space that joins it to what stands on one side of it in
    `rendered`.
    """
    before, _, behind = rendered.partition(line)
    following = behind[: len(behind) - len(behind.lstrip())]
    leading = before[len(before.rstrip()) :]
    return line + following if following else leading + line


def edits(source: str, cuts: Sequence[Cut], texts: Sequence[str]) -> Iterator[str]:
    """Candidates for the stripped template: the texts removed from the source; failing
    that, removed from what it prints.

    texts: the injected words, without the tokens around them.
    """
    blocks = [text for text, _ in cuts]
    for unwanted in ((*blocks, *texts), blocks, texts):
        edited = source
        for part in unwanted:
            for literal in literals(part):
                edited = edited.replace(literal, "")
        if edited != source:
            yield edited
    replaced = ""
    for text, everywhere in cuts:
        count = "" if everywhere else ", 1"
        replaced += f" | replace({text!a}, ''{count})"
    # Jinja drops one newline at the end of a template and (trim_blocks) the one after
    # the opening tag.
    yield (
        "{%- set has_system = messages and messages[0]['role'] in ('system',"
        " 'developer') %}{% set as_shipped %}\n"
        + source.removesuffix("\n")
        + "{%+ endset %}{{- as_shipped if has_system else as_shipped"
        + replaced
        + " }}"
    )


def literals(text: str) -> list[str]:
    """The spellings of `text` in a template's source: as it is, and as a string in
    either kind of quotes.
    """
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    spellings = {
        text,
        escaped,
        escaped.replace("'", "\\'"),
        escaped.replace('"', '\\"'),
    }
    return sorted(spellings - {""}, key=len, reverse=True)
