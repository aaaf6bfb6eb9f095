"""Rollouts: sampled responses with what the learner may need of them."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from repro.environments import World, reward
from repro.environments.query import Query
from repro.policy.decoder import Decoder
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.sampler import Completion, sample

MISMATCH_ROWS = 8  # responses per batch whose log-probabilities are recomputed as the trainer does


@dataclass
class Rollouts:
    """A batch of ragged groups, lists indexed by response unless said: plain data, to be queued and saved."""

    update: int  # the learner update that will consume it
    version: int  # learner updates that the sampling weights had seen
    prompts: list[list[int]]  # distinct prompts
    prompt_B: list[int]  # index into prompts
    group_B: list[int]  # whose rewards are compared with whose
    query_B: list[str]
    responses: list[list[int]]
    behaviour_logp: list[list[float]]
    reward_B: list[float]
    finished_B: list[bool]
    mismatch_kl: float  # k3 estimate of KL(sampler || trainer) under the same weights
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def request_seed(seed: int, update: int, group: int, member: int) -> int:
    """64 bits that depend on the run's seed and the request's place alone."""
    return random.Random(f"request:{seed}:{update}:{group}:{member}").getrandbits(64)


def reward_of(world: World, query: Query, policy: Any, completion: Completion) -> float:
    """The world's reward; a response that did not end within its budget earns 0."""
    return reward(world, query, policy.decode(completion.tokens)) if completion.finished else 0.0


def play(
    dec: Decoder,
    policy: Any,
    queries: list[Query],
    allotment: list[tuple[int, int]],
    prompt_of: Callable[[Query], str],
    *,
    world: World,
    update: int,
    version: int,
    seed: int,
    max_new_tokens: int,
    temperature: float,
) -> Rollouts:
    """Sample and score one group per allotted (query index, group size), under the weights of `dec`.

    `policy` encodes, decodes and names the end token.
    The log-probabilities of some rows are recomputed by the trainer's forward: `mismatch_kl` near 0 (1e-10 in fp32)
    shows that sampler and trainer agree on these very weights.
    """
    started = time.perf_counter()
    prompts = [policy.encode(prompt_of(queries[index])) for index, _ in allotment]
    prompt_B = [g for g, (_, size) in enumerate(allotment) for _ in range(size)]
    seeds = [request_seed(seed, update, g, i) for g, (_, size) in enumerate(allotment) for i in range(size)]
    completions = sample(dec, prompts, prompt_B, seeds, max_new_tokens, policy.end_token, temperature)
    chosen = [queries[allotment[g][0]] for g in prompt_B]
    rewards = [reward_of(world, query, policy, c) for query, c in zip(chosen, completions, strict=True)]
    return Rollouts(
        update=update,
        version=version,
        prompts=prompts,
        prompt_B=prompt_B,
        group_B=prompt_B,
        query_B=[query.id for query in chosen],
        responses=[c.tokens for c in completions],
        behaviour_logp=[c.logprobs for c in completions],
        reward_B=rewards,
        finished_B=[c.finished for c in completions],
        mismatch_kl=_mismatch(dec, prompts, prompt_B, completions, update, temperature),
        seconds=time.perf_counter() - started,
    )


@torch.no_grad()
def _mismatch(dec: Decoder, prompts, prompt_B, completions, update: int, temperature: float) -> float:
    rows = [(update * MISMATCH_ROWS + i) % len(completions) for i in range(min(MISMATCH_ROWS, len(completions)))]
    used = sorted({prompt_B[b] for b in rows})
    lay = layout(
        [prompts[p] for p in used],
        [completions[b].tokens for b in rows],
        [used.index(prompt_B[b]) for b in rows],
        dec.embedding.device,
    )
    trainer = response_logprobs(dec, lay, temperature)[0].cpu()
    total, count = 0.0, 0
    for row, b in enumerate(rows):
        sampled = torch.tensor(completions[b].logprobs)
        log_ratio = trainer[row, : len(sampled)] - sampled
        total += (log_ratio.expm1() - log_ratio).sum().item()
        count += len(sampled)
    return total / max(count, 1)
