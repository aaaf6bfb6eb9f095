"""Rules that turn evidence into a verdict: each is a few lines of code and the same in words, side by side.

All were fixed before the first run; the numbers below are theirs.
"""

from __future__ import annotations

from functools import partial
from math import inf, nan

import numpy as np
import pandas as pd

from repro.study.definition import COLLAPSE
from repro.study.evidence import (
    DIRECTION,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Evidence,
    Judgement,
    Rule,
    by_margin,
    by_sign,
    collapse_difference,
    collapse_share,
    counted,
    difference,
    geometric_mean,
    spelled,
)
from repro.study.statistics import Interval, equivalent, t_interval

HALF = 0.5  # of the runs, and of the training
MARGIN = 3.0  # points within which two arms count as equal
QUEUE_MARGIN = 5.0  # points, for five seeds
PEAK_MARGIN = 5.0  # points of training reward below GRPO that still count as its level
SLOPE_MARGIN = 0.5  # points per doubling of 1 + lag: MARGIN over the six doublings from lag 0 to 64
RATIO_MARGIN = 0.05  # relative change of a ratio that counts as none


def _collapses(evidence: Evidence, arm: str, control: str) -> Judgement:
    share, more = collapse_share(evidence, arm), collapse_difference(evidence, arm, control)
    worse = difference(evidence, arm, control)
    if share.low > HALF:
        verdict = REPRODUCED
    elif more.low > 0 or worse.high < 0:
        verdict = DIRECTION
    else:
        verdict = NOT_REPRODUCED if share.high < HALF else INCONCLUSIVE
    note = f"{counted(evidence, arm)}; {counted(evidence, control)}; difference of shares: {spelled(more, digits=2)}, "
    return Judgement(verdict, share, note + f"of mean@8: {spelled(worse, 'points')}")


COLLAPSES = Rule(
    f"Reproduced if the interval of the share of collapsed runs lies above {HALF}. Else direction only if more runs "
    "collapse than in the synchronous control, or final mean@8 is lower than there (paired interval excludes 0). Else "
    f"not reproduced if the share's interval lies below {HALF}. Else inconclusive.",
    f"share of runs whose running mean of reward stays below {COLLAPSE.fraction} of its maximum for "
    f"{COLLAPSE.stretch} updates, or whose loss stops being finite",
    "share of runs",
    _collapses,
)


def _stays_stable(evidence: Evidence, arm: str, naive: str) -> Judgement:
    share = collapse_share(evidence, arm)
    verdict = REPRODUCED if share.high < HALF else NOT_REPRODUCED if share.low > HALF else INCONCLUSIVE
    note = f"{counted(evidence, arm)}; {counted(evidence, naive)}"
    if collapse_share(evidence, naive).low <= HALF:
        note += ". Naive was not shown to collapse, so stability says little here"
    return Judgement(verdict, share, note)


STAYS_STABLE = Rule(
    f"Reproduced if the interval of the share of collapsed runs lies below {HALF} (at most 1 of 10), not reproduced "
    f"if it lies above {HALF}. Else inconclusive. The note gives naive's share: where naive does not collapse, "
    "stability says little.",
    COLLAPSES.metric,
    "share of runs",
    _stays_stable,
)


def _beats(evidence: Evidence, arm: str, other: str) -> Judgement:
    gain = difference(evidence, arm, other)
    return Judgement(by_sign(gain), gain)


BEATS = Rule(
    "Reproduced if the interval of the paired difference lies above 0, not reproduced if below 0. Else inconclusive.",
    "difference of final held-out success, first arm minus second",
    "points",
    _beats,
)


def _parity(evidence: Evidence, arm: str, other: str, metric: str) -> Judgement:
    gain = difference(evidence, arm, other, metric)
    if equivalent(gain, -MARGIN, MARGIN):
        verdict = REPRODUCED
    elif gain.low >= MARGIN or gain.high <= -MARGIN:
        verdict = NOT_REPRODUCED
    else:
        verdict = DIRECTION if gain.low > -MARGIN else INCONCLUSIVE
    return Judgement(verdict, gain)


def _parity_rule(metric: str) -> Rule:
    return Rule(
        f"Reproduced if the interval of the paired difference lies within -{MARGIN:g}..{MARGIN:g} points, not "
        f"reproduced if it lies wholly outside, on either side. Else direction only if it lies above -{MARGIN:g}: no "
        "worse by more than the margin, but equality not shown. Else inconclusive.",
        f"difference of final {metric.replace('_at_', '@')}, first arm minus second",
        "points",
        partial(_parity, metric=metric),
    )


