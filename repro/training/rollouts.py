"""Rollouts: sampled responses with what the learner may need of them.

In a world of several turns every turn is a row: its prompt is what the policy saw then, its response the action. Credit
is per episode: `Rollouts.compared` counts each once, whatever its number of turns, and all its rows get its advantage.
How rows become a loss is the objective's `aggregation`: "response" gives every turn the same weight, so an episode's
weight grows with its turns; "token" gives every token of an action the same. To give every episode the same weight,
take `credit.EpisodeCredit`.
"""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from repro.algorithms.gigpo import GiGPO
from repro.environments import World, multi_turn, reward
from repro.environments.query import Query
from repro.policy.decoder import Decoder
from repro.policy.logprobs import layout, response_logprobs
from repro.policy.sampler import Completion, sample
from repro.training.accounting import Requests
from repro.training.config import RunConfig
from repro.training.counts import Met
from repro.training.episodes import Outcome, Played, Start, Turn, play

MISMATCH_ROWS = 8  # responses per batch whose log-probabilities are recomputed as the trainer does


class Unused(NamedTuple):
    """A response that is not trained on."""

    prompt: int  # index into the prompts
    group: int
    reward: float  # in a world of several turns, its episode's
    length: int


@dataclass
class Group:
    """The responses to one query within an update; `index` is the query's place in the list."""

    number: int  # its place among the update's groups
    index: int
    query: Query
    prompt: list[int]  # the first one, where there are several turns
    played: list[Played] = field(default_factory=list)

    @property
    def rewards(self) -> list[float]:
        return [one.reward for one in self.played]


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
    # Where there are several turns: all episodes that were drawn, and each row's episode and turn; else empty.
    episodes: list[Outcome] = field(default_factory=list)
    episode_B: list[int] = field(default_factory=list)
    turn_B: list[int] = field(default_factory=list)
    # Where credit goes by turns: what each row's turn earned, and the state that it began in.
    turn_reward_B: list[float] = field(default_factory=list)
    state_B: list[str] = field(default_factory=list)
    # Where exploration gives the credit itself.
    advantage_B: list[float] = field(default_factory=list)
    # How sampling went since the update before, if not as the prompts, rows and unused responses say.
    requests: list[Requests] = field(default_factory=list)
    met: list[list[int]] = field(default_factory=list)  # states, see `counts.Met`
    expert_B: list[bool] = field(default_factory=list)  # which rows are an expert's; empty: none

    @property
    def generations(self) -> int:
        """Responses sampled since the update before."""
        if self.requests:
            return sum(len(batch.lengths) for batch in self.requests)
        return len(self.responses) + len(self.unused)

    def compared(self) -> tuple[list[float], list[int], Sequence[int]]:
        """(rewards, groups, place of each row among them) of all that was drawn, trained on or not.

        These are what credit compares: episodes where there are several turns, else responses.
        """
        if self.episodes:
            return [e.reward for e in self.episodes], [e.group for e in self.episodes], self.episode_B
        rewards = self.reward_B + [unused.reward for unused in self.unused]
        return rewards, self.group_B + [unused.group for unused in self.unused], range(len(self.reward_B))

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Rollouts:
        kinds = {"unused": Unused, "episodes": Outcome, "requests": Requests}
        return cls(**data | {name: [kind(*entry) for entry in data.get(name, [])] for name, kind in kinds.items()})


def request_seed(seed: int, update: int, group: int, member: int, turn: int | None = None) -> int:
    """64 bits that depend on the run's seed and the request's place alone; single-turn worlds have no `turn`."""
    place = f"{seed}:{update}:{group}:{member}" if turn is None else f"{seed}:{update}:{group}:{member}:{turn}"
    return random.Random(f"request:{place}").getrandbits(64)


def reward_of(world: World, query: Query, policy: Any, completion: Completion) -> float:
    """The world's reward; a response that did not end within its budget earns 0."""
    return reward(world, query, policy.decode(completion.tokens)) if completion.finished else 0.0


def attempt(
    dec: Decoder, policy: Any, queries: Sequence[Query], prompts: Sequence[list[int]], query_B: Sequence[int],
    seed_B: Sequence[Callable[..., int]], config: RunConfig, met: Met | None = None,
) -> list[Played]:  # fmt: skip
    """Each row's try at query `query_B[b]`: an episode, or one response. Rows of one query share its (first) prompt.

    `seed_B[b]` gives a row's request seed, for an episode one a turn. A single response has won if it earned anything.
    """
    if multi_turn(config.world):
        starts = [Start(queries[q], prompts[q], seed) for q, seed in zip(query_B, seed_B, strict=True)]
        return play(dec, policy, starts, config, met)
    training, seeds = config.training, [seed() for seed in seed_B]
    completions = sample(dec, prompts, query_B, seeds, training.max_new_tokens, policy.end_token, training.temperature)
    earned = [reward_of(config.world, queries[q], policy, c) for q, c in zip(query_B, completions, strict=True)]
    return [
        Played([Turn(prompts[q], completion)], reward, reward > 0)
        for q, completion, reward in zip(query_B, completions, earned, strict=True)
    ]


