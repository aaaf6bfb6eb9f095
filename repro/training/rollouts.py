"""Rollouts: sampled responses with what the learner may need of them."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from repro.environments import World, reward
from repro.environments.query import Query
from repro.policy.decoder import Decoder
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.sampler import Completion, sample
from repro.training.config import RunConfig

MISMATCH_ROWS = 8  # responses per batch whose log-probabilities are recomputed as the trainer does


class Unused(NamedTuple):
    """A response that is not trained on."""

    prompt: int  # index into the prompts
    group: int
    reward: float
    length: int


@dataclass
class Group:
    """The responses to one query within an update; `index` is the query's place in the list."""

    number: int  # its place among the update's groups
    index: int
    query: Query
    prompt: list[int]
    completions: list[Completion] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)


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
    # Responses that were drawn but are not trained on: they cost their tokens, and count in their group's baseline.
    unused: list[Unused] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Rollouts:
        return cls(**{**data, "unused": [Unused(*entry) for entry in data["unused"]]})


def request_seed(seed: int, update: int, group: int, member: int) -> int:
    """64 bits that depend on the run's seed and the request's place alone."""
    return random.Random(f"request:{seed}:{update}:{group}:{member}").getrandbits(64)


def reward_of(world: World, query: Query, policy: Any, completion: Completion) -> float:
    """The world's reward; a response that did not end within its budget earns 0."""
    return reward(world, query, policy.decode(completion.tokens)) if completion.finished else 0.0


def draw(dec: Decoder, policy: Any, groups: list[Group], sizes: list[int], *, config: RunConfig, update: int) -> None:
    """Sample and score `sizes[g]` more responses of each group, under the weights of `dec`, in one batch.

    `policy` encodes, decodes and names the end token. A response's request seed depends on the run's seed, the update,
    its group and its number in the group, so that it is the same whatever else is drawn beside it or before.
    """
    prompt_B = [g for g, size in enumerate(sizes) for _ in range(size)]
    seeds = [
        request_seed(config.seed, update, group.number, len(group.rewards) + member)
        for group, size in zip(groups, sizes, strict=True)
        for member in range(size)
    ]
    training = config.training
    prompts = [group.prompt for group in groups]
    completions = sample(dec, prompts, prompt_B, seeds, training.max_new_tokens, policy.end_token, training.temperature)
    for g, completion in zip(prompt_B, completions, strict=True):
        groups[g].completions.append(completion)
        groups[g].rewards.append(reward_of(config.world, groups[g].query, policy, completion))


def batch(
    dec: Decoder,
    groups: list[Group],
    kept: list[list[int]],
    *,
    config: RunConfig,
    update: int,
    version: int,
    seconds: float,
) -> Rollouts:
    """The groups as one update's rollouts; `kept[g]` are the responses of group g that are trained on.

    If none is, all are: an update without gradient. The log-probabilities of some rows are recomputed by the trainer's
    forward: `mismatch_kl` near 0 (1e-10 in fp32) shows that sampler and trainer agree on these very weights.
    """
    if not any(kept):
        kept = [list(range(len(group.rewards))) for group in groups]
    rows = [(g, i) for g, members in enumerate(kept) for i in members]
    chosen = set(rows)
    rest = [(g, i) for g, group in enumerate(groups) for i in range(len(group.rewards)) if (g, i) not in chosen]
    prompts, prompt_B = [group.prompt for group in groups], [g for g, _ in rows]
    completions = [groups[g].completions[i] for g, i in rows]
    return Rollouts(
        update=update,
        version=version,
        prompts=prompts,
        prompt_B=prompt_B,
        group_B=prompt_B,
        query_B=[groups[g].query.id for g in prompt_B],
        responses=[c.tokens for c in completions],
        behaviour_logp=[c.logprobs for c in completions],
        reward_B=[groups[g].rewards[i] for g, i in rows],
        finished_B=[c.finished for c in completions],
        mismatch_kl=_mismatch(dec, prompts, prompt_B, completions, update, config.training.temperature),
        seconds=seconds,
        unused=[Unused(g, g, groups[g].rewards[i], len(groups[g].completions[i].tokens)) for g, i in rest],
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
