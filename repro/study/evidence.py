"""What a verdict is made of: the evidence, the claim, and the measurements that rules share.

Conventions, the same for every rule:

- Only the small tier counts, and of each arm only the seeds that the study plans, so that neither a smoke run nor an
  added seed can make a claim come true. Fewer seeds than planned give wider intervals and a remark, not another rule.
- Arms are compared over the seeds they share. Intervals are two-sided at 95 %: t intervals for means and paired
  differences, Clopper and Pearson's for a share, Newcombe's for a paired difference of shares. They are not corrected
  for the number of claims: of twenty, about one misses by chance.
- Held-out success is that of the final policy, in percentage points. A run that diverged counts with 0, whatever an
  evaluation of its last finite weights said: training could not have gone on from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, nan
from pathlib import Path

import numpy as np
import pandas as pd

from repro.study.definition import COLLAPSE, Study
from repro.study.statistics import (
    Interval,
    collapse_update,
    equivalent,
    paired_proportions,
    paired_t_interval,
    proportion_interval,
    t_interval,
)
from repro.study.tables import Tables, load, results_folder

REPRODUCED = "reproduced"
DIRECTION = "direction only"
NOT_REPRODUCED = "not reproduced"
INCONCLUSIVE = "inconclusive"
NOT_TESTABLE = "not testable here"
NOT_RUN = "not run yet"  # an arm that the claim needs has no run: nothing has been judged
VERDICTS = (REPRODUCED, DIRECTION, NOT_REPRODUCED, INCONCLUSIVE, NOT_TESTABLE, NOT_RUN)


@dataclass(frozen=True, eq=False)
class Evidence:
    """The small tier's tables of a study, restricted to the planned seeds."""

    study: Study
    tables: Tables

    def runs(self, arm: str) -> pd.DataFrame:
        """The arm's rows of `runs`, indexed by seed."""
        runs = self.tables.runs
        planned = self.study.seeds(arm, "small")
        return runs[(runs["arm"] == arm) & (runs["seed"] < planned)].set_index("seed").sort_index()

    def curve(self, arm: str, column: str) -> pd.Series:
        """A column of `curves`, indexed by seed and update; empty if it was never measured."""
        curves = self.tables.curves
        if column not in curves:
            return pd.Series(dtype=float, index=pd.MultiIndex.from_arrays([[], []], names=["seed", "update"]))
        rows = curves[(curves["arm"] == arm) & curves["seed"].isin(self.runs(arm).index)]
        return rows.set_index(["seed", "update"])[column].sort_index()

    def points(self, arm: str, metric: str) -> pd.Series:
        """Final held-out success by seed, in percentage points; 0 for a run that diverged."""
        runs = self.runs(arm)
        return (100 * runs[metric]).mask(runs["status"] == "diverged", 0.0)

    def collapsed(self, arm: str, strict: bool = False) -> pd.Series:
        """Whether each seed's run collapsed; `strict` reads the curve again with the stricter fraction."""
        runs = self.runs(arm)
        if not strict:
            return runs["collapsed"].astype(bool)
        reward, fallen = self.curve(arm, "reward").dropna(), runs["status"] == "diverged"
        for seed, values in reward.groupby("seed"):
            fall = collapse_update(values, COLLAPSE.strict_fraction, COLLAPSE.window, COLLAPSE.stretch)
            fallen[seed] |= fall is not None
        return fallen.astype(bool)


def committed(study: Study, root: Path | None = None) -> Evidence | None:
    """The evidence in a data folder; None if the study has no tables of the small tier, ReproError if damaged ones."""
    return Evidence(study, load(study.name, TIER, root)) if results_folder(study.name, TIER, root).exists() else None


@dataclass(frozen=True)
class Judgement:
    """What a rule made of the evidence: the number that decides with its limits and seeds, and what goes with it."""

    verdict: str
    interval: Interval
    note: str = ""


@dataclass(frozen=True)
class Rule:
    """`judge(evidence, *arms)` and what it does, in words; a rule without `judge` says why nothing can be judged."""

    words: str
    metric: str
    unit: str
    judge: Callable[..., Judgement] | None = None


