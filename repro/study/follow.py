"""One query from its profile to its group to its gradient, with the very code that trains.

For a notebook that shows what an allocation does to single queries: a policy is warm-started, its list profiled, one
query of every class taken as it comes in the first sweep, its group sampled, and the gradient measured that this group
alone would give. Nothing is trained: every group meets the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from repro import environments
from repro.algorithms.allocation import Profile, order
from repro.algorithms.sgpo import SGPO
from repro.config import override
from repro.environments.query import Query
from repro.policy.model import Policy
from repro.policy.warmstart import WarmStartKey, warm_start
from repro.study.runs import data_folder
from repro.study.summary import code
from repro.training.config import RunConfig
from repro.training.learner import Learner
from repro.training.profiling import take_profile
from repro.training.rollouts import Group, batch, draw

UNSOLVED, TRIVIAL = "unsolved, left out", "trivial, dropped"
WOULD_BE = 8  # group size of the queries that get none: what uniform groups would have spent on them


@dataclass(frozen=True)
class Followed:
    """A query's way: solved `solved` of `samples` times, of class `kind`, a group of responses with their worth."""

    kind: str
    query: Query
    solved: int
    samples: int
    responses: tuple[str, ...]
    rewards: tuple[float, ...]
    advantages: tuple[float, ...]
    tokens: int  # sampled
    trained_tokens: int  # that had a gradient
    gradient_norm: float  # of the group's own loss, before clipping


def small_world(config: RunConfig) -> RunConfig:
    """The config with a world and a warm start so small that some queries are trivial after seconds of training."""
    levels = (("easy", 1, 1), ("hard", 2, 2))
    world = {"modulus": 4, "names": 4, "max_length": 2, "max_distractors": 0, "train_queries": 64, "levels": levels}
    start = {"steps": 300, "flat_steps": 150, "noisy_steps": 20, "warmup_steps": 20, "batch": 16, "slip": 0.1}
    return override(
        config, {"world": replace(config.world, **world), "warmstart": replace(config.warmstart, **start)}
    )  # fmt: skip


def profiled(config: RunConfig, samples: int = 8) -> tuple[Policy, list[Query], Profile]:
    """The warm-started policy of a config, its train list, and its profile; both are kept in the data folder."""
    torch.set_num_threads(config.training.threads)
    disable_progress_bar()  # saving a policy would leave an empty bar in the notebook
    key = WarmStartKey(config.world, config.policy, config.warmstart, config.seed)
    policy = warm_start(key, data_folder() / "cache", config.device)
    queries = environments.train_list(config.world, config.seed)
    return policy, queries, take_profile(policy, queries, config, samples, 0)[0]


def chosen(allocation: SGPO, profile: Profile, seed: int) -> dict[str, tuple[int, int]]:
    """Of every class the query (index) that the first sweep meets first, and its group size; easy to hard, then the
    dropped ones with the size that uniform groups would have given them."""
    clusters, rates = allocation.phases(profile, seed), profile.rates()
    mixed_in = {query for members in clusters.values() for query in members}
    classes = {
        f"G = {size}": (size, [q for q in members if rates[q] > 0]) for size, members in sorted(clusters.items())
    }
    classes[UNSOLVED] = (WOULD_BE, [q for q, rate in enumerate(rates) if rate == 0 and q not in mixed_in])
    classes[TRIVIAL] = (WOULD_BE, [q for q, rate in enumerate(rates) if rate > allocation.trivial])
    place = {query: rank for rank, query in enumerate(order(len(rates), seed, 0))}
    return {kind: (min(members, key=place.__getitem__), size) for kind, (size, members) in classes.items() if members}


def follow(config: RunConfig, policy: Policy, queries: Sequence[Query], profile: Profile) -> list[Followed]:
    """Every class's query with its group, advantages and gradient, all under the policy's present weights."""
    found = []
    picks = chosen(config.recipe.allocation, profile, config.seed)
    # A learning rate of zero: the learner measures its gradient and leaves the weights as they are.
    learner = Learner(policy, config.recipe, replace(config.training, learning_rate=0.0))
    for number, (kind, (index, size)) in enumerate(picks.items()):
        shown = config.recipe.guidance.prompt(queries[index], measure=policy.measure)
        group = Group(number, index, queries[index], policy.prompt(shown))
        with torch.no_grad():
            draw(policy.decoder(), policy, [group], [size], config=config, update=0)
            members = [list(range(size))]
            rollouts = batch(policy.decoder(), [group], members, config=config, update=0, version=0, seconds=0.0)
        metrics, seen = learner.update(rollouts)
        found.append(
            Followed(
                kind=kind,
                query=queries[index],
                solved=profile.solved[index],
                samples=profile.samples,
                responses=tuple(policy.decode(tokens) for tokens in rollouts.responses),
                rewards=tuple(rollouts.reward_B),
                advantages=tuple(seen.advantage_B.tolist()),
                tokens=sum(map(len, rollouts.responses)),
                trained_tokens=metrics["trained_tokens"],
                gradient_norm=metrics["grad_norm"],
            )
        )
    return found


def table(found: Sequence[Followed]) -> str:
    """The ways side by side, as Markdown."""
    lines = ["| class | question | solved | group's rewards | advantages | tokens, of them trained | gradient norm |"]
    lines.append("|" + "---|" * 7)
    for way in found:
        rewards = " ".join(f"{reward:g}" for reward in way.rewards)
        advantages = " ".join(f"{advantage:+.2f}" if advantage else "0" for advantage in way.advantages)
        cells: list[Any] = [way.kind, code(" / ".join(way.query.text.splitlines())), f"{way.solved} of {way.samples}"]
        cells += [rewards, advantages, f"{way.tokens}, {way.trained_tokens}", f"{way.gradient_norm:.3f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def responses(way: Followed) -> str:
    """A group's responses beneath their question, each with reward and advantage, as Markdown."""
    lines = [f"**{way.kind}**: {code(way.query.text)}, answer {code(way.query.answer)}.", ""]
    lines += ["| response | reward | advantage |", "|---|---|---|"]
    for text, reward, advantage in zip(way.responses, way.rewards, way.advantages, strict=True):
        lines.append(f"| {code(text)} | {reward:g} | {advantage:+.2f} |")
    return "\n".join(lines) + "\n"
