import importlib.util
import json
import math
from importlib.metadata import version

import pytest
import torch

from repro import bench
from repro.bench import BenchConfig, render, run_benchmarks, save
from repro.errors import ReproError
from repro.policy.model import PolicyConfig
from repro.timing import MemoryMeter, alternate, rates, utilisation
from repro.training.accounting import Cost

TINY = BenchConfig(
    policy=PolicyConfig(hidden=16, layers=1, heads=2, kv_heads=2, feed_forward=16, lookback=0.0),
    vocabulary=64, prompts=3, group=2, prompt_tokens=6, response_tokens=5, decode_batch=4, repeats=2, matrix=16,
)  # fmt: skip
NAMES = ["grpo_step", "decode_shared", "decode_distinct", "forward_backward", "matrix_peak"]


@pytest.fixture(scope="module")
def rows_without_trl():
    find_spec = importlib.util.find_spec
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None if name == "trl" else find_spec(name))
        patch.setattr(bench, "cores", lambda: 1)  # more threads only get in the way of sizes like these
        return run_benchmarks(config=TINY)


def test_every_row_has_the_published_keys(rows_without_trl):
    assert [row["name"] for row in rows_without_trl] == NAMES
    for row in rows_without_trl:
        assert {"name", "ours", "peer", "peer_name", "ratio", "unit", "settings", "repeats"} <= set(row)
        assert row["low"] <= row["ours"] <= row["high"]
        assert all(math.isfinite(v) for v in row.values() if isinstance(v, float))
        if row["ratio"] is not None:
            assert row["ratio"] == pytest.approx(row["ours"] / row["peer"])
            assert row["peer_low"] <= row["peer"] <= row["peer_high"]


def test_a_peer_that_is_not_installed_is_said_to_be_missing(rows_without_trl):
    step = rows_without_trl[0]
    assert (step["peer"], step["ratio"]) == (None, None)
    assert "not installed" in step["peer_name"] and ".[bench]" in step["peer_name"]
    assert step["ours"] > 0 and step["generated_tokens"] == 3 * 2 * 5
    assert "peer_flop_utilisation" not in step


def test_both_sides_decode_the_same_number_of_tokens(rows_without_trl):
    for row in rows_without_trl[1:3]:
        assert row["generated_tokens"] == row["peer_generated_tokens"] == 4 * 5


def test_the_compared_gradients_are_equal(rows_without_trl):
    row = rows_without_trl[3]
    assert row["max_gradient"] > 0.1
    assert row["max_gradient_difference"] < 1e-5 * row["max_gradient"]


def test_no_policy_can_draw_the_end_token():
    policy = bench.fresh_policy("cpu", TINY)
    assert policy.end_token == policy.model.get_output_embeddings().weight.shape[0] == TINY.vocabulary
    assert policy.encode("w0 w61") == [2, 63]
    again = bench.fresh_policy("cpu", TINY)
    assert all(torch.equal(p, again.parameters[name]) for name, p in policy.parameters.items())


def test_prompts_have_the_lengths_asked_for():
    assert [len(text.split()) for text in bench.prompt_texts(TINY, 5, ragged=False)] == [6] * 5
    ragged = [len(text.split()) for text in bench.prompt_texts(TINY, 50, ragged=True)]
    assert ragged[0] == 6 and set(ragged) == {3, 4, 5, 6}
    assert len(set(bench.prompt_texts(TINY, 50, ragged=False))) == 50


def test_rates_and_ratio_by_hand():
    timing = {"ours": [1.0, 2.0, 4.0], "peer": [6.0, 8.0, 40.0], "memory": 3.0, "peer_memory": 5.0}
    row = rates("x", 16, "rollouts/s", "someone", timing)
    assert (row["ours"], row["peer"], row["ratio"]) == (8.0, 2.0, 4.0)  # of the medians, 2 s and 8 s
    assert (row["low"], row["high"], row["peer_low"], row["peer_high"]) == (4.0, 16.0, 0.4, 16 / 6)
    assert (row["ratio_low"], row["ratio_high"]) == (4.0, pytest.approx(10.0))  # pairs: 6, 4, 10
    assert (row["peak_memory_mb"], row["peer_peak_memory_mb"]) == (3.0, 5.0)


def test_utilisation_by_hand():
    row = {"ours": 8.0, "peer": 2.0, "seconds": 2.0, "peer_seconds": 8.0, "flops": 100, "peer_flops": 300}
    done = utilisation(row | {"generated_tokens": 64}, peak=200.0)
    assert (done["flop_utilisation"], done["peer_flop_utilisation"]) == (0.25, 300 / 8 / 200)
    assert done["tokens_per_second"] == 32.0
    assert utilisation(row, peak=200.0)["tokens_per_second"] == 8.0
    assert "peer_flop_utilisation" not in utilisation(row | {"peer": None}, peak=200.0)


def test_flops_without_sharing_by_hand():
    # Two rows of 3 prompt and 2 response tokens: 4 tokens pass and see 1 + 2 + 3 + 4 keys, 2 logits are made.
    unit = Cost(per_token=100, per_pair=10, per_logits=1, parameters=0)
    assert bench.unshared_flops(unit, [3, 3], 2) == 2 * (4 * 100 + 10 * 10 + 2 * 1)


def test_the_memory_meter_sees_the_most_that_was_held():
    meter = MemoryMeter("cpu")
    kept = torch.ones(1_000_000)
    meter.start()
    a = torch.ones(2_000_000)  # 8 MB
    b = a + 1  # 16 MB in all
    del a, b
    c = kept + 1  # 4 MB
    assert meter.stop() == pytest.approx(16.0, abs=0.01)
    assert c[0] == 2


def test_sides_take_turns_after_warm_up_and_memory():
    calls = []
    timing = alternate(lambda: calls.append("a"), lambda: calls.append("b"), "cpu", repeats=2)
    assert calls == list("aabb") + list("abab")
    assert len(timing["ours"]) == len(timing["peer"]) == 2


def test_threads_are_put_back_and_an_absent_device_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = torch.get_num_threads()
    with pytest.raises(ReproError, match="device=cuda"):
        run_benchmarks("cuda", TINY)
    monkeypatch.setattr(bench, "matrix_peak", lambda *_: 1 / 0)
    monkeypatch.setattr(bench, "cores", lambda: before + 1)
    with pytest.raises(ZeroDivisionError):
        run_benchmarks(config=TINY)
    assert torch.get_num_threads() == before


def test_saved_rows_carry_the_machine_and_the_table_shows_every_row(rows_without_trl, tmp_path):
    save(rows_without_trl, tmp_path / "data" / "bench.json")
    saved = json.loads((tmp_path / "data" / "bench.json").read_text())
    assert saved["rows"] == rows_without_trl
    assert saved["machine"]["cores"] >= 1 and saved["machine"]["torch"] == version(
        "torch"
    )  # PyPI's names no build, torch does
    table = render(rows_without_trl).splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == NAMES
    assert len({line.count("|") for line in table}) == 1


@pytest.mark.oracle
@pytest.mark.slow
def test_a_step_of_trl_generates_as_many_tokens_as_ours():
    pytest.importorskip("trl", reason="trl is not installed (extra 'bench')")
    row = bench.grpo_step("cpu", TINY)
    assert row["generated_tokens"] == row["peer_generated_tokens"] == 3 * 2 * 5
    assert row["ratio"] > 0 and row["repeats"] == TINY.repeats
    assert row["peer_flops"] > row["flops"]  # it passes a prompt once per response


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_table_on_a_gpu():
    assert [row["name"] for row in run_benchmarks("cuda", TINY)] == NAMES
