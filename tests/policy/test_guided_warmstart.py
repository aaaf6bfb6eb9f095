"""The warm start that reads hints: every format equally often, slips as asked, and no other warm start changed."""

import collections
import itertools
import random

import pytest

from repro.algorithms.smepo import HINTS
from repro.config import config_hash, from_dict, to_dict
from repro.environments import guided_arithmetic
from repro.environments.arithmetic import ArithmeticConfig
from repro.environments.guided_arithmetic import GuidedArithmeticConfig
from repro.errors import ReproError
from repro.policy.model import PolicyConfig
from repro.policy.warmstart import (
    GuidedWarmStartConfig,
    WarmStartConfig,
    WarmStartKey,
    lessons,
    vocabulary,
    warm_start,
)
from tests.policy.tiny import SHAPE, WORLD

GUIDED = GuidedArithmeticConfig(
    names=6, min_length=1, max_length=2, min_distractors=0, max_distractors=1, warm_lengths=(1, 2), train_queries=16,
    heldout_queries=4, levels=(("easy", 1, 1), ("hard", 2, 2)),
)  # fmt: skip
SHORT = dict(steps=12, flat_steps=4, noisy_steps=4, warmup_steps=4, batch=4)


def key(world=GUIDED, seed=0, **settings):
    return WarmStartKey(world, SHAPE, GuidedWarmStartConfig(**{**SHORT, **settings}), seed)


def taught(key, phase, count):
    problems, *phases = lessons(key)
    return [(query, *phases[phase](query)) for query in itertools.islice(problems, count)]


def test_the_plain_warm_start_keeps_its_identity():
    """Results are stored under the hash of their config: the plain one is what it was before there was a guided one."""
    plain = WarmStartKey(ArithmeticConfig(), PolicyConfig(), WarmStartConfig(), 0)
    assert config_hash(plain) == "978bb0001b4b"
    assert to_dict(plain)["warmstart"]["kind"] == "WarmStartConfig"
    assert set(to_dict(plain)["warmstart"]) == {
        "kind", "steps", "flat_steps", "noisy_steps", "slip", "batch", "muon_lr", "adam_lr", "noisy_lr_scale",
        "warmup_steps", "clip_norm",
    }  # fmt: skip
    assert config_hash(plain) != config_hash(WarmStartKey(GUIDED, PolicyConfig(), GuidedWarmStartConfig(), 0))
    assert from_dict(GuidedWarmStartConfig, to_dict(GuidedWarmStartConfig())) == GuidedWarmStartConfig()


def hint_in(prompt):
    return prompt.split("<hint>\n")[1].split("\n</hint>")[0]


def test_perfect_lessons_are_right_without_a_hint_and_follow_it_with_one():
    followed = 0
    for query, prompt, response in taught(key(hints=("full",), route_slip=0.3, fact_slip=0.2, misled=0.2), 0, 400):
        if prompt == query.text:
            assert response == query.trace
        else:
            assert response == hint_in(prompt)
            followed += response != query.trace
    assert followed > 50  # where it is wrong too: only so are hints read


def test_perfect_lessons_believe_what_is_shown_and_compute_what_is_not():
    for name in ("full", "critical_path", "random"):
        settings, wrong = key(hints=(name,), bare=0.0, route_slip=0.0, fact_slip=0.0, misled=1.0), 0
        for query, prompt, response in taught(settings, 0, 50):
            for line in response.splitlines()[1:-1]:
                said = [shown for shown in hint_in(prompt).splitlines()[1:] if shown.split()[0] == line.split()[0]]
                if said and "[NUMBER]" not in said[0]:
                    assert line == said[0]
            wrong += response != query.trace
        assert wrong > 45 if name == "full" else wrong == 0 if name == "critical_path" else 5 < wrong


@pytest.mark.parametrize("copies", [0.0, 0.4, 1.0])
def test_noisy_lessons_copy_results_as_often_as_asked(copies):
    settings = key(hints=("full",), bare=0.0, route_slip=0.0, fact_slip=0.0, slip=1.0, doubt=0.0, copies=copies)
    copied = sum(response == hint_in(prompt) for query, prompt, response in taught(settings, 1, 200))
    assert abs(copied / 200 - copies) < 0.08


