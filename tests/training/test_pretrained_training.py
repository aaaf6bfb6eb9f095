"""Pretrained checkpoints through the whole loop: chat prompts, 16-bit weights, adapters, resuming, what cannot fit."""

import json
from dataclasses import replace

import pytest
import torch

from repro.config import from_dict, override, to_dict
from repro.environments.maths_world import MathsConfig
from repro.errors import ReproError
from repro.policy.pretrained import CheckpointConfig, LoRA, load_policy
from repro.study import STUDIES
from repro.training import loop
from repro.training.asynchronous import GeneratorPolicy
from repro.training.config import EvaluationConfig, Lagged, RunConfig, TrainingConfig
from repro.training.loop import train
from repro.training.profiling import profile_key
from tests.policy.checkpoints import save_checkpoint

ROWS = [{"question": f"Ann has {n} figs and buys {n + 1}. How many?", "answer": f"#### {2 * n + 1}"} for n in range(8)]


@pytest.fixture
def config(tmp_path, monkeypatch) -> RunConfig:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path / "data"))
    for split, rows in (("train", ROWS[:6]), ("test", ROWS[6:])):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = save_checkpoint(tmp_path / "checkpoint", "qwen3", max_position_embeddings=512)
    world = MathsConfig("gsm8k", str(tmp_path / "train.jsonl"), str(tmp_path / "test.jsonl"), train_queries=4,
                        heldout_queries=2)  # fmt: skip
    return override(STUDIES["asympo_async"].config("asympo@ref", 0, "smoke"), {
        "world": world,
        "policy": CheckpointConfig(checkpoint=str(folder)),
        "schedule": Lagged(0, 1),
        "training": TrainingConfig(updates=4, max_new_tokens=5, checkpoint_every=2, learning_rate=1e-3),
        "evaluation": EvaluationConfig(every=0, queries=1, samples=1, final_queries=2, final_samples=1),
    })  # fmt: skip


@pytest.fixture
def rewarded(monkeypatch):
    """An untrained policy solves nothing: here whoever's response has an even number of letters earns 1."""
    from repro.training import rollouts

    monkeypatch.setattr(rollouts, "reward_of", lambda world, query, policy, c: float(sum(c.tokens) % 2))


def records(folder, kind="update"):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [record for record in lines if record["kind"] == kind]


@pytest.mark.parametrize("lora", [None, LoRA(rank=2)], ids=["all weights", "adapters"])
def test_a_checkpoint_trains_in_16_bits(config, tmp_path, rewarded, lora):
    if lora:
        pytest.importorskip("peft")
    config = override(config, {"policy.lora": lora})
    assert from_dict(RunConfig, to_dict(config)) == config
    result = train(config, tmp_path / "run")
    updates = records(tmp_path / "run")
    assert result["status"] == "finished" and len(updates) == 4
    assert all(u["grad_norm"] > 0 and 0 <= u["mismatch_kl"] < 1e-2 for u in updates)
    # The chat template and the world's own words around a question of some 40 letters.
    assert all(u["prompt_tokens"] / u["groups"] > 60 for u in updates)


def test_a_run_goes_on_from_its_checkpoint_as_if_nothing_had_been(config, tmp_path, rewarded, monkeypatch):
    train(config, tmp_path / "whole")
    learn = loop.Learner.update

    def dies(self, rollouts, *args):
        if rollouts.update == 3:
            raise ReproError("out of memory at update 3")
        return learn(self, rollouts, *args)

    monkeypatch.setattr(loop.Learner, "update", dies)
    with pytest.raises(ReproError, match="out of memory"):
        train(config, tmp_path / "broken")
    monkeypatch.setattr(loop.Learner, "update", learn)
    train(config, tmp_path / "broken")
    whole, resumed = (
        [{k: v for k, v in r.items() if not k.startswith("seconds")} for r in records(tmp_path / name)]
        for name in ("whole", "broken")
    )
    assert whole == resumed


def test_a_prompt_longer_than_the_context(config, tmp_path):
    with pytest.raises(ReproError, match=r"a prompt of \d+ tokens .* does not fit the model's context of 64"):
        train(override(config, {"policy.context": 64}), tmp_path / "run")


def test_the_generator_process_speaks_as_the_policy_does(config):
    policy = load_policy(replace(config.policy, context=200), seed=0)
    backend = policy.tokenizer.backend_tokenizer.to_str()
    theirs = GeneratorPolicy(
        policy.model.config.to_dict(), backend, policy.end_token, "cpu", replace(config.policy, context=200)
    )
    assert theirs.context == policy.context == 200
    for text in ("Ann has 3 figs.", "two\nlines"):
        assert theirs.prompt(text) == policy.prompt(text) != policy.encode(text)
        assert theirs.reply(text) == policy.reply(text)


def test_a_profile_is_of_the_weights_below_the_adapters_too(config):
    pytest.importorskip("peft")
    one, other = (load_policy(replace(config.policy, lora=LoRA(rank=2)), seed=0) for _ in range(2))
    key = profile_key(one, [[3]], ["1"], config)
    assert profile_key(other, [[3]], ["1"], config) == key
    with torch.no_grad():
        other.tensors()["model.norm.weight"].add_(1)
    assert profile_key(other, [[3]], ["1"], config)["weights"] != key["weights"]
