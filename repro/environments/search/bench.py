"""Speed of the search world beside other ways to do the same work: `python -m repro.environments.search.bench`.

| row | ours | peer |
|---|---|---|
| `search` | pages for the queries of groups of 8 experts, none known at first | bm25s' own `retrieve` |
| `search_uncached` | the same queries, each ranked anew | bm25s, rank_bm25, tantivy, where installed |
| `index` | an index over the documents of a knowledge base | the same |
| `episodes` | those groups' episodes, no page known at first | the same, each search ranked anew |

Both sides take turns (A B A B) after a warm-up. Rates are of median CPU times of the process, which a busy machine
disturbs less than wall-clock times. An engine that does not find a query's fact first fails the bench.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from repro.environments.search.episode import SearchEpisode
from repro.environments.search.expert import demonstration
from repro.environments.search.index import Index, words
from repro.environments.search.knowledge import KnowledgeBase, SearchConfig
from repro.environments.search.questions import train_list

Search = Callable[[list[str]], int]  # the words of a query -> the best document


@dataclass(frozen=True)
class BenchConfig:
    world: SearchConfig = SearchConfig(knowledge_bases=1, train_queries=64)
    group: int = 8
    repeats: int = 5


def bm25s_engine(base: KnowledgeBase) -> Search:
    import bm25s

    retriever = bm25s.BM25(method="lucene")
    retriever.index([fact.terms for fact in base.facts], show_progress=False)
    return lambda query: int(retriever.retrieve([query], k=base.results, show_progress=False)[0][0, 0])


def rank_bm25_engine(base: KnowledgeBase) -> Search:
    import rank_bm25

    engine, numbers = rank_bm25.BM25Okapi([fact.terms for fact in base.facts]), range(len(base.facts))
    return lambda query: engine.get_top_n(query, numbers, n=base.results)[0]


def tantivy_engine(base: KnowledgeBase) -> Search:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text")
    builder.add_unsigned_field("number", stored=True)
    index = tantivy.Index(builder.build())
    writer = index.writer(num_threads=1)
    for number, fact in enumerate(base.facts):
        writer.add_document(tantivy.Document(text=" ".join(fact.terms), number=number))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def search(query: list[str]) -> int:
        found = searcher.search(index.parse_query(" ".join(query), ["text"]), base.results).hits
        return searcher.doc(found[0][1])["number"][0]

    return search


ENGINES = {"bm25s": bm25s_engine, "rank_bm25": rank_bm25_engine, "tantivy": tantivy_engine}


def our_engine(base: KnowledgeBase) -> Search:
    index = Index([fact.terms for fact in base.facts])
    return lambda query: index.search(index.terms(query), base.results)[0]


class Uncached(KnowledgeBase):
    """The same knowledge base without a memory for pages."""

    def __init__(self, config: SearchConfig, name: str):
        super().__init__(config, name)
        self._page = self._find


def run_benchmarks(config: BenchConfig = BenchConfig()) -> list[dict[str, Any]]:
    """All rows, each with name, ours, peer, peer_name, ratio (ours / peer) and unit.

    Raises RuntimeError if an engine finds another document first than the fact that a query asks for.
    """
    world, queries = config.world, train_list(config.world, 0)
    plays = [(query, [action for _, action in demonstration(world, query)]) for query in queries]
    searches = [
        (words(action.partition(" ")[2]), fact)
        for query, actions in plays
        for _ in range(config.group)
        for fact, action in zip(query.graph, actions, strict=False)
    ]
    base = KnowledgeBase(world, "train:0:0")
    installed = {name: engine for name, engine in ENGINES.items() if importlib.util.find_spec(name)}

    def through(engine: Search) -> Callable[[], None]:
        def run() -> None:
            for query, fact in searches:
                if base.facts[engine(query)] != fact:
                    raise RuntimeError(f"{query} does not find {fact} first")

        return run

    def pages() -> None:
        cached._page.cache_clear()
        through(lambda query: cached.search(query).documents[0])()

    def episodes(shared: KnowledgeBase) -> None:
        for query, actions in plays:
            for _ in range(config.group):
                episode = SearchEpisode(world, query)
                episode.base = shared
                episode.reset()
                for action in actions:
                    episode.step(action)
                if not episode.won:
                    raise RuntimeError(f"the expert lost {query.id}")

    def cached_episodes() -> None:
        cached._page.cache_clear()
        episodes(cached)

    cached, uncached = KnowledgeBase(world, base.name), Uncached(world, base.name)
    turns = config.group * sum(len(actions) for _, actions in plays)
    ours, repeats = through(our_engine(base)), config.repeats
    rows = [row("search", len(searches), "queries/s", pages, "bm25s", through(bm25s_engine(base)), repeats)]
    for name, engine in installed.items():
        rows.append(row("search_uncached", len(searches), "queries/s", ours, name, through(engine(base)), repeats))
    for name, engine in installed.items():
        build = functools.partial(engine, base)
        rows.append(row("index", len(base.facts), "documents/s", lambda: our_engine(base), name, build, repeats))
    peer = functools.partial(episodes, uncached)
    rows.append(row("episodes", turns, "turns/s", cached_episodes, "ranked anew each time", peer, repeats))
    return rows


def row(
    name: str,
    work: int,
    unit: str,
    ours: Callable[[], object],
    peer_name: str,
    peer: Callable[[], object],
    repeats: int,
) -> dict[str, Any]:
    """Time both sides in turn; `work` is what one call does, in the unit's numerator."""
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(repeats + 1):
        for side, call in (("ours", ours), ("peer", peer)):
            started = time.process_time()
            call()
            seconds[side].append(time.process_time() - started)
    mine, other = (statistics.median(times[1:]) for times in seconds.values())
    return {"name": name, "ours": work / mine, "peer": work / other, "peer_name": peer_name, "ratio": other / mine,
            "unit": unit}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(run_benchmarks(), indent=1))
