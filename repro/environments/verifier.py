r"""Exact checking of numeric answers: what a person marking the paper would accept, nothing that hedges.

The rule, in order:

1. *Where the answer is.* The last ``\boxed{}`` if there is one; else the line after the last ``####``; else
   the sentence after the last word "answer" that has a number in it; else the last number of the response. A
   box or ``####`` that is empty, cut off or unreadable is no answer: nothing earlier is used in its place.
2. *What it must be.* One value. Of an equation that is the value behind the last ``=``. Two different values
   ("5 or 6", two boxes joined by "or", "answer: x = 5, y = 6"), a range, an inequality, a negation and an
   unevaluated expression ("6*7", "x - 5", "\sqrt{5}", "5!") are refused. In a response without marks the
   last number counts, unless "or", "and", "to" or a bare comma joins it to another.
3. *How it may be written.* ASCII or Unicode minus, a plus, leading zeros, trailing zeros ("5.0", ".50"),
   thousands separators ("1,234", "1{,}234", no-break and thin spaces), exact fractions and mixed numbers
   ("1/2", "2 1/2", "\frac{1}{2}"), small powers of ten ("1e3"), scale words ("2 million"), currency signs,
   units, Markdown and LaTeX dressing, surrounding punctuation. "5%" is 1/20 and also answers a reference of
   5, because references to "what percentage" are often written without the sign.
4. *How it is compared.* As rational numbers, exactly: 0.333 is not 1/3.

Everything else is refused: digits that are not ASCII (also vulgar fractions and superscripts), NaN and
infinities, numbers of more than 100 characters, badly grouped digits ("1,23"), times and dates. Every pattern
consumes what it looks at, so the time is linear in the length of the response.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from repro.errors import ReproError

MAX_DIGITS = 100  # int() of a longer string costs quadratic time, and no reference answer is that long
SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
# letters that may touch a number; any other ("5x", "5k") make it part of an expression or a name
UNITS = frozenset("m cm mm km in ft g kg mg l ml s sec h hr hrs min am pm st nd rd th mph".split())
# commands that dress a value or join statements; any other command ("\sqrt", "\pi") is part of an expression
DRESSING = frozenset(
    "text textbf textit mathrm mathbf mathit mbox bf left right big displaystyle quad qquad begin end circ "
    "degree boxed fbox implies therefore Rightarrow approx times cdot div".split()
)

_SEPARATORS = ",\u00a0\u2009\u202f"
_MINUS = "\\-\u2212\u2012\u2013\ufe63\uff0d"
_DIGITS = rf"[0-9]+(?:[.:'_{_SEPARATORS}][0-9]+)*"
_TOKEN = re.compile(
    rf"(?P<number>(?:(?<![\w.])\.)?{_DIGITS})"
    r"(?P<exponent>[eE][+-]?[0-9]+)?"
    r"(?:(?P<over>[ ]*/[ ]*)(?P<below>[0-9]+)|[ ]+(?P<above>[0-9]+)/(?P<part>[0-9]+))?"
    r"(?P<percent>\s?\\?%|\spercent\b)?"
    r"|\\(?P<command>[A-Za-z]+)"
    r"|(?P<strange>(?![0-9])\d|(?<![A-Za-z])[²³]|[¹⁰-₉¼-¾⅐-↉∞±√π<≤≥≠]|(?<![-=])>"
    r"|\b(?:nan|inf|infinity|infinite|undefined)\b)",
    re.IGNORECASE,
)
_GROUPED = re.compile(rf"[0-9]{{1,3}}([{_SEPARATORS}])[0-9]{{3}}(?:\1[0-9]{{3}})*(?:\.[0-9]+)?")
_PLAIN = re.compile(r"[0-9]*\.?[0-9]+")
_SIGN = re.compile(rf"(?P<before>[\w)}}\]]?)(?P<space>\s*)(?P<sign>[+{_MINUS}])(?P<gap>\s*)$")
_LEFT_OPERAND = re.compile(r"(?:[\w)}\]]\s*(?:\*\*|[*/^×·÷])|\^\{|_\{?|\\(?:times|cdot|div)\b)\s*$")
# "5 - a guess" and "5 km/h" are no expressions, so the letters a and h do not count as variables here
_RIGHT_OPERAND = re.compile(
    rf"\s*(?:[*/^×·÷+{_MINUS}]|\\(?:times|cdot|div)\b)\s*(?:[B-Zb-gi-z](?![A-Za-z])|[({{\\0-9])"
)
_TERM = re.compile(r"=\s*\w+\s+$")
_CURRENCY = re.compile(r"(?:\\?\$|[€£¥₹]|USD|EUR)\s*$")
_FILLER = r"(?:\s|\$|\\[()\[\],])*"
_ALTERNATIVE = re.compile(
    rf"{_FILLER}(?:[,;]|,?\s*\b(?:or|and|to)\b(?:{_FILLER}\w+\s*=)?){_FILLER}[+{_MINUS}]?{_FILLER}"
)
_PARTS = re.compile(r";|,\s|\b(?:or|and)\b")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_ANSWER = re.compile(r"\banswers?\b(?:\s|[:*_=$\[\]\\({]|\bis\b|\bare\b)*", re.IGNORECASE)
_STATES = re.compile(rf"\b(?:is|are)\b:?\s*(?=[+{_MINUS}$€£¥₹(\\]*[0-9.])")
_NEGATION = re.compile(r"\b(?:not|never|isn't)\b", re.IGNORECASE)
_AREA = re.compile(r"\b(mm|cm|km|m|in|ft|inches|feet|meters|units)\s*\^\s*\{?[23]\}?")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_WORD = re.compile(r"\s*([A-Za-z]+)")


@dataclass(frozen=True)
class Value:
    """An exact rational number; with ``percent`` it is the number that stood before a percent sign."""

    number: Fraction
    percent: bool = False


def numbers_match(response: str, answer: str) -> bool:
    """Whether the final answer of ``response`` is the number ``answer``, by the rule of this module.

    Raises ReproError where ``answer``, the reference, is itself not one readable number.
    """
    reference = parse_number(answer)
    if reference is None:
        raise ReproError(f"the reference answer {answer[:80]!r} is not one number: check it symbolically")
    given = read_answer(response)
    if given is None:
        return False
    if given.percent == reference.percent:
        return given.number == reference.number
    percent, plain = (given, reference) if given.percent else (reference, given)
    return plain.number in (percent.number, percent.number / 100)


def parse_number(text: str) -> Value | None:
    """The one value that ``text``, a bare answer, states; None where it states none or several."""
    if re.search(r"[0-9)}]!", text):  # a factorial; the exclamation mark of a sentence is cut off before
        return None
    return _one_value(_clean(text))


def read_answer(response: str) -> Value | None:
    """The value a response gives as its final answer, or None (see the rule of this module)."""
    marked = marked_answer(response)
    if marked is not None:
        return parse_number(marked)
    text = _clean(response)
    for sentence in _answer_sentences(text):
        if any(_tokens(sentence)):
            if _NEGATION.search(sentence):
                return None
            states = _STATES.search(sentence)  # "the answer to question 3 is 42"
            return _one_value(sentence[states.end() :] if states else sentence)
    return _last_value(text)


def marked_answer(response: str) -> str | None:
    r"""What stands in the last ``\boxed{}`` or after the last ``####``; None without either, "" if unusable.

    A box that is never closed, or that an "or" joins to a box with another content, cannot be used.
    """
    boxes = list(_BOX.finditer(response))
    if boxes:
        end = _closing_brace(response, boxes[-1].end())
        content = response[boxes[-1].end() : end] if end is not None else ""
        if len(boxes) > 1:
            previous = _closing_brace(response, boxes[-2].end())
            if previous is not None and _joined(response[previous + 1 : boxes[-1].start()]):
                content = content if response[boxes[-2].end() : previous] == content else ""
        return content.strip()
    if "####" in response:
        rest = response.rpartition("####")[2].strip()
        return rest.split("\n", 1)[0]
    return None


def _joined(between: str) -> bool:
    """Whether the text between two values makes them alternatives; longer than 40 characters, it is prose."""
    return len(between) <= 40 and _ALTERNATIVE.fullmatch(between) is not None


def _closing_brace(text: str, start: int) -> int | None:
    """Index of the brace that closes the one just before ``start``; escaped braces do not count."""
    depth = 1
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return match.start()
    return None


def _answer_sentences(text: str) -> Iterator[str]:
    """What follows each word "answer", last one first, up to the end of its sentence or the next "answer"."""
    limit = len(text)
    for marker in reversed(list(_ANSWER.finditer(text))):
        end = _SENTENCE_END.search(text, marker.end(), limit)
        yield text[marker.end() : end.start() if end else limit]
        limit = marker.start()


def _clean(text: str) -> str:
    r"""Dressing off: tags, Markdown, LaTeX text, spacing and grouping; ``\frac{1}{2}`` becomes ``1/2``."""
    text = re.sub(r"</[A-Za-z]{1,20}>", "\n", re.sub(r"<([A-Za-z]{1,20})>", r" \1 ", text))
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf|mbox)\s*\{([^{}]*)\}", r" \1 ", text)
    text = re.sub(r"(?<![0-9])\*\*|\*\*(?![0-9])|`", " ", text)
    text = re.sub(r"(?<=[0-9])(?:\{,\}|\\,|\\!,?|,\\!)(?=[0-9])", ",", text)
    text = re.sub(r"\\[,;!:]|\\(?:left|right)(?![A-Za-z])|\^\{?\\circ\}?|°", " ", _AREA.sub(r"\1", text))
    text = re.sub(r"(?<=[0-9])\s*(?=\\[dt]?frac\s*[{0-9])", " ", text)
    text = re.sub(r"\\[dt]?frac\s*\{\s*(-?[0-9]{1,100})\s*\}\s*\{\s*([0-9]{1,100})\s*\}", r"\1/\2", text)
    return re.sub(r"\\[dt]?frac\s*([0-9])\s?([0-9])(?![0-9])", r"\1/\2", text)


def _one_value(segment: str) -> Value | None:
    """The value of a marked answer: all its alternatives, each read behind its last ``=``, must agree."""
    values = set()
    for part in _PARTS.split(segment):
        for side in reversed(re.split(r"=|≈|\\approx\b", part)):
            tokens = list(_tokens(side))
            if tokens:
                values.update(_read(side, token) for token in tokens)
                break
    return values.pop() if len(values) == 1 else None


def _last_value(text: str) -> Value | None:
    """The last number of a response without marks, unless it is the last of several alternatives."""
    previous = last = None
    for token in _tokens(text):
        previous, last = last, token
    if last is None:
        return None
    value = _read(text, last)
    if previous is not None and _joined(text[previous.end() : last.start()]):
        return value if _read(text, previous) == value else None
    return value


def _tokens(text: str) -> Iterator[re.Match]:
    """The numbers of a text and whatever cannot be read as one; LaTeX that only dresses is passed over."""
    return (token for token in _TOKEN.finditer(text) if token["command"] not in DRESSING)


def _read(text: str, token: re.Match) -> Value | None:
    """The value of one token in its place, or None where it is no number or an operand of an expression."""
    if token["number"] is None:
        return None
    number = _rational(token)
    if number is None:
        return None
    left, right = text[max(0, token.start() - 24) : token.start()], text[token.end() : token.end() + 24]
    left = _CURRENCY.sub("", left)
    sign = _SIGN.search(left)
    if sign:
        if sign["before"] and (not sign["space"] or sign["gap"] or _TERM.search(left[: sign.start("sign")])):
            return None  # "x-5", "x - 5", "y = x -5": a subtraction; "is -5" is a sign
        if sign["sign"] != "+":
            number = -number
        left = left[: sign.start("sign")]
    if re.search(r"\w$", left) and not re.search(r"[0-9]$", left) or _LEFT_OPERAND.search(left):
        return None
    if _RIGHT_OPERAND.match(right):
        return None
    word = _WORD.match(right)
    if word:
        name = word[1].lower()
        if name in SCALES:
            number *= SCALES[name]
        elif not right[0].isspace() and name not in UNITS:
            return None
    return Value(number, token["percent"] is not None)


def _rational(token: re.Match) -> Fraction | None:
    """The unsigned rational that a number token spells, or None where it is badly formed or too long."""
    if token.end() - token.start() > MAX_DIGITS:
        return None
    digits = token["number"]
    if not (_GROUPED.fullmatch(digits) or _PLAIN.fullmatch(digits)):
        return None
    number = Fraction(re.sub(f"[{_SEPARATORS}]", "", digits))
    if token["exponent"]:
        power = int(token["exponent"][1:])
        if abs(power) > MAX_DIGITS:
            return None
        number *= Fraction(10) ** power
    if token["below"]:
        return number / int(token["below"]) if int(token["below"]) else None
    if token["part"]:
        return number + Fraction(int(token["above"]), int(token["part"])) if int(token["part"]) else None
    return number
