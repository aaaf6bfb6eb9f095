"""Expert demonstrations as turns of (observation, action), and expert traces with slips for the warm start."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from repro.environments.query import Query
from repro.environments.search.episode import SearchEpisode
from repro.environments.search.index import words
from repro.environments.search.knowledge import Fact, SearchConfig, routes
from repro.environments.search.questions import base_of, trace_of
from repro.errors import ReproError

Turn = tuple[str, str]


@dataclass(frozen=True)
class Slips:
    """Chances of a slip in a warm-start trace, and how far a hint is to be trusted.

    `route`: at each search, another relation of the entity's type than the one that leads to the answer. `reading`: at
    each page, another name on it than the one looked for. `trust`: the share of hints that are cut from the very trace
    that follows, slips and all; the others are cut from the right one.
    """

    route: float = 0.2
    reading: float = 0.05
    trust: float = 0.5

    def __post_init__(self) -> None:
        if not all(0 <= chance <= 1 for chance in (self.route, self.reading, self.trust)):
            raise ReproError(f"{self}: chances lie between 0 and 1")


def demonstration(config: SearchConfig, query: Query) -> list[Turn]:
    """The turns of an expert who searches what the query's graph says, fact by fact, and answers with the last object.

    Each turn is what the expert saw last and what it did then; the observations are the world's own, so the graph may
    come from `slipped` or `plant`.
    """
    episode = SearchEpisode(config, query)
    observation, turns = episode.reset(), []
    for fact in query.graph:
        turns.append((observation, f"search {fact.subject} {fact.relation}"))
        observation, _, _ = episode.step(turns[-1][1])
    return [*turns, (observation, f"answer {query.graph[-1].object}")]


def slipped(config: SearchConfig, query: Query, rng: random.Random, slips: Slips) -> Query:
    """The query with a trace that slips; text and answer stay, graph and trace are those of the slipped search.

    The expert never notices a slip. After a wrong relation it plans anew from the type it has come to, and answers
    there if no way leads on; after a misreading it goes on as if it had read right, and takes the object of the first
    document wherever the one it wants does not exist. One turn is always left for the answer.
    """
    base = base_of(config, query)
    ends = {(start, relation): end for start, relation, end in config.schema}
    entity, plan = query.graph[0].subject, [fact.relation for fact in query.graph]
    kind, target = base.type_of[entity], plan[-1]
    chain: list[Fact] = []
    while plan and len(chain) < config.max_turns - 1:
        relation = plan.pop(0)
        others = [other for start, other in ends if start == kind and other != relation]
        if others and rng.random() < slips.route:
            relation = rng.choice(others)
            ways = routes(config.schema).get((ends[kind, relation], target))
            plan = list(ways[0]) if ways else []
        page = [base.facts[d] for d in base.search(words(f"{entity} {relation}")).documents]
        found = page[0].object
        misread = sorted({name for fact in page for name in (fact.subject, fact.object)} - {entity, found})
        if misread and rng.random() < slips.reading:
            found = rng.choice(misread)
        chain.append(Fact(entity, relation, found))
        entity, kind = found, ends[kind, relation]
    return replace(query, trace=trace_of(chain), graph=tuple(chain))


def first_error(query: Query, actions: Sequence[str]) -> Literal["none", "route", "reading", "form"]:
    """Where a player's actions first leave the expert's: another relation, or searching where the answer is due or the
    other way round (`route`); another name (`reading`); no such action, or none at all (`form`)."""
    expected = [("search", fact.subject, fact.relation) for fact in query.graph] + [("answer", query.answer)]
    for place, due in enumerate(expected):
        said = tuple(actions[place].split()) if place < len(actions) else ()
        if said == due:
            continue
        if not said or len(said) != {"search": 3, "answer": 2}.get(said[0]):
            return "form"
        return "route" if said[0] != due[0] or said[2:] != due[2:] else "reading"
    return "none"
