"""Times to an event that some runs never reach: a collapse, or a threshold.

A run that ended without the event is censored at its end: it is known only to last longer. Dropping such
runs, or counting their end as an event, both bias the answer; everything here keeps them as what they are.

`time` is each run's event or end, in any one unit (updates, tokens, seconds), >= 0; `event` says which of the
two it is. Conventions on levels, single runs and empty input are those of `repro.study.statistics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from repro.study.statistics import Interval, finite_vector, proportion_interval, t_interval, tail_probability


def crossing(x: ArrayLike, y: ArrayLike, threshold: float) -> float:
    """First x at which the line through the points (x, y), x in order, is at or above the threshold; nan if never.

    A first point above it counts at its own x.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    above = (y >= threshold).nonzero()[0]
    if not len(above):
        return nan
    if above[0] == 0:
        return float(x[0])
    b, a = above[0], above[0] - 1
    return float(x[a] + (threshold - y[a]) / (y[b] - y[a]) * (x[b] - x[a]))


def crossings(x: pd.Series, y: pd.Series, threshold: float) -> pd.DataFrame:
    """`reached` (`crossing`; NaN: never, the run is censored) and `end` (its last x) by arm and seed.

    `x` and `y` are indexed by arm, seed and update; points that only one of them has are left out.
    """
    points = pd.concat([x.rename("x"), y.rename("y")], axis=1).dropna()
    runs = points.groupby(level=["arm", "seed"])
    found = {key: (crossing(run["x"], run["y"], threshold), run["x"].iloc[-1]) for key, run in runs}
    index = pd.MultiIndex.from_tuples(found or [], names=["arm", "seed"])
    return pd.DataFrame(list(found.values()), index=index, columns=["reached", "end"], dtype=float)


@dataclass(frozen=True, eq=False)
class SurvivalCurve:
    """Share of runs still without the event: a right-continuous step function, all arrays (K,).

    time: 0 and every distinct event or end; survival, low, high: the share from that time on, and its limits;
    at_risk: runs followed at least to that time; events: events at that time. n counts runs.
    """

    time: np.ndarray
    survival: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray
    n: int
    level: float

    def at(self, time: ArrayLike) -> np.ndarray:
        """Survival at `time` (any shape, >= 0); nan past the last run's end, unless the curve is at zero."""
        time = np.asarray(time, dtype=float)
        if not (time >= 0).all():
            raise ValueError(f"survival is defined for time >= 0, got {time}")
        value = self.survival[np.searchsorted(self.time, time, side="right") - 1]
        return np.where((time > self.time[-1]) & (value > 0), nan, value)


