"""Hand numbers, scipy where it has the thing, and small coverage simulations with a fixed seed."""

from math import inf, isnan, sqrt

import numpy as np
import pytest
from scipy import stats

from repro.study import statistics as st


def limits(interval):
    return interval.low, interval.high


def coverage(interval_of, draw, truth, repetitions):
    return np.mean([truth in interval_of(draw()) for _ in range(repetitions)])


# Interval and equivalence


def test_interval_refuses_nan_and_reversed_limits():
    assert 0.5 in st.Interval(0.5, 0.5, 0.5, 3) and 0.51 not in st.Interval(0.5, 0.5, 0.5, 3)
    for low, high in [(1.0, 0.0), (float("nan"), 1.0), (0.0, float("nan"))]:
        with pytest.raises(ValueError, match="ordered"):
            st.Interval(0.5, low, high, 3)


def test_equivalence_needs_the_whole_interval_inside():
    assert st.equivalent(st.Interval(0.01, -0.04, 0.06, 10), -0.1, 0.1)
    assert not st.equivalent(st.Interval(0.01, -0.10, 0.06, 10), -0.1, 0.1)  # touches the margin
    assert not st.equivalent(st.Interval(0.0, -inf, inf, 1), -0.1, 0.1)  # one run proves nothing equal
    with pytest.raises(ValueError, match="margin"):
        st.equivalent(st.Interval(0, -1, 1, 5), 0.1, -0.1)


# t intervals


def test_t_interval_by_hand_and_by_scipy():
    # mean 2, s = 1, n = 3; t_{2, 0.975} = 4.302653, so half-width 4.302653 / sqrt 3 = 2.484138
    interval = st.t_interval([1, 2, 3])
    assert interval.estimate == 2 and interval.n == 3
    assert limits(interval) == pytest.approx((-0.484138, 4.484138), abs=1e-6)
    values = [0.3, 0.9, 0.4, 0.7, 0.1]
    oracle = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert limits(st.t_interval(values, level=0.9)) == pytest.approx(tuple(oracle))


def test_paired_interval_is_that_of_the_differences_and_narrower_when_seeds_matter():
    seed_effect = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    a, b = seed_effect + [0.5, 0.6, 0.4, 0.5, 0.5], seed_effect
    paired = st.paired_t_interval(a, b)
    assert paired.n == 5 and paired.estimate == pytest.approx(0.5)
    assert limits(paired) == pytest.approx(tuple(stats.ttest_rel(a, b).confidence_interval()))
    assert 0 not in paired and stats.ttest_ind(a, b, equal_var=False).pvalue > 0.5


def test_single_runs_and_equal_values():
    assert limits(st.t_interval([0.7])) == (-inf, inf)
    assert limits(st.t_interval([0.5, 0.5, 0.5])) == (0.5, 0.5)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0, 2.0]], [inf]])
def test_bad_values_are_refused(values):
    with pytest.raises(ValueError, match="finite"):
        st.t_interval(values)


def test_unmatched_pairs_and_bad_levels_are_refused():
    for function in (st.paired_t_interval, st.paired_proportions):
        with pytest.raises(ValueError, match="seed"):
            function([1, 0, 1], [1, 0])
    for level in (0.0, 1.0, 95):
        with pytest.raises(ValueError, match="level"):
            st.t_interval([1, 2, 3], level=level)


def test_t_covers_with_three_runs():
    rng = np.random.default_rng(0)
    assert 0.92 < coverage(st.t_interval, lambda: rng.normal(size=3), 0, 1500) < 0.98


# Proportions


def test_exact_proportion_interval():
    assert limits(st.proportion_interval(0, 10)) == pytest.approx((0, 1 - 0.025**0.1))
    assert limits(st.proportion_interval(10, 10)) == pytest.approx((0.025**0.1, 1))
    for successes in range(8):
        oracle = stats.binomtest(successes, 7).proportion_ci(0.9, method="exact")
        assert limits(st.proportion_interval(successes, 7, level=0.9)) == pytest.approx(tuple(oracle))
    nothing = st.proportion_interval(0, 0)
    assert isnan(nothing.estimate) and limits(nothing) == (0, 1) and nothing.n == 0
    for successes, n in [(-1, 5), (6, 5)]:
        with pytest.raises(ValueError, match="successes"):
            st.proportion_interval(successes, n)


def pairs(both, a_only, b_only, neither):
    a = [True] * (both + a_only) + [False] * (b_only + neither)
    b = [True] * both + [False] * a_only + [True] * b_only + [False] * neither
    return a, b


def test_paired_proportions_by_hand():
    # 10 pairs, a fails in 4 in which b does not and b in none; both 1, neither 5. Shares 0.5 and 0.1.
    result = st.paired_proportions(*pairs(1, 4, 0, 5))
    assert (result.a_only, result.b_only, result.difference.n) == (4, 0, 10)
    assert result.p_value == pytest.approx(2 * 0.5**4)
    # Wilson: 0.5 -> [0.236593, 0.763407], 0.1 -> [0.017876, 0.404150]. phi: 1 * 5 - 4 * 0 = 5 = n / 2,
    # corrected to 0.
    below, above = sqrt(0.263407**2 + 0.304150**2), sqrt(0.263407**2 + 0.082124**2)
    assert limits(result.difference) == pytest.approx((0.4 - below, 0.4 + above), abs=1e-5)


