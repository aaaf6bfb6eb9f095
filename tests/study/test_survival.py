"""Hand numbers, scipy where it has the thing, and small coverage simulations with a fixed seed."""

from math import exp, inf, isnan, log, sqrt

import numpy as np
import pytest
from scipy import stats

from repro.study import survival as sv

# Five runs: events at 2, 4, 4; ends without event at 3 and 6.
TIME, EVENT = [2, 3, 4, 4, 6], [True, False, True, True, False]


def test_kaplan_meier_by_hand():
    curve = sv.kaplan_meier(TIME, EVENT)
    assert curve.time.tolist() == [0, 2, 3, 4, 6]
    assert curve.at_risk.tolist() == [5, 5, 4, 3, 1] and curve.events.tolist() == [0, 1, 0, 2, 0]
    # 4/5, then 4/5 * 1/3
    assert curve.survival == pytest.approx([1, 0.8, 0.8, 4 / 15, 4 / 15])
    # Greenwood at 2: 1 / (5 * 4) = 0.05; log-log limits 0.8 ** exp(±1.959964 sqrt(0.05) / log 0.8)
    spread = 1.959964 * sqrt(0.05) / -log(0.8)
    assert (curve.low[1], curve.high[1]) == pytest.approx((0.8 ** exp(spread), 0.8 ** exp(-spread)), abs=1e-6)
    assert curve.low[0] == pytest.approx(0.025 ** (1 / 5)) and curve.high[0] == 1
    assert curve.at([0, 1.99, 2, 5, 6]).tolist() == pytest.approx([1, 1, 0.8, 4 / 15, 4 / 15])
    assert isnan(curve.at(6.1))
    with pytest.raises(ValueError, match="time >= 0"):
        curve.at(-1)


def test_kaplan_meier_against_scipy():
    rng = np.random.default_rng(0)
    time, event = rng.integers(1, 15, 30), rng.random(30) < 0.6
    curve = sv.kaplan_meier(time, event, level=0.9)
    oracle = stats.ecdf(stats.CensoredData(uncensored=time[event], right=time[~event])).sf
    limits = oracle.confidence_interval(0.9, method="log-log")
    assert curve.at(oracle.quantiles) == pytest.approx(oracle.probabilities)
    inside = (oracle.probabilities < 1) & (oracle.probabilities > 0)
    rows = np.searchsorted(curve.time, oracle.quantiles[inside])
    assert curve.low[rows] == pytest.approx(limits.low.probabilities[inside])
    assert curve.high[rows] == pytest.approx(limits.high.probabilities[inside])
    assert inside.sum() > 5


def test_kaplan_meier_at_the_ends_of_the_scale():
    # No collapse among ten runs leaves room for 1 - 0.025 ** 0.1 = 0.308 of them.
    none = sv.kaplan_meier([100] * 10, [False] * 10)
    assert none.survival.tolist() == [1, 1] and none.low == pytest.approx([0.691503] * 2, abs=1e-6)
    # Shorter follow-up of some says less about late times.
    assert sv.kaplan_meier([50, 100], [False] * 2).low.tolist() == pytest.approx([sqrt(0.025), sqrt(0.025), 0.025])
    # All at once: zero successes of four.
    at_once = sv.kaplan_meier([5] * 4, [True] * 4)
    assert at_once.survival[-1] == 0 and (at_once.low[-1], at_once.high[-1]) == pytest.approx((0, 1 - 0.025**0.25))
    # One after the other: the last upper limit stays.
    spread_out = sv.kaplan_meier([1, 2, 3], [True] * 3)
    assert spread_out.survival[-1] == 0 and spread_out.high[-1] == spread_out.high[-2] < 1
    assert spread_out.at(99) == 0
    one = sv.kaplan_meier([7], [True])
    assert one.low == pytest.approx([0.025, 0]) and one.high == pytest.approx([1, 0.975])


@pytest.mark.parametrize(("time", "event"), [([], []), ([1, 2], [True]), ([-1], [True]), ([inf], [False])])
def test_bad_times_are_refused(time, event):
    with pytest.raises(ValueError):
        sv.kaplan_meier(time, event)


