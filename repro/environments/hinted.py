"""What hints are asked about, in each world that has expert traces: who copied a planted answer, and what went wrong.

Responses are those of all turns, in order; a world of single turns has one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from repro.environments import guided_arithmetic, program, search
from repro.environments.guided_arithmetic import GuidedArithmeticConfig
from repro.environments.program import ProgramConfig
from repro.environments.query import Query
from repro.environments.search import SearchConfig


class Hinted(NamedTuple):
    """plant(world, query, rng): the query with a trace that leads to a wrong answer; its own answer stays right.

    outcome(planted, responses): "copied", "solved" or "neither". first_error(query, responses): one of `errors`, or
    "none"; `route` is the one that means a wrong way, not a wrong step on the right one. actions(world, query): what
    the expert says, a text a turn.
    """

    plant: Callable[[Any, Query, random.Random], Query]
    outcome: Callable[[Query, Sequence[str]], str]
    first_error: Callable[[Query, Sequence[str]], str]
    errors: tuple[str, ...]
    route: str
    actions: Callable[[Any, Query], list[str]] = lambda world, query: [query.trace]


def _answer(responses: Sequence[str]) -> str:
    return responses[-1].removeprefix("answer ") if responses else ""


HINTED: dict[type, Hinted] = {
    GuidedArithmeticConfig: Hinted(
        guided_arithmetic.plant,
        lambda planted, said: guided_arithmetic.outcome(planted, said[-1]),
        lambda query, said: guided_arithmetic.first_error(query, said[-1]),
        ("route", "fact", "value", "form"),
        "route",
    ),
    ProgramConfig: Hinted(
        lambda world, query, rng: program.plant(query, rng),
        lambda planted, said: program.outcome(planted, said[-1]),
        lambda query, said: program.first_error(query, said[-1]),
        ("plan", "code", "form"),
        "plan",
    ),
    SearchConfig: Hinted(
        search.plant,
        lambda planted, said: search.outcome(planted, _answer(said)),
        search.first_error,
        ("route", "reading", "form"),
        "route",
        lambda world, query: [action for _, action in search.demonstration(world, query)],
    ),
}
