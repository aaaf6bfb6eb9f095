"""Rules for guidance by expert traces: what was copied, and how soon a target was reached.

They read columns of `runs` that a guided run's probes give at its end (`repro.training.probes`): `copied_full`, the
share of responses that give the answer planted in a full trace that is shown to every arm's policy alike.
"""

from __future__ import annotations

from functools import partial
from math import nan

import pandas as pd

from repro.study.evidence import (
    DIRECTION,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Evidence,
    Judgement,
    Rule,
    difference,
    spelled,
)
from repro.study.statistics import Interval, t_interval
from repro.study.survival import paired_time_ratio
from repro.study.tables import full_evaluations

COPIED_HALF = 50.0  # points: a policy that copies more often than not
HOLD = 2  # consecutive evaluations at or above the target


def _copies(evidence: Evidence, arm: str, other: str) -> Judgement:
    gap, shares = difference(evidence, arm, other, "copied_full"), evidence.points(arm, "copied_full").dropna()
    if gap.n == 0:
        return Judgement(INCONCLUSIVE, gap, "no seed in common")
    share = t_interval(shares)
    if gap.low > 0:
        verdict = REPRODUCED if share.low > COPIED_HALF else DIRECTION
    elif gap.high < 0 or share.high < COPIED_HALF:
        verdict = NOT_REPRODUCED
    else:
        verdict = INCONCLUSIVE
    return Judgement(verdict, gap, f"planted answers given by {arm}: {spelled(share, '%', sign='')}")


COPIES = Rule(
    "All policies are shown full traces with a planted wrong answer, without a hint for what is planted. Reproduced if "
    "the interval of the paired difference of planted answers given lies above 0 and that of the first arm's share "
    f"above {COPIED_HALF:g} %; direction only if the first alone. Not reproduced if the difference lies below 0 or the "
    f"share below {COPIED_HALF:g} %. Else inconclusive.",
    "difference of the share of planted answers given, first arm minus second",
    "points",
    _copies,
)


def accuracy(evidence: Evidence, arm: str) -> pd.DataFrame:
    """Held-out success over training (levels weighted equally), a row an evaluation and a column a seed."""
    evals = evidence.tables.evals
    rows = evals[(evals["arm"] == arm) & evals["seed"].isin(evidence.runs(arm).index)]
    if rows.empty:
        return pd.DataFrame()
    return full_evaluations(rows).groupby(["update", "seed"])["mean_at_k"].mean().unstack("seed").sort_index()


def reached(curve: pd.Series, target: float, hold: int = HOLD) -> int | None:
    """The first update from which success is at or above the target in `hold` consecutive evaluations."""
    values = curve.dropna()
    above = values >= target
    for place in range(len(values) - hold + 1):
        if above.iloc[place : place + hold].all():
            return int(values.index[place])
    return None


def _spent(evidence: Evidence, arm: str, axis: str) -> pd.DataFrame:
    """What was spent up to each update, a column a seed; on the axis "updates" that is the update itself."""
    columns = {"seconds": ["seconds_generate", "seconds_update"], "tokens": ["generated_tokens"]}
    if axis == "updates":
        some = evidence.curve(arm, "reward").unstack("seed")
        return some.apply(lambda column: pd.Series(some.index, some.index, dtype=float))
    parts = [evidence.curve(arm, column).unstack("seed") for column in columns[axis]]
    return sum(parts[1:], parts[0]).fillna(0.0).cumsum()


def speed_up(evidence: Evidence, arm: str, other: str, axis: str) -> tuple[Interval, str, tuple[int, int]]:
    """How many times sooner `arm` reaches the final success of `other` (mean over seeds): interval, words, sign counts.

    Times are counted from update 1, on the axis "updates", "seconds" (rollouts and updates, no evaluation) or "tokens"
    (generated). Runs that never reach the target are censored at their end.
    """
    curves = {name: accuracy(evidence, name) for name in (arm, other)}
    seeds = sorted(set(curves[arm].columns) & set(curves[other].columns))
    if not seeds:
        return Interval(nan, 0.0, float("inf"), 0), "no seed in common", (0, 0)
    target = float(curves[other].apply(lambda column: column.dropna().iloc[-1]).mean())
    times: dict[str, list[float | None]] = {}
    ends: dict[str, list[float]] = {}
    for name in (arm, other):
        spent = _spent(evidence, name, axis)
        updates = [reached(curves[name][seed], target) for seed in seeds]
        # A target that the warm start already meets has cost one update, for a ratio needs a time above 0.
        times[name] = [
            None if update is None else float(spent[seed].loc[max(update, 1)])
            for update, seed in zip(updates, seeds, strict=True)
        ]
        ends[name] = [float(spent[seed].iloc[-1]) for seed in seeds]
    ratio = paired_time_ratio(times[other], times[arm], ends[other], ends[arm])
    words = (
        f"target {100 * target:.1f} %: reached by {ratio.reached_b} of {ratio.pairs} runs of {arm} and "
        f"{ratio.reached_a} of {other}; {arm} provably sooner in {ratio.b_faster} pairs, later in {ratio.a_faster}"
    )
    return ratio.ratio, words, (ratio.b_faster, ratio.a_faster)


def _sooner(evidence: Evidence, arm: str, other: str, axis: str) -> Judgement:
    ratio, words, (sooner, later) = speed_up(evidence, arm, other, axis)
    if ratio.n >= 2 and ratio.low > 1:
        verdict = REPRODUCED
    elif ratio.n >= 2 and ratio.high < 1:
        verdict = NOT_REPRODUCED
    elif sooner + later and not min(sooner, later):
        verdict = DIRECTION if sooner else NOT_REPRODUCED
    else:
        verdict = INCONCLUSIVE
    return Judgement(verdict, ratio, words)


def _sooner_rule(axis: str) -> Rule:
    return Rule(
        "The target is the second arm's final held-out success, mean over seeds; a run reaches it at the first of "
        f"{HOLD} consecutive evaluations at or above it. Over the pairs in which both reach it, the ratio of times: "
        "reproduced if its interval lies above 1, not reproduced if below. Else, counting every pair, direction only "
        "if the first arm is never later and sometimes provably sooner, not reproduced if it is never sooner and "
        "sometimes later. Else inconclusive.",
        f"time to target in {axis}, second arm over first",
        "ratio",
        partial(_sooner, axis=axis),
    )


SOONER_SECONDS, SOONER_UPDATES, SOONER_TOKENS = (_sooner_rule(axis) for axis in ("seconds", "updates", "tokens"))
