"""A paper tier's config trains through the loop once its model and sizes are made tiny: nothing else is replaced."""

import json

import pytest

from repro.config import override
from repro.environments.maths_data import boxed_prompt
from repro.policy.model import PolicyConfig, build
from repro.study import STUDIES, runs
from repro.training.loop import train

QUESTIONS = [(f"Ann has {n} figs and buys {n + 1} . How many ?", str(2 * n + 1)) for n in range(8)]
TRACE = "2 + 3 = 5 .\nSo it is 5 .\n"
TINY = {
    "device": "cpu",
    "policy.sampler": None,
    "policy.template": "plain",
    "policy.context": 256,
    "policy.dtype": "float32",
    "world.benchmarks": ["aime25"],
    "training.max_new_tokens": 6,
    "recipe.allocation.prompts": 2,
    "evaluation.queries": 2,
    "evaluation.samples": 1,
    "evaluation.final_queries": 2,
    "evaluation.final_samples": 2,
}


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A tiny checkpoint, and the published files of three sets with a few rows each."""
    monkeypatch.setenv("REPRO_DATA", str(tmp_path / "data"))
    text = " ".join(
        [boxed_prompt(question) for question, _ in QUESTIONS] + [TRACE, "Here is an example solution: [NUMBER]"]
    )
    words = sorted({*text.split(), *(str(n) for n in range(30))})
    tiny = PolicyConfig(hidden=16, layers=1, heads=2, kv_heads=2, feed_forward=32, lookback=0)
    build(tiny, words, seed=0).save(tmp_path / "checkpoint")
    math = [
        {"problem": q, "level": "Level 1", "type": "Algebra", "solution": f"It is $\\boxed{{{a}}}$."}
        for q, a in QUESTIONS
    ]
    dapo = [
        {"prompt": [{"role": "user", "content": q}], "reward_model": {"ground_truth": a}, "data_source": "d"}
        for q, a in QUESTIONS
    ]
    smepo = [{"question": q, "reward_model": {"ground_truth": a}, "teacher_ds": TRACE} for q, a in QUESTIONS]
    aime = [{"problem": q, "answer": a} for q, a in QUESTIONS[:2]]
    for name, rows in {"math/train": math, "dapo/data": dapo, "smepo/math": smepo, "aime25/test": aime}.items():
        path = tmp_path / "data" / "external" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("study", "arm", "changes"),
    [
        (
            "asympo_async",
            "spo@ref",
            {"training.updates": 2, "world.train_queries": 6, "recipe.allocation.group_size": 2},
        ),
        ("sgpo_math", "uniform", {"training.updates": 2}),
        ("smepo_math", "numerals@wide", {"training.updates": 2, "recipe.allocation.group_size": 2}),
    ],
)
def test_it_trains(checkpoint, tmp_path, study, arm, changes):
    config = override(STUDIES[study].config(arm, 0, "paper"), TINY | changes | {"policy.checkpoint": checkpoint})
    result = train(config, tmp_path / "run")
    records = runs.read_metrics(tmp_path / "run")
    assert result["status"] == "finished"
    assert {record["level"] for record in records if record["kind"] == "eval"} == {"aime25"}
    updates = [record for record in records if record["kind"] == "update"]
    assert updates and all(record["mismatch_kl"] < 1e-6 for record in updates)
    if study == "smepo_math":  # 11 words of a question, 5 that introduce the trace, 11 of the trace; two questions
        assert [record["prompt_tokens"] for record in updates] == [2 * 27, 2 * 27]
