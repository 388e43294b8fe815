"""The words that extraction looks for, by language: leads to an answer, denials, refusals.

Searching a text with these patterns is what grading costs most, and most texts match few of them. So each one
names literal signs in lower case; a text without any of them is not searched, because it cannot match.
"""

import re
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from xreasoner.rewards.plain import folded


class Lead(NamedTuple):
    """Leads to an answer in one language: `the answer` + `is`, or a phrase without a verb."""

    names: str
    joined: str
    phrases: str = ""
    starts: tuple[str, ...] = ()
    """How a lead in this language begins, in lower case."""


_COLON = "[:：=]"
_SIGN = r"(?:{})(?!\w)|[:：=]"

LEADS: dict[str, Lead] = {
    "English": Lead(
        names=r"\b(?:answers?|ans)\b(?: (?:option|choice|letter)\b)?"
        r"(?: (?:to|for|of) (?:the|this|that|your|our|my|question|problem)\b[^.:;?\n]{0,60}?)?"
        r"|\b(?:correct|right|best|closest|nearest|final|(?:most|best) \w+) (?:answer |multiple[- ]choice )?"
        r"(?:option|choice|letter|match)(?: letter\b)?"
        r"(?: (?:(?:to|for|of|among|from) (?:the|this|that|these|those|your|question)\b[^.:;?\n]{0,60}?"
        r"|here))?"
        r"|\b(?:closest|nearest|best) (?:value|answer) (?:among|in|to|of) [^.:;?\n]{1,60}?",
        joined=r"(?:is|are|was|(?:would|should|must|will) be)\b"
        r"(?: (?:thus|therefore|then|indeed|clearly|simply)\b)?|[:：=]",
        phrases=r"\bcorrespond(?:s|ing)? to (?:the )?(?:\w+ )?(?:option|choice|letter|answer)\b"
        r"|\b(?:choose|select|pick|go with|opt for|choosing|selecting) (?:the )?"
        r"(?:option|choice|letter|answer)\b",
        starts=(
            *("ans", "correct", "right", "best", "closest", "nearest", "final", "most"),
            *("correspond", "choos", "select", "pick", "go with", "opt for"),
        ),
    ),
    "German": Lead(
        r"\b(?:Antwort|Lösung|Ergebnis|(?:richtige|korrekte) (?:Option|Wahl))\b",
        _SIGN.format("ist|lautet|wäre"),
        starts=("antwort", "lösung", "ergebnis", "richtige", "korrekte"),
    ),
    "French": Lead(
        r"\b(?:réponse|bonne option)\b(?: \w{3,})?",
        _SIGN.format("est|serait"),
        starts=("réponse", "bonne option"),
    ),
    "Spanish": Lead(
        r"\b(?:respuesta|opción correcta)\b(?: \w+)?",
        _SIGN.format("es|sería"),
        starts=("respuesta", "opción"),
    ),
    "Portuguese": Lead(
        r"\b(?:resposta|(?:opção|alternativa) (?:correta|certa))\b(?: \w+)?",
        _SIGN.format("é|seria"),
        starts=("resposta", "opção", "alternativa"),
    ),
    "Italian": Lead(
        r"\b(?:risposta|opzione corretta)\b(?: \w+)?",
        _SIGN.format("è|sarebbe"),
        starts=("risposta", "opzione"),
    ),
    "Dutch": Lead(r"\bantwoord\b", _SIGN.format("is"), starts=("antwoord",)),
    "Polish": Lead(r"\bodpowiedź\b(?: \w+)?", _SIGN.format("to|brzmi|jest"), starts=("odpowiedź",)),
    "Turkish": Lead(r"\b(?:cevap|cevabı|yanıt)\b", _COLON, starts=("cevap", "cevabı", "yanıt")),
    "Vietnamese": Lead(r"\bđáp án\b(?: đúng)?", _SIGN.format("là"), starts=("đáp án",)),
    "Indonesian": Lead(r"\bjawaban(?:nya)?\b(?: \w+)?", _SIGN.format("adalah"), starts=("jawaban",)),
    "Russian": Lead(r"\bответ(?:ом)?\b", r"(?:является|будет|это)\b|[:：=]|[-–—](?=\s)", starts=("ответ",)),
    "Arabic": Lead(r"الإجابة(?: الصحيحة)?|الجواب", r"هي|هو|[:=]", starts=("الإجابة", "الجواب")),
    "Hindi": Lead(r"उत्तर", r"है|[:=]", starts=("उत्तर",)),
    "Chinese": Lead(
        r"答案|正确选项|正解",
        r"应?该?(?:[是为选]|[:：=])+",
        r"(?<![不没未别可])选(?:择|项)?[为是:：]?(?=\s*[(（]?[A-Z](?![A-Za-z]))(?!\w{1,3}不?(?:正确|错))",
        starts=("答案", "正确选项", "正解", "选"),
    ),
    "Japanese": Lead(r"答え|正解|解答", r"[はが:：=]", starts=("答え", "正解", "解答")),
    "Korean": Lead(r"정답|답", r"[은는이:：=]", starts=("정답", "답")),
}


