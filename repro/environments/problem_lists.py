"""Lists of generated problems: held out, for training, and without end. No text is in two of them, or twice in one.

`generate(rng, id, lengths)` makes one problem. A problem's draws depend on its id alone, which is `<split>:<index>`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import count

from repro.environments.query import Query
from repro.errors import ReproError

Lengths = tuple[int, int]
Generate = Callable[[random.Random, str, Lengths], Query]


def heldout(
    generate: Generate, levels: Iterable[tuple[str, int, int]], number: int, prefix: str = ""
) -> dict[str, list[Query]]:
    """`number` problems a level (name, shortest, longest), the same for every seed."""
    seen: set[str] = set()
    return {name: listed(generate, f"{prefix}heldout:{name}", (low, high), number, seen) for name, low, high in levels}


def texts(lists: dict[str, list[Query]]) -> set[str]:
    return {query.text for queries in lists.values() for query in queries}


def numbered(generate: Generate, split: str, lengths: Lengths) -> Callable[[int], Query]:
    """Problem number `index` of a split."""
    return lambda index: generate(random.Random(f"{split}:{index}"), f"{split}:{index}", lengths)


def listed(generate: Generate, split: str, lengths: Lengths, number: int, seen: set[str]) -> list[Query]:
    """`number` problems of a split whose texts are new to `seen`."""
    world = "guided arithmetic world" if split.startswith("guided-") else "arithmetic world"
    wanted = f"{world}: {split} wants {number} distinct problems, but the world of lengths {lengths}"
    return distinct(numbered(generate, split, lengths), number, seen, wanted)


def stream(generate: Generate, split: str, lengths: Lengths, seen: set[str]) -> Iterator[Query]:
    """Endless problems of a split whose texts are not in `seen`."""
    return fresh(numbered(generate, split, lengths), seen)


# For worlds whose problems depend on more than an id and lengths ------------------------------------------------------


def distinct(
    propose: Callable[[int], Query], number: int, seen: set[str], wanted: str, tries: int = 100
) -> list[Query]:
    """The first `number` of propose(0), propose(1), ... whose texts are new to `seen`, which is extended.

    ReproError, which begins with `wanted`, if `tries` proposals for each (and 100 more) do not give so many.
    """
    queries: list[Query] = []
    for index in range(tries * number + 100):
        if len(queries) == number:
            return queries
        query = propose(index)
        if query.text not in seen:
            seen.add(query.text)
            queries.append(query)
    raise ReproError(f"{wanted} gives only {len(queries)}; ask for fewer or make it larger")


def fresh(propose: Callable[[int], Query], seen: set[str]) -> Iterator[Query]:
    """Those of propose(0), propose(1), ... whose texts are not in `seen`, without end."""
    return (query for query in map(propose, count()) if query.text not in seen)
