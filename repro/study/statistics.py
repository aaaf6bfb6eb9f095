"""Intervals for a few runs, and the reading of a training curve as collapsed, which is fixed before a study.

With 3 to 10 seeds a t interval covers what it promises and a percentile bootstrap does not (it covers about
0.74 at n = 3 and 0.90 at n = 10 where 0.95 is asked for), so means and paired differences have t intervals.

Conventions. Values carry whatever unit the caller gave them, and an interval has the unit of its estimate.
Intervals are two-sided with `level` inside. A single run says nothing about spread: its interval is infinite
(or the whole range of a bounded quantity). All-equal values give a width of zero, as the formulas have it.
Empty or non-finite input raises ValueError. Survival and times to a threshold are in `repro.study.survival`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence limits; `n` counts the independent units behind it (runs, or pairs).

    `value in interval` asks whether a value is compatible with the data. Raises ValueError for limits that
    are nan or out of order, so that a missing interval can never be read as one that excludes something.
    """

    estimate: float
    low: float
    high: float
    n: int
    level: float = 0.95

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"interval limits must be ordered numbers, got [{self.low}, {self.high}]")

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def equivalent(interval: Interval, low: float, high: float) -> bool:
    """Whether the whole interval lies strictly between `low` and `high`, the margin stated beforehand.

    For a difference the margin is (-m, m), for a ratio for instance (0.8, 1.25). With a 95 % interval this is
    two one-sided tests at 2.5 % each. "Not significant" is not equivalence. Raises ValueError for
    low >= high.
    """
    if not low < high:
        raise ValueError(f"an equivalence margin needs low < high, got ({low}, {high})")
    return low < interval.low and interval.high < high


def finite_vector(values: ArrayLike, name: str) -> np.ndarray:
    """`values` as a float vector (n,), n >= 1; raises ValueError when it is empty, not 1-D, or not finite."""
    vector = np.asarray(values, dtype=float)
    if vector.ndim != 1 or vector.size == 0 or not np.isfinite(vector).all():
        raise ValueError(f"{name} must be a non-empty 1-D sequence of finite numbers, got {values!r}")
    return vector


def tail_probability(level: float) -> float:
    """Probability left in each tail, (1 - level) / 2; raises ValueError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level}")
    return (1 - level) / 2


def paired_difference(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """a - b, (n,), of runs that share their seed; raises ValueError when the lengths differ."""
    a, b = finite_vector(a, "a"), finite_vector(b, "b")
    if len(a) != len(b):
        raise ValueError(f"paired values need one b for each a, got {len(a)} and {len(b)}; match them by seed")
    return a - b


# Means ------------------------------------------------------------------------------------------------------


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of n runs: mean ± t_{n-1} s / sqrt(n), s with n - 1. Infinite for n = 1."""
    x, tail = finite_vector(values, "values"), tail_probability(level)
    n, mean = len(x), float(x.mean())
    if n == 1:
        return Interval(mean, -inf, inf, n, level)
    half = float(stats.t.ppf(1 - tail, n - 1) * x.std(ddof=1) / sqrt(n))
    return Interval(mean, mean - half, mean + half, n, level)


def paired_t_interval(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Mean difference a - b over pairs that share their seed, by the t interval; n counts pairs."""
    return t_interval(paired_difference(a, b), level)


# Proportions ------------------------------------------------------------------------------------------------


def proportion_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Exact interval of a proportion (Clopper and Pearson 1934); n = 0 gives an estimate of nan in [0, 1].

    Raises ValueError unless 0 <= successes <= n.
    """
    tail = tail_probability(level)
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in 0..n, got {successes} of {n}")
    low = float(stats.beta.ppf(tail, successes, n - successes + 1)) if successes > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0
    return Interval(successes / n if n else nan, low, high, n, level)


def _wilson(p: float, n: int, z: float) -> tuple[float, float]:
    """Wilson's score limits of a proportion p out of n."""
    centre, half = p + z**2 / (2 * n), z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)


@dataclass(frozen=True)
class PairedProportions:
    """Difference of two shares over the same pairs, the discordant pairs, and McNemar's exact two-sided p."""

    difference: Interval
    a_only: int
    b_only: int
    p_value: float


