"""How soon a run reached a held-out success, and what it had spent by then.

A run reaches a target at the first of `HOLD` consecutive evaluations at or above it: a single one may be luck. Runs
that never do are censored at their end, not dropped. Evaluations stand some updates apart, so times are that coarse.
The last evaluation asks more questions than those along the way: a curve is of the same questions throughout.
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
    """Held-out success over training (0..1, levels weighted equally), a row an evaluation and a column a seed.

    Of the questions that the first evaluation asks; one that asks others is left out.
    """
    rows = tables.evals[tables.evals["arm"] == arm]
    if rows.empty:
        return pd.DataFrame()
    rows = rows[rows["queries"] == rows.loc[rows["update"] == 0, "queries"].min()]
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

    def times(self, target: float | pd.Series) -> pd.DataFrame:
        """`reached` (NaN: never, the run is censored) and `end`, by seed; a target for all, or one a seed.

        A target that the warm start already meets has cost one update, for a ratio of times needs a time above 0.
        """
        rows = {}
        for seed in self.success.columns.intersection(self.spent.columns):
            along = self.spent[seed].dropna()
            at = reached(self.success[seed], target if isinstance(target, float) else target.get(seed, np.inf))
            rows[seed] = {"reached": np.nan if at is None else along.loc[max(at, 1)], "end": along.iloc[-1]}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["reached", "end"], dtype=float).rename_axis("seed")

    def ends(self) -> pd.Series:
        """The success of each run at its last evaluation, by seed."""
        return self.success.ffill().iloc[-1] if len(self.success) else pd.Series(dtype=float)

    def times_to_ends(self) -> pd.DataFrame:
        """`times` to each run's own end: reached by its last evaluation at the latest, too late there to be held."""
        times = self.times(self.ends())
        for seed in times.index[times["reached"].isna()]:
            times.loc[seed, "reached"] = self.spent.loc[self.success[seed].last_valid_index(), seed]
        return times


def course(tables: Tables, arm: str, axis: str) -> Course:
    """The course of an arm's runs on an axis of AXES."""
    return Course(success(tables, arm), spent(tables, arm, axis))


def speed_up(ours: pd.DataFrame, theirs: pd.DataFrame, seeds: Sequence[int] | None = None) -> TimeRatio | None:
    """Their times over ours, paired by seed: above 1, ours are shorter. None without a pair.

    Both are `Course.times`. In the result `a` is theirs and `b` ours.
    """
    shared = ours.index.intersection(theirs.index)
    shared = shared if seeds is None else shared.intersection(seeds)
    if shared.empty:
        return None
    a, b = theirs.loc[shared], ours.loc[shared]
    known = [[None if np.isnan(x) else x for x in frame["reached"]] for frame in (a, b)]
    return paired_time_ratio(*known, a["end"].to_numpy(), b["end"].to_numpy())
