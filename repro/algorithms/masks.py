r"""Maskers: which content of an expert trace is hidden. Frozen dataclasses around pure functions of text.

A masker reads `query.trace`, and where it needs them `query.text` and `query.graph`; it never reads the answer, so
what it misses the leak audit (`repro.algorithms.smepo.audit`) can find. Every hidden span becomes one constant token,
whatever its length: the number of blanks is kept, their content is not.

| masker | hides | source |
|---|---|---|
| `CriticalPath` | the value of every derived quantity that the answer depends on | the paper's words (abstract) |
| `Numerals` | every numeral but structural labels | released code (`semantic_masking.py`), its two defects repaired |
| `Numerals(defects=True)` | the same, as the released code does it | released code |
| `CodeBlocks` | the body of every closed fenced block | released code |
| `Entities` | the names of the graph's entities | the paper's search domain; its rule is not released |
| `RandomMask` | as many spans of the same lengths, anywhere | the paper's ablation; its details are unknown |
| `Nothing` | nothing: the full expert trace | the paper's baseline |

`CriticalPath` and the repaired `Numerals` disagree on purpose: the paper hides what leads to the reward, its code hides
every number. Both are run.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

NUMBER, CODE, ENTITY = "[NUMBER]", "[CODE]", "[ENTITY]"


class Span(NamedTuple):
    """Characters start..end of a trace, and what is shown instead."""

    start: int
    end: int
    token: str


def hide(text: str, spans: Iterable[Span]) -> str:
    """The text with every span replaced; spans are disjoint and in order."""
    parts, end = [], 0
    for span in spans:
        parts += [text[end : span.start], span.token]
        end = span.end
    return "".join([*parts, text[end:]])


# Numerals: the kinds of the released rule in its order; the first that matches at a position wins.
_N = r"(?:\d+\.\d+|\.\d+|\d+)"
_DIGITS_IN_BRACES = r"\s*\{[^{}]*\d[^{}]*\}"


def _rule(division: str, percent: str) -> re.Pattern[str]:
    unsigned = (
        rf"\\[dDtT]?frac{_DIGITS_IN_BRACES}{_DIGITS_IN_BRACES}",
        rf"\\sqrt(?:\s*\[[^\[\]]*\d[^\[\]]*\])?{_DIGITS_IN_BRACES}",
    )
    signed = (
        rf"{_N}\s*\\times\s*10\s*\^\s*\{{?[+-]?\d+\}}?",
        rf"{_N}{division}[+-]?{_N}",
        rf"{_N}{percent}",
        rf"{_N}[eE][+-]?\d+",
        rf"{_N}",
    )
    return re.compile(rf"{'|'.join(unsigned)}|(?P<sign>[+-])?(?:{'|'.join(signed)})")


_RELEASED = _rule(division=r"\s*/\s*", percent=r"\s*%")  # of "24 / 3 = 8" one number is left, its operator gone
_REPAIRED = _rule(division="/", percent=r"\s*\\?%")
_LABEL = re.compile(
    r"\b(?:step|case|part|subcase|problem|example|exercise|lemma|theorem|claim|stage|round)\s+\d+\b", re.IGNORECASE
)
_OPENS_A_VALUE = set("=([{<>,;:^_&|$*/+-~")  # after one of these, a touching + or - is a sign, not an operator


def numerals(text: str, keep_operators: bool = True) -> Iterator[tuple[int, int]]:
    r"""Where numbers stand: (start, end) of fractions, roots, powers of ten, a/b, percentages, decimals, integers.

    A leading + or - is part of a number only if no value stands before it: "= -5" is one number, "n-1" and
    "plum -6" are a quantity, an operator and a number; "24 / 3" is two numbers where "2/3" is one.
    `keep_operators=False` takes every touching sign and every division, as the released code does. Nested LaTeX
    (``\frac{\sqrt{3}}{2}``) falls through to its parts.
    """
    for match in (_REPAIRED if keep_operators else _RELEASED).finditer(text):
        start = match.start()
        if match["sign"] and keep_operators:
            before = text[:start].rstrip(" \t")
            if before and before[-1] != "\n" and before[-1] not in _OPENS_A_VALUE:
                start += 1
        yield start, match.end()


@dataclass(frozen=True)
class Nothing:
    """The full expert trace."""

    def spans(self, query: Any) -> list[Span]:
        return []


@dataclass(frozen=True)
class Numerals:
    """Every numeral of the trace, restated givens, indices, exponents and list markers included; labels are kept.

    `defects=True` is the released code as it stands: a + or - that touches a number, or a spaced division between two,
    vanishes with it ("3+4" loses its operator), and "Step 1" becomes a placeholder that is never restored.
    """

    defects: bool = False

    def spans(self, query: Any) -> list[Span]:
        labels = [match.span() for match in _LABEL.finditer(query.trace)]
        rest = query.trace
        for start, end in labels:
            rest = rest[:start] + "x" * (end - start) + rest[end:]  # no number, and a value for what follows it
        found = [Span(start, end, NUMBER) for start, end in numerals(rest, keep_operators=not self.defects)]
        broken = [Span(start, end, f"__STRUCTURAL_NUMBER_{NUMBER}__") for start, end in labels if self.defects]
        return sorted(found + broken)


@dataclass(frozen=True)
class CriticalPath:
    """The value of every derived quantity on the way to the answer, wherever the trace states it.

    `query.graph` holds the solution's quantities, the one that is asked for last. Each has a `name`, a `source` (the
    names it is derived from, separated by spaces; empty for a given), a `fact` (as the question states it) and a
    `computed` (the fact with its value after it). Hidden are what `computed` adds to `fact`, "name = value", and the
    answer behind "####", in a box or after "answer is". Kept are givens, quantities off the path, operations, labels.

    Raises ValueError for a trace without a graph: then `Numerals` is the rule that applies.
    """

    def spans(self, query: Any) -> list[Span]:
        if not query.trace:
            return []
        if not query.graph:
            raise ValueError(
                f"CriticalPath: query {query.id!r} has a trace but no solution graph; use Numerals() for real text"
            )
        found: set[Span] = set()
        for step in _ancestors(query.graph):
            fact, computed = _pieces(step.fact), _pieces(step.computed)
            value = _spaced(computed[len(fact) + 1 :])  # after the fact comes "=", then the value
            stated = [rf"(?<!\w){_spaced([*fact, '='])}", rf"(?<!\w){_spaced([step.name, '='])}"]
            if step is query.graph[-1]:
                stated.append(r"(?:####|\\boxed\s*\{|\banswer\s+is:?)")
            for before in stated:
                pattern = rf"{before}\s*(?P<value>{value})(?!\w|\.\d)"
                found |= {Span(*match.span("value"), NUMBER) for match in _compiled(pattern).finditer(query.trace)}
        return sorted(found)


# A training list is read by the survey, the audit and every epoch; `re` itself keeps 512 patterns.
_compiled = lru_cache(1 << 14)(re.compile)


def _ancestors(graph: tuple) -> list[Any]:
    """The derived quantities that the last one depends on, itself included, in the graph's order."""
    by_name = {step.name: step for step in graph}
    needed, waiting = set(), [graph[-1].name]
    while waiting:
        name = waiting.pop()
        if name not in needed and name in by_name:
            needed.add(name)
            waiting += by_name[name].source.split()
    return [step for step in graph if step.name in needed and step.source]


