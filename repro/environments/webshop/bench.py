"""Speed of the shop: steps, searches and the index, in CPU seconds of one core (all of it is single-threaded).

| row | ours | peer |
|---|---|---|
| `webshop_steps` | steps of the expert's episodes, pages cached | none: the original needs Java and a tagger's model |
| `webshop_search` | the best 50 products, ties in order, nothing cached | bm25s's own `retrieve` on the same index |
| `webshop_index` | products read and indexed | none |
"""

from __future__ import annotations

import importlib.metadata
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from repro.environments.webshop.catalogue import CatalogueConfig, generate, open_shop
from repro.environments.webshop.engine import Shop, WebShop
from repro.environments.webshop.expert import demonstration
from repro.environments.webshop.search import terms


@dataclass(frozen=True)
class ShopBenchConfig:
    """`sizes` are products in the catalogue; episodes and searches are of that many goals, in `repeats` turns."""

    sizes: tuple[int, ...] = (1_000, 100_000)
    goals: int = 200
    repeats: int = 5


def run_benchmarks(config: ShopBenchConfig = ShopBenchConfig()) -> list[dict[str, Any]]:
    """Rows with name, ours, peer, peer_name, ratio (ours / peer; None without a peer), unit and details."""
    return [row for size in config.sizes for row in _rows(size, config)]


def _rows(size: int, config: ShopBenchConfig) -> list[dict[str, Any]]:
    catalogue = generate(CatalogueConfig(products=size))
    before, started = _peak_mb(), time.process_time()
    shop = open_shop(catalogue)
    seconds = time.process_time() - started
    index = {
        **_row("webshop_index", [size / seconds], [], None, "products/s", f"{size:,} products"),
        "seconds": seconds,
        "index_mb": shop.index.nbytes / 1e6,
        "memory_mb": _peak_mb() - before,
    }
    return [steps(shop, config), search(shop, config), index]


def steps(shop: Shop, config: ShopBenchConfig) -> dict[str, Any]:
    """Steps per second over the expert's episodes; the first round, which renders the pages, warms up."""
    rng = random.Random("webshop bench")
    goals = rng.sample(shop.goals, min(config.goals, len(shop.goals)))
    episodes = [(WebShop(shop, goal), [action for _, action in demonstration(WebShop(shop, goal))]) for goal in goals]

    def play() -> int:
        count = 0
        for episode, actions in episodes:
            episode.reset()
            for action in actions:
                episode.step(action)
            count += len(actions)
        return count

    rates = _rates(play, config.repeats)
    return _row("webshop_steps", rates, [], None, "steps/s", f"{len(shop.products):,} products, {len(goals)} goals")


def search(shop: Shop, config: ShopBenchConfig) -> dict[str, Any]:
    """Searches per second by the words a person would type: attributes and kind."""
    goals = random.Random("webshop bench").sample(shop.goals, min(config.goals, len(shop.goals)))
    queries = [" ".join((*goal.attributes, *goal.values, goal.query)) for goal in goals]
    best = min(shop.config.results, len(shop.products))
    bm25 = shop.index.bm25

    def ours() -> int:
        for query in queries:
            shop.index.search(query, best)
        return len(queries)

    def peer() -> int:
        for query in queries:
            bm25.retrieve([terms(query)], k=best, show_progress=False)
        return len(queries)

    rates, peer_rates = _rates(ours, config.repeats), _rates(peer, config.repeats)
    name = f"bm25s {importlib.metadata.version('bm25s')} retrieve"
    return _row("webshop_search", rates, peer_rates, name, "searches/s", f"{len(shop.products):,} products, 50 results")


def _rates(work: Callable[[], int], repeats: int) -> list[float]:
    """Units of work per CPU second, of each repeat after a warm-up."""
    work()
    rates = []
    for _ in range(repeats):
        started = time.process_time()
        count = work()
        rates.append(count / (time.process_time() - started))
    return rates


def _row(
    name: str, ours: list[float], peer: list[float], peer_name: str | None, unit: str, settings: str
) -> dict[str, Any]:
    middle, peer_middle = statistics.median(ours), statistics.median(peer) if peer else None
    return {
        "name": name,
        "ours": middle,
        "peer": peer_middle,
        "peer_name": peer_name,
        "ratio": middle / peer_middle if peer_middle else None,
        "unit": unit,
        "low": min(ours),
        "high": max(ours),
        "repeats": len(ours),
        "settings": settings,
    }


def _peak_mb() -> float:
    """The most memory this process ever held, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