def paired_proportions(a: Sequence[bool], b: Sequence[bool], level: float = 0.95) -> PairedProportions:
    """Share of True in a minus share in b, runs paired by seed (say: collapsed or not).

    The interval is Newcombe's (1998, method 10): Wilson's limits of each share, combined by squares with the
    continuity-corrected correlation phi. The p-value is the binomial test of the discordant pairs against 1/2
    (exact McNemar; 1 when there are none). Raises ValueError for empty input, different lengths, or values
    other than 0 and 1.
    """
    difference, tail = float(paired_difference(a, b).mean()), tail_probability(level)
    if not np.isin([a, b], (0, 1)).all():
        raise ValueError(f"shares need True or False for each run, got {a} and {b}")
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    n, z = len(a), float(stats.norm.ppf(1 - tail))
    both, a_only, b_only, neither = (int(c.sum()) for c in (a & b, a & ~b, ~a & b, ~a & ~b))
    (low_a, high_a), (low_b, high_b) = _wilson(a.mean(), n, z), _wilson(b.mean(), n, z)
    margins = a.sum() * (~a).sum() * b.sum() * (~b).sum()
    covariance = both * neither - a_only * b_only
    if covariance > 0:
        covariance = max(covariance - n / 2, 0)
    phi = covariance / sqrt(margins) if margins else 0.0
    below_a, above_a = a.mean() - low_a, high_a - a.mean()
    below_b, above_b = b.mean() - low_b, high_b - b.mean()
    below = sqrt(below_a**2 - 2 * phi * below_a * above_b + above_b**2)
    above = sqrt(above_a**2 - 2 * phi * above_a * below_b + below_b**2)
    p_value = float(stats.binomtest(a_only, a_only + b_only).pvalue) if a_only + b_only else 1.0
    interval = Interval(difference, difference - below, difference + above, n, level)
    return PairedProportions(interval, a_only, b_only, p_value)


# Readings of a training curve -------------------------------------------------------------------------------


def running_mean(values: ArrayLike, window: int) -> np.ndarray:
    """Mean of each point and the window - 1 before it, (n,); nan for the first window - 1 points.

    No shorter window at the start: one lucky first batch would become the running maximum. A nan in `values`
    marks only the windows that hold it. Raises ValueError for window < 1.
    """
    values = np.asarray(values, dtype=float)
    if window < 1 or values.ndim != 1:
        raise ValueError(f"running_mean needs a 1-D sequence and window >= 1, got {values.shape} and {window}")
    mean = np.full(len(values), nan)
    if len(values) >= window:
        mean[window - 1 :] = np.lib.stride_tricks.sliding_window_view(values, window).mean(1)
    return mean


def _first_stretch(condition: np.ndarray, length: int) -> int | None:
    """Index at which the first run of `length` consecutive True begins."""
    if length < 1:
        raise ValueError(f"a stretch has at least one point, got {length}")
    if len(condition) < length:
        return None
    whole = np.lib.stride_tricks.sliding_window_view(condition, length).all(1)
    return int(whole.argmax()) if whole.any() else None


def collapse_update(reward: ArrayLike, fraction: float, window: int = 10, stretch: int = 20) -> int | None:
    """First update (0-based index into `reward`) of a collapse, or None.

    A collapse is `stretch` consecutive updates at which the running mean of the train reward over `window`
    updates is below `fraction` of its running maximum so far. A run that ends inside a shorter stretch has
    not collapsed. (A non-finite loss is a collapse too; that is for the caller, who sees the loss.)

    Raises ValueError for non-finite or negative rewards, of which a fraction of the maximum means nothing,
    and unless 0 < fraction <= 1.
    """
    reward = finite_vector(reward, "reward")
    if reward.min() < 0 or not 0 < fraction <= 1:
        raise ValueError(f"need rewards >= 0 and 0 < fraction <= 1, got {reward.min()} and {fraction}")
    mean = running_mean(reward, window)
    bound = fraction * np.fmax.accumulate(mean)  # fmax skips the nan at the start
    # Rounding in a mean must not turn "equal to the bound" into "below it".
    return _first_stretch(mean < bound * (1 - 1e-12), stretch)
