"""The lagged schedule equals what a ring of weight snapshots would sample, and takes up where it was."""

import json

import pytest
import torch

from repro.algorithms import Recipe
from repro.algorithms.allocation import Uniform
from repro.algorithms.asympo import Naive
from repro.environments import arithmetic
from repro.environments.arithmetic import ArithmeticConfig
from repro.policy.model import PolicyConfig, build
from repro.training.config import Lagged, RunConfig, TrainingConfig
from repro.training.sampling import Sampler
from repro.training.schedule import LaggedSource, version_for
from tests.training.stand_ins import learn

UPDATES = 12
WORLD = ArithmeticConfig(
    names=6, max_length=2, max_distractors=0, train_queries=8, heldout_queries=2, levels=(("easy", 1, 2),)
)
CONFIG = RunConfig(
    study="test",
    arm="test",
    tier="smoke",
    seed=3,
    recipe=Recipe(Naive(), allocation=Uniform(prompts=2, group_size=2)),
    world=WORLD,
    policy=PolicyConfig(hidden=16, layers=1, heads=2, kv_heads=2, feed_forward=32),
    training=TrainingConfig(updates=UPDATES, max_new_tokens=6),
)
SCHEDULES = [Lagged(0, 0), Lagged(3, 3), Lagged(1, 4), Lagged(40, 40)]


@pytest.fixture
def policy():
    torch.set_num_threads(1)
    return build(CONFIG.policy, arithmetic.vocabulary(WORLD), seed=0)


def content(rollouts):
    return {key: value for key, value in rollouts.to_json().items() if key != "seconds"}


def run(policy, schedule, first=0, last=UPDATES, state=None):
    """Rollouts of the updates in [first, last), and the source's state after them."""
    taken = []
    with LaggedSource(schedule, CONFIG.seed, UPDATES, Sampler(CONFIG, policy), state) as source:
        for update in range(first, last):
            rollouts, measured = source.next(update)
            assert 0 <= measured["queue_depth"] <= schedule.high
            taken.append(rollouts)
            learn(policy, update)
            source.updated(update)
        return taken, source.state()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_equal_to_a_ring_of_weight_snapshots(policy, schedule):
    start = policy.snapshot()
    taken, _ = run(policy, schedule)

    with torch.no_grad():
        for name, p in policy.parameters.items():
            p.copy_(start[name])
    ring = [policy.snapshot()]  # ring[v]: the weights after v updates
    for update in range(UPDATES):
        learn(policy, update)
        ring.append(policy.snapshot())
    sample = Sampler(CONFIG, policy)
    for update, rollouts in enumerate(taken):
        version = version_for(schedule, CONFIG.seed, update)
        with torch.no_grad():
            for name, p in policy.parameters.items():
                p.copy_(ring[version][name])
        assert content(rollouts) == content(sample(update, version))
        assert rollouts.mismatch_kl < 1e-9


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_lag_is_drawn_from_the_law_and_cut_at_the_first_weights(schedule):
    updates = range(2000)
    lags = [update - version_for(schedule, 0, update) for update in updates]
    assert all(
        min(update, schedule.low) <= lag <= min(update, schedule.high)
        for update, lag in zip(updates, lags, strict=True)
    )
    late = lags[schedule.high :]
    assert set(late) == set(range(schedule.low, schedule.high + 1))
    # Uniform: each of n values has share 1/n, to five standard deviations of a binomial.
    n = schedule.high - schedule.low + 1
    for lag in set(late):
        assert abs(late.count(lag) / len(late) - 1 / n) <= 5 * ((1 / n) * (1 - 1 / n) / len(late)) ** 0.5


def test_the_law_depends_on_the_seed():
    draws = {seed: [version_for(Lagged(8, 23), seed, update) for update in range(100)] for seed in (0, 1)}
    assert draws[0] != draws[1]


def test_no_lag_is_synchronous(policy):
    taken, state = run(policy, Lagged(0, 0))
    assert [rollouts.version for rollouts in taken] == list(range(UPDATES))
    assert state == {"waiting": [], "updates": UPDATES}


def test_nothing_is_sampled_beyond_the_last_update(policy):
    _, state = run(policy, Lagged(1, 4))
    assert state == {"waiting": [], "updates": UPDATES}


@pytest.mark.parametrize("schedule", [Lagged(0, 0), Lagged(3, 3), Lagged(1, 4)])
def test_resumed_from_its_state_it_goes_on_the_same(policy, schedule):
    start = policy.snapshot()
    whole, _ = run(policy, schedule)
    with torch.no_grad():
        for name, p in policy.parameters.items():
            p.copy_(start[name])
    before, state = run(policy, schedule, last=5)
    after, _ = run(policy, schedule, first=5, state=json.loads(json.dumps(state)))
    assert [content(r) for r in before + after] == [content(r) for r in whole]