def _censored(time: ArrayLike, event: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Times (n,) and event flags (n,); raises ValueError unless they match and no time is negative."""
    time, event = finite_vector(time, "time"), np.asarray(event, dtype=bool)
    if time.shape != event.shape or time.min() < 0:
        raise ValueError(f"need times >= 0 and one event flag each, got {time} and {event}")
    return time, event


def kaplan_meier(time: ArrayLike, event: ArrayLike, level: float = 0.95) -> SurvivalCurve:
    """Kaplan and Meier's (1958) survival curve: S(t) = product over event times t_j <= t of 1 - d_j / r_j.

    Limits are Greenwood's on the log-log scale: S ** exp(±z sqrt(G) / log S) with G = sum of
    d_j / (r_j (r_j - d_j)), pointwise. They are undefined where S is 1 or 0; there exact bounds take over:
    no event among the r runs followed so far leaves S above ((1 - level) / 2) ** (1 / r), and once all have
    had the event the last upper limit stays.
    """
    time, event = _censored(time, event)
    tail = tail_probability(level)
    grid = np.unique(np.append(time, 0.0))
    at_risk = (time >= grid[:, None]).sum(1)
    events = ((time == grid[:, None]) & event).sum(1)
    survival = np.cumprod(1 - events / at_risk)
    inside = (survival > 0) & (survival < 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 outside `inside`, which is not used
        greenwood = np.cumsum(events / (at_risk * (at_risk - events)))
        spread = stats.norm.ppf(1 - tail) * np.sqrt(greenwood) / -np.log(survival)
    low = np.where(inside, survival ** np.exp(spread), np.where(survival == 1, tail ** (1 / at_risk), 0.0))
    high = np.where(inside, survival ** np.exp(-spread), 1.0)
    if survival[-1] == 0:  # only the last time can take the curve to zero
        first_event = len(grid) == 1 or survival[-2] == 1
        high[-1] = 1 - tail ** (1 / at_risk[-1]) if first_event else high[-2]
    return SurvivalCurve(grid, survival, low, high, at_risk, events, len(time), level)


@dataclass(frozen=True)
class TimeRatio:
    """How the times of two arms compare over pairs; report the counts beside the ratio.

    ratio: geometric mean of time_a / time_b over the pairs in which both reached (its n); < 1: a is faster.
    reached_a, reached_b: runs that reached, out of `pairs`.
    a_faster, b_faster: pairs in which one is provably faster; the others are ties or undecided.
    a_faster_share, p_value: exact interval of a_faster among the decided pairs, and exact sign test of 1/2.
    """

    ratio: Interval
    pairs: int
    reached_a: int
    reached_b: int
    a_faster: int
    b_faster: int
    a_faster_share: Interval
    p_value: float


def paired_time_ratio(
    time_a: Sequence[float | None],
    time_b: Sequence[float | None],
    end_a: ArrayLike,
    end_b: ArrayLike,
    level: float = 0.95,
) -> TimeRatio:
    """Times to a threshold of two arms paired by seed; None = not reached by the run's end (censored).

    The ratio is a t interval of log(time_a / time_b), exponentiated, over the pairs in which both reached:
    with censored pairs it describes those pairs only, and is biased towards 1 if slow runs are the ones
    missing. The sign count uses every pair: a is provably faster when it reached at a time at which b,
    followed at least that long, had not. `end_a` and `end_b` are the ends of follow-up in the same unit (one
    number, or one a run): on an axis of tokens or seconds runs end at different points, and a run that ended
    early proves nothing.

    No pair with both reached gives a ratio of nan in [0, inf]; one pair its ratio in [0, inf]. Raises
    ValueError for no pairs, different lengths, times <= 0 (no logarithm), or a time beyond its run's end.
    """
    if len(time_a) != len(time_b) or len(time_a) == 0:
        raise ValueError(f"need a time_b for each time_a, at least one, got {len(time_a)} and {len(time_b)}")
    a, b = (np.array([inf if t is None else t for t in times], dtype=float) for times in (time_a, time_b))
    end_a, end_b = np.broadcast_to(end_a, a.shape), np.broadcast_to(end_b, b.shape)
    for name, time, end in (("a", a, end_a), ("b", b, end_b)):
        if not ((time > 0) & ((time <= end) | np.isinf(time)) & np.isfinite(end)).all():
            raise ValueError(f"times of {name} must be None or in 0 < time <= end of run, got {time} and ends {end}")
    reached_a, reached_b = np.isfinite(a), np.isfinite(b)
    both = reached_a & reached_b
    ratio = Interval(nan, 0.0, inf, 0, level)
    if both.any():
        log = t_interval(np.log(a[both] / b[both]), level)
        ratio = Interval(*(float(np.exp(v)) for v in (log.estimate, log.low, log.high)), log.n, level)
    # A censored time is inf here; that the other run was earlier is proven only if this one was followed so
    # long.
    a_faster = int((reached_a & (a < b) & (a <= end_b)).sum())
    b_faster = int((reached_b & (b < a) & (b <= end_a)).sum())
    decided = a_faster + b_faster
    return TimeRatio(
        ratio=ratio,
        pairs=len(a),
        reached_a=int(reached_a.sum()),
        reached_b=int(reached_b.sum()),
        a_faster=a_faster,
        b_faster=b_faster,
        a_faster_share=proportion_interval(a_faster, decided, level),
        p_value=float(stats.binomtest(a_faster, decided).pvalue) if decided else 1.0,
    )