PARITY = _parity_rule("mean_at_k")
PARITY_PASS = _parity_rule("pass_at_k")


def _stable_but_weak(evidence: Evidence, arm: str, other: str) -> Judgement:
    share, gain = collapse_share(evidence, arm), difference(evidence, arm, other)
    if gain.low > 0 or share.low > HALF:
        verdict = NOT_REPRODUCED
    elif gain.high < 0:
        verdict = REPRODUCED if share.high < HALF else DIRECTION
    else:
        verdict = INCONCLUSIVE
    return Judgement(verdict, gain, counted(evidence, arm))


STABLE_BUT_WEAK = Rule(
    f"Reproduced if the share of collapsed runs lies below {HALF} and the paired difference below 0 (whole "
    f"intervals). Not reproduced if the share lies above {HALF} or the difference above 0. Else direction only if the "
    "difference lies below 0. Else inconclusive.",
    "difference of final mean@8, first arm minus second",
    "points",
    _stable_but_weak,
)


def _late_collapse(evidence: Evidence, *arms: str) -> Judgement:
    *falling, reference = arms
    # Of the arms compared, not of a run: one that diverged has few updates, and would look late.
    horizon = max(int(evidence.runs(arm)["updates"].max()) for arm in arms)
    peak = evidence.runs(reference)["reward_max"]
    fallen = []
    for arm in falling:
        runs = evidence.runs(arm)
        runs = runs[runs["collapsed"].astype(bool)]
        # A run too short for a running mean never climbed: leaving it out would favour the claim.
        gap = 100 * (runs["reward_max"].fillna(0.0) - peak.reindex(runs.index))
        fallen.append(pd.DataFrame({"when": runs["collapse_update"].astype(float) / horizon, "gap": gap}))
    fallen = pd.concat(fallen).dropna()
    if fallen.empty:
        return Judgement(INCONCLUSIVE, Interval(nan, 0.0, 1.0, 0), "no run collapsed")
    by_seed = fallen.groupby(level=0).mean()  # the arms of a seed share their warm start: one unit
    when, gap = t_interval(by_seed["when"]), t_interval(by_seed["gap"])
    late, high = when.low > HALF, gap.low > -PEAK_MARGIN
    if late or high:
        verdict = REPRODUCED if late and high else DIRECTION
    else:
        verdict = NOT_REPRODUCED if when.high < HALF or gap.high < -PEAK_MARGIN else INCONCLUSIVE
    note = (
        f"{len(fallen)} of {sum(len(evidence.runs(arm)) for arm in falling)} runs collapsed, at a median of "
        f"{fallen['when'].median():.2f} of {horizon} updates; best training reward minus that of {reference}: "
        f"{spelled(gap, 'points')}"
    )
    return Judgement(verdict, when, note)


LATE_COLLAPSE = Rule(
    "Over the collapsed runs, one mean a seed. Late: the interval of the time of collapse lies above half of "
    "training. High: that of the best running mean of reward, minus GRPO's of the same seed, lies above "
    f"-{PEAK_MARGIN:g} points. Reproduced if both, direction only if one. Else not reproduced if either interval lies "
    "wholly on the other side. Else inconclusive.",
    "update of collapse over updates of training",
    "share of training",
    _late_collapse,
)


def _falls_with_lag(evidence: Evidence, *arms: str) -> Judgement:
    frame = pd.concat([evidence.points(arm, "mean_at_k") for arm in arms], axis=1, join="inner").dropna()
    lags = [int(evidence.study.arms[arm].condition.removeprefix("lag")) for arm in arms]
    doublings = np.log2(1 + np.array(lags))
    if frame.empty:
        return Judgement(INCONCLUSIVE, Interval(nan, -inf, inf, 0), "no seed has every lag")
    slope = t_interval(np.polyfit(doublings, frame.to_numpy().T, 1)[0])
    if slope.high < 0:
        verdict = DIRECTION if slope.low > -SLOPE_MARGIN else REPRODUCED
    elif slope.low > 0 or equivalent(slope, -SLOPE_MARGIN, SLOPE_MARGIN):
        verdict = NOT_REPRODUCED
    else:
        verdict = INCONCLUSIVE
    means = ", ".join(f"{lag}: {mean:.1f}" for lag, mean in zip(lags, frame.mean(), strict=True))
    falls = ", ".join(f"{lag}: {evidence.collapsed(arm).sum()}" for lag, arm in zip(lags, arms, strict=True))
    return Judgement(verdict, slope, f"mean@8 by lag {means}; collapsed runs by lag {falls}")