def _spaced(pieces: list[str]) -> str:
    return r"\s*".join(re.escape(piece) for piece in pieces)


def _pieces(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


_FENCE = re.compile(r"```[^\n`]*\n(?P<body>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class CodeBlocks:
    """The body of every closed triple-backtick block, wherever its fences stand; fences and language tag stay.

    Prose, inline code, unclosed fences, tilde fences and indented code are untouched. As in the released code a block
    ends at the next fence, even one inside a string of the program: what is left of it then the leak audit finds.
    """

    def spans(self, query: Any) -> list[Span]:
        return [Span(*match.span("body"), f"{CODE}\n") for match in _FENCE.finditer(query.trace)]


@dataclass(frozen=True)
class Entities:
    """The names of the graph's entities, as whole words, whatever their case; relations stay.

    An entity is the `subject` or the `object` of a fact in `query.graph`. An entity recogniser also hides what the
    question prints; `keep_given=True` keeps that, for a name that is given reveals nothing. Which types of entity the
    paper masks is unknown. For text without a graph, `mentions` takes the names that a recogniser found.
    """

    keep_given: bool = False

    def spans(self, query: Any) -> list[Span]:
        names = {name for fact in query.graph for name in (fact.subject, fact.object)}
        if self.keep_given:
            names = {name for name in names if not mentions(query.text, [name])}
        return [Span(start, end, ENTITY) for start, end in mentions(query.trace, names)]


def mentions(text: str, names: Iterable[str]) -> list[tuple[int, int]]:
    """Where any of the names stands as whole words, the longest first; case is ignored."""
    longest_first = sorted({name for name in names if name.strip()}, key=lambda name: (-len(name), name))
    if not longest_first:
        return []
    pattern = "|".join(r"\s+".join(map(re.escape, name.split())) for name in longest_first)
    return [match.span() for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE)]


_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def units(text: str) -> list[tuple[int, int]]:
    """What a random mask can begin or end with: numbers (as `numerals` finds them) and words, never an operator."""
    found = list(numerals(text))
    taken = iter([*found, (len(text), len(text))])
    start, end = next(taken)
    words = []
    for match in _WORD.finditer(text):
        while end <= match.start() and start < len(text):
            start, end = next(taken)
        if match.end() <= start:
            words.append(match.span())
    return sorted(found + words)


@dataclass(frozen=True)
class RandomMask:
    """As many spans as `like` hides in the same trace, each as long in units, at random disjoint places.

    Token share and span profile are thereby matched trace by trace; only the places differ. They depend on the seed and
    the query's id alone, so a query's mask is the same throughout training, as a semantic mask is.

    A span of several units hides what stands between them too, operators and fences. Where `like` hides most of a trace
    in one piece, as `CodeBlocks` does, that piece has few places to go to, and nearly all of them take in something of
    what stands before it. `singly=True` hides as many units, each by itself: the share alone is matched.
    """

    like: CriticalPath | Numerals | CodeBlocks | Entities = CriticalPath()
    seed: int = 0
    singly: bool = False

    def spans(self, query: Any) -> list[Span]:
        hidden, places = self.like.spans(query), units(query.trace)
        lengths = [sum(start < s.end and s.start < end for start, end in places) for s in hidden]
        lengths = [1] * sum(lengths) if self.singly else [length for length in lengths if length]
        slack = len(places) - sum(lengths)
        if not lengths:
            return []
        rng = random.Random(f"mask:{self.seed}:{query.id}")
        rng.shuffle(lengths)
        bars = sorted(rng.sample(range(slack + len(lengths)), len(lengths)))  # uniform over all arrangements
        token = hidden[0].token.strip() if self.singly else hidden[0].token  # a block's ends its line
        spans, shift = [], 0
        for order, (bar, length) in enumerate(zip(bars, lengths, strict=True)):
            first = bar - order + shift
            spans.append(Span(places[first][0], places[first + length - 1][1], token))
            shift += length
        return spans


Masker = Nothing | CriticalPath | Numerals | CodeBlocks | Entities | RandomMask