def draw(
    dec: Decoder, policy: Any, groups: list[Group], sizes: list[int], *, config: RunConfig, update: int,
    met: Met | None = None,
) -> None:  # fmt: skip
    """Sample and score `sizes[g]` more responses (or episodes) of each group, under the weights of `dec`, together.

    `policy` encodes, decodes and names the end token. A response's request seed depends on the run's seed, the update,
    its group and its number in the group, so that it is the same whatever else is drawn beside it or before. The states
    that episodes come through are noted in `met`.
    """
    group_B = [g for g, size in enumerate(sizes) for _ in range(size)]
    seeds = [
        functools.partial(request_seed, config.seed, update, group.number, len(group.played) + member)
        for group, size in zip(groups, sizes, strict=True)
        for member in range(size)
    ]
    queries, prompts = [group.query for group in groups], [group.prompt for group in groups]
    for g, one in zip(group_B, attempt(dec, policy, queries, prompts, group_B, seeds, config, met), strict=True):
        groups[g].played.append(one)


def batch(
    dec: Decoder,
    groups: list[Group],
    kept: list[list[int]],
    *,
    config: RunConfig,
    update: int,
    version: int,
    seconds: float,
    met: Met | None = None,
) -> Rollouts:
    """The groups as one update's rollouts; `kept[g]` are the responses of group g that are trained on.

    If none is, all are: an update without gradient. The log-probabilities of some rows are recomputed by the trainer's
    forward: `mismatch_kl` near 0 (1e-10 in fp32) shows that sampler and trainer agree on these very weights.
    """
    if not any(kept):
        kept = [list(range(len(group.played))) for group in groups]
    every = [(g, i) for g, group in enumerate(groups) for i in range(len(group.played))]
    chosen = {(g, i) for g, members in enumerate(kept) for i in members}
    # Rows of one group and turn with equal prompts share them, as they did when they were sampled.
    places: dict[tuple, int] = {}
    place = {
        (g, i, t): places.setdefault((g, t, tuple(turn.prompt)), len(places))
        for g, i in every
        for t, turn in enumerate(groups[g].played[i].turns)
    }
    rows = [(g, i, t) for g, members in enumerate(kept) for i in members for t in range(len(groups[g].played[i].turns))]
    rows.sort(key=place.__getitem__)  # side by side if they share a prompt
    rest = [(g, i, t) for g, i, t in place if (g, i) not in chosen]
    prompts, prompt_B = [list(prompt) for _, _, prompt in places], [place[row] for row in rows]
    completions = [groups[g].played[i].turns[t].completion for g, i, t in rows]
    several, by_turns = multi_turn(config.world), isinstance(config.recipe.credit, GiGPO)
    number = {member: e for e, member in enumerate(every)}
    expert_B = [groups[g].played[i].expert for g, i, _ in rows]
    own = [b for b, expert in enumerate(expert_B) if not expert]
    sampled = [completions[b] for b in own], [prompt_B[b] for b in own]
    return Rollouts(
        update=update,
        version=version,
        prompts=prompts,
        prompt_B=prompt_B,
        group_B=[g for g, _, _ in rows],
        query_B=[groups[g].query.id for g, _, _ in rows],
        responses=[c.tokens for c in completions],
        behaviour_logp=[c.logprobs for c in completions],
        reward_B=[groups[g].played[i].reward for g, i, _ in rows],
        finished_B=[c.finished for c in completions],
        mismatch_kl=mismatch(dec, prompts, sampled[1], sampled[0], update, config.training.temperature),
        seconds=seconds,
        unused=[
            Unused(place[g, i, t], g, groups[g].played[i].reward, len(groups[g].played[i].turns[t].completion.tokens))
            for g, i, t in rest
        ],
        episodes=[groups[g].played[i].outcome(g) for g, i in every] if several else [],
        episode_B=[number[g, i] for g, i, _ in rows] if several else [],
        turn_B=[t for _, _, t in rows] if several else [],
        turn_reward_B=[groups[g].played[i].turns[t].reward for g, i, t in rows] if by_turns else [],
        state_B=[groups[g].played[i].turns[t].state for g, i, t in rows] if by_turns else [],
        met=met.hashes() if met else [],
        **(_with_experts(prompts, *sampled, expert_B) if any(expert_B) else {}),
    )


def _with_experts(prompts, completions, prompt_B, expert_B: list[bool]) -> dict[str, Any]:
    """What an update says in addition if some rows are an expert's: those cost no sampling."""
    used = sorted(set(prompt_B))
    lengths = [len(completion.tokens) for completion in completions]
    requests = Requests([len(prompts[p]) for p in used], [used.index(p) for p in prompt_B], lengths)
    return {"expert_B": expert_B, "requests": [requests]}


@torch.no_grad()
def mismatch(dec: Decoder, prompts, prompt_B, completions, update: int, temperature: float) -> float:
    """k3 estimate, over some rows, of KL(sampler || trainer) under the very weights that sampled."""
    if not completions:
        return 0.0
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
