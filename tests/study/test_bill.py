"""Bills by hand arithmetic: totals and running sums in every convention, and the price of a fixed success."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cost_tables import PARAMETERS, PROFILED, arm, made, update  # noqa: E402

from repro.study import bill  # noqa: E402


def rows(tokens, flops, seconds):
    """A curve from tokens, FLOPs and seconds of each update; a third of the seconds are the learner's."""
    return [
        {"groups": 1, "rollouts": 2, "generated_tokens": t, "flops_needed": f, "seconds_generate": 2 * s / 3,
         "seconds_update": s / 3, "reward": 0.5}
        for t, f, s in zip(tokens, flops, seconds, strict=True)
    ]  # fmt: skip


def test_total_is_profile_and_training():
    runs = made(sgpo=arm(1, **PROFILED), uniform=arm(1)).runs.set_index("arm")
    # 2 x 5 x 120 + 12 x 5 x 400; 600 + 8000; 2 + 3 + 1: evaluation and what else took time are not on it
    for convention, ours, theirs in (("paper", 25_200, 24_000), ("itemised", 8_600, 8_000), ("seconds", 6, 4)):
        assert bill.total(runs, convention).to_dict() == {"sgpo": ours, "uniform": theirs}
        assert bill.upfront(runs, convention).to_dict() == {"sgpo": ours - theirs, "uniform": 0}
    assert set(bill.CONVENTIONS) == {"paper", "itemised", "seconds"}


@pytest.mark.parametrize(
    "convention, expected",
    [
        ("paper", [1_200, 1_800, 3_000, 6_000]),  # 1200 up front, then 60 a token
        ("itemised", [600, 607, 618, 631]),
        ("seconds", [2, 5, 11, 20]),
    ],
)
def test_cumulative_by_hand_starts_at_the_profile(convention, expected):
    curve = rows([10, 20, 50], [7, 11, 13], [3, 6, 9])
    found = bill.cumulative(made(sgpo=arm([3], curve, **PROFILED)), convention)
    assert found.index.names == ["arm", "seed", "update"]
    assert found.loc["sgpo", 3].index.tolist() == [0, 1, 2, 3]
    assert found.loc["sgpo", 3].tolist() == pytest.approx(expected)


def test_cumulative_keeps_runs_apart():
    """Two arms and two seeds, and rows of the tables in any order: every run has its own sum."""
    curve = {0: rows([10, 20], [1, 1], [1, 1]), 1: rows([1, 2], [1, 1], [1, 1])}
    tables = made(
        uniform=arm([1, 0], curve.__getitem__, parameters=[2, 3]), sgpo=arm([0], rows([5], [1], [1]), **PROFILED)
    )
    found = bill.cumulative(replace(tables, curves=tables.curves.iloc[::-1]), "paper")
    assert found.loc["uniform", 0].tolist() == [0, 12 * 3 * 10, 12 * 3 * 30]
    assert found.loc["uniform", 1].tolist() == [0, 12 * 2 * 1, 12 * 2 * 3]
    assert found.loc["sgpo", 0].tolist() == [1200, 1200 + 12 * PARAMETERS * 5]


@pytest.mark.parametrize("convention", bill.CONVENTIONS)
def test_the_last_of_the_running_sum_is_the_total(convention):
    curve = [update(size) for size in (2, 2, 4, 8)]  # 16 groups' worth of two: 4 + 4 + 8 + 16 rollouts
    sums = {"generated_tokens": 320, "flops_needed": 3_200.0, "seconds_generate": 2.0, "seconds_update": 1.0}
    tables = made(sgpo=arm(2, curve, **PROFILED, **sums))
    last = bill.cumulative(tables, convention).groupby(level=["arm", "seed"]).last()
    assert last.tolist() == pytest.approx(bill.total(tables.runs, convention).tolist())


def test_accuracy_weighs_levels_equally_and_prefers_the_full_evaluation():
    tables = made(sgpo=arm([0], evals=lambda _: [(0, (0.2, 0.0)), (8, (0.6, 0.2))]))
    full = tables.evals[tables.evals["update"] == 8].assign(queries=64, samples=16, mean_at_k=[0.9, 0.5])
    found = bill.accuracy(replace(tables, evals=pd.concat([full, tables.evals])))
    assert found.to_dict() == {("sgpo", 0, 0): pytest.approx(0.1), ("sgpo", 0, 8): pytest.approx(0.7)}


CURVE = rows([100, 200], [10, 30], [1, 1])  # paper: 0, 6000, 18000; itemised: 0, 10, 40


@pytest.mark.parametrize(
    "success, threshold, reached",
    [
        ((0.2, 0.4, 0.8), 0.6, 25),  # half-way from 10 to 40
        ((0.2, 0.4, 0.8), 0.4, 10),  # met exactly
        ((0.2, 0.4, 0.6), 0.6, 40),  # at the very end
        ((0.2, 0.4, 0.5), 0.6, np.nan),  # never: censored
        ((0.7, 0.4, 0.5), 0.6, 0),  # from the start
        ((0.2, 0.8, 0.4), 0.6, 20 / 3),  # the first time counts, whatever comes after
    ],
)
def test_cost_to_reach_by_hand(success, threshold, reached):
    tables = made(uniform=arm([4], CURVE, lambda _: [(k, (s, s)) for k, s in enumerate(success)]))
    (row,) = bill.cost_to_reach(tables, "itemised", threshold).itertuples()
    assert row.Index == ("uniform", 4) and row.end == 40
    assert row.reached == pytest.approx(reached, nan_ok=True)


def test_cost_to_reach_interpolates_between_evaluations_not_updates():
    """Evaluated at updates 0 and 2: the bill between them is a straight line."""
    tables = made(sgpo=arm([0], CURVE, lambda _: [(0, (0.0, 0.4)), (2, (0.8, 1.0))], **PROFILED))
    # Means 0.2 and 0.9; 0.55 is half-way from 1200 to 1200 + 18000.
    assert bill.cost_to_reach(tables, "paper", 0.55)["reached"].tolist() == [pytest.approx(1200 + 9000)]


def test_cost_to_reach_without_evaluations_is_empty():
    found = bill.cost_to_reach(made(uniform=arm(2, CURVE)), "paper", 0.5)
    assert found.empty and found.index.names == ["arm", "seed"] and list(found) == ["reached", "end"]


def test_above_the_curve_by_hand(monkeypatch):
    # The reference: 0.2 at a bill of 0, 0.6 at 10. The arm ends at 0.5 for 5, where the reference has 0.4, and at 0.7
    # for 20, beyond the reference's end: 0.6.
    index = pd.MultiIndex.from_tuples(
        [("ref", 0, 0), ("ref", 0, 1), ("arm", 0, 0), ("arm", 0, 1), ("ref", 1, 0), ("ref", 1, 1), ("arm", 1, 1)]
        + [("arm", 2, 1)],
        names=["arm", "seed", "update"],
    )
    monkeypatch.setattr(bill, "accuracy", lambda _: pd.Series([0.2, 0.6, 0.2, 0.5, 0.2, 0.6, 0.7, 0.9], index))
    monkeypatch.setattr(bill, "cumulative", lambda *_: pd.Series([0.0, 10.0, 2.0, 5.0, 0.0, 10.0, 20.0, 1.0], index))
    gaps = bill.above_curve(None, "arm", "ref", "paper")
    assert gaps.to_dict() == pytest.approx({0: 10.0, 1: 10.0})  # seed 2 has no reference
    assert bill.above_curve(None, "none", "ref", "paper").empty