def test_every_format_is_as_frequent_as_every_other():
    seen = collections.Counter()
    for query, prompt, _ in taught(key(slip=0.0, route_slip=0.0, fact_slip=0.0, misled=0.0), 0, 2000):
        names = [name for name, guidance in HINTS.items() if guidance.prompt(query) == prompt]
        assert names or prompt == query.text
        seen[names[0] if names else "bare"] += 1
    assert abs(seen["bare"] / 2000 - 0.5) < 0.05
    # Short traces look alike under some formats, and the first of them is counted: these do not.
    for name in ("critical_path", "numerals", "numerals_defects"):
        assert abs(seen[name] / 2000 - 0.5 / len(HINTS)) < 0.03, name


def test_only_the_formats_asked_for_are_taught():
    only = key(hints=("numerals",), bare=0.0, route_slip=0.0, fact_slip=0.0, misled=0.0)
    assert all(prompt == HINTS["numerals"].prompt(query) for query, prompt, _ in taught(only, 0, 50))
    assert all(prompt == query.text for query, prompt, _ in taught(key(bare=1.0), 0, 50))


@pytest.mark.parametrize("doubt", [0.0, 1.0])
def test_a_hint_tells_the_slips_before_it(doubt):
    settings = key(doubt=doubt, bare=0.0, hints=("full",), route_slip=0.3, fact_slip=0.3, slip=0.3, copies=1.0)
    differ = 0
    for query, prompt, response in taught(settings, 1, 200):
        assert hint_in(prompt) == (query.trace if doubt else response)
        assert prompt.startswith(query.text)
        differ += response != query.trace
    assert differ > 100  # slips there are


def test_slips_have_the_chances_asked_for():
    none = key(slip=0.0, route_slip=0.0, fact_slip=0.0)
    assert all(response == query.trace for query, _, response in taught(none, 1, 50))
    settings = key(seed=5, slip=0.5, route_slip=0.1, fact_slip=0.2, doubt=0.25, bare=1.0)
    slips = random.Random("slips:5")
    for query, _, response in taught(settings, 1, 50):
        shown = guided_arithmetic.slipped(GUIDED, query, slips, 0.075, 0.2 * 0.75, 0.375)
        assert response == guided_arithmetic.slipped(GUIDED, shown, slips, 0.025, 0.05, 0.125).trace


def test_a_policy_is_warmed_up_and_knows_the_worlds_words(tmp_path):
    policy = warm_start(key(), tmp_path)
    for guidance in HINTS.values():
        for query in guided_arithmetic.train_list(GUIDED, 0):
            prompt = guidance.prompt(query)
            assert policy.decode(policy.encode(prompt)) == " ".join(prompt.split())
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"warmstart-{config_hash(key())}"
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ReproError, match=f"{folder} is damaged; delete it, and the warm start is trained again"):
        warm_start(key(), tmp_path)


def test_a_world_and_a_warm_start_must_fit():
    for world, settings in ((GUIDED, WarmStartConfig()), (WORLD, GuidedWarmStartConfig())):
        with pytest.raises(ReproError, match="guided arithmetic world with GuidedWarmStartConfig"):
            vocabulary(WarmStartKey(world, SHAPE, settings, 0))


@pytest.mark.parametrize(
    "wrong", [{"bare": 1.5}, {"doubt": -0.1}, {"route_slip": 2.0}, {"slip": (("leaf", 0.1),)}, {"slip": 1.1}]
)
def test_chances_outside_0_to_1_are_refused(wrong):
    with pytest.raises(ReproError, match="slip"):
        GuidedWarmStartConfig(**wrong)


def test_unknown_formats_are_refused():
    for hints in ((), ("full", "none")):
        with pytest.raises(ReproError, match="choose one or more of full, full_cut"):
            GuidedWarmStartConfig(hints=hints)
