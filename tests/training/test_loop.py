"""Whole runs: the same twice, the same after any interruption, honest about what goes wrong, and learning."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from repro.algorithms import ALGORITHMS, Recipe
from repro.algorithms.allocation import Uniform
from repro.algorithms.asympo import Naive
from repro.environments.arithmetic import ArithmeticConfig
from repro.errors import ReproError
from repro.policy.warmstart import WarmStartConfig
from repro.study.runs import read_metrics, run_folder
from repro.training import loop
from repro.training.config import EvaluationConfig, Lagged, RunConfig, TrainingConfig
from repro.training.loop import train
from tests.policy.tiny import SHAPE, WORLD

UPDATES, EVERY = 9, 3
CONFIG = RunConfig(
    study="test", arm="asympo@lag", tier="smoke", seed=1,
    recipe=replace(ALGORITHMS["asympo"], allocation=Uniform(prompts=4, group_size=4)),
    schedule=Lagged(0, 3),  # so that a checkpoint holds rollouts which wait for their update
    world=replace(WORLD, modulus=2),  # so that guesses are rewarded
    policy=SHAPE,
    warmstart=WarmStartConfig(steps=40, flat_steps=20, noisy_steps=5, warmup_steps=5, batch=16, muon_lr=0.03,
                              adam_lr=0.02),
    training=TrainingConfig(updates=UPDATES, max_new_tokens=14, checkpoint_every=EVERY, gradient_split_every=2,
                            learning_rate=3e-3),
    evaluation=EvaluationConfig(every=4, queries=4, samples=2, final_queries=4, final_samples=4),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory):
    """Runs and warm starts of this file lie here, so that every test but the first finds the warm start."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("data")
        patch.setenv("REPRO_DATA", str(folder))
        yield folder


@pytest.fixture(scope="module")
def whole(data):
    """(folder, result, progress reports) of an undisturbed run."""
    reports = []
    result = train(CONFIG, data / "whole", reports.append)
    return data / "whole", result, reports


def timeless(folder):
    """The metrics but for how long things took."""
    return [{k: v for k, v in record.items() if not k.startswith("seconds")} for record in read_metrics(folder)]


def of_kind(records, kind):
    return [record for record in records if record["kind"] == kind]


def interrupting(update, kind=KeyboardInterrupt):
    def progress(state):
        if state.get("update") == update:
            raise kind

    return progress


def test_a_run_from_end_to_end(whole):
    folder, result, reports = whole
    assert result["status"] == "finished" and result["updates"] == UPDATES
    records = read_metrics(folder)
    updates = of_kind(records, "update")
    assert [r["update"] for r in updates] == list(range(1, UPDATES + 1))
    assert [(r["update"], r["level"]) for r in of_kind(records, "eval")] == [
        (at, level) for at in (0, 4, 8, UPDATES) for level in ("easy", "hard")
    ]
    assert [r["samples"] for r in of_kind(records, "eval")] == [2] * 6 + [4] * 2
    assert [r for r in reports if "update" in r] == [{"update": t, "updates": UPDATES} for t in range(1, UPDATES + 1)]
    for record in updates:
        assert record["rollouts"] == 16 and 0 <= record["lag"] <= min(record["update"] - 1, 3)
        assert record["mismatch_kl"] < 1e-9  # sampler and trainer agree under the weights that sampled
        assert 0 < record["flops"] < record["flops_2p6p"]
        assert record["generated_tokens"] == pytest.approx(16 * record["response_length"])
        assert record["grad_norm"] >= 0 and record["entropy"] > 0
        assert ("grad_norm_pos" in record) == (record["update"] % 2 == 0)
        assert record["kl_k3"] >= 0 and (record["lag"] > 0 or record["kl_k3"] < 1e-9)
    assert {r["lag"] for r in updates} > {0} and any(r["reward"] not in (0, 1) for r in updates)
    assert not list(folder.glob("checkpoint*"))
    assert {p.name for p in folder.iterdir()} == {"config.json", "metrics.jsonl", "result.json", ".lock"}


def test_the_same_seed_gives_the_same_run(whole, data):
    folder, _, _ = whole
    torch.manual_seed(77)  # nobody may draw from the global generator
    train(CONFIG, data / "again")
    assert timeless(data / "again") == timeless(folder)
    train(replace(CONFIG, seed=2), data / "other")
    assert timeless(data / "other") != timeless(folder)


@pytest.mark.parametrize("first", [1, EVERY - 1, EVERY, EVERY + 1, 2 * EVERY, UPDATES])
def test_interrupted_after_any_update_it_goes_on_the_same(whole, tmp_path, first):
    """At a checkpoint, just before and just after one, before there is any, and after the last update."""
    folder, _, _ = whole
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path, interrupting(first))
    assert (tmp_path / "checkpoint.safetensors").exists() == (first >= EVERY)
    assert not (tmp_path / "result.json").exists()
    seen = []
    result = train(CONFIG, tmp_path, lambda state: seen.append(state.get("update")))
    restart = min(first, UPDATES - 1) // EVERY * EVERY
    assert [t for t in seen if t] == list(range(restart + 1, UPDATES + 1))
    assert timeless(tmp_path) == timeless(folder)
    assert result["status"] == "finished"


def test_interrupted_again_and_again(whole, tmp_path):
    folder, _, _ = whole
    for update in (2, 4, 5, 7, 8):
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, tmp_path, interrupting(update))
    train(CONFIG, tmp_path)
    assert timeless(tmp_path) == timeless(folder)


