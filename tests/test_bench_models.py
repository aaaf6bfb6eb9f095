"""The benchmark at published shapes: the same code on a tiny shape, and what is left out where."""

import math
from types import SimpleNamespace

import pytest
import torch

from repro import bench, bench_models
from repro.bench_models import MODELS, ModelBench, bfloat16_peak, model_rows, needed_bytes, random_policy, skipped
from repro.policy.model import parameter_count
from repro.study.shapes import SHAPES, Shape
from repro.timing import utilisation

TINY = Shape(32, 2, 4, 2, 8, 48, 64, tied=True, attention_bias=True)
SMALL = ModelBench(prompts=2, group=2, prompt_tokens=5, response_tokens=4, microbatch_tokens=16, matrix=32, repeats=2)


def test_rows_of_a_tiny_shape():
    rows = model_rows("tiny", TINY, "cpu", SMALL)
    assert [row["name"] for row in rows] == ["decode_tiny", "forward_backward_tiny", "update_tiny"]
    peak = bfloat16_peak("cpu", SMALL)
    for row in [utilisation(row, peak["ours"] * 1e9) for row in rows]:
        assert row["unit"] == "tokens/s" and row["parameters"] == TINY.parameters
        assert all(math.isfinite(row[key]) and row[key] > 0 for key in ("ours", "flop_utilisation", "peak_memory_mb"))
    assert rows[0]["generated_tokens"] == 2 * 2 * 4
    # 2 prompts of 5, 4 responses of 4: 10 + 12 positions; 16 logits. Matrices of a block: q, o 32x32, k, v 16x32,
    # three of 48x32; the head 64x32; attention 2 blocks x 32 wide over 15 + 15 + 4 (3 x 5 + 6) pairs.
    matrices, pairs = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32), 15 + 15 + 4 * (15 + 6)
    assert rows[0]["flops"] == 2 * matrices * 22 + 4 * 2 * 32 * pairs + 2 * 64 * 32 * 16
    assert [row["flops"] / rows[0]["flops"] for row in rows] == [1, 3, 4]
    assert "update_tiny" in bench.render(rows)


def test_adapters_are_measured_where_all_weights_are_too_many():
    pytest.importorskip("peft")
    *_, row = model_rows("tiny", TINY, "cpu", SMALL, adapted=True)
    assert row["name"] == "update_tiny_adapters" and row["parameters"] == TINY.parameters


def test_random_policies_have_the_shape_that_was_asked_for():
    for shape in (
        TINY,
        Shape(32, 1, 4, 2, 16, 48, 64, tied=False, head_norms=True),
        Shape(32, 1, 4, 4, 8, 8, 64, True),
    ):
        policy = random_policy(shape, "cpu")
        assert parameter_count(policy) == shape.parameters
        assert {p.dtype for p in policy.parameters.values()} == {torch.bfloat16}


def test_without_a_gpu_everything_is_left_out_and_said_to_be():
    assert set(skipped("cpu")) == set(MODELS) == {"0.5B", "1.5B", "7B"}
    assert all(reason == "needs a CUDA GPU (--device cuda)" for reason in skipped("cpu").values())
    assert bench_models.run_models("cpu") == []


def test_a_model_too_large_for_the_gpu_is_left_out(monkeypatch):
    card = SimpleNamespace(total_memory=24 * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    left_out = skipped("cuda")
    assert set(left_out) == {"1.5B", "7B"} and "this one has 24" in left_out["7B"]
    card.total_memory = 80 * 10**9
    assert skipped("cuda") == {}
    assert needed_bytes(SHAPES[MODELS["7B"]], adapted=True) == pytest.approx(40.5e9, rel=0.01)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_smallest_model_on_a_gpu():
    rows = model_rows("0.5B", SHAPES[MODELS["0.5B"]], "cuda", ModelBench(prompts=2, repeats=1))
    assert all(row["resident_memory_mb"] > 900 for row in rows)
