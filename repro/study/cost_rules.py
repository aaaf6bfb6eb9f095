"""Rules for claims about cost: the same conventions and verdicts as `rules`, fixed before the runs they judge."""

from __future__ import annotations

from functools import partial
from math import inf, log, nan

import numpy as np
import pandas as pd

from repro.study import bill
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
    difference,
    geometric_mean,
    no_worse,
    paired,
    spelled,
)
from repro.study.rules import MARGIN
from repro.study.statistics import Interval, paired_t_interval, t_interval
from repro.study.survival import TimeRatio, paired_time_ratio

FACTOR = 2.0  # "2 to 3 times fewer FLOPs": the lower end
THRESHOLD = 0.6  # held-out success whose price is compared; uniform groups passed it on the tuning seed
PROPORTION = 0.2  # relative deviation from proportionality that still counts as proportional
PREDICTION = 0.1  # relative deviation from the predicted bill


def _no_worse(evidence: Evidence, arm: str, other: str) -> Judgement:
    gain = difference(evidence, arm, other)
    return Judgement(no_worse(gain, MARGIN), gain)


NO_WORSE = Rule(
    f"Reproduced if the interval of the paired difference lies above -{MARGIN:g} points: no worse by more than the "
    f"margin. Not reproduced if it lies below -{MARGIN:g}. Else inconclusive.",
    "difference of final held-out success, first arm minus second",
    "points",
    _no_worse,
)


def ratio(evidence: Evidence, arm: str, other: str, convention: str) -> Interval:
    """Geometric mean over seeds of what `other` costs over what `arm` costs."""
    ours, theirs = (bill.total(evidence.runs(name), convention) for name in (arm, other))
    a, b = paired(ours, theirs)
    return geometric_mean(np.log(b / a))


def _cheaper(evidence: Evidence, arm: str, other: str, convention: str) -> Judgement:
    factor = ratio(evidence, arm, other, convention)
    if factor.low >= FACTOR:
        verdict = REPRODUCED
    elif factor.low > 1:
        verdict = DIRECTION
    else:
        verdict = NOT_REPRODUCED if factor.high < FACTOR else INCONCLUSIVE
    return Judgement(verdict, factor)


def cheaper(convention: str) -> Rule:
    """The bill of the second arm over that of the first, whole runs, in a convention of `bill`."""
    return Rule(
        f"The geometric mean over seeds. Reproduced if its interval lies at or above {FACTOR:g}; else direction only "
        f"if above 1; else not reproduced if below {FACTOR:g}. Else inconclusive.",
        f"bill of the second arm over that of the first, {bill.CONVENTIONS[convention]}",
        "times",
        partial(_cheaper, convention=convention),
    )


def price_ratio(
    evidence: Evidence, arm: str, other: str, table: pd.DataFrame, threshold: float
) -> tuple[Interval, TimeRatio | None, str]:
    """What `other` had spent when it reached a threshold over what `arm` had, geometric mean over the seeds in which
    both did; how the pairs compare (None without a pair); and that in words. `table` has `reached` and `end`.
    """
    planned = [evidence.runs(name).index for name in (arm, other)]
    reached = {name: table[table.index.get_level_values("arm") == name].droplevel("arm") for name in (arm, other)}
    # A warm start beyond the threshold cost nothing to reach: such a pair has no ratio.
    free = [frame.index[frame["reached"] == 0] for frame in reached.values()]
    seeds = planned[0].intersection(planned[1]).difference(free[0].union(free[1]))
    seeds = seeds.intersection(reached[arm].index).intersection(reached[other].index)
    if seeds.empty:
        return Interval(nan, 0.0, inf, 0), None, ""
    a, b = (reached[name].loc[seeds] for name in (arm, other))
    known = [None if np.isnan(x) else x for x in a["reached"]], [None if np.isnan(x) else x for x in b["reached"]]
    times = paired_time_ratio(*known, a["end"].to_numpy(), b["end"].to_numpy())
    note = (
        f"{arm} reached {100 * threshold:g} % in {times.reached_a} of {times.pairs} runs, {other} in "
        f"{times.reached_b}; cheaper beyond doubt in {times.a_faster} pairs, dearer in {times.b_faster}"
    )
    if times.ratio.n == 0:
        return Interval(nan, 0.0, inf, 0), times, note
    low, high = 1 / times.ratio.high if times.ratio.high else inf, 1 / times.ratio.low if times.ratio.low else inf
    return Interval(1 / times.ratio.estimate, low, high, times.ratio.n), times, note


def _cheaper_to_reach(evidence: Evidence, arm: str, other: str, convention: str) -> Judgement:
    table = bill.cost_to_reach(evidence.tables, convention, THRESHOLD)
    factor, times, note = price_ratio(evidence, arm, other, table, THRESHOLD)
    if factor.n == 0:
        return Judgement(INCONCLUSIVE, factor, note)
    if (
        2 * factor.n < times.pairs
    ):  # added after five seeds: the seeds in which both reach it are the easiest, and few of them prove nothing
        verdict = INCONCLUSIVE
    elif factor.low >= FACTOR:
        verdict = REPRODUCED if times.reached_a == times.reached_b == times.pairs else DIRECTION
    elif factor.low > 1:
        verdict = DIRECTION
    else:
        verdict = NOT_REPRODUCED if factor.high < FACTOR else INCONCLUSIVE
    return Judgement(verdict, factor, note)


