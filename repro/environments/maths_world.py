"""A published maths set as a world: a fixed training subset, held-out queries by level, a checked reward."""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass, replace

from repro.environments.maths_data import CHECKS, LoadedQueries, boxed_prompt, load_queries, random_subset
from repro.environments.query import Query
from repro.errors import ReproError


@dataclass(frozen=True)
class MathsConfig:
    """Which set, and how much of it. Sources are files, folders or hub ids; empty: the set's own hub id."""

    name: str = "math"  # a key of `maths_data.CHECKS`: gsm8k, math or dapo
    train_source: str = ""
    heldout_source: str = ""
    train_split: str = "train"
    heldout_split: str = "test"
    train_queries: int = 4000  # ASymPO section 5: a random 4k of MATH's training set
    heldout_queries: int = 64  # per level

    def __post_init__(self) -> None:
        if self.name not in CHECKS:
            raise ReproError(f"maths world: there is no data set {self.name!r}; there are: {', '.join(CHECKS)}")


@functools.lru_cache(maxsize=4)  # the lists are asked for by the loop, by each sampler and by each evaluation
def _load(name: str, source: str, split: str) -> LoadedQueries:
    return load_queries(name, source or None, split)


def train_list(config: MathsConfig, seed: int) -> list[Query]:
    """A random subset of the training split that depends on the seed alone."""
    loaded = _load(config.name, config.train_source, config.train_split)
    return [_asked(query) for query in random_subset(loaded.queries, config.train_queries, seed)]


def heldout(config: MathsConfig) -> dict[str, list[Query]]:
    """The same random queries of each level for every seed, from the held-out split."""
    by_level: dict[str, list[Query]] = defaultdict(list)
    loaded = _load(config.name, config.heldout_source, config.heldout_split)
    for query in random_subset(loaded.queries, len(loaded.queries), 0):
        if len(by_level[query.level]) < config.heldout_queries:
            by_level[query.level].append(_asked(query))
    return {level: by_level[level] for level in sorted(by_level)}


def reward(config: MathsConfig, query: Query, response: str) -> float:
    """1.0 if the response states the reference answer, by the set's own check."""
    return float(CHECKS[config.name](response, query.answer))


def _asked(query: Query) -> Query:
    return replace(query, text=boxed_prompt(query.text))
