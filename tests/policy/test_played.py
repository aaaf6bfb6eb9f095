"""Lessons from episodes that are played: prompts and actions as the policy will meet them, with noise and slips."""

import itertools
import random
from dataclasses import replace

import pytest
import torch

from repro.environments.webshop import expert
from repro.environments.webshop.compact import CompactConfig
from repro.environments.webshop.world import ShopEpisode, WebShopConfig, demonstration, train_list
from repro.errors import ReproError
from repro.policy.demonstrations import examples
from repro.policy.model import build
from repro.policy.warmstart import PlayedWarmStartConfig, WarmStartConfig, WarmStartKey, lessons, vocabulary, warm_start
from tests.policy.tiny import SHAPE

WORLD = WebShopConfig(CompactConfig(products=24, kinds=4, goals=240), heldout_goals=40)
SHORT = dict(steps=3, flat_steps=1, noisy_steps=2, warmup_steps=1, batch=2)


def key(world=WORLD, seed=0, **settings):
    return WarmStartKey(world, replace(SHAPE, context=160), PlayedWarmStartConfig(**{**SHORT, **settings}), seed)


def taught(key, phase, count):
    problems, *phases = lessons(key)
    return [(query, phases[phase](query)) for query in itertools.islice(problems, count)]


def replayed(query, lesson):
    """The episode again; its prompts are those of the lesson."""
    episode = ShopEpisode(WORLD, query)
    episode.reset()
    for prompt, action in lesson:
        assert episode.prompt() == prompt
        episode.step(action)
    assert episode.done
    return episode


def test_lessons_are_episodes_as_the_policy_will_see_them():
    for query, lesson in taught(key(noise=0.0), 0, 30):
        assert replayed(query, lesson).won
    noisy = [replayed(query, lesson) for query, lesson in taught(key(noise=0.5), 0, 60)]
    assert 5 < sum(not episode.won for episode in noisy) < 50
    assert sum(episode.turn for episode in noisy) > 60 * 5


def test_slips_cost_score_in_the_noisy_phase_alone():
    scores = {}
    for phase, slip in ((0, 0.5), (1, 0.0), (1, 0.5)):
        made = taught(key(noise=0.0, late_noise=0.0, slip=slip), phase, 60)
        scores[phase, slip] = sum(replayed(query, lesson).score for query, lesson in made)
    assert scores[0, 0.5] == scores[1, 0.0] == 60 and 20 < scores[1, 0.5] < 50


def test_a_careless_shopper_takes_another_product_or_other_options_or_none():
    rng, errors = random.Random("careless"), set()
    for query in train_list(WORLD, 0)[:60]:
        episode = ShopEpisode(WORLD, query)
        goal, shop = episode.shop.goal, episode.shop.shop
        assert expert.mistaken(shop, goal, rng, 0.0).asin == goal.asin
        goals = [expert.mistaken(shop, goal, rng, 0.5) for _ in range(4)]
        for taken in goals:
            values = [value for _, value in taken.options]
            offered = dict(shop.products[expert.target(shop, taken)].options)
            assert all(value in offered[name] for name, value in taken.options) and len(values) <= len(goal.options)
            errors.add((taken.asin != goal.asin, len(values) < len(goal.options), set(values) <= set(goal.values)))
            assert taken.attributes == goal.attributes and taken.price_limit == goal.price_limit
    assert len(errors) == 8  # all of them, alone and together


def test_the_same_seed_gives_the_same_lessons():
    same = [taught(key(seed=3), 1, 10), taught(key(seed=3), 1, 10), taught(key(seed=4), 1, 10)]
    assert same[0] == same[1] != same[2]
    query = train_list(WORLD, 0)[0]
    turns = [demonstration(WORLD, query, random.Random("turns"), 0.3, 0.3) for _ in range(2)]
    assert turns[0] == turns[1] and 1 <= len(turns[0]) <= WORLD.max_turns


def test_every_turn_is_an_example_of_which_the_action_is_learned():
    policy = build(replace(SHAPE, context=160), vocabulary(key()), 0)
    for _, lesson in taught(key(noise=0.4), 0, 20):
        rows = examples(policy, lesson, WORLD.history)
        assert [(policy.decode(p), policy.decode(a)) for p, a, _ in rows] == [(p, a) for p, a in lesson]
        assert all(all(learned) and len(learned) == len(action) for _, action, learned in rows)
        assert all(action[-1] == policy.end_token for _, action, _ in rows)


def test_a_policy_is_warmed_up(tmp_path):
    reports = []
    first = warm_start(key(), tmp_path, progress=reports.append)
    assert len(reports) == 5
    again = warm_start(key(), tmp_path)
    assert all(torch.equal(p, again.parameters[name]) for name, p in first.parameters.items())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ReproError, match="WebShop with PlayedWarmStartConfig"):
        vocabulary(WarmStartKey(WORLD, SHAPE, WarmStartConfig(), 0))
    with pytest.raises(ReproError, match="chances between 0 and 1"):
        PlayedWarmStartConfig(noise=1.5)