def cheaper_to_reach(convention: str) -> Rule:
    """The same for the bill up to a fixed held-out success."""
    return Rule(
        f"The bill at which the curve of held-out success first reaches {100 * THRESHOLD:g} %, second arm over first; "
        "geometric mean over the seeds in which both do. Inconclusive if not even half of the pairs do (added after "
        f"five seeds). Reproduced if the interval lies at or above {FACTOR:g} and no run is censored; else direction "
        f"only if above 1; else not reproduced if below {FACTOR:g}. Else inconclusive.",
        f"bill up to {100 * THRESHOLD:g} % held-out success, second arm over first, {bill.CONVENTIONS[convention]}",
        "times",
        partial(_cheaper_to_reach, convention=convention),
    )


def _beats(evidence: Evidence, arm: str, other: str) -> Judgement:
    gain = difference(evidence, arm, other)
    factor = ratio(evidence, arm, other, "itemised")
    return Judgement(
        by_sign(gain), gain, f"bill of {other} over that of {arm}, itemised: {spelled(factor, 'times', 2, '')}"
    )


BEATS_AT_A_PRICE = Rule(
    "Reproduced if the interval of the paired difference lies above 0, not reproduced if below 0. Else inconclusive. "
    "The note compares their bills.",
    "difference of final held-out success, first arm minus second",
    "points",
    _beats,
)


def _above_curve(evidence: Evidence, arm: str, other: str, convention: str) -> Judgement:
    gaps = bill.above_curve(evidence.tables, arm, other, convention)
    gaps = gaps[gaps.index.isin(evidence.runs(arm).index.intersection(evidence.runs(other).index))]
    if gaps.empty:
        return Judgement(INCONCLUSIVE, Interval(nan, -inf, inf, 0), "no seed in common")
    gap = t_interval(gaps)
    return Judgement(by_sign(gap), gap)


def above_curve(convention: str) -> Rule:
    """Whether an arm ends above the other's own curve of success over the bill."""
    return Rule(
        "The other arm's success at the same bill is interpolated between the evaluations of the same seed's run. "
        "Reproduced if the interval of the difference lies above 0, not reproduced if below. Else inconclusive. Added "
        "after five seeds.",
        f"final held-out success minus the second arm's at the same bill, {bill.CONVENTIONS[convention]}",
        "points",
        partial(_above_curve, convention=convention),
    )


def _little(evidence: Evidence, arm: str, other: str) -> Judgement:
    gain = difference(evidence, arm, other)
    verdict = REPRODUCED if gain.high < MARGIN else NOT_REPRODUCED if gain.low > MARGIN else INCONCLUSIVE
    factor = ratio(evidence, other, arm, "itemised")
    return Judgement(verdict, gain, f"bill of {arm} over that of {other}, itemised: {spelled(factor, 'times', 2, '')}")


BUYS_LITTLE = Rule(
    f"Reproduced if the interval of the paired difference lies below {MARGIN:g} points, not reproduced if above. Else "
    "inconclusive. The note compares their bills.",
    "difference of final held-out success, first arm minus second",
    "points",
    _little,
)


def shares(evidence: Evidence, arm: str, low: float, high: float) -> dict[str, np.ndarray]:
    """Shares of queries (points) with a success rate in [low, high] in the first and the last profile, by seed."""
    profiles = evidence.tables.profiles
    profiles = profiles[(profiles["arm"] == arm) & profiles["seed"].isin(evidence.runs(arm).index)]
    rate = profiles["solved"] / profiles["samples"]
    within = profiles["queries"].where((rate >= low) & (rate <= high), 0)
    keys = [profiles["seed"], profiles["update"]]
    share = 100 * within.groupby(keys).sum() / profiles["queries"].groupby(keys).sum()
    by_seed = share[share.groupby(level="seed").transform("size") > 1].groupby(level="seed")  # with two profiles
    return {"before": by_seed.first().to_numpy(), "after": by_seed.last().to_numpy()}


def _share_moves(evidence: Evidence, arm: str, low: float, high: float, sign: int) -> Judgement:
    share = shares(evidence, arm, low, high)
    if not len(share["before"]):
        return Judgement(INCONCLUSIVE, Interval(nan, -inf, inf, 0), "no run has two profiles")
    change = paired_t_interval(share["after"], share["before"])
    note = f"from {share['before'].mean():.1f} to {share['after'].mean():.1f} % of the queries"
    return Judgement(by_sign(change, sign), change, note)


