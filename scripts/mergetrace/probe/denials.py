"""Names that an answer mentions only to say that they are not its own: "I am not Qwen",
"我不是通义千问".

The rule is local: a negation that stands before the name in its clause, or right behind
it, and nothing in between that takes it back. It reads four languages and no irony;
every denied mention is counted beside the hits, so that nothing is hidden.
"""

import re

# Text is folded before: no case, no Latin accents, single spaces, straight apostrophes.
# what follows a Spanish (or English) "no" that negates; the Portuguese "no" is "in the"
_NO = (
    "soy|fui|fue|me|te|se|lo|es|era|pertenezco|tengo|he|ha|han|estoy|vengo|naci|provengo|formo|dependo|existe|guardo|trabajo|uso"
    "|relation|connection|link|tie|affiliation"
)
_BEFORE = re.compile(
    r"\b(?:not|never|neither|nor|isn't|aren't|wasn't|don't|didn't|unlike|rather"
    r" than|instead of|different from|unrelated to|nothing to do with"
    r"|nao|nem|nunca|diferente d[eoa]|ao contrario d[eoa]|em vez d[eoa]|nada a ver com"
    rf"|no(?= (?:{_NO})\b)|ni|jamas|diferente de|distinto de|a diferencia de|en vez"
    r" de|en lugar de|nada que ver con)\b"
    r"|(?<!是)不是|并非|不叫|不属于|不同于|而非|没有关系|不等于|既不|也不是|绝非"
)
_BEHIND = re.compile(
    r"^\W{0,3}(?:no[,.!]|nao[,.!]|is not|isn't|was not|wasn't|did not|didn't|nao e|nao"
    r" foi|nao me|no es|no fue|no me|不是|并不是|没有|.{0,4}不同)"
)
_CLAUSE = re.compile(
    r"[.!?;:。！？；：\n]|\b(?:but|mas|pero|sino|however|porem)\b|而是|但是|但"
)
_TAKEN_BACK = re.compile(
    r"\b(?:not only|nao so|nao apenas|no solo|none other than|no other"
    r" than)\b|不仅是|不只是|不仅仅是|,\s*我是|, (?:i am|i'm|sou|eu sou|soy) "
)
_REACH = 60  # characters a negation reaches


def denied(folded: str, start: int, end: int) -> bool:
    """Whether the name at folded[start:end] is mentioned as somebody else's."""
    before = _CLAUSE.split(folded[max(0, start - _REACH) : start])[-1]
    negations = list(_BEFORE.finditer(before))
    if negations and not _TAKEN_BACK.search(before[negations[-1].start() :]):
        return True
    return bool(_BEHIND.match(folded[end : end + 30]))
