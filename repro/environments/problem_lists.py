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
    return {
        name: distinct(generate, f"{prefix}heldout:{name}", (low, high), number, seen) for name, low, high in levels
    }


def texts(lists: dict[str, list[Query]]) -> set[str]:
    return {query.text for queries in lists.values() for query in queries}


def distinct(generate: Generate, split: str, lengths: Lengths, number: int, seen: set[str]) -> list[Query]:
    """`number` problems whose texts are new to `seen`, which is extended. ReproError if there are not so many."""
    queries: list[Query] = []
    for index in range(100 * number + 100):
        if len(queries) == number:
            return queries
        query = generate(random.Random(f"{split}:{index}"), f"{split}:{index}", lengths)
        if query.text not in seen:
            seen.add(query.text)
            queries.append(query)
    raise ReproError(
        f"arithmetic world: {split} wants {number} distinct problems, but the world of lengths {lengths} "
        f"gives only {len(queries)}; ask for fewer or make it larger"
    )


def stream(generate: Generate, split: str, lengths: Lengths, seen: set[str]) -> Iterator[Query]:
    """Endless problems whose texts are not in `seen`."""
    for index in count():
        query = generate(random.Random(f"{split}:{index}"), f"{split}:{index}", lengths)
        if query.text not in seen:
            yield query