def _pattern(lead: Lead) -> re.Pattern[str]:
    forms = rf"(?:{lead.names})[\s*_\"']*(?:{lead.joined})" + (f"|{lead.phrases}" if lead.phrases else "")
    return re.compile(rf"(?:{forms})[\s:：*=]*(?=\S)", re.IGNORECASE)


LEAD_PATTERNS = {language: _pattern(lead) for language, lead in LEADS.items()}
HEADING = re.compile(
    r"(?:^[#* \t]*(?:the )?(?:final |correct )?answer[* \t]*$|^####(?=[ \t]*[-$\d.\\]))[\s:：*=]*(?=\S)",
    re.IGNORECASE | re.MULTILINE,
)
"""A line that is only a heading, or GSM8K's hashes."""
_ALL = [(tuple(map(folded, lead.starts)), LEAD_PATTERNS[language]) for language, lead in LEADS.items()]
_ASCII = [
    (starts, pattern) for all_starts, pattern in _ALL if (starts := tuple(filter(str.isascii, all_starts)))
]


def leads_in(text: str) -> list[re.Match[str]]:
    """All leads in all languages, in the order of their ends."""
    lowered, found = folded(text), list[re.Match[str]]()
    for starts, pattern in _ASCII if text.isascii() else _ALL:
        if not _has_any(lowered, starts):
            continue
        end = 0
        for place in _places(lowered, starts):
            if place >= end and (match := pattern.match(text, place)):
                found.append(match)
                end = match.end()
    if "answer" in lowered or "####" in lowered:
        found += HEADING.finditer(text)
    return sorted(found, key=lambda match: match.end())


def _has_any(text: str, words: tuple[str, ...]) -> bool:
    for word in words:  # noqa: SIM110 (`any` with a generator takes three times as long)
        if word in text:
            return True
    return False


def _places(text: str, words: tuple[str, ...]) -> list[int]:
    found: list[int] = []
    for word in words:
        place = text.find(word)
        while place >= 0:
            found.append(place)
            place = text.find(word, place + 1)
    return sorted(found)


class Phrases:
    """A pattern that ignores case, and its signs."""

    def __init__(self, pattern: str, *signs: str, flags: re.RegexFlag = re.IGNORECASE) -> None:
        self.pattern = re.compile(pattern, flags)
        self.signs = tuple(map(folded, signs))
        self.ascii_signs = tuple(filter(str.isascii, self.signs))

    def may_be_in(self, text: str) -> bool:
        return _has_any(folded(text), self.ascii_signs if text.isascii() else self.signs)

    def search(self, text: str, start: int = 0) -> re.Match[str] | None:
        # This is `may_be_in`, without three calls.
        lowered, signs = (text.lower(), self.ascii_signs) if text.isascii() else (folded(text), self.signs)
        for sign in signs:
            if sign in lowered:
                return self.pattern.search(text, start)
        return None

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        return self.pattern.finditer(text) if self.may_be_in(text) else iter(())


SHORT_LEAD = re.compile(r"^A:[ \t]*(?=\S)", re.MULTILINE)
"""Before the answer to a problem without options, where it cannot be a letter."""