FALLS_WITH_LAG = Rule(
    "A least-squares slope of final mean@8 on log2(1 + lag) for each seed. Reproduced if the interval of the mean "
    f"slope lies below 0, but direction only if it also lies above -{SLOPE_MARGIN:g} ({MARGIN:g} points from lag 0 to "
    f"64). Else not reproduced if it lies above 0 or within -{SLOPE_MARGIN:g}..{SLOPE_MARGIN:g}. Else inconclusive.",
    "slope of final mean@8 on log2(1 + lag)",
    "points per doubling of 1 + lag",
    _falls_with_lag,
)


def _imbalance_rises(evidence: Evidence, arm: str, control: str) -> Judgement:
    both = pd.concat([evidence.curve(name, "nll_ratio") for name in (arm, control)], axis=1, join="inner")
    both = both[(np.isfinite(both) & (both > 0)).all(axis=1)].astype(float)
    log = np.log(both.iloc[:, 0] / both.iloc[:, 1])
    means = [values.iloc[len(values) // 2 :].mean() for _, values in log.groupby("seed")]
    if not means:
        return Judgement(INCONCLUSIVE, Interval(nan, 0.0, inf, 0), "no update has the ratio in both arms")
    ratio = geometric_mean(means)
    if ratio.low > 1:
        verdict = DIRECTION if ratio.high < 1 + RATIO_MARGIN else REPRODUCED
    elif ratio.high < 1 or equivalent(ratio, 1 - RATIO_MARGIN, 1 + RATIO_MARGIN):
        verdict = NOT_REPRODUCED
    else:
        verdict = INCONCLUSIVE
    return Judgement(verdict, ratio, counted(evidence, arm))


IMBALANCE_RISES = Rule(
    "For each seed the geometric mean of the ratio of R_naive in the two arms, over the later half of the updates at "
    "which both have it (it is undefined without mixed groups). Reproduced if the interval over seeds lies above 1, "
    f"but direction only if it also lies below {1 + RATIO_MARGIN:g}. Else not reproduced if it lies below 1 or within "
    f"{1 - RATIO_MARGIN:g}..{1 + RATIO_MARGIN:g}. Else inconclusive.",
    "R_naive (unsigned negative over positive contributions to the loss), first arm over second",
    "ratio",
    _imbalance_rises,
)


def _needs_balance(evidence: Evidence, arm: str, control: str) -> Judgement:
    gain, fewer = difference(evidence, arm, control), collapse_difference(evidence, control, arm)
    if gain.low > 0:
        verdict = REPRODUCED if gain.high >= MARGIN else DIRECTION
    elif fewer.low > 0:
        verdict = DIRECTION
    else:
        verdict = NOT_REPRODUCED if gain.high < MARGIN else INCONCLUSIVE
    note = f"{counted(evidence, arm)}; {counted(evidence, control)}; difference of shares: {spelled(fewer, digits=2)}"
    return Judgement(verdict, gain, note)


NEEDS_BALANCE = Rule(
    "Reproduced if the interval of the paired difference lies above 0; direction only if it also lies below "
    f"{MARGIN:g} points, or includes 0 while the control collapses in more runs (paired interval above 0). Else not "
    f"reproduced if it lies below {MARGIN:g}: the control does no worse by more than the margin. Else inconclusive.",
    "difference of final mean@8, ASymPO minus the control",
    "points",
    _needs_balance,
)


def _agrees(evidence: Evidence, arm: str, other: str) -> Judgement:
    gap = difference(evidence, arm, other)
    return Judgement(
        by_margin(gap, -QUEUE_MARGIN, QUEUE_MARGIN), gap, f"{counted(evidence, arm)}; {counted(evidence, other)}"
    )


AGREES = Rule(
    f"Reproduced if the interval of the paired difference lies within -{QUEUE_MARGIN:g}..{QUEUE_MARGIN:g} points, not "
    "reproduced if it lies wholly outside. Else inconclusive.",
    "difference of final mean@8, real queue minus drawn lag",
    "points",
    _agrees,
)
