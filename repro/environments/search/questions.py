"""Multi-hop questions over knowledge bases: their splits, expert traces, and traces with a planted wrong answer.

    what is the river of the film tavin ?          (implicit: the reader must know the way)
    what is the river of the birthplace of the director of the film tavin ?          (explicit)

    search tavin director found bagim              (the trace: a line for every fact to be found,
    search bagim birthplace found kulus             in the order of the search,
    search kulus river found pomar
    answer pomar                                    and the answer)

A question means the shortest chain of relations that ends with the one it names; only pairs of type and relation with
one shortest chain are asked. The entities of a chain are all different, so no question contains its answer.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from repro.environments import problem_lists
from repro.environments.query import Query
from repro.environments.search.knowledge import (
    Fact,
    KnowledgeBase,
    SearchConfig,
    askable,
    knowledge_base,
    names,
    types,
)
from repro.errors import ReproError

STREAM_BLOCK = 64  # questions of the stream that share a knowledge base: an index costs about as much as 100 searches
ATTEMPTS = 1000  # draws before a question is given up: most draws succeed

FUNCTION_WORDS = "what is the of ? . search answer found".split()
MESSAGE_WORDS = "no results query too long such action turns left".split()
HINT_WORDS = ("<hint>", "</hint>", "[ENTITY]")

Kind = Literal["given", "found", "answer"]


class Span(NamedTuple):
    """A name in a trace, characters [start, end): given by the question, found on the way, or the answer."""

    start: int
    end: int
    kind: Kind


_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalise(answer: str) -> str:
    """Lower case without punctuation, articles and extra spaces, as open-domain question answering does (SQuAD)."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact_match(given: str, reference: str) -> bool:
    """Whether two answers are equal once normalised. An answer of which nothing is left matches nothing."""
    return normalise(given) == normalise(reference) != ""


def vocabulary(config: SearchConfig) -> list[str]:
    """Every word of this world's questions, documents, messages, actions, traces and hints."""
    relations = (relation for _, relation, _ in config.schema)
    fixed = (*FUNCTION_WORDS, *MESSAGE_WORDS, *HINT_WORDS)
    return list(dict.fromkeys([*fixed, *types(config), *relations, *names(config)]))


def base_of(config: SearchConfig, query: Query) -> KnowledgeBase:
    """The knowledge base that a question is about: its id is "<knowledge base>/<number>"."""
    name, slash, _ = query.id.rpartition("/")
    if not slash:
        raise ReproError(f"search world: {query.id!r} names no knowledge base; take questions from this world's lists")
    return knowledge_base(config, name)


def question(config: SearchConfig, kind: str, chain: Sequence[Fact]) -> str:
    """The question whose answer is the last object of `chain`; `kind` is the type of its first subject."""
    relations = [fact.relation for fact in chain] if config.wording == "explicit" else [chain[-1].relation]
    asked = " of the ".join(reversed(relations))
    return f"what is the {asked} of the {kind} {chain[0].subject} ?"


def _segments(chain: Sequence[Fact]) -> Iterator[tuple[str, Kind | None]]:
    """The expert trace in pieces, each with the kind of entity that it names, None for plan words."""
    kind: Kind = "given"
    for place, fact in enumerate(chain, start=1):
        yield "search ", None
        yield fact.subject, kind
        yield f" {fact.relation} found ", None
        kind = "answer" if place == len(chain) else "found"
        yield fact.object, kind
        yield "\n", None
    yield "answer ", None
    yield chain[-1].object, "answer"


def trace_of(chain: Sequence[Fact]) -> str:
    """The expert trace: what to search, what is found, in order, and the answer. No newline at the end."""
    return "".join(text for text, _ in _segments(chain))


def entity_spans(query: Query) -> tuple[Span, ...]:
    """Every mention of an entity in the question's trace, in order; a masker needs no entity recognition."""
    spans, place = [], 0
    for text, kind in _segments(query.graph):
        if kind:
            spans.append(Span(place, place + len(text), kind))
        place += len(text)
    return tuple(spans)


def plant(config: SearchConfig, query: Query, rng: random.Random) -> Query:
    """The question with a trace that is consistently wrong: the same route, every found entity another of its type.

    `answer` stays what it was; the planted one is `graph[-1].object`. No planted fact is in the knowledge base, so a
    policy that gives the planted answer has copied it, save for luck. Raises ReproError where a type has too few
    entities.
    """
    base = base_of(config, query)
    taken = {query.graph[0].subject} | {fact.object for fact in query.graph}
    chain: list[Fact] = []
    for fact in query.graph:
        subject, kind = chain[-1].object if chain else fact.subject, base.type_of[fact.object]
        others = [name for name in base.members[kind] if name not in taken | {base.objects[subject, fact.relation]}]
        if not others:
            raise ReproError(f"search world: {query.id} leaves no other {kind} to plant; raise world.entities")
        chain.append(Fact(subject, fact.relation, rng.choice(others)))
        taken.add(chain[-1].object)
    return replace(query, trace=trace_of(chain), graph=tuple(chain))


