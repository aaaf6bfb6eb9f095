"""What a guided run is asked besides plain held-out questions: with a hint, and with a hint that is wrong.

Probes are query lists for `evaluate`, so they are sampled and scored as everything else is. Held-out accuracy itself is
never guided; a probe's records carry its name and must not be mixed with it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from repro.environments.query import Query


def with_hint(queries: list[Query], guidance: Any) -> list[Query]:
    """The same questions, asked as training asks them under `guidance`: their success is guided accuracy."""
    return [replace(query, text=guidance.prompt(query)) for query in queries]


def with_planted_hint(
    queries: list[Query],
    guidance: Any,
    plant: Callable[[Query, random.Random], Query],
    planted_answer: Callable[[Query], str],
) -> tuple[list[Query], list[Query]]:
    """(copied, solved): the same prompts twice, with a wrong answer planted in the trace that `guidance` shows.

    The success of the first list is the share of responses that give the planted answer, that of the second the share
    that give the right one; sampled with the same seeds they are the same responses. Where the mask hides what was
    planted, the prompt is the honest one and the first share is that of luck. What is planted depends on the query
    alone, so all arms and all points in time are asked the same.
    """
    copied, solved = [], []
    for query in queries:
        planted = plant(query, random.Random(f"plant:{query.id}"))
        asked = replace(query, text=guidance.prompt(planted))
        copied.append(replace(asked, answer=planted_answer(planted)))
        solved.append(asked)
    return copied, solved