_CALLED_SO = (
    *("only ", "most ", "best", "correct", "right", "fitting", "appropriate", "accurate", "answer", "likely"),
)
CALLED = Phrases(
    r"(?:^|[.,;:!] |\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ss]o|[Tt]hus|[Hh]ence|[Tt]herefore|only|that) )"
    r"(?:only )?(?:option )?[(*\[]*([A-Z])\b[)*\]]*"
    r"(?:[:.)]? (?:(?!\b(?:is|not)\b)[^.\n]){1,80}?)?,? "
    r"(?:is|would be|must be) (?:the )?"
    r"(?:only )?(?:most |best )?(?:correct|right|best|fitting|appropriate|accurate|answer|likely)\b"
    r"|(?:选项|答案)?[(（]?([A-Z])[)）]?(?:项|选项)?(?:是)?正确"
    r"|\b(?:[Вв]ариант|[Oo]pción|[Oo]pção|[Oo]pzione|[Oo]ption) ([A-Z]) "
    r"(?:верен|правильный|es (?:la )?correcta|é a correta|está correcta|è (?:quella )?corretta"
    r"|est (?:la )?correcte|ist richtig)",
    *map("".join, product(("is ", "be "), ("", "the "), _CALLED_SO)),
    *("正确", "верен", "правильный", "correcta", "correta", "corretta", "correcte", "ist richtig"),
    flags=re.MULTILINE,
)
"""An option that is called correct; the letter is the only group that is set."""


def _any(*words: str, unspaced: str = "", signs: tuple[str, ...]) -> Phrases:
    """Whole words or phrases; `unspaced` for languages without spaces between words."""
    spaced = rf"\b(?:{'|'.join(words)})\b"
    return Phrases(f"{spaced}|{unspaced}" if unspaced else spaced, *signs, *filter(None, unspaced.split("|")))


