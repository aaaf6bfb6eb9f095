"""Lessons of the household world: what the policy will meet in play, in its own words, done by an expert with noise."""

import itertools
import random
from dataclasses import replace

import pytest
import torch

from repro import environments
from repro.environments.alfworld.games import HouseholdConfig
from repro.environments.alfworld.world import AlfworldConfig, demonstration
from repro.errors import ReproError
from repro.policy.demonstrations import examples
from repro.policy.model import build
from repro.policy.warmstart import (
    DemonstrationConfig,
    PlayedWarmStartConfig,
    WarmStartKey,
    lessons,
    vocabulary,
    warm_start,
)
from tests.policy.tiny import SHAPE

WORLD = AlfworldConfig(HouseholdConfig(train_games=6, heldout_games=6))
SHORT = dict(steps=3, flat_steps=1, noisy_steps=2, warmup_steps=1, batch=2)


def key(world=WORLD, seed=0, **settings):
    return WarmStartKey(world, replace(SHAPE, context=256), PlayedWarmStartConfig(**{**SHORT, **settings}), seed)


def taught(key, phase, count):
    problems, *phases = lessons(key)
    return [(query, phases[phase](query)) for query in itertools.islice(problems, count)]


def test_a_lesson_is_the_experts_game_as_the_policy_will_see_it():
    rng = random.Random("slips:3")
    for query, lesson in taught(key(seed=3, noise=0.3), 0, 10):
        assert list(lesson) == demonstration(WORLD, query, rng, 0.3)
        episode = environments.episode(WORLD, query)
        episode.reset()
        for prompt, command in lesson:
            assert prompt == episode.prompt() and command in episode.admissible()
            episode.step(command)


def test_noise_by_phase():
    settings = key(noise=0.0, late_noise=1.0)
    won = []
    for phase in (0, 1):
        episodes = []
        for query, lesson in taught(settings, phase, 12):
            episodes.append(environments.episode(WORLD, query))
            episodes[-1].reset()
            for _, command in lesson:
                episodes[-1].step(command)
        won.append(sum(episode.won for episode in episodes))
    assert won[0] == 12 and won[1] < 4


def test_every_turn_is_an_example_of_its_own():
    policy = build(key().policy, vocabulary(key()), 0)
    ((_, lesson),) = taught(key(), 0, 1)
    rows = examples(policy, lesson, WORLD.history)
    assert [(policy.decode(prompt), policy.decode(done)) for prompt, done, _ in rows] == list(lesson)
    assert all(done[-1] == policy.end_token and all(learned) for _, done, learned in rows)


def test_a_policy_is_warmed_up(tmp_path):
    losses = []
    first = warm_start(key(), tmp_path, progress=lambda report: losses.append(report["loss"]))
    assert len(losses) == 5 and all(loss > 0 for loss in losses)
    again = warm_start(key(), tmp_path)
    assert all(torch.equal(p, again.parameters[name]) for name, p in first.parameters.items())


def test_only_small_households_in_few_words_can_be_learned_from_scratch():
    with pytest.raises(ReproError, match="compact prompts of small households"):
        vocabulary(key(replace(WORLD, form="verbose")))
    with pytest.raises(ReproError, match="ALFWorld and WebShop with PlayedWarmStartConfig"):
        vocabulary(replace(key(), warmstart=DemonstrationConfig()))
    with pytest.raises(ReproError, match="between 0 and 1"):
        PlayedWarmStartConfig(noise=1.5)
