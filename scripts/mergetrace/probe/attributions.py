"""Names that an answer puts into somebody else's mouth, or gives to others: 'he said "I
am Qwen"', "assistants such as Qwen".

The rules are local and read four languages: a quotation that is introduced as somebody
else's, a question that others ask, a condition that is not so, a list of others.
Whatever they take from the hits is counted beside them. A name in quotation marks that
nobody else speaks ("my badge says 'Qwen'") stays the answer's own.
"""

import re

# Text is folded before: no case, no Latin accents, single spaces, straight apostrophes.
_REACH = 120  # characters looked at before a name
_SENTENCE = re.compile(r"[.!?。！？;；](?=\s|$|[^\x00-\x7f])|\n")
_OPENING = re.compile(r"[\"“„«‹「『]|(?<!\w)'(?=\w)")
_CLOSED = {
    mark: re.compile(end)
    for mark, end in zip(
        "\"“„«‹「『'", ('"', "”", "[“”]", "»", "›", "」", "』", r"'(?!\w)"), strict=True
    )
}
_OTHERS = (
    r"\b(?:he|she|they|people|users|someone|somebody|everyone"
    r"|(?:a|an|one|another|some|many|most|the|other) (?:\w+"
    r" )?(?:user|person|man|woman|friend|people|model|assistant|bot|chatbot|robot|ai"
    r"|article|report|paper|website|post|reviewer|journalist)s?"
    r"|el[ea]s?|alguem|pessoas|usuarios"
    r"|(?:um|uma|outr[oa]|[oa]s?|muit[oa]s?|algum|certos)"
    r" (?:usuari[oa]|pessoa|gente|amig[oa]|modelo|assistente|robo|chatbot"
    r"|artigo|texto|relatorio|site|jornalista)s?"
    r"|ellos?|ellas?|alguien|personas"
    r"|(?:un|una|otr[oa]|el|la|l[oa]s|much[oa]s?|algun)"
    r" (?:usuari[oa]|persona|gente|amig[oa]|modelo|asistente|robot|chatbot"
    r"|articulo|texto|informe|sitio|periodista)s?)\b"
    r"|(?:用户|有人|别人|他|她|人们|很多人|许多人|朋友|另一个\S{0,4}|其他\S{0,4}|文章|报道|报告|论文|网站|记者)"
)
"""Others who speak."""

_SPEAK = (
    r"\b(?:say|says|said|tell|tells|told|writes?|wrote|claim(?:s|ed)?|state[sd]?|asks?|asked|answered|replied|introduced|introduces|read[s]?|insist(?:s|ed)?"
    r"|diz(?:em)?|diss(?:e|eram)|afirm(?:a|am|ou)|escreve(?:u|m)?|pergunt(?:a|am|ou|aram)|respondeu|apresentou|declarou"
    r"|dice[n]?|dij(?:o|eron)|afirm(?:o|an)|escrib(?:e|io|en)|pregunt(?:an|o|aron)|respondio|presento|declaro)\b|说|道|称|写|问|讲|表示|介绍"
)
_SPOKEN = re.compile(rf"(?:{_OTHERS}).{{0,60}}?(?:{_SPEAK}).{{0,40}}$")
_ASKED = re.compile(  # a question or a mistake of others, and the name follows
    r"\b(?:ask|asks|asked|wonder|wonders|wondered)\b.{0,20}\b(?:if|whether)\b"
    r"|\b(?:mistake[sn]?|mistook|taken?|took|confuse[sd]?|compare[sd]?) (?:me"
    r" )?(?:for|with|to)\b"
    r"|\bpergunt\w+ se\b|\bconfund\w+ com\b|\bcompara\w* com\b|\bpregunt\w+"
    r" si\b|\bconfund\w+ con\b|\bcompara\w* con\b"
    r"|问我?是不是|问我?是否|(?:当成|当作|误认为|误以为|混淆为)"
)
_UNREAL = re.compile(
    r"\bif i (?:were|was|had been)\b|\bse (?:eu )?(?:fosse|me chamasse)\b|\bsi (?:yo"
    r" )?(?:fuera|fuese|me llamara)\b|\bojala fuera\b"
    r"|(?:如果|假如|要是)我(?:是|叫)"
)
_LISTED = re.compile(
    r"\b(?:other|others|many|several|various|outr[oa]s|muitos|varios|otr[oa]s|muchos)\b.{0,40}\b(?:such"
    r" as|like|including|como)\b"
    r"|(?:其他|别的|很多|许多|各种).{0,12}(?:例如|比如|像|如)"
)
_OWN = re.compile(  # after which the answer speaks of itself again
    r"\b(?:but|yet|and|in truth|really) (?:i am|i'm|my)\b|\bi(?:'m| am)"
    r" (?:really|actually)\b|, (?:but )?(?:i am|i'm|sou|eu sou|soy)\b"
    r"|\bmas (?:eu )?sou\b|\bpero (?:yo )?soy\b|其实我?是|实际上|但我是|,我是"
)


def attributed(folded: str, start: int) -> bool:
    """Whether the name at folded[start:] is somebody else's words or somebody else's
    name.
    """
    before = folded[max(0, start - _REACH) : start]
    opening = _open_quotation(before)
    if opening is not None:
        introduced = _SENTENCE.split(before[:opening])[-1]
        if _SPOKEN.search(introduced):
            return True
    clause = _SENTENCE.split(before)[-1]
    for pattern in (_ASKED, _UNREAL, _LISTED):
        for found in pattern.finditer(clause):
            if not _OWN.search(clause[found.end() :]):
                return True
    return False


def _open_quotation(text: str) -> int | None:
    """Where the quotation begins that is still open at the end of `text`; None if none
    is.
    """
    place = 0
    while found := _OPENING.search(text, place):
        closing = _CLOSED[found.group()].search(text, found.end())
        if not closing:
            return found.start()
        place = closing.end()
    return None