@pytest.mark.parametrize("name", ["save_checkpoint", "evaluate"])
def test_interrupted_in_the_middle_of_an_update(whole, tmp_path, monkeypatch, name):
    """Metrics are written, the checkpoint is not; or an evaluation is under way: the torn part is cut off."""
    folder, _, _ = whole
    real, calls = getattr(loop, name), []

    def second_time(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, name, second_time)
        train(CONFIG, tmp_path)
    train(CONFIG, tmp_path)
    assert timeless(tmp_path) == timeless(folder)


def test_every_kind_of_objective_resumes_the_same(tmp_path):
    recipe = replace(ALGORITHMS["grpo"], allocation=CONFIG.recipe.allocation)
    config = replace(CONFIG, recipe=recipe, schedule=Lagged(2, 2))
    train(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", interrupting(5))
    train(config, tmp_path / "parts")
    assert timeless(tmp_path / "parts") == timeless(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["truncated", "empty", "other model", "text"])
def test_a_damaged_checkpoint_is_named_and_not_used(tmp_path, damage):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, folder, interrupting(EVERY))
    path = folder / "checkpoint.safetensors"
    if damage == "other model":
        wide = replace(CONFIG, policy=replace(SHAPE, feed_forward=48))
        with pytest.raises(KeyboardInterrupt):
            train(wide, tmp_path / "wide", interrupting(EVERY))
        shutil.copy(tmp_path / "wide" / "checkpoint.safetensors", path)
    else:
        content = path.read_bytes()
        path.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"not a checkpoint"}[damage])
    metrics = (folder / "metrics.jsonl").read_bytes()
    with pytest.raises(ReproError) as raised:
        train(CONFIG, folder)
    assert str(path) in str(raised.value) and "delete its folder" in str(raised.value)
    assert (folder / "metrics.jsonl").read_bytes() == metrics and not (folder / "result.json").exists()


def test_metrics_that_were_edited_below_a_checkpoint(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path, interrupting(EVERY))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text().replace('"update": 2', '"update": 9', 1))
    with pytest.raises(ReproError, match="was truncated or edited since the checkpoint"):
        train(CONFIG, tmp_path)


def test_a_finished_run_is_not_computed_again(whole, monkeypatch):
    folder, result, _ = whole
    monkeypatch.setattr(loop, "_train", None)  # would fail if it were called
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert train(CONFIG, folder) == result
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_folder_of_another_run_is_refused(whole, tmp_path):
    folder, _, _ = whole
    with pytest.raises(ReproError, match="is of run .*, not of run"):
        train(replace(CONFIG, seed=5), shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize("learning_rate", [1e3, 1e30])
def test_a_run_that_blows_up_is_kept_as_diverged(tmp_path, learning_rate):
    """Really: the weights overflow. What was measured until then stays."""
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, objective=Naive()), schedule=Lagged(0, 0),
                     training=replace(CONFIG.training, updates=30, learning_rate=learning_rate))  # fmt: skip
    result = train(config, tmp_path)
    assert result["status"] == "diverged" and result["updates"] < 30
    records = read_metrics(tmp_path)
    assert [r["update"] for r in of_kind(records, "update")] == list(range(1, result["updates"] + 1))
    (last,) = of_kind(records, "diverged")
    assert last["update"] == result["updates"] + 1 and "of update" in last["reason"]
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "diverged"
    assert train(config, tmp_path) == result  # over: it is not tried again


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there(tmp_path, device):
    with pytest.raises(ReproError, match=f"device={device}: this machine has no usable CUDA GPU. Set device=cpu"):
        train(replace(CONFIG, device=device), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_device_that_does_not_exist(tmp_path):
    with pytest.raises(ReproError, match="device='abacus': torch cannot use it"):
        train(replace(CONFIG, device="abacus"), tmp_path)


def test_a_checkpoint_policy_that_is_not_there(tmp_path):
    config = replace(CONFIG, policy=replace(SHAPE, checkpoint=str(tmp_path / "absent")))
    with pytest.raises(ReproError, match="policy.checkpoint: .*absent.* could not be loaded"):
        train(config, tmp_path / "run")


@pytest.mark.parametrize("seed", [1, 2])
def test_it_learns(seed):
    """One operation on values modulo 3, seen too little in the warm start: the rest comes from the rewards."""
    world = ArithmeticConfig(modulus=3, names=2, max_length=1, max_distractors=0, train_queries=16, heldout_queries=8,
                             levels=(("easy", 1, 1),))  # fmt: skip
    config = replace(
        CONFIG, arm="learns", seed=seed, schedule=Lagged(0, 0), world=world, recipe=Recipe(Naive()),
        policy=replace(SHAPE, hidden=32, feed_forward=64),
        warmstart=WarmStartConfig(steps=60, flat_steps=30, noisy_steps=20, warmup_steps=10, batch=16, slip=0.2),
        training=replace(CONFIG.training, updates=30, checkpoint_every=0, gradient_split_every=0, max_new_tokens=12),
        evaluation=replace(CONFIG.evaluation, every=0),
    )  # fmt: skip
    folder = run_folder(config)
    train(config, folder)
    rewards = [record["reward"] for record in of_kind(read_metrics(folder), "update")]
    assert sum(rewards[-10:]) / 10 > sum(rewards[:5]) / 5 + 0.2
