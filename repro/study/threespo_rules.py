"""Rules for the claims of 3SPO, fixed before the runs they judge; conventions and verdicts are those of `rules`.

Where the paper gives a number, a difference or a factor is *reproduced* if its whole interval has the claimed sign and
reaches the number, *direction only* if it has the sign and stays short of it, *not reproduced* if it stays below half
of it (half on a logarithmic scale) without having the sign. A factor of 1 and a difference of 0 are no effect.
"""

from __future__ import annotations

from functools import partial
from math import inf, nan, sqrt

import numpy as np
import pandas as pd

from repro.study import progress
from repro.study.cost_rules import price_ratio
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
    geometric_mean,
    no_worse,
    paired,
    spelled,
)
from repro.study.statistics import Interval, paired_t_interval
from repro.study.threespo import SHARE

MARGIN = 5.0  # points within which two arms count as equal
COMPARABLE = 1.5  # cost within this factor either way counts as comparable
THRESHOLDS = (0.3, 0.4, 0.5, 0.6)  # held-out success whose price is compared; the paper's is 0.6
EDGE = 0.1  # of the epochs: what "first" and "last" are
NONE = Interval(nan, -inf, inf, 0)
AT = "_t0.4"  # the paper evaluates at temperature 0.4


def effect(interval: Interval, number: float | None, neutral: float = 0.0) -> str:
    """The verdict on an effect whose claimed size is `number`, on a scale on which `neutral` is none."""
    if interval.n == 0:
        return INCONCLUSIVE
    if number is None:
        return by_sign(
            Interval(interval.estimate - neutral, interval.low - neutral, interval.high - neutral, interval.n)
        )
    if interval.low > neutral:
        return REPRODUCED if interval.high >= number else DIRECTION
    half = sqrt(number) if neutral == 1.0 else number / 2
    return NOT_REPRODUCED if interval.high < max(half, neutral) else INCONCLUSIVE


def _words(number: float | None, what: str, unit: str, neutral: str = "0") -> str:
    above = f"Reproduced if the interval of the {what} lies above {neutral}"
    if number is None:
        return f"{above}, not reproduced if below. Else inconclusive."
    half = sqrt(number) if neutral == "1" else number / 2
    return (
        f"{above} and reaches the paper's {number:g}{unit}, direction only if it lies above {neutral} and stays short "
        f"of that. Else not reproduced if it lies below half of it, {half:.3g}{unit}. Else inconclusive."
    )


# Success at the end ---------------------------------------------------------------------------------------------------


def final(evidence: Evidence, arm: str, metric: str) -> pd.Series:
    """A measure of the last policy by seed, in points; empty if it was not measured."""
    if metric not in evidence.tables.runs:
        return pd.Series(dtype=float)
    return evidence.points(arm, metric).astype(float)


def difference(evidence: Evidence, arm: str, other: str, metric: str) -> Interval:
    a, b = paired(final(evidence, arm, metric), final(evidence, other, metric))
    return paired_t_interval(a, b) if len(a) else NONE


def _ends_above(evidence: Evidence, arm: str, other: str, metric: str, number: float | None) -> Judgement:
    gain = difference(evidence, arm, other, metric + AT)
    trained = difference(evidence, arm, other, metric)
    return Judgement(effect(gain, number), gain, f"at training's temperature {spelled(trained, 'points')}")


def ends_above(metric: str, words: str, number: float | None = None) -> Rule:
    """Final held-out success or score, first arm minus second, sampled at temperature 0.4 as in the paper."""
    return Rule(
        _words(number, "paired difference", " points"),
        f"difference of final held-out {words} at temperature 0.4, first arm minus second",
        "points",
        partial(_ends_above, metric=metric, number=number),
    )


def _rises(evidence: Evidence, arm: str) -> Judgement:
    a, b = paired(final(evidence, arm, "won"), final(evidence, arm, "start_won"))
    gain = paired_t_interval(a, b) if len(a) else NONE
    c, d = paired(final(evidence, arm, f"won{AT}"), final(evidence, arm, f"start_won{AT}"))
    note = f"at temperature 0.4 {spelled(paired_t_interval(c, d), 'points')}" if len(c) else ""
    return Judgement(effect(gain, None), gain, note)


RISES = Rule(
    _words(None, "paired difference", " points"),
    "held-out success at training's temperature, end minus warm start",
    "points",
    _rises,
)


# Success at the same number of generations ----------------------------------------------------------------------------


def point(evidence: Evidence, *arms: str) -> float:
    """The generations at which the arms are compared: the smallest of their budgets."""
    core = evidence.tables.runs.loc[evidence.tables.runs["core"].astype(bool), "generations"]
    whole = evidence.tables.runs["generations"].max() if core.empty else core.max()
    return float(whole) * min(SHARE[evidence.study.arms[arm].condition] for arm in arms)