def test_kaplan_meier_covers_with_few_runs():
    # Exponential times censored at 1, true survival at 0.7 is exp(-0.7) = 0.497.
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        time = rng.exponential(size=10)
        curve = sv.kaplan_meier(np.minimum(time, 1), time < 1)
        row = np.searchsorted(curve.time, 0.7, side="right") - 1
        covered += curve.low[row] <= exp(-0.7) <= curve.high[row]
    assert covered / 500 > 0.91


def test_paired_time_ratio_by_hand():
    # a is 2, 4 and 8 times faster: geometric mean 1/4, logs -1, -2, -3 in units of log 2, half-width 2.484138
    result = sv.paired_time_ratio([50, 25, 20], [100, 100, 160], 200, 200)
    assert result.ratio.estimate == pytest.approx(0.25) and result.ratio.n == 3
    assert (result.ratio.low, result.ratio.high) == pytest.approx((2**-4.484138, 2**0.484138), rel=1e-5)
    assert (result.pairs, result.reached_a, result.reached_b) == (3, 3, 3)
    assert (result.a_faster, result.b_faster, result.p_value) == (3, 0, 0.25)
    swapped = sv.paired_time_ratio([100, 100, 160], [50, 25, 20], 200, 200)
    assert swapped.ratio.low == pytest.approx(1 / result.ratio.high)


def test_censored_pairs_count_only_for_what_they_prove():
    time_a = [50, 50, None, None, 80, 50]
    time_b = [100, None, 70, None, 80, None]
    end_b = [200, 200, 200, 200, 200, 40]  # the last b ended before a's time: nothing is proven
    result = sv.paired_time_ratio(time_a, time_b, 200, end_b)
    assert (result.pairs, result.reached_a, result.reached_b) == (6, 4, 3)
    assert result.ratio.n == 2 and result.ratio.estimate == pytest.approx(sqrt(0.5 * 1.0))
    assert (result.a_faster, result.b_faster) == (2, 1)
    mirrored = sv.paired_time_ratio(time_b, time_a, end_b, 200)
    assert (mirrored.a_faster, mirrored.b_faster) == (1, 2)
    # 2 of 3 decided pairs
    assert result.a_faster_share.estimate == pytest.approx(2 / 3) and result.p_value == 1
    oracle = stats.binomtest(2, 3).proportion_ci(method="exact")
    assert (result.a_faster_share.low, result.a_faster_share.high) == pytest.approx(tuple(oracle))


def test_paired_time_ratio_with_one_or_no_complete_pair():
    one = sv.paired_time_ratio([50, None], [100, 60], 200, 200)
    assert one.ratio.estimate == pytest.approx(0.5) and (one.ratio.low, one.ratio.high, one.ratio.n) == (
        0,
        inf,
        1,
    )
    none = sv.paired_time_ratio([None, 50], [None, None], 200, 200)
    assert isnan(none.ratio.estimate) and (none.ratio.low, none.ratio.high, none.ratio.n) == (0, inf, 0)
    assert (none.a_faster, none.b_faster) == (1, 0)
    undecided = sv.paired_time_ratio([None], [None], 200, 200)
    assert undecided.p_value == 1 and isnan(undecided.a_faster_share.estimate)


@pytest.mark.parametrize(
    ("time_a", "time_b", "end"),
    [
        ([], [], 10),
        ([1], [1, 2], 10),
        ([0], [1], 10),
        ([11], [1], 10),
        ([float("nan")], [1], 10),
        ([1], [1], inf),
    ],
)
def test_paired_time_ratio_refuses_bad_times(time_a, time_b, end):
    with pytest.raises(ValueError):
        sv.paired_time_ratio(time_a, time_b, end, end)


def test_paired_log_ratio_covers():
    # Seeds share a lognormal effect; the true ratio is 0.5.
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(500):
        shared = rng.lognormal(4, 0.5, 5)
        a, b = 0.5 * shared * rng.lognormal(0, 0.3, 5), shared * rng.lognormal(0, 0.3, 5)
        covered += 0.5 in sv.paired_time_ratio(a, b, 1e9, 1e9).ratio
    assert 0.91 < covered / 500 < 0.99


@pytest.mark.parametrize(("y", "at"), [([0, 1], 0.5), ([0.5, 0], 0.0), ([0, 0.25, 0.75, 0.1], 1.5), ([0, 0.4], None)])
def test_a_crossing(y, at):
    found = sv.crossing(range(len(y)), y, 0.5)
    assert found == pytest.approx(at) if at is not None else found != found
