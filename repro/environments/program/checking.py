"""Hidden unit tests: a response is worth 1 if the program in its last code block passes all of them, else 0."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Sequence

from repro.environments.program import interpreter, language
from repro.environments.program.language import ProgramError
from repro.environments.query import Query

FENCE = "```"
_LENGTHS = (5, 1, 3, 4, 5, 6, 6, 7, 7, 8, 8, 8)


def _inputs(rng: random.Random) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(rng.randrange(25) for _ in range(length)) for length in _LENGTHS)


TESTS = _inputs(random.Random("program tests"))  # the same inputs for every task, so equal outputs are equal behaviour


def expected_outputs(outputs: Sequence[interpreter.Value]) -> str:
    """The `answer` of a query: what each of TESTS must give, as JSON."""
    return json.dumps(outputs)


@functools.lru_cache(maxsize=4096)
def _expected(answer: str) -> tuple[interpreter.Value, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in json.loads(answer))


def code_block(response: str) -> str | None:
    """What stands in the last closed block between fences, or None without one; linear in the response's length.

    A word that touches the opening fence is its language tag, not code.
    """
    parts = response.split(FENCE)  # every second part is a block; one that no fence follows is not closed
    if len(parts) < 3:
        return None
    block = parts[-2 if len(parts) % 2 else -3]
    tagged = block != "" and not block[0].isspace()
    return "".join(block.split(maxsplit=1)[1:]) if tagged else block


def verdict(query: Query, response: str) -> str:
    """What became of a response: "passed", "wrong" (some test's output), "no block" or a ProgramError's kind.

    Tests stop at the first that fails.
    """
    block = code_block(response)
    if block is None:
        return "no block"
    try:
        program = language.parse(block)
        for argument, output in zip(TESTS, _expected(query.answer), strict=True):
            if interpreter.run(program, argument) != output:
                return "wrong"
    except ProgramError as error:
        return error.kind
    return "passed"


def reward(query: Query, response: str) -> float:
    """1.0 if the program in the response's last code block passes every hidden test, else 0.0."""
    return float(verdict(query, response) == "passed")