def reached(evidence: Evidence, arm: str, generations: float, metric: str = "won") -> pd.Series:
    """Held-out success at training's temperature, mean over lists, in points by seed; 0 for a run that diverged."""
    runs = evidence.runs(arm)
    points = 100 * progress.at_generations(evidence.tables, arm, generations, metric=metric)
    return points.reindex(runs.index).mask(runs["status"] == "diverged", 0.0)


def difference_at(evidence: Evidence, arm: str, other: str, metric: str = "won") -> Interval:
    """First arm minus second, in points, at `point`, paired by seed."""
    at = point(evidence, arm, other)
    a, b = paired(reached(evidence, arm, at, metric), reached(evidence, other, at, metric))
    return paired_t_interval(a, b) if len(a) else NONE


_AT_POINT = "held-out success at training's temperature and equal generations, mean over lists"


def _part_helps(evidence: Evidence, arm: str, other: str, number: float | None) -> Judgement:
    gain = difference_at(evidence, arm, other)
    return Judgement(effect(gain, number), gain)


def part_helps(number: float | None = None) -> Rule:
    """The reading minus itself without a part."""
    return Rule(
        _words(number, "paired difference", " points"),
        f"{_AT_POINT}, first arm minus second",
        "points",
        partial(_part_helps, number=number),
    )


def _no_worse(evidence: Evidence, arm: str, other: str) -> Judgement:
    gain = difference_at(evidence, arm, other)
    return Judgement(no_worse(gain, MARGIN), gain)


NO_WORSE = Rule(
    f"Reproduced if the interval of the paired difference lies above -{MARGIN:g} points: no worse by more than the "
    f"margin. Not reproduced if it lies below -{MARGIN:g}. Else inconclusive.",
    f"{_AT_POINT}, first arm minus second",
    "points",
    _no_worse,
)


# States -------------------------------------------------------------------------------------------------------------


def _more_states(evidence: Evidence, arm: str, other: str, kind: str, axis: str, number: float | None) -> Judgement:
    met = {name: _met(evidence, name, (arm, other), kind, axis) for name in (arm, other)}
    a, b = paired(met[arm], met[other])
    factor = geometric_mean(np.log(a / b))
    note = f"{np.mean(a):.0f} against {np.mean(b):.0f}" if len(a) else ""
    return Judgement(effect(factor, number, neutral=1.0), factor, note)


def _met(evidence: Evidence, arm: str, compared: tuple[str, str], kind: str, axis: str) -> pd.Series:
    """States by seed when the arm has spent as much as both arms of the comparison have."""
    runs = evidence.runs(arm)
    if axis == "generations":
        return progress.states_at(evidence.tables, arm, point(evidence, *compared), kind).reindex(runs.index)
    at = progress.spent(progress.only(evidence.tables, *compared), axis)
    ends = [at[at.index.get_level_values("arm") == name].groupby(level="seed").max() for name in compared]
    shared = min(end.min() for end in ends)
    return progress.states_along(evidence.tables, arm, axis, shared, kind).reindex(runs.index)


def more_states(kind: str, words: str, axis: str = "generations", number: float | None = None) -> Rule:
    """Distinct states, first arm over second, after equally many generations or epochs."""
    return Rule(
        _words(number, "geometric mean over seeds", "", "1"),
        f"distinct {words} met in training after equally many {progress.AXES[axis]}, first arm over second",
        "times",
        partial(_more_states, kind=kind, axis=axis, number=number),
    )


# Time and cost --------------------------------------------------------------------------------------------------------


def _faster(evidence: Evidence, arm: str, other: str, axis: str, threshold: float, number: float | None) -> Judgement:
    table = progress.cost_to_reach(progress.only(evidence.tables, arm, other), axis, threshold)
    factor, times, note = price_ratio(evidence, arm, other, table, threshold)
    if times is not None and times.pairs >= 3 and times.b_faster == times.pairs:
        return Judgement(NOT_REPRODUCED, factor, note)
    few = times is None or 2 * factor.n < times.pairs
    return Judgement(INCONCLUSIVE if few else effect(factor, number, neutral=1.0), factor, note)


def faster(axis: str, threshold: float, number: float | None = None) -> Rule:
    """What the second arm had spent over what the first had, when held-out success first passed a threshold."""
    return Rule(
        "Not reproduced if of three or more pairs the first arm is slower beyond doubt in all (it had not reached the "
        "threshold where the other had). Inconclusive if not even half of the pairs both reach it. Else over those "
        f"that do: {_words(number, 'geometric mean', '', '1')}",
        f"{progress.AXES[axis]} up to {100 * threshold:g} % held-out success at training's temperature (mean over "
        "lists), second arm over first",
        "times",
        partial(_faster, axis=axis, threshold=threshold, number=number),
    )


