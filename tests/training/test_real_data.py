"""A checkpoint from a folder trains on a published data set from a file, through the same loop."""

import json

import pytest

from repro.config import from_dict, override, to_dict
from repro.environments.maths_data import boxed_prompt
from repro.environments.maths_world import MathsConfig, heldout, reward, train_list
from repro.errors import ReproError
from repro.policy.model import PolicyConfig, build
from repro.study import STUDIES
from repro.training.config import EvaluationConfig, RunConfig, TrainingConfig
from repro.training.loop import train

ROWS = [{"question": f"Ann has {n} figs and buys {n + 1} . How many ?", "answer": f"Add .\n#### {2 * n + 1}"}
        for n in range(12)]  # fmt: skip


@pytest.fixture
def config(tmp_path, monkeypatch) -> RunConfig:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path / "data"))
    for split, rows in (("train", ROWS[:8]), ("test", ROWS[8:])):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = " ".join(boxed_prompt(row["question"]) for row in ROWS).split() + [str(n) for n in range(25)]
    tiny = PolicyConfig(hidden=16, layers=1, heads=2, kv_heads=2, feed_forward=32, lookback=0)
    build(tiny, words, seed=0).save(tmp_path / "checkpoint")
    world = MathsConfig("gsm8k", str(tmp_path / "train.jsonl"), str(tmp_path / "test.jsonl"), train_queries=6,
                        heldout_queries=3)  # fmt: skip
    return override(STUDIES["asympo_async"].config("asympo@ref", 0, "smoke"), {
        "world": world,
        "policy.checkpoint": str(tmp_path / "checkpoint"),
        "training": TrainingConfig(updates=3, max_new_tokens=6),
        "evaluation": EvaluationConfig(every=0, queries=2, samples=2, final_queries=3, final_samples=2),
    })  # fmt: skip


def test_the_lists_are_fixed_disjoint_subsets_and_rewards_are_checked(config):
    first, other = train_list(config.world, 0), train_list(config.world, 1)
    assert len(first) == 6 and first == train_list(config.world, 0) and first != other
    (level,) = heldout(config.world)
    assert not {q.text for q in first} & {q.text for q in heldout(config.world)[level]}
    assert reward(config.world, first[0], f"so it is {first[0].answer}") == 1.0
    assert reward(config.world, first[0], "so it is 1000") == 0.0
    assert from_dict(RunConfig, to_dict(config)) == config


def test_a_checkpoint_trains_on_it(config, tmp_path):
    result = train(config, tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert result["status"] == "finished" and result["updates"] == 3
    assert [r["update"] for r in records if r["kind"] == "update"] == [1, 2, 3]
    assert {r["level"] for r in records if r["kind"] == "eval"} == {"grade school"}
    assert all(r["mismatch_kl"] < 1e-8 for r in records if r["kind"] == "update")


def test_what_is_missing_is_said_before_anything_starts(config, tmp_path):
    with pytest.raises(ReproError, match="set policy.checkpoint"):
        train(override(config, {"policy.checkpoint": ""}), tmp_path / "a")
    with pytest.raises(ReproError, match="no such file or folder: .*absent.jsonl"):
        train(override(config, {"world.train_source": str(tmp_path / "absent.jsonl")}), tmp_path / "b")
    with pytest.raises(ReproError, match="no data set 'aime'; there are: gsm8k"):
        override(config, {"world.name": "aime"})
