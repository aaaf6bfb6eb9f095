"""Reading PDDL: nested lists with line numbers, typed declarations, and the conditions of a goal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from repro.errors import ReproError

KINDS = {
    "agent": "agent",
    "location": "location",
    "receptacle": "receptacle",
    "object": "object",
    "rtype": "receptacle type",
    "otype": "object type",
}


@dataclass(frozen=True)
class Word:
    text: str
    line: int


@dataclass(frozen=True)
class List:
    items: tuple[Word | List, ...]
    line: int

    @property
    def head(self) -> str:
        first = self.items[0] if self.items else None
        return first.text.lower() if isinstance(first, Word) else ""


@dataclass
class Reader:
    """Knows where the text comes from, so that every complaint names the place."""

    source: str
    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)  # lower-case id: (spelling, kind)
    quantifiers: int = 0  # seen so far

    def fail(self, line: int, message: str) -> ReproError:
        return ReproError(f"{self.source}, line {line}: {message}")

    def tree(self, text: str) -> List:
        open_lists: list[tuple[int, list[Word | List]]] = []
        root: List | None = None
        for number, line in enumerate(text.splitlines(), 1):
            for token in re.findall(r"[()]|[^\s()]+", line.partition(";")[0]):
                if root is not None:
                    raise self.fail(number, f"text after the problem's end: {token!r}")
                if token == "(":
                    open_lists.append((number, []))
                elif not open_lists:
                    raise self.fail(number, f"expected an opening parenthesis, found {token!r}")
                elif token != ")":
                    open_lists[-1][1].append(Word(token, number))
                else:
                    started, items = open_lists.pop()
                    done = List(tuple(items), started)
                    if open_lists:
                        open_lists[-1][1].append(done)
                    else:
                        root = done
        if root is None:
            started = open_lists[-1][0] if open_lists else 1
            raise self.fail(started, "this parenthesis is never closed" if open_lists else "no problem in this text")
        return root

    def typed(self, items: Iterable[Word | List]) -> Iterator[tuple[Word, str]]:
        """`a b - kind c - kind` as (word, kind)."""
        pending: list[Word] = []
        words = iter(items)
        for word in words:
            if isinstance(word, List):
                raise self.fail(word.line, "expected a name, found a list")
            if word.text != "-":
                pending.append(word)
                continue
            kind = next(words, None)
            if not isinstance(kind, Word):
                raise self.fail(word.line, "a dash needs a kind after it")
            yield from ((name, kind.text.lower()) for name in pending)
            pending = []
        if pending:
            raise self.fail(pending[0].line, f"{pending[0].text!r} has no kind (write `{pending[0].text} - object`)")

    def words(self, entry: List) -> list[Word]:
        for item in entry.items:
            if isinstance(item, List):
                raise self.fail(item.line, f"({entry.head} ...) takes names, not lists")
        return list(entry.items)

    def resolve(self, word: Word, kind: str) -> str:
        """The declared spelling of a name that must be of this kind."""
        spelling, found = self.kinds.get(word.text.lower(), (None, None))
        if spelling is None:
            raise self.fail(word.line, f"unknown {KINDS[kind]} {word.text!r}: it is not among the problem's :objects")
        if found != kind:
            raise self.fail(word.line, f"{word.text!r} is declared as {found}, where a {kind} is needed")
        return spelling.removesuffix(spelling[-4:]) if kind in ("rtype", "otype") else spelling


def conjuncts(reader: Reader, formulas: Iterable, scope: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """The atoms of nested `and` and `exists`, with variables made unique per quantifier and types resolved."""
    for formula in formulas:
        if isinstance(formula, Word):
            raise reader.fail(formula.line, f"expected a condition in parentheses, found {formula.text!r}")
        if formula.head == "and":
            yield from conjuncts(reader, formula.items[1:], scope)
        elif formula.head == "exists":
            if len(formula.items) != 3 or not isinstance(formula.items[1], List):
                raise reader.fail(formula.line, "(exists (?x - kind) condition) is expected")
            reader.quantifiers += 1
            bound = [word.text.lower() for word, _ in reader.typed(formula.items[1].items)]
            inner = {**scope, **{name: f"{name}@{reader.quantifiers}" for name in bound}}
            yield from conjuncts(reader, formula.items[2:], inner)
        elif formula.head == "not":
            inner_atoms = list(conjuncts(reader, formula.items[1:], scope))
            if len(inner_atoms) != 1 or inner_atoms[0][0] != "=":
                raise reader.fail(formula.line, "in a goal, `not` only says that two objects differ")
            yield ("differ", *sorted(inner_atoms[0][1:]))
        elif any(isinstance(item, List) for item in formula.items):
            raise reader.fail(formula.line, f"({formula.head} ...) is in the goal of none of the six task types")
        else:
            words = reader.words(formula)
            resolved = []
            for word in words[1:]:
                if word.text.startswith("?"):
                    if word.text.lower() not in scope:
                        raise reader.fail(word.line, f"the variable {word.text} is not bound")
                    resolved.append(scope[word.text.lower()])
                elif word.text.lower() in reader.kinds:
                    kind = reader.kinds[word.text.lower()][1]
                    resolved.append(reader.resolve(word, kind))
                else:
                    kind = "rtype" if formula.head == "receptacletype" else "otype"
                    raise reader.fail(word.line, f"the goal names the unknown {KINDS[kind]} {word.text!r}")
            yield (formula.head, *resolved)
