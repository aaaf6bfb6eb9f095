"""A published maths set as a world: a fixed training subset, held-out queries by level, a checked reward.

Without a source a set is read from where `repro data` says that it must lie, or, where it does not, by its hub id.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from repro.environments.benchmarks import BENCHMARKS, load_benchmark
from repro.environments.maths_check import maths_match
from repro.environments.maths_data import CHECKS, LoadedQueries, boxed_prompt, load_queries, random_subset
from repro.environments.query import Query
from repro.environments.smepo_data import load_traces
from repro.errors import ReproError
from repro.places import external

SETS = {**CHECKS, "smepo": maths_match}  # training sets, and how an answer is checked


@dataclass(frozen=True)
class MathsConfig:
    """Which set, and how much of it. Sources are files, folders or hub ids; empty: the set's own place or hub id."""

    name: str = "math"  # a key of SETS: gsm8k, math, dapo, dapo_english or smepo
    train_source: str = ""
    heldout_source: str = ""
    train_split: str = "train"
    heldout_split: str = "test"
    train_queries: int = 4000  # ASymPO section 5: a random 4k of MATH's training set
    heldout_queries: int = 64  # per level

    def __post_init__(self) -> None:
        if self.name not in SETS:
            raise ReproError(f"maths world: there is no data set {self.name!r}; there are: {', '.join(SETS)}")
        if self.train_queries < 0 or self.heldout_queries < 1:
            raise ReproError(
                f"maths world: train_queries is {self.train_queries} and heldout_queries {self.heldout_queries}; give "
                "0 (the whole set) or more, and 1 or more"
            )


@dataclass(frozen=True)
class BenchmarkedMathsConfig(MathsConfig):
    """A training set with published benchmarks held out, each whole and a level of its own.

    `train_queries` of 0 takes the whole set. The prompt "boxed" asks for a boxed answer, "plain" is the question alone,
    for policies whose system prompt does.
    """

    benchmarks: tuple[str, ...] = ("math500",)  # of `benchmarks.BENCHMARKS`
    prompt: Literal["boxed", "plain"] = "boxed"

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [name for name in self.benchmarks if name not in BENCHMARKS]
        if unknown or not self.benchmarks:
            raise ReproError(f"maths world: benchmarks {list(self.benchmarks)}; choose of {', '.join(BENCHMARKS)}")


def _load(name: str, source: str, split: str) -> LoadedQueries:
    place = external(name.removesuffix("_english"))
    if not source and (place.is_dir() or name == "smepo"):
        source = str(place)
    return _read(name, source, split, _stamp(Path(source)) if source else ())


@functools.lru_cache(maxsize=4)  # the lists are asked for by the loop, by each sampler and by each evaluation
def _read(name: str, source: str, split: str, stamp: tuple) -> LoadedQueries:
    return _traces(Path(source)) if name == "smepo" else load_queries(name, source or None, split)


def _stamp(place: Path) -> tuple:
    """What tells whether files have changed since they were read: none for a hub id."""
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    return tuple((str(file), (seen := file.stat()).st_mtime_ns, seen.st_size) for file in files if file.is_file())


def train_list(config: MathsConfig, seed: int) -> list[Query]:
    """A random subset of the training split that depends on the seed alone."""
    loaded = _load(config.name, config.train_source, config.train_split)
    size = config.train_queries or len(loaded.queries)
    return [_asked(config, query) for query in random_subset(loaded.queries, size, seed)]


def heldout(config: MathsConfig) -> dict[str, list[Query]]:
    """The same random queries of each level for every seed, from the held-out split."""
    if isinstance(config, BenchmarkedMathsConfig):
        return {name: [_asked(config, query) for query in load_benchmark(name)] for name in config.benchmarks}
    by_level: dict[str, list[Query]] = defaultdict(list)
    loaded = _load(config.name, config.heldout_source, config.heldout_split)
    for query in random_subset(loaded.queries, len(loaded.queries), 0):
        if len(by_level[query.level]) < config.heldout_queries:
            by_level[query.level].append(_asked(config, query))
    return {level: by_level[level] for level in sorted(by_level)}


def reward(config: MathsConfig, query: Query, response: str) -> float:
    """1.0 if the response states the reference answer, by the set's own check."""
    return float(SETS[config.name](response, query.answer))


def _traces(place: Path) -> LoadedQueries:
    """SMEPO's maths questions with their traces; ReproError if no file of them is there."""
    files = sorted(place.rglob("math*.parquet")) + sorted(place.rglob("math*.jsonl"))
    if not files:
        raise ReproError(f"maths world: {place} holds no math*.parquet; `repro data list` says how to download it")
    loaded = [load_traces(file, "maths") for file in files]
    queries = {query.id: query for one in loaded for query in one.queries}
    malformed = tuple(problem for one in loaded for problem in one.malformed)
    return LoadedQueries(tuple(queries.values()), malformed, sum(one.duplicates for one in loaded))


def _asked(config: MathsConfig, query: Query) -> Query:
    plain = getattr(config, "prompt", "boxed") == "plain"
    return query if plain else replace(query, text=boxed_prompt(query.text))