def _costs(evidence: Evidence, arm: str, other: str, columns: tuple[str, ...], number: float | None) -> Judgement:
    a, b = paired(*(evidence.runs(name)[list(columns)].astype(float).sum(axis=1) for name in (arm, other)))
    factor = geometric_mean(np.log(a / b))
    if number is not None:
        return Judgement(effect(factor, number, neutral=1.0), factor)
    return Judgement(by_margin(factor, 1 / COMPARABLE, COMPARABLE) if factor.n else INCONCLUSIVE, factor)


def comparable(columns: tuple[str, ...], words: str) -> Rule:
    """Cost of whole runs at equal generations, first arm over second."""
    return Rule(
        f"Reproduced if the interval of the geometric mean lies within a factor of {COMPARABLE:g} either way, not "
        "reproduced if wholly outside. Else inconclusive.",
        f"{words} of training at equal generations, first arm over second",
        "times",
        partial(_costs, columns=columns, number=None),
    )


def _epoch_size(evidence: Evidence, arm: str, other: str, number: float | None) -> Judgement:
    sizes = {name: _mean_by_seed(evidence, name, "epoch_generations") for name in (arm, other)}
    a, b = paired(sizes[arm], sizes[other])
    factor = geometric_mean(np.log(a / b))
    note = f"{np.mean(a):.0f} against {np.mean(b):.0f} generations an epoch" if len(a) else ""
    return Judgement(effect(factor, number, neutral=1.0), factor, note)


def epoch_size(number: float | None = None) -> Rule:
    """What an epoch costs."""
    return Rule(
        _words(number, "geometric mean over seeds", "", "1"),
        "mean generations an epoch, first arm over second",
        "times",
        partial(_epoch_size, number=number),
    )


# Mechanism ------------------------------------------------------------------------------------------------------------


def _epochs(evidence: Evidence, arm: str) -> pd.DataFrame:
    epochs = evidence.tables.epochs
    return epochs[(epochs["arm"] == arm) & epochs["seed"].isin(evidence.runs(arm).index)].sort_values(["seed", "epoch"])


def _mean_by_seed(evidence: Evidence, arm: str, column: str) -> pd.Series:
    rows = _epochs(evidence, arm)
    return rows.groupby("seed")[column].mean().astype(float) if column in rows else pd.Series(dtype=float)


def edges(evidence: Evidence, arm: str, column: str) -> tuple[pd.Series, pd.Series]:
    """Means of a column over the first and over the last tenth of the epochs that have it, by seed."""
    rows, first, last = _epochs(evidence, arm), {}, {}
    for seed, values in rows[["seed", column]].dropna().groupby("seed")[column] if column in rows else ():
        part = max(1, round(EDGE * len(values)))
        first[seed], last[seed] = float(values.iloc[:part].mean()), float(values.iloc[-part:].mean())
    return pd.Series(first, dtype=float), pd.Series(last, dtype=float)


def _falls(evidence: Evidence, arm: str, column: str, number: float) -> Judgement:
    first, last = edges(evidence, arm, column)
    a, b = paired(first, last)
    fall = paired_t_interval(a, b) if len(a) else NONE
    note = f"from {np.mean(a):.2f} to {np.mean(b):.2f}" if len(a) else ""
    return Judgement(effect(fall, number), fall, note)


def falls(column: str, words: str, number: float) -> Rule:
    """How much a mean of the first epochs is above that of the last."""
    return Rule(
        _words(number, "paired difference", ""),
        f"{words}, first tenth of the epochs minus last",
        "score",
        partial(_falls, column=column, number=number),
    )


def _shrinks(evidence: Evidence, arm: str) -> Judgement:
    first, last = edges(evidence, arm, "epoch_generations")
    a, b = paired(first, last)
    factor = geometric_mean(np.log(a / b)) if len(a) and a.all() and b.all() else Interval(nan, 0.0, inf, 0)
    lost = _mean_by_seed(evidence, arm, "pruned_starts")
    note = f"{np.mean(a):.0f} to {np.mean(b):.0f} generations" if len(a) else ""
    note += f"; {lost.mean():.1f} starts an epoch given up" if len(lost) else ""
    return Judgement(effect(factor, None, neutral=1.0), factor, note)


SHRINKS = Rule(
    _words(None, "geometric mean", "", "1"),
    "generations an epoch, first tenth of the epochs over last",
    "times",
    _shrinks,
)
