"""A small typed language of list programs: one pass from text to flat code. Nothing here reaches Python's own compiler.

    plum = input sort               names hold a number or a list of numbers, and keep the type they were first given
    kiwi = plum > 3 * 2             list and number: + - * / % change each item, < > keep the items that compare so
    while kiwi sum > 9 {            a function follows what it is applied to, as in a pipe, and binds most tightly
        kiwi = kiwi rest
    }
    return kiwi reverse first + 1

A program's argument is the list `input`. Line ends mean nothing, and spaces only part words (`+3` is + and 3): no
operator or function can begin a statement, so a statement ends where the next word cannot continue it. A list joined
to a list by + is the longer list; comparing two numbers gives 1 or 0, and a condition holds unless it is 0. Everything
else (a number left of a list, a function of a number, an unknown name) is refused before anything runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["syntax", "type", "limit", "value"]
Type = Literal["number", "list"]
Instruction = tuple[str, Any]

INPUT = "input"
KEYWORDS = ("return", "while", "if", "else")
FUNCTIONS: dict[str, Type] = {  # what each gives; all take a list
    "sort": "list", "reverse": "list", "rest": "list", "unique": "list",
    "sum": "number", "max": "number", "min": "number", "count": "number", "first": "number", "last": "number",
}  # fmt: skip
PRECEDENCE = (("<", ">"), ("+", "-"), ("*", "/", "%"))  # loosest first, all grouping from the left

_WORD = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|([0-9]+)|[-+*/%<>=(){}]", re.ASCII)
_END = ""


class ProgramError(Exception):
    """What is wrong with a program, in a `kind`: "syntax", "type", "limit" (size, depth, steps) or "value".

    Programs are written by policies, so this is an outcome to be scored and counted, not an error of the user.
    """

    def __init__(self, kind: Kind, message: str):
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Limits:
    """Bounds that make every program's cost small and known. Time and memory are linear in `characters` and `steps`."""

    characters: int = 4_000
    depth: int = 32  # brackets and blocks inside each other
    steps: int = 10_000  # instructions, and items of every list they read or make
    items: int = 256  # in one list
    magnitude: int = 10**9  # of one number


LIMITS = Limits()


def parse(text: str, limits: Limits = LIMITS) -> tuple[Instruction, ...]:
    """The program as code for `interpreter.run`: ("push", number), ("load" | "store", name), ("call", function),
    ("apply", operator), ("jump" | "unless", address), ("return", None).

    Raises ProgramError for a text that is too long, no program of the language, or ill-typed.
    """
    if len(text) > limits.characters:
        raise ProgramError("limit", f"a program of {len(text)} characters")
    parser = _Parser(_words(text), limits)
    while parser.word != _END:
        parser.statement()
    return tuple(parser.code)


def _words(text: str) -> list[str]:
    words, at, text = [], 0, text.rstrip(" \t\r\n")
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
            continue
        match = _WORD.match(text, at)
        if match is None:
            raise ProgramError("syntax", f"{text[at]!r} begins no word")
        words.append(match[0])
        at = match.end()
    return words


class _Parser:
    """Recursive descent with one word of look-ahead; types are checked as the code is laid down."""

    def __init__(self, words: list[str], limits: Limits):
        self.words, self.at, self.limits = [*words, _END], 0, limits
        self.types: dict[str, Type] = {INPUT: "list"}
        self.code: list[Instruction] = []
        self.depth = 0

    @property
    def word(self) -> str:
        return self.words[self.at]

    def take(self, expected: str = "") -> str:
        word = self.word
        if word == _END or expected and word != expected:
            raise ProgramError("syntax", f"{expected or 'a word'!r} is missing before {word or 'the end'!r}")
        self.at += 1
        return word

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > self.limits.depth:
            raise ProgramError("limit", f"nested more than {self.limits.depth} deep")

    def statement(self) -> None:
        word = self.take()
        if word == "return":
            self.expression()
            self.code.append(("return", None))
        elif word == "while":
            start = len(self.code)
            leave = self.condition()
            self.block()
            self.code.append(("jump", start))
            self.land(leave)
        elif word == "if":
            skip = self.condition()
            self.block()
            if self.word == "else":
                self.take()
                end = self.branch("jump")
                self.land(skip)
                self.block()
                self.land(end)
            else:
                self.land(skip)
        elif _is_name(word):
            self.take("=")
            given = self.expression()
            if self.types.setdefault(word, given) != given:
                raise ProgramError("type", f"{word} is a {self.types[word]}, not a {given}")
            self.code.append(("store", word))
        else:
            raise ProgramError("syntax", f"{word!r} begins no statement")

    def block(self) -> None:
        self.deeper()
        self.take("{")
        while self.word != "}":
            self.statement()
        self.take("}")
        self.depth -= 1

    def condition(self) -> int:
        """Code that jumps away where the condition does not hold; the place where its address belongs."""
        if self.expression() != "number":
            raise ProgramError("type", "a condition is a number")
        return self.branch("unless")

    def branch(self, kind: str) -> int:
        self.code.append((kind, -1))
        return len(self.code) - 1

    def land(self, branch: int) -> None:
        self.code[branch] = (self.code[branch][0], len(self.code))

    def expression(self, level: int = 0) -> Type:
        if level == len(PRECEDENCE):
            return self.operand()
        left = self.expression(level + 1)
        while self.word in PRECEDENCE[level]:
            operator = self.take()
            right = self.expression(level + 1)
            if right == "list" and (left, operator) != ("list", "+"):
                raise ProgramError("type", f"a {left} {operator} a list")
            self.code.append(("apply", operator))
        return left

    def operand(self) -> Type:
        given = self.atom()
        while self.word in FUNCTIONS:
            if given != "list":
                raise ProgramError("type", f"{self.word} of a number")
            function = self.take()
            self.code.append(("call", function))
            given = FUNCTIONS[function]
        return given

    def atom(self) -> Type:
        word = self.take()
        if word == "(":
            self.deeper()
            given = self.expression()
            self.take(")")
            self.depth -= 1
            return given
        if word[0].isdigit():  # of a word, so an ASCII digit
            if len(word) > len(str(self.limits.magnitude)) or int(word) > self.limits.magnitude:
                raise ProgramError("limit", f"a number of {len(word)} digits")
            self.code.append(("push", int(word)))
            return "number"
        if not _is_name(word):
            raise ProgramError("syntax", f"{word!r} is no operand")
        if word not in self.types:
            raise ProgramError("type", f"{word} has no value yet")
        self.code.append(("load", word))
        return self.types[word]


def _is_name(word: str) -> bool:
    return (word[0].isalpha() or word[0] == "_") and word not in KEYWORDS and word not in FUNCTIONS
