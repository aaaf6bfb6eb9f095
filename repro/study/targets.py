"""How soon a run reached a held-out success, and what it had spent by then.

A run reaches a target at the first of `HOLD` consecutive evaluations at or above it: a single one may be luck. Runs
that never do are censored at their end, not dropped. Evaluations stand some updates apart, so times are that coarse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from repro.study import bill, progress
from repro.study.survival import TimeRatio, paired_time_ratio
from repro.study.tables import Tables

HOLD = 2  # consecutive evaluations at or above the target
AXES = {"updates": "updates", "tokens": "generated tokens", "hours": "hours of sampling and updates"}


def success(tables: Tables, arm: str) -> pd.DataFrame:
    """Held-out success over training (0..1, levels weighted equally), a row an evaluation and a column a seed."""
    rows = tables.evals[tables.evals["arm"] == arm]
    if rows.empty:
        return pd.DataFrame()
    return bill.accuracy(Tables(tables.runs, tables.curves, rows)).loc[arm].unstack("seed").sort_index()


def spent(tables: Tables, arm: str, axis: str) -> pd.DataFrame:
    """What was spent up to each update on an axis of AXES, a column a seed; evaluation and the warm start are free."""
    name, unit = {"tokens": ("generated_tokens", 1), "hours": ("seconds", 3600)}.get(axis, (axis, 1))
    return progress.spent(progress.only(tables, arm), name).div(unit).droplevel("arm").unstack("seed")


def reached(curve: pd.Series, target: float, hold: int = HOLD) -> int | None:
    """The first update from which success is at or above the target in `hold` consecutive evaluations."""
    values = curve.dropna()
    above = values.to_numpy() >= target
    for place in range(len(values) - hold + 1):
        if above[place : place + hold].all():
            return int(values.index[place])
    return None


@dataclass(frozen=True, eq=False)
class Course:
    """What each seed's run of an arm had learned and spent, for looking up any number of targets."""

    success: pd.DataFrame
    spent: pd.DataFrame

    def times(self, target: float) -> pd.DataFrame:
        """`reached` (NaN: never, the run is censored) and `end`, by seed.

        A target that the warm start already meets has cost one update, for a ratio of times needs a time above 0.
        """
        rows = {}
        for seed in self.success.columns.intersection(self.spent.columns):
            along, at = self.spent[seed].dropna(), reached(self.success[seed], target)
            rows[seed] = {"reached": np.nan if at is None else along.loc[max(at, 1)], "end": along.iloc[-1]}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["reached", "end"], dtype=float).rename_axis("seed")


def course(tables: Tables, arm: str, axis: str) -> Course:
    """The course of an arm's runs on an axis of AXES."""
    return Course(success(tables, arm), spent(tables, arm, axis))


def speed_up(arm: Course, other: Course, target: float, seeds: Sequence[int] | None = None) -> TimeRatio | None:
    """Time of `other` over time of `arm` to the same target, paired by seed: above 1, `arm` is sooner. None: no pair.

    In the result `a` is `other` and `b` is `arm`.
    """
    ours, theirs = arm.times(target), other.times(target)
    shared = ours.index.intersection(theirs.index)
    shared = shared if seeds is None else shared.intersection(seeds)
    if shared.empty:
        return None
    a, b = theirs.loc[shared], ours.loc[shared]
    known = [[None if np.isnan(x) else x for x in frame["reached"]] for frame in (a, b)]
    return paired_time_ratio(*known, a["end"].to_numpy(), b["end"].to_numpy())