@dataclass(frozen=True)
class Claim:
    """One claim of a paper: what it says and where, the arms that test it here, the rule, the figure to look at."""

    id: str
    paper: str
    study: str
    statement: str
    paper_value: str  # as the paper gives it, with its unit
    source: str
    rule: Rule
    arms: tuple[str, ...] = ()  # in the order the rule takes them
    figure: str | None = None  # file stem in figures/
    paper_number: float | None = None  # in the rule's unit; the mean where the paper has several
    remark: str = ""  # what the reader of the verdict must know whatever it is


TIER = "small"  # smoke results prove that it runs, never a claim
INTERIM = "Interim, seeds: "
NOTHING = "No small-tier results are committed yet."
LATER = ("Posed after", "Added after", "Changed after")  # how a remark says that its row was not fixed beforehand


def marks(entry: Mapping[str, str]) -> str:
    """What is to be known beside a verdict: † posed, added or changed after runs it judges; ‡ not all seeds yet."""
    later = "†" * any(words in entry["note"] for words in LATER)
    return later + "‡" * (INTERIM in entry["note"])


# What the rules share -------------------------------------------------------------------------------------------------


def paired(a: pd.Series, b: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Values of the seeds that both have."""
    both = pd.concat([a, b], axis=1, join="inner").dropna()
    return both.iloc[:, 0].to_numpy(), both.iloc[:, 1].to_numpy()


def difference(evidence: Evidence, arm: str, other: str, metric: str = "mean_at_k") -> Interval:
    """arm - other in points, paired by seed."""
    a, b = paired(evidence.points(arm, metric), evidence.points(other, metric))
    return paired_t_interval(a, b) if len(a) else Interval(nan, -inf, inf, 0)


def collapse_share(evidence: Evidence, arm: str) -> Interval:
    collapsed = evidence.collapsed(arm)
    return proportion_interval(int(collapsed.sum()), len(collapsed))


def collapse_difference(evidence: Evidence, arm: str, other: str) -> Interval:
    """Share of collapsed runs, arm - other, paired by seed."""
    a, b = paired(evidence.collapsed(arm), evidence.collapsed(other))
    return paired_proportions(a, b).difference if len(a) else Interval(nan, -1.0, 1.0, 0)


def counted(evidence: Evidence, arm: str) -> str:
    """For example "naive@ref: 9 of 10 collapsed (7 at 0.25)"."""
    collapsed, strict = evidence.collapsed(arm), evidence.collapsed(arm, strict=True)
    return f"{arm}: {collapsed.sum()} of {len(collapsed)} collapsed ({strict.sum()} at {COLLAPSE.strict_fraction})"


def geometric_mean(logs: Sequence[float]) -> Interval:
    """The exponential of the mean of logarithms and of its limits; 0 to infinity where there are none."""
    if not len(logs):
        return Interval(nan, 0.0, inf, 0)
    mean = t_interval(logs)
    return Interval(exp(mean.estimate), exp(mean.low), exp(mean.high) if mean.high < 700 else inf, mean.n)


def by_sign(interval: Interval, claimed: int = 1) -> str:
    """Reproduced if the whole interval has the claimed sign, not reproduced if the other one, else inconclusive."""
    low, high = (interval.low, interval.high) if claimed > 0 else (-interval.high, -interval.low)
    return REPRODUCED if low > 0 else NOT_REPRODUCED if high < 0 else INCONCLUSIVE


def by_margin(interval: Interval, low: float, high: float) -> str:
    """Reproduced if the interval lies within low..high, not reproduced if wholly outside, else inconclusive."""
    if equivalent(interval, low, high):
        return REPRODUCED
    return NOT_REPRODUCED if interval.low >= high or interval.high <= low else INCONCLUSIVE


def no_worse(gain: Interval, margin: float) -> str:
    """Reproduced if the interval lies above -margin, not reproduced if below it, else inconclusive."""
    return REPRODUCED if gain.low > -margin else NOT_REPRODUCED if gain.high < -margin else INCONCLUSIVE


def spelled(interval: Interval, unit: str = "", digits: int = 1, sign: str = "+") -> str:
    if interval.n == 0:
        return "no seed in common"
    numbers = [f"{x:{sign}.{digits}f}" for x in (interval.estimate, interval.low, interval.high)]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]{' ' if unit else ''}{unit}"


def with_seeds(gap: Interval, digits: int = 1) -> str:
    """A difference in points, and over how many seeds."""
    return f"{spelled(gap, 'points', digits)}, {gap.n} seeds" if gap.n else spelled(gap)
