"""Settings that describe no run are refused when they are given, by name, not in the middle of training."""

import pytest

from repro.config import override
from repro.environments.arithmetic import ArithmeticConfig, generate, reward
from repro.errors import ReproError
from repro.study import STUDIES
from repro.training.loop import check_device, train

CONFIG = STUDIES["asympo_async"].config("asympo@ref", 0, "smoke")


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("policy.dtype=float99", "policy.dtype is 'float99'; choose float32"),
        ("policy.heads=5", "48 does not divide into 5 heads"),
        ("policy.heads=0", "policy.heads is 0; give 1 or more"),
        ("policy.kv_heads=0", "policy.kv_heads is 0; give 1 or more"),
        ("policy.layers=0", "policy.layers is 0; give 1 or more"),
        ("policy.hidden=0", "policy.hidden is 0; give 1 or more"),
        ("policy.feed_forward=0", "policy.feed_forward is 0; give 1 or more"),
        ("world.train_queries=0", "arithmetic world: train_queries is 0; give 1 or more"),
        ("world.heldout_queries=0", "arithmetic world: heldout_queries is 0; give 1 or more"),
        ("training.betas=[2,3]", r"betas \[2.0, 3.0\] must each be 0 or more and below 1"),
        ("training.betas=[0.9,1]", r"betas \[0.9, 1.0\] must each"),
        ("training.weight_decay=-1", "weight_decay -1.0 must not be negative"),
        ("recipe.objective.aggregation=foo", "aggregation is 'foo'; choose 'response' or 'token'"),
        ("recipe.allocation.prompts=0", "0 prompts of 8 rollouts"),
        ("recipe.allocation.group_size=0", "8 prompts of 0 rollouts"),
        ("evaluation.queries=0", "evaluation.queries is 0; give 1 or more"),
        ("warmstart.warmup_steps=0", "warmup_steps must be 1 or more"),
        ("warmstart.flat_steps=100", "flat_steps below steps"),
        ("training.threads=0", "training.threads is 0; give 1 or more"),
        ("training.updates=0", "training.updates is 0; give 1 or more"),
        ("training.max_new_tokens=0", "training.max_new_tokens is 0"),
        ("training.temperature=0", "temperature and clip_norm must be positive"),
        ("schedule.low=24", "a lag between 24 and 23 updates is not possible"),
        ("schedule.low=-1", "a lag between -1 and 23 updates is not possible"),
        ("study=../../x", "'../../x' cannot name a study"),
        ("arm=a/b", "'a/b' cannot name a study, an arm or a tier"),
        ("seed=-1", "seed -1 is negative"),
    ],
)
def test_a_setting_that_describes_no_run_is_refused(setting, complaint):
    with pytest.raises(ReproError, match=complaint):
        override(CONFIG, [setting])


def test_settings_that_belong_together_are_judged_together():
    both = override(CONFIG, ["schedule.low=30", "schedule.high=40"])
    assert (both.schedule.low, both.schedule.high) == (30, 40)


@pytest.mark.parametrize("device", ["meta", "nonsense", "cuda:99x"])
def test_a_device_that_cannot_train_is_refused(device):
    with pytest.raises(ReproError, match="device="):
        check_device(device)


def test_what_does_not_fit_together_is_said_before_training(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    tiny = override(CONFIG, ["warmstart.steps=2", "warmstart.flat_steps=1", "warmstart.noisy_steps=0"])
    with pytest.raises(ReproError, match="does not fit the model's context of 16"):
        train(override(tiny, ["policy.context=16"]), tmp_path / "a")
    with pytest.raises(ReproError, match="set policy.checkpoint"):
        train(override(tiny, ["world.style=english"]), tmp_path / "b")
    with pytest.raises(ReproError, match="vocabulary cannot write this prompt: it lacks Here is .*recipe.guidance"):
        train(override(tiny, ["recipe.guidance.kind=ExpertTrace"]), tmp_path / "c")


def test_a_number_after_much_blank_is_no_bare_answer():
    import random

    query = generate(ArithmeticConfig(), random.Random(0), "q")
    assert reward(query, query.answer) == reward(query, " " * 40 + query.answer) == 1.0
    assert reward(query, "kiwi = plum +" + " " * 63 + query.answer) == 0.0
