"""A generated knowledge base: typed entities with functional facts, written down as one short document per fact.

A *schema* says which relations lead from which type of entity to which; it is general knowledge, the same everywhere.
A *knowledge base* gives every name a type and every relation of every entity an object, all at random, so nothing that
is true in one helps in another: a policy can learn where to look, never what it will find.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from repro.environments.search.index import Index, words
from repro.errors import ReproError

SCHEMA = (  # (type, relation, type of the object); rivers and coins lead nowhere
    ("film", "director", "person"),
    ("film", "studio", "company"),
    ("film", "theme", "song"),
    ("song", "composer", "person"),
    ("song", "label", "company"),
    ("company", "founder", "person"),
    ("company", "rival", "company"),
    ("company", "flagship", "ship"),
    ("ship", "captain", "person"),
    ("ship", "builder", "company"),
    ("person", "birthplace", "town"),
    ("person", "employer", "company"),
    ("person", "teacher", "person"),
    ("town", "mayor", "person"),
    ("town", "river", "river"),
    ("town", "region", "region"),
    ("region", "governor", "person"),
    ("region", "country", "country"),
    ("country", "king", "person"),
    ("country", "currency", "coin"),
    ("country", "anthem", "song"),
)
NAMES = tuple(
    first + second
    for second in "bor dan fel gim lus mar nek ril sol tav vin zet".split()
    for first in "ba de fi go ku la me ni po ru".split()
)
LONGEST_ROUTE = 8  # relations; the search for routes gives up beyond it
PAGES = 4096  # result pages kept per knowledge base
BASES = 256  # knowledge bases kept in memory


@dataclass(frozen=True)
class SearchConfig:
    """Shape of the world. `levels` maps a difficulty to the range of hops (facts to be found) it holds."""

    schema: tuple[tuple[str, str, str], ...] = SCHEMA
    entities: int = 10  # of each type; an answer guessed from the right type is right once in so many times
    min_hops: int = 1
    max_hops: int = 3
    levels: tuple[tuple[str, int, int], ...] = (("1 hop", 1, 1), ("2 hops", 2, 2), ("3 hops", 3, 3))
    warm_hops: tuple[int, int] = (1, 3)  # of the warm start's questions
    wording: Literal["implicit", "explicit"] = "implicit"  # a question names its last relation, or all of them
    knowledge_bases: int = 32  # per training list, and per held-out level
    train_queries: int = 512
    heldout_queries: int = 64  # per level
    heldout_names: int = 0  # names that no training question starts from, and every held-out question does
    results: int = 3  # documents on a page of results (Search-R1's default)
    max_turns: int = 5  # searches and answers; one more than the longest route needs
    max_query_words: int = 8

    def __post_init__(self) -> None:
        if len({(t, r) for t, r, _ in self.schema}) != len(self.schema) or not self.schema:
            raise ReproError("search world: the schema is empty or gives a relation of a type twice")
        if odd := sorted(w for w in {w for row in self.schema for w in row} if words(w) != [w] or w in NAMES):
            raise ReproError(
                f"search world: the schema's words {odd} must each be one lower-case word, no stop word and no name of "
                "an entity"
            )
        if min(self.entities, self.results, self.knowledge_bases, self.train_queries, self.heldout_queries) < 1:
            raise ReproError(
                "search world: entities, results, knowledge_bases, train_queries and heldout_queries must be 1 or more"
            )
        if len(types(self)) * self.entities > len(NAMES):
            raise ReproError(
                f"search world: {len(types(self))} types of {self.entities} entities need "
                f"{len(types(self)) * self.entities} names, and there are {len(NAMES)}"
            )
        if not 0 <= self.heldout_names < len(names(self)):
            raise ReproError(f"search world: heldout_names must be from 0 to {len(names(self)) - 1}")
        if not 1 <= self.min_hops <= self.max_hops:
            raise ReproError(f"search world: hops {self.min_hops}..{self.max_hops} describe no question")
        lengths = {len(relations) for relations in askable(self.schema).values()}
        ranges = (("training", self.min_hops, self.max_hops), ("warm start", *self.warm_hops), *self.levels)
        for label, low, high in ranges:
            if not lengths & set(range(low, high + 1)):
                raise ReproError(
                    f"search world: {label!r} asks for {low}..{high} hops, and the schema's questions have "
                    f"{sorted(lengths)}"
                )
        longest = max(high for _, _, high in ranges)
        if self.max_turns <= longest:
            raise ReproError(
                f"search world: {longest} hops need {longest + 1} turns with the answer; max_turns is {self.max_turns}"
            )
        if self.max_query_words < 2:
            raise ReproError("search world: a search needs an entity and a relation; max_query_words is below 2")


class Fact(NamedTuple):
    """One relation of one entity, and the document that states it."""

    subject: str
    relation: str
    object: str

    @property
    def source(self) -> str:
        """The subject, in the words of a solution graph: what `name` is derived from."""
        return self.subject

    @property
    def name(self) -> str:
        """The object, in the words of a solution graph: the entity that this step finds."""
        return self.object

    @property
    def sentence(self) -> str:
        return f"the {self.relation} of {self.subject} is {self.object} ."

    @property
    def terms(self) -> list[str]:
        """What the document is found by: its title, which is the subject, and its sentence.

        The title makes an entity's own documents rank above those that only mention it, as an encyclopaedia's do.
        """
        return words(f"{self.subject} {self.sentence}")


def types(config: SearchConfig) -> list[str]:
    """The types of entities, in the schema's order."""
    return list(dict.fromkeys(word for start, _, end in config.schema for word in (start, end)))