def share_moves(words: str, low: float, high: float, sign: int) -> Rule:
    """The change of a share of queries between the first and the last profile of an arm; `sign` is the claimed one."""
    return Rule(
        f"Reproduced if the whole interval of the paired change is {'positive' if sign > 0 else 'negative'}, not "
        "reproduced if it has the other sign. Else inconclusive.",
        f"share of queries {words}, after the first sweep minus before",
        "points",
        partial(_share_moves, low=low, high=high, sign=sign),
    )


def _by_phase(evidence: Evidence, arm: str) -> dict[int, list[tuple[int, np.ndarray, np.ndarray]]]:
    """For each seed its phases in order: (group size, tokens an update, reward of the updates)."""
    columns = {name: evidence.curve(arm, name) for name in ("rollouts", "groups", "generated_tokens", "reward")}
    found: dict[int, list[tuple[int, np.ndarray, np.ndarray]]] = {}
    for seed in columns["groups"].index.unique("seed"):
        rollouts, groups, tokens, reward = (columns[name].loc[seed].to_numpy() for name in columns)
        size = np.rint(rollouts / groups).astype(int)
        cuts = [0, *(np.flatnonzero(np.diff(size)) + 1), len(size)]
        found[seed] = [
            (int(size[a]), tokens[a:b] / groups[a:b], reward[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)
        ]
    return found


def _tokens_by_size(evidence: Evidence, arm: str) -> Judgement:
    logs = []
    for phases in _by_phase(evidence, arm).values():
        mean = {g: np.concatenate([t for size, t, _ in phases if size == g]).mean() for g, _, _ in phases}
        if {2, 8} <= set(mean):
            logs.append(log(mean[8] / mean[2]))
    if not logs:
        return Judgement(INCONCLUSIVE, Interval(nan, 0.0, inf, 0), "no run has both phases")
    factor = geometric_mean(logs)
    return Judgement(by_margin(factor, 4 * (1 - PROPORTION), 4 * (1 + PROPORTION)), factor)


TOKENS_BY_SIZE = Rule(
    f"Reproduced if the interval lies within {100 * PROPORTION:g} % of 4, not reproduced if wholly outside. Else "
    "inconclusive.",
    "tokens a query in the phase of G = 8 over those in the phase of G = 2",
    "times",
    _tokens_by_size,
)


def _reward_drops(evidence: Evidence, arm: str, window: int = 5) -> Judgement:
    drops = []
    for phases in _by_phase(evidence, arm).values():
        changes = [
            b[2][:window].mean() - a[2][-window:].mean()
            for a, b in zip(phases, phases[1:], strict=False)
            if b[0] > a[0]
        ]
        if changes:
            drops.append(100 * float(np.mean(changes)))
    if not drops:
        return Judgement(INCONCLUSIVE, Interval(nan, -inf, inf, 0), "no run has two phases")
    change = t_interval(drops)
    return Judgement(by_sign(change, -1), change)


REWARD_DROPS = Rule(
    "Mean training reward of a phase's first 5 updates minus that of the last 5 of the phase before, where groups "
    "grow; mean over a run's changes. Reproduced if the interval over seeds lies below 0, not reproduced if above. "
    "Else inconclusive.",
    "change of training reward where a phase of larger groups begins",
    "points",
    _reward_drops,
)


def predicted_ratio(profile: np.ndarray, rollouts_sweep: int, sweeps: int = 2, price: float = 6.0) -> float:
    """The ratio that a profile promises if all rollouts are equally long: uniform G = 8 over sGPO, 12P against 2P."""
    queries, samples = profile.sum(), len(profile) - 1
    return 8 * queries * sweeps / (rollouts_sweep * sweeps + samples * queries / price)


def _as_predicted(evidence: Evidence, arm: str, other: str) -> Judgement:
    profiles, runs = evidence.tables.profiles, evidence.runs(arm)
    predicted = {}
    for seed, run in runs.iterrows():
        counts = profiles[(profiles["arm"] == arm) & (profiles["seed"] == seed)].sort_values("solved")["queries"]
        predicted[seed] = predicted_ratio(counts.to_numpy(), run["rollouts"] / 2)
    ours, theirs = bill.total(runs, "paper"), bill.total(evidence.runs(other), "paper")
    seeds = ours.index.intersection(theirs.index)
    if seeds.empty:
        return Judgement(INCONCLUSIVE, Interval(nan, 0.0, inf, 0))
    off = geometric_mean([log(theirs[seed] / ours[seed] / predicted[seed]) for seed in seeds])
    verdict = by_margin(off, 1 - PREDICTION, 1 + PREDICTION)
    promised = np.mean([predicted[seed] for seed in seeds])
    return Judgement(verdict, off, f"predicted from the profiles: {promised:.2f} times")


AS_PREDICTED = Rule(
    f"The measured ratio of bills (2P / 12P) over the one predicted from the profile for equally long responses. "
    f"Reproduced if the interval of its geometric mean lies within {100 * PREDICTION:g} % of 1, not reproduced if "
    "wholly outside. Else inconclusive.",
    "measured over predicted ratio of bills",
    "times",
    _as_predicted,
)
