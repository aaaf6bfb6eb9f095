"""The comparison of samplers, without vLLM: what is compared, how, and what is kept."""

import dataclasses
import json

import pytest

from repro.errors import ReproError
from repro.study import vllm_comparison

STUDENT_99_2 = 9.92484320091807  # 0.995 quantile of Student's t with 2 degrees of freedom, from tables


def test_a_difference_is_paired_by_seed_with_students_interval():
    rows = [{"sampler": "torch", "x": x} for x in (1.0, 2.0, 6.0)] + [
        {"sampler": "vllm", "x": x} for x in (2.0, 2.0, 8.0)
    ]
    found = vllm_comparison.paired(rows, "x")
    assert found["torch"] == 3.0 and found["vllm"] == 4.0
    assert found["mean"] == pytest.approx(1.0)  # differences 1, 0, 2: deviation 1
    assert found["high"] == pytest.approx(1.0 + STUDENT_99_2 / 3**0.5)
    assert found["low"] == pytest.approx(1.0 - STUDENT_99_2 / 3**0.5)


@pytest.mark.parametrize("tier", list(vllm_comparison.SHAPES))
def test_the_two_runs_of_a_seed_differ_in_the_sampler_alone(tier):
    pair = vllm_comparison.configs(1, tier)
    torch, vllm = pair["torch"], pair["vllm"]
    assert dataclasses.replace(vllm, policy=torch.policy) == torch
    assert vllm.policy.sampler is not None
    for field in dataclasses.fields(torch.policy):
        assert getattr(vllm.policy, field.name) == getattr(torch.policy, field.name)
    assert torch.policy.hidden // torch.policy.heads >= 32  # what vLLM's kernels on a CPU want


def test_means_over_updates_and_evaluations_at_both_ends():
    update = {"kind": "update", "entropy": 0.5, "finished": 1.0, "grad_norm": 2.0, "generated_tokens": 10}
    records = [{"kind": "eval", "update": u, "level": "easy", "mean_at_k": u / 10} for u in (0, 5, 9)]
    records += [update | {"reward": 0.0}, update | {"reward": 1.0, "generated_tokens": 30}]
    assert vllm_comparison.measured(records) == {
        "reward": 0.5, "entropy": 0.5, "finished": 1.0, "grad_norm": 2.0, "generated_tokens": 20,
        "mean_at_k first easy": 0.0, "mean_at_k last easy": 0.9,
    }  # fmt: skip


def test_a_tiers_record_leaves_the_others_and_a_failure_leaves_all(tmp_path, monkeypatch, capsys):
    out = tmp_path / "vllm.json"
    out.write_text(json.dumps({"smoke": {"agree": True}}))
    found = {"agree": False, "differences": {"reward": {"mean": 1.0, "low": 0.5, "high": 1.5}}}
    monkeypatch.setattr(vllm_comparison, "compare", lambda root, tier, seeds: found)
    assert vllm_comparison.main(["--tier", "small", "--seeds", "2", "--out", str(out)]) == 1
    assert json.loads(out.read_text()) == {"smoke": {"agree": True}, "small": found}
    assert "DO NOT AGREE" in capsys.readouterr().out

    def fails(root, tier, seeds):
        raise ReproError("vLLM is not installed")

    before = out.read_text()
    monkeypatch.setattr(vllm_comparison, "compare", fails)
    assert vllm_comparison.main(["--out", str(out)]) == 1
    assert out.read_text() == before and "vLLM is not installed" in capsys.readouterr().err
