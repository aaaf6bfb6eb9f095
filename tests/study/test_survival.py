"""Hand numbers, scipy where it has the thing, and small coverage simulations with a fixed seed."""

from math import exp, inf, isnan, log, sqrt

import numpy as np
import pytest
from scipy import stats

from repro.study import survival as sv
from repro.study.statistics import t_interval

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
    with pytest.raises(ValueError):
        sv.log_rank(time, event, [1.0], [True])


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


def test_restricted_mean_by_hand():
    # Area up to 5: 2 * 1 + 2 * 0.8 + 1 * 4/15
    interval = sv.restricted_mean(TIME, EVENT, 5)
    assert interval.estimate == pytest.approx(2 + 1.6 + 4 / 15)
    # After 2 the area is 1.6 + 4/15, term 1 / (5 * 4); after 4 it is 4/15, term 2 / (3 * 1); times 5/4.
    variance = ((1.6 + 4 / 15) ** 2 / 20 + (4 / 15) ** 2 * 2 / 3) * 5 / 4
    assert interval.low == pytest.approx(2 + 1.6 + 4 / 15 - 2.776445 * sqrt(variance), abs=1e-5)
    assert interval.high == 5  # clipped


def test_restricted_mean_without_early_ends_is_the_t_interval_of_the_clipped_times():
    time, event = np.array([40.0, 70, 100, 100, 100, 55]), [True, True, False, False, False, True]
    for horizon in (100, 80):
        oracle = t_interval(np.minimum(time, horizon))
        interval = sv.restricted_mean(time, event, horizon)
        assert interval.estimate == pytest.approx(oracle.estimate)
        assert interval.low == pytest.approx(oracle.low)
        assert interval.high == pytest.approx(min(oracle.high, horizon))


def test_restricted_mean_edges():
    # No event: not a certainty of 100 but at least 100 * 0.025 ** (1 / 10).
    none = sv.restricted_mean([100] * 10, [False] * 10, 100)
    assert (none.estimate, none.high) == (100, 100) and none.low == pytest.approx(69.1503, abs=1e-4)
    late = sv.restricted_mean([100, 120], [True, False], 100)  # an event at the horizon is not before it
    assert (late.low, late.high) == pytest.approx((100 * sqrt(0.025), 100))
    single = sv.restricted_mean([40], [True], 100)
    assert (single.estimate, single.low, single.high) == (40, 0, 100)
    equal = sv.restricted_mean([40, 40], [True, True], 100)
    assert (equal.low, equal.high) == (40, 40)
    for horizon in (0, -1, inf, 101):
        with pytest.raises(ValueError, match="horizon"):
            sv.restricted_mean([40, 100], [True, False], horizon)


def test_restricted_mean_covers_with_few_runs():
    # Exponential times, horizon 0.3: true mean 1 - exp(-0.3) = 0.259; three ends come before the horizon.
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(500):
        time, end = rng.exponential(size=10), np.append(rng.uniform(0.1, 0.3, 3), [1.0] * 7)
        covered += 1 - exp(-0.3) in sv.restricted_mean(np.minimum(time, end), time < end, 0.3)
    assert covered / 500 > 0.90


def test_log_rank_by_hand():
    # a: 1, 3+; b: 2, 4. At 1: E = 2/4, V = 1/4. At 2: E = 1/3, V = 2/9. At 4: a has none at risk.
    result = sv.log_rank([1, 3], [True, False], [2, 4], [True, True])
    assert result.observed_a == 1 and result.expected_a == pytest.approx(5 / 6)
    assert result.chi2 == pytest.approx((1 / 6) ** 2 / (1 / 4 + 2 / 9))


def test_log_rank_against_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 12, 12), rng.integers(4, 20, 15)  # with ties
    event_a, event_b = rng.random(12) < 0.7, rng.random(15) < 0.7
    oracle = stats.logrank(
        stats.CensoredData(uncensored=a[event_a], right=a[~event_a]),
        stats.CensoredData(uncensored=b[event_b], right=b[~event_b]),
    )
    result = sv.log_rank(a, event_a, b, event_b)
    assert result.chi2 == pytest.approx(oracle.statistic**2) and result.p_value == pytest.approx(oracle.pvalue)
    assert sv.log_rank(b, event_b, a, event_a).p_value == pytest.approx(result.p_value)


def test_log_rank_without_information():
    none = sv.log_rank([5, 5], [False, False], [5, 5], [False, False])
    assert (none.observed_a, none.expected_a, none.chi2, none.p_value) == (0, 0, 0, 1)
    everyone_at_once = sv.log_rank([5, 5], [True, True], [5], [True])
    assert (everyone_at_once.chi2, everyone_at_once.p_value) == (0, 1)


def test_log_rank_keeps_its_level():
    rng = np.random.default_rng(2)
    rejected = 0
    for _ in range(400):
        a, b = rng.exponential(size=(2, 10))
        rejected += sv.log_rank(np.minimum(a, 1.5), a < 1.5, np.minimum(b, 1.5), b < 1.5).p_value < 0.05
    assert rejected / 400 < 0.09


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
