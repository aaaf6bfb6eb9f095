"""Held-out evaluation: mean@k and pass@k per difficulty, on fixed queries with fixed seeds; never guided."""

from __future__ import annotations

import time

import torch

from repro.environments.query import Query
from repro.policy.model import Policy
from repro.policy.sampler import sample
from repro.training.config import RunConfig
from repro.training.rollouts import request_seed, reward_of

ROWS = 256  # responses sampled at once


@torch.no_grad()
def evaluate(
    policy: Policy, lists: dict[str, list[Query]], config: RunConfig, queries: int, samples: int, update: int
) -> list[dict]:
    """One record per level: `mean_at_k` (mean reward) and `pass_at_k` (share of queries solved at least once in k).

    The same queries and request seeds for every arm and every point in time, so that differences are paired.
    """
    dec = policy.decoder()
    records = []
    for level, items in lists.items():
        started = time.perf_counter()
        items = items[:queries]
        prompts = [policy.encode(query.text) for query in items]
        pairs = [(q, k) for q in range(len(items)) for k in range(samples)]
        rewards = [0.0] * len(pairs)
        for first in range(0, len(pairs), ROWS):
            chunk = pairs[first : first + ROWS]
            seeds = [request_seed(-1, 0, q, k) for q, k in chunk]
            training = config.training
            completions = sample(
                dec,
                prompts,
                [q for q, _ in chunk],
                seeds,
                training.max_new_tokens,
                policy.end_token,
                training.temperature,
            )
            for place, ((q, _), completion) in enumerate(zip(chunk, completions, strict=True), first):
                rewards[place] = reward_of(config.world, items[q], policy, completion)
        by_query = [rewards[q * samples : (q + 1) * samples] for q in range(len(items))]
        records.append(
            {
                "kind": "eval",
                "update": update,
                "level": level,
                "queries": len(items),
                "samples": samples,
                "mean_at_k": sum(rewards) / len(rewards),
                "pass_at_k": sum(max(group) > 0 for group in by_query) / len(by_query),
                "seconds": time.perf_counter() - started,
            }
        )
    return records