def names(config: SearchConfig) -> tuple[str, ...]:
    """The names in use, shared out anew among the types in each knowledge base."""
    return NAMES[: len(types(config)) * config.entities]


@functools.lru_cache(maxsize=8)
def routes(schema: tuple[tuple[str, str, str], ...]) -> dict[tuple[str, str], list[tuple[str, ...]]]:
    """(type, relation) -> all shortest chains of relations from an entity of that type that end with that relation."""
    shortest: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for start in dict.fromkeys(t for t, _, _ in schema):
        frontier: list[tuple[str, tuple[str, ...]]] = [(start, ())]
        passed: set[str] = set()  # types reached by a shorter chain: from there on a longer one is never shortest
        while frontier and len(frontier[0][1]) < LONGEST_ROUTE:
            steps = [(end, (*way, r)) for here, way in frontier for t, r, end in schema if t == here]
            for _, way in steps:
                known = shortest.setdefault((start, way[-1]), [way])
                if len(known[0]) == len(way) and way not in known:
                    known.append(way)
            passed |= {here for here, _ in frontier}
            frontier = [(end, way) for end, way in steps if end not in passed]
    return shortest


@functools.lru_cache(maxsize=8)
def askable(schema: tuple[tuple[str, str, str], ...]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The (type, relation) pairs with exactly one shortest chain, and that chain.

    "The river of the film X" then means one thing: by way of the director's birthplace, because nothing is nearer.
    """
    return {pair: chains[0] for pair, chains in routes(schema).items() if len(chains) == 1}


class Page(NamedTuple):
    """What one search finds."""

    text: str
    documents: tuple[int, ...]  # numbers in the knowledge base, best first


class KnowledgeBase:
    """Entities, facts, and the one index over them that all episodes share. Determined by the config and the name."""

    def __init__(self, config: SearchConfig, name: str):
        rng = random.Random(f"knowledge base:{name}")
        pool = rng.sample(names(config), len(names(config)))
        self.name = name
        self.results = config.results
        self.members = {t: pool[i * config.entities : (i + 1) * config.entities] for i, t in enumerate(types(config))}
        self.type_of = {entity: t for t, members in self.members.items() for entity in members}
        facts = []
        for start, relation, end in config.schema:
            for entity in self.members[start]:
                others = [other for other in self.members[end] if other != entity] or [entity]
                facts.append(Fact(entity, relation, rng.choice(others)))
        rng.shuffle(facts)  # the order decides between documents of equal score
        self.facts = tuple(facts)
        self.objects = {(fact.subject, fact.relation): fact.object for fact in facts}
        self._page = functools.lru_cache(maxsize=PAGES)(self._find)

    @functools.cached_property
    def index(self) -> Index:
        return Index([fact.terms for fact in self.facts])

    def follow(self, subject: str, relations: Sequence[str]) -> tuple[Fact, ...]:
        """The facts along a chain of relations. Raises KeyError where an entity lacks the next one."""
        chain = []
        for relation in relations:
            chain.append(Fact(subject, relation, self.objects[subject, relation]))
            subject = chain[-1].object
        return tuple(chain)

    def search(self, query: Sequence[str]) -> Page:
        """The first page of results for the words of a query; empty where the index knows none of them."""
        return self._page(self.index.terms(query))

    def _find(self, terms: tuple[int, ...]) -> Page:
        documents = self.index.search(terms, self.results)
        return Page("\n".join(self.facts[d].sentence for d in documents) or "no results .", documents)


@functools.lru_cache(maxsize=BASES)
def knowledge_base(config: SearchConfig, name: str) -> KnowledgeBase:
    """The knowledge base of that name: built once, then shared."""
    return KnowledgeBase(config, name)