def outcome(planted: Query, given: str) -> Literal["copied", "solved", "neither"]:
    """Whether a given answer is the planted one, the right one, or another."""
    if exact_match(given, planted.graph[-1].object):
        return "copied"
    return "solved" if exact_match(given, planted.answer) else "neither"


def generate(
    config: SearchConfig,
    base: KnowledgeBase,
    rng: random.Random,
    id: str,
    hops: tuple[int, int],
    subjects: frozenset[str] | None = None,
) -> Query:
    """One question about `base` with hops in the range `hops`; `subjects` are the names it may start from.

    The number of hops is drawn first, then the relation that is asked, then the entity. Raises ReproError if the
    knowledge base has no such question.
    """
    low, high = hops
    starts = {kind: [n for n in members if not subjects or n in subjects] for kind, members in base.members.items()}
    by_hops: dict[int, list[tuple[str, tuple[str, ...]]]] = {}
    for (kind, _), relations in askable(config.schema).items():
        if low <= len(relations) <= high and starts[kind]:
            by_hops.setdefault(len(relations), []).append((kind, relations))
    for _ in range(ATTEMPTS if by_hops else 0):
        kind, relations = rng.choice(by_hops[rng.choice(sorted(by_hops))])
        subject = rng.choice(starts[kind])
        chain = base.follow(subject, relations)
        if len({subject, *(fact.object for fact in chain)}) == len(chain) + 1:
            return Query(
                id=id,
                text=question(config, kind, chain),
                answer=chain[-1].object,
                level=_level(config, len(chain)),
                trace=trace_of(chain),
                graph=chain,
            )
    raise ReproError(
        f"search world: knowledge base {base.name!r} has no question of {low}..{high} hops from an allowed name with "
        "all its entities different; raise world.entities, or change world.heldout_names"
    )


def _level(config: SearchConfig, hops: int) -> str:
    return next((name for name, low, high in config.levels if low <= hops <= high), "beyond")


def _subjects(config: SearchConfig, heldout: bool) -> frozenset[str] | None:
    """The names that a split's questions start from; None: any."""
    if not config.heldout_names:
        return None
    kept = frozenset(random.Random("held-out names").sample(names(config), config.heldout_names))
    return kept if heldout else frozenset(names(config)) - kept


def heldout(config: SearchConfig) -> dict[str, list[Query]]:
    """The fixed held-out lists, one per level, the same for every seed of a study, about bases of their own."""
    seen: set[str] = set()
    return {
        name: _distinct(config, f"heldout:{name}", (low, high), config.heldout_queries, seen, True)
        for name, low, high in config.levels
    }


def train_list(config: SearchConfig, seed: int) -> list[Query]:
    """The finite training list of a seed: neither its bases nor the wording of its questions are held out."""
    seen, hops = problem_lists.texts(heldout(config)), (config.min_hops, config.max_hops)
    return _distinct(config, f"train:{seed}", hops, config.train_queries, seen, False)


def stream(config: SearchConfig, seed: int) -> Iterator[Query]:
    """Endless fresh questions for the supervised warm start, disjoint from every held-out list."""
    subjects = _subjects(config, heldout=False)

    def propose(index: int) -> Query:
        block, turn = divmod(index, STREAM_BLOCK)
        return _about(config, f"stream:{seed}:{block}", turn, config.warm_hops, subjects)

    yield from problem_lists.fresh(propose, problem_lists.texts(heldout(config)))


def _about(
    config: SearchConfig, base_name: str, turn: int, hops: tuple[int, int], subjects: frozenset[str] | None
) -> Query:
    """Question number `turn` about a knowledge base."""
    base = knowledge_base(config, base_name)
    id = f"{base.name}/{turn}"
    return generate(config, base, random.Random(id), id, hops, subjects)


def _distinct(
    config: SearchConfig, split: str, hops: tuple[int, int], count: int, seen: set[str], heldout: bool
) -> list[Query]:
    """`count` questions whose texts are new to `seen`, which is extended; the knowledge bases take turns."""
    subjects = _subjects(config, heldout)

    def propose(index: int) -> Query:
        turn, number = divmod(index, config.knowledge_bases)
        return _about(config, f"{split}:{number}", turn, hops, subjects)

    wanted = f"search world: {split} wants {count} distinct questions, but the world of {hops[0]}..{hops[1]} hops"
    return problem_lists.distinct(propose, count, seen, wanted)