DENIAL = _any(
    *("not", "neither", "nor", "never", "cannot", "can't", r"\w+n't", "unlikely", "impossible", "untrue"),
    *("incorrect", "wrong", "false", "invalid", "excluded?", "eliminated?", "ruled? out", "rejected"),
    *("nicht", r"kein\w*", "falsch", "no es", "não", "non è", "n[’']est pas", "не"),
    *("incorrect[oae]", "errad[oa]", "errat[oa]", r"sbagliat\w+", "faux", "fausse"),
    *(r"неверн\w+", r"неправильн\w+"),
    unspaced="不是|不对|不正确|错误|并非|排除",
    signs=(
        *("not", "nor", "neither", "never", "n't", "unlikely", "impossible", "untrue", "incorrect", "wrong"),
        *("false", "invalid", "exclude", "eliminate", "rule", "rejected", "nicht", "kein", "falsch", "no es"),
        *("não", "non è", "n’est", "n'est", "не", "errad", "errat", "sbagliat", "faux", "fausse"),
    ),
)
DENIES_WHAT_FOLLOWS = re.compile(
    r"(?:\b(?:not|no|nor|neither|never|except(?: for)?|excluding|but not|rather than|instead of|other than"
    r"|unlike|than|(?:any(?:thing|one)?|every(?:thing|one)?|all)(?: options?)? but|rul(?:e|ed|es|ing) out"
    r"|nicht|kein)|不是|不选|并非)\W*(?:(?:be|the|a|an|option|choice|answer|letter)\W+)*$|[¬!~≠]\s*$",
    re.IGNORECASE,
)
"""Words just before an option that deny it and the options after it."""
SUPPOSITION = _any(
    *("if", "whether", "unless", r"suppos\w+", "assum(?:e|ing)", "imagine", "falls", "wenn", "ob"),
    r"how (?:I|we|you|to)",
    r"(?<!\bI )(?<!\bwe )(?:would|might|may|could|some|people|students?) (?:\w+ )?"
    "(?:say|think|argue|believe|claim)",
    "(?:initially|at first|originally|first) (?:thought|guessed|believed|think)",
    unspaced="如果|若|是否|假设",
    signs=(
        *("if", "whether", "unless", "suppos", "assum", "imagine", "falls", "wenn", "ob", "how "),
        *("say", "think", "argue", "believe", "claim", "thought", "guessed"),
    ),
)
HEDGE = _any(
    *("maybe", "perhaps", "possibly", "(?:might|may|could) (?:also |well )?be", "not (?:sure|certain)"),
    *("unsure", "uncertain", "unclear", "(?<!no )doubt(?:ful)?", "don't know"),
    *("vielleicht", "peut-être", "quizás", "talvez", "forse", "возможно"),
    unspaced="可能是|也许|不确定",
    signs=(
        *("maybe", "perhaps", "possibly", "be", "not ", "unsure", "uncertain", "unclear", "doubt"),
        *("don't know", "vielleicht", "peut-être", "quizás", "talvez", "forse", "возможно"),
    ),
)
REASON = re.compile(
    r"[\s,;(]+(?:because|since|whereas|due to|as it|as only|given that|while)\b", re.IGNORECASE
)
REFUSAL = _any(
    *("cannot", "can ?not", "can't", "could ?n[o']t", "unable to", "not able to", "(?:im|not )possible to"),
    *(
        "insufficient",
        "sorry",
        "apologi[sz]e",
        "as an ai",
        "don't know",
        "need more",
        "would (?:need|require)",
    ),
    "not (?:have|provide|give|include|contain|specify|mention|show)",
    "doesn't (?:provide|give|include|contain|specify|mention|show)",
    r"not (?:\w+ )?(?:provided|given|specified|included|available|visible|clear|mentioned|enough|sufficient)",
    *("not shown", "not in the options", "not an option", "do(?:es)? not match"),
    "none of the (?:given |provided |above )?(?:options|choices|answers)",
    "no (?:information|context|image|picture|data|way|option|correct answer)",
    "without (?:more|further|additional|any|the|specific|context|information|seeing|a)",
    *("please (?:provide|upload|share|give)", "(?:mistake|error) in the"),
    *("kann (?:ich )?nicht", "no puedo", "não posso", "non posso", "je ne peux", "не могу"),
    unspaced="无法|不能确定|抱歉|对不起|没有正确|不在选|有误",
    signs=(
        *("not", "can't", "could", "unable to", "impossible to", "insufficient", "sorry", "apologi"),
        *("as an ai", "don't know", "need", "would require", "doesn't", "do", "none of the", "no "),
        *("without ", "please ", "mistake in the", "error in the", "kann"),
        *("não posso", "non posso", "je ne peux", "не могу"),
    ),
)
"""Refuses to answer. Searched in prose only, because tags, boxes and leads mark an answer."""
NO_ANSWER = _any(
    r"(?:cannot|can ?not|can't|unable to|impossible to|not possible to|not able to)(?: \w+){0,3}? "
    r"(?:determined?|answer(?:ed)?|decided?|tell|choose|say|find|found|solved?|calculated?|computed?|predict|"
    r"(?:provided?|given?) (?:an?|the|any)? ?(?:\w+ ){0,2}answer)",
    r"(?:cannot|can ?not|can't)(?: \w+)? be (?:provided|given)",
    "(?:is|are) not (?:given|provided|known|stated|available|determinable)",
    signs=("not", "can't", "unable to", "impossible to"),
)
"""Retracts the answer before it."""
TAKEN_BACK = Phrases(
    r"(?:[.!?\n]\s*(?:wait|hmm+|actually|sorry|correction|oops|scratch that|hold on)\b"
    r"|(?<!\b[A-Z])[.!?\n]\s*no\b)[,.!… -]*[^.!?\n]{0,40}?"
    r"\b(?:wrong|incorrect|not (?:right|correct)|mistaken?|scratch that|take (?:it|that) back)\b",
    *("wrong", "correct", "not right", "mistake", "scratch that", "take it back", "take that back"),
)
CONCLUSION = re.compile(
    r"^\W*(?:therefore|thus|hence|so|consequently|accordingly|in conclusion|to conclude|overall|as a result"
    r"|finally|daher|donc|por (?:lo )?tanto|portanto|quindi"
    r"|следовательно)\b|^(?:因此|所以)",
    re.IGNORECASE,
)
CHATTER = re.compile(
    r"^\W*(?:i hope|let me know|feel free|please (?:let|feel|note)|(?:is|are) there any"
    r"|do you (?:have|want|need)|would you like|if you have|hope this|sure\b|certainly\b|of course\b"
    r"|i can help|i see the image|i understand|here(?:'s| is| are) |note\b|you're welcome|thank)",
    re.IGNORECASE,
)
TURN = re.compile(
    r"\n\s*(?:#+ *|\*\*)?(?:Question|Q|Hint|User|Human|Problem)\s*\d*\s*:|<\|im_(?:start|end)\|>|</s>"
)
"""Where a model that does not stop starts to write the next question."""
