"""Held-out evaluation: mean@k and pass@k per difficulty, on fixed queries with fixed seeds; never guided."""

from __future__ import annotations

import functools
import time
from dataclasses import replace

import torch

from repro.environments import asked, multi_turn
from repro.environments.query import Query
from repro.policy.model import Policy
from repro.training.config import RunConfig
from repro.training.episodes import Outcome, summary
from repro.training.rollouts import attempt, request_seed

ROWS = 256  # responses sampled at once


@torch.no_grad()
def evaluate(
    policy: Policy, lists: dict[str, list[Query]], config: RunConfig, queries: int, samples: int, update: int,
    temperature: float | None = None,
) -> list[dict]:  # fmt: skip
    """One record per level: `mean_at_k` (mean reward) and `pass_at_k` (share of queries solved at least once in k).

    In a world of several turns "solved" means won, and the means of `episodes.summary` come with it. The same queries
    and request seeds for every arm and every point in time, so that differences are paired. `temperature`: if not the
    training's.
    """
    dec = policy.decoder()
    several = multi_turn(config.world)
    if temperature is not None:
        config = replace(config, training=replace(config.training, temperature=temperature))
    records = []
    for level, items in lists.items():
        started = time.perf_counter()
        items = items[:queries]
        prompts = [policy.prompt(asked(config.world, query).text) for query in items]
        pairs = [(q, k) for q in range(len(items)) for k in range(samples)]
        outcomes: list[Outcome] = []
        for first in range(0, len(pairs), ROWS):
            rows = pairs[first : first + ROWS]
            query_B, seeds = [q for q, _ in rows], [functools.partial(request_seed, -1, 0, q, k) for q, k in rows]
            tried = attempt(dec, policy, items, prompts, query_B, seeds, config)
            outcomes += [one.outcome(q) for q, one in zip(query_B, tried, strict=True)]
        by_query = [outcomes[q * samples : (q + 1) * samples] for q in range(len(items))]
        records.append(
            {
                "kind": "eval",
                "update": update,
                "level": level,
                "queries": len(items),
                "samples": samples,
                "mean_at_k": sum(outcome.reward for outcome in outcomes) / len(outcomes),
                "pass_at_k": sum(any(outcome.won for outcome in group) for group in by_query) / len(by_query),
                "seconds": time.perf_counter() - started,
                **(summary(outcomes) | {"temperature": config.training.temperature} if several else {}),
            }
        )
    return records
