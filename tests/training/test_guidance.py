"""Guidance in the loop: prompts of training are dressed, those of evaluation never; failures in a row open the hint."""

from dataclasses import replace

import pytest

from repro.algorithms import ALGORITHMS
from repro.algorithms.allocation import Uniform
from repro.algorithms.credit import GroupCredit
from repro.algorithms.grpo import GRPO
from repro.algorithms.smepo import HINTS, EscalatingTrace, ExpertTrace
from repro.config import config_hash, from_dict, to_dict
from repro.environments import guided_arithmetic
from repro.environments.guided_arithmetic import GuidedArithmeticConfig
from repro.policy.model import build
from repro.policy.warmstart import GuidedWarmStartConfig
from repro.training.config import EvaluationConfig, Lagged, RunConfig, TrainingConfig
from repro.training.sampling import Sampler
from tests.policy.tiny import SHAPE, stir

WORLD = GuidedArithmeticConfig(
    names=6, min_length=1, max_length=2, min_distractors=0, max_distractors=1, warm_lengths=(1, 2), train_queries=4,
    heldout_queries=4, levels=(("easy", 1, 1), ("hard", 2, 2)),
)  # fmt: skip
CONFIG = RunConfig(
    study="test", arm="smepo", tier="smoke", seed=1, schedule=Lagged(0, 0), world=WORLD, policy=SHAPE,
    recipe=replace(ALGORITHMS["smepo_loss"], guidance=HINTS["critical_path"],
                   allocation=Uniform(prompts=2, group_size=3)),
    warmstart=GuidedWarmStartConfig(steps=30, flat_steps=10, noisy_steps=5, warmup_steps=5, batch=8),
    training=TrainingConfig(updates=4, max_new_tokens=14, gradient_split_every=0),
    evaluation=EvaluationConfig(every=2, queries=4, samples=2, final_queries=4, final_samples=2),
)  # fmt: skip


@pytest.fixture
def policy():
    return stir(build(SHAPE, guided_arithmetic.vocabulary(WORLD), 0))


def with_guidance(guidance):
    return replace(CONFIG, recipe=replace(CONFIG.recipe, guidance=guidance))


def prompts(sampler, policy, update):
    """The prompts of an update by the query's place in the training list."""
    place = {query.id: index for index, query in enumerate(sampler.queries)}
    rollouts = sampler(update, update)
    asked = {rollouts.query_B[b]: rollouts.prompts[p] for b, p in enumerate(rollouts.prompt_B)}
    return {place[id]: policy.decode(prompt) for id, prompt in asked.items()}


def test_the_recipes():
    plain, smepo = ALGORITHMS["smepo_loss"], ALGORITHMS["smepo"]
    assert plain.objective == GRPO(eps_low=0.0, eps_high=5.0, dual_clip=3.0) and plain.credit == GroupCredit("std")
    assert smepo == replace(plain, guidance=ExpertTrace())


@pytest.mark.parametrize("guidance", [HINTS["random"], EscalatingTrace(HINTS["critical_path"], stages=(0.5, 1.0))])
def test_a_guided_config_is_read_back(guidance):
    config = with_guidance(guidance)
    assert from_dict(RunConfig, to_dict(config)) == config and config_hash(config) != config_hash(CONFIG)


def test_every_group_of_every_update_is_guided(policy):
    sampler = Sampler(CONFIG, policy)
    for update in range(4):
        for index, prompt in prompts(sampler, policy, update).items():
            assert prompt == " ".join(HINTS["critical_path"].prompt(sampler.queries[index]).split())


def test_a_hint_opens_with_the_failures_of_a_query(policy, monkeypatch):
    """Four queries, two a visit: updates 0-1 are each query's first visit, 2-3 the second, 4-5 the third."""
    solved = {0}  # this query always succeeds, the others never do
    sampler = Sampler(with_guidance(EscalatingTrace(HINTS["full"], stages=(0.5, 1.0))), policy)
    lucky = {sampler.queries[index].id for index in solved}
    monkeypatch.setattr("repro.training.rollouts.reward_of", lambda world, query, *_: float(query.id in lucky))
    full, half = HINTS["full"], replace(HINTS["full"], ratio=0.5)
    for visit, hint in enumerate((None, half, full)):
        seen = {}
        for update in (2 * visit, 2 * visit + 1):
            seen |= prompts(sampler, policy, update)
        assert sorted(seen) == [0, 1, 2, 3]
        for index, prompt in seen.items():
            query = sampler.queries[index]
            shown = query.text if hint is None or index in solved else hint.prompt(query)
            assert prompt == " ".join(shown.split())
    resumed = Sampler(sampler.config, policy, sampler.state())  # as after an interruption
    assert prompts(resumed, policy, 6) == prompts(sampler, policy, 6)