def test_paired_proportions_against_published_values():
    # Newcombe (1998) gives 0.0569 to 0.3404 for the table 36, 12, 2, 0.
    assert limits(st.paired_proportions(*pairs(36, 12, 2, 0)).difference) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    # Bentur et al. (2009) in Fagerland, Lydersen and Laake (2017), chapter 8: -0.507 to -0.026.
    assert limits(st.paired_proportions(*pairs(1, 1, 7, 12)).difference) == pytest.approx((-0.507, -0.026), abs=5e-4)


def test_paired_proportions_refuse_what_is_not_a_share():
    with pytest.raises(ValueError, match="True or False"):
        st.paired_proportions([0.5, 1], [0, 1])


def test_paired_proportions_with_correlation():
    # Strong positive correlation makes the interval narrower than for unrelated pairs with the same shares.
    together, unrelated = (
        st.paired_proportions(*pairs(20, 4, 0, 24)),
        st.paired_proportions(*pairs(10, 14, 10, 14)),
    )
    assert together.difference.high - together.difference.low < unrelated.difference.high - unrelated.difference.low
    mirrored = st.paired_proportions(*pairs(20, 0, 4, 24)).difference
    assert limits(mirrored) == pytest.approx((-together.difference.high, -together.difference.low))


def test_paired_proportions_without_discordant_pairs():
    same = st.paired_proportions([True, False, False], [True, False, False])
    assert same.p_value == 1 and same.difference.estimate == 0 and -0.3 in same.difference
    one = st.paired_proportions([True], [False])
    assert one.difference.estimate == 1 and one.difference.low < 0 and one.p_value == 1


def test_paired_proportions_cover():
    rng = np.random.default_rng(3)

    def draw():
        shared = rng.random(10) < 0.3  # share of a: 0.3 + 0.7 * 0.5 = 0.65, of b: 0.3 + 0.7 * 0.2 = 0.44
        return shared | (rng.random(10) < 0.5), shared | (rng.random(10) < 0.2)

    assert coverage(lambda ab: st.paired_proportions(*ab).difference, draw, 0.21, 1000) > 0.92


# Readings of a curve


def test_running_mean():
    assert st.running_mean([1, 2, 6, 3], 2).tolist()[1:] == [1.5, 4, 4.5]
    assert isnan(st.running_mean([1, 2, 6, 3], 2)[0])
    assert np.isnan(st.running_mean([1, 2], 3)).all() and len(st.running_mean([], 3)) == 0
    assert np.isnan(st.running_mean([1, float("nan"), 1, 1, 1], 2)).tolist() == [
        True,
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(ValueError, match="window"):
        st.running_mean([1, 2], 0)


def test_collapse_by_hand():
    # 10-update mean is 1 up to update 29; then each zero takes 0.1 off: 0.5 at update 34, 0.4 at 35.
    reward = [1.0] * 30 + [0.0] * 30
    assert st.collapse_update(reward, 0.5) == 35
    assert st.collapse_update(reward, 0.25) == 37  # 0.3 at 36, 0.2 at 37
    # the stretch needs updates 35..54
    assert st.collapse_update(reward[:55], 0.5) == 35
    assert st.collapse_update(reward[:54], 0.5) is None


def test_collapse_is_a_stretch_and_relative_to_the_maximum_so_far():
    # Below the bound from update 35 to 52, as the mean is back at 0.5 at 53: 18 updates are no collapse.
    dip = [1.0] * 30 + [0.0] * 19 + [1.0] * 30
    assert st.collapse_update(dip, 0.5) is None
    assert st.collapse_update(dip, 0.5, stretch=18) == 35
    # Later maxima do not count: a run that climbs from 0.1 to 1 never was below half of what it had reached.
    assert st.collapse_update(np.linspace(0.1, 1, 80), 0.5) is None
    # Staying exactly at the bound is not below it, whatever the rounding.
    assert st.collapse_update([0.9] * 20 + [0.3, 0.6] * 30, 0.5) is None
    assert st.collapse_update([0.0] * 80, 0.5) is None
    assert st.collapse_update([0.5], 0.5) is None


def test_collapse_against_a_slow_loop():
    rng = np.random.default_rng(0)
    for _ in range(40):
        reward = np.clip(np.cumsum(rng.normal(0, 0.1, 120)) + 0.5, 0, 1)
        found, best, below = None, 0.0, 0
        for t in range(4, 120):
            mean = reward[t - 4 : t + 1].mean()
            best = max(best, mean)
            below = below + 1 if mean < 0.5 * best else 0
            if below == 8 and found is None:
                found = t - 7
        assert st.collapse_update(reward, 0.5, window=5, stretch=8) == found


def test_collapse_refuses_what_it_cannot_judge():
    for reward, fraction in [
        ([], 0.5),
        ([0.1, float("nan")], 0.5),
        ([0.5, -0.5], 0.5),
        ([0.5], 0.0),
        ([0.5], 1.5),
    ]:
        with pytest.raises(ValueError):
            st.collapse_update(reward, fraction)
    with pytest.raises(ValueError, match="stretch"):
        st.collapse_update([0.5], 0.5, stretch=0)
