"""Rules for guidance by expert traces: what was copied, what training reward was worth, how soon a target was reached.

Fixed before the runs they judge, but for three. The target of times was the mean of the second arm's final evaluations,
which ask more questions than those along the way, and about half of its own runs never reach a mean. That a loss counts
as the paper's only if answers are given away was added to `HURTS_AND_COPIES`, and `NEARER` posed, after the core arms.

They read columns of `runs` that a guided run's probes give (`repro.training.probes`): `copied_full`, the share of
responses that give the answer planted in a full trace that every arm's policy is shown alike, and `start_copied_full`,
the same of the warm start.
"""

from __future__ import annotations

from functools import partial
from math import inf, nan

import pandas as pd

from repro.study.evidence import (
    DIRECTION,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Evidence,
    Judgement,
    Rule,
    by_sign,
    difference,
    paired,
    spelled,
)
from repro.study.rules import MARGIN
from repro.study.smepo_arms import COPYING_PAYS, profiles
from repro.study.statistics import Interval, paired_t_interval, t_interval
from repro.study.targets import AXES, HOLD, course, speed_up

COPIED_HALF = 50.0  # points: a policy that copies more often than not
HALF = 0.5  # of the decided pairs


def _nothing(note: str) -> Judgement:
    return Judgement(INCONCLUSIVE, Interval(nan, -inf, inf, 0), note)


# Copying --------------------------------------------------------------------------------------------------------------


def _copies(evidence: Evidence, arm: str, other: str) -> Judgement:
    if any("copied_full" not in evidence.runs(name) for name in (arm, other)):
        return _nothing("not measured")
    gap, shares = difference(evidence, arm, other, "copied_full"), evidence.points(arm, "copied_full").dropna()
    if gap.n == 0:
        return _nothing("no seed in common")
    share, theirs = t_interval(shares), t_interval(evidence.points(other, "copied_full").dropna())
    if gap.low > 0:
        verdict = REPRODUCED if share.low > COPIED_HALF else DIRECTION
    elif gap.high < 0 or share.high < COPIED_HALF:
        verdict = NOT_REPRODUCED
    else:
        verdict = INCONCLUSIVE
    words = [f"{name} {spelled(value, '%', sign='')}" for name, value in ((arm, share), (other, theirs))]
    warm = profiles(evidence.tables)
    pays = f"; copying paid in {sum(map(COPYING_PAYS.holds, warm.values()))} of {len(warm)} warm starts" if warm else ""
    return Judgement(verdict, gap, f"planted answers given: {', '.join(words)}{pays}")


COPIES = Rule(
    "All policies are shown full traces with a planted wrong answer. Reproduced if the interval of the paired "
    "difference of planted answers given lies above 0 and that of the first arm's share above "
    f"{COPIED_HALF:g} %; direction only if the first alone. Not reproduced if the difference lies below 0 or the share "
    f"below {COPIED_HALF:g} %. Else inconclusive.",
    "difference of the share of planted answers given, first arm minus second",
    "points",
    _copies,
)


def _hurts(evidence: Evidence, reference: str, arm: str) -> Judgement:
    loss = difference(evidence, reference, arm)
    known = evidence.points(arm, "copied_full").dropna() if "copied_full" in evidence.runs(arm) else ()
    if not len(known):
        return Judgement(DIRECTION if loss.low > 0 else by_sign(loss), loss, "copying not measured")
    share = t_interval(known)
    verdict = DIRECTION if loss.low > 0 and share.low <= COPIED_HALF else by_sign(loss)
    return Judgement(verdict, loss, f"planted answers given: {spelled(share, '%', sign='')}")


HURTS_AND_COPIES = Rule(
    "The claim has two halves: the second arm ends below the first, and its policy copies. Reproduced if the interval "
    "of the paired difference lies above 0 and that of the share of planted answers that the second arm's policy gives "
    f"above {COPIED_HALF:g} %; direction only if the first alone. Not reproduced if the difference lies below 0. Else "
    "inconclusive.",
    "difference of final held-out success, first arm minus second",
    "points",
    _hurts,
)


def _change(evidence: Evidence, arm: str) -> tuple[Interval, str]:
    """Planted answers given at the end minus those of the warm start, in points, and both in words."""
    runs = evidence.runs(arm)
    if not {"copied_full", "start_copied_full"} <= set(runs):
        return Interval(nan, -inf, inf, 0), "not measured"
    end, start = paired(100 * runs["copied_full"], 100 * runs["start_copied_full"])
    if not len(end):
        return Interval(nan, -inf, inf, 0), "not measured"
    return paired_t_interval(end, start), f"from {start.mean():.1f} to {end.mean():.1f} %"


def _copying_rises(evidence: Evidence, arm: str) -> Judgement:
    change, note = _change(evidence, arm)
    return Judgement(by_sign(change) if change.n else INCONCLUSIVE, change, note)


COPYING_RISES = Rule(
    "Planted answers given when a full trace is shown, at the end minus at the warm start, paired by seed. Reproduced "
    "if the interval lies above 0, not reproduced if below. Else inconclusive.",
    "change of the share of planted answers given",
    "points",
    _copying_rises,
)


def _copying_stays(evidence: Evidence, arm: str) -> Judgement:
    change, note = _change(evidence, arm)
    verdict = REPRODUCED if change.high < MARGIN else NOT_REPRODUCED if change.low > MARGIN else INCONCLUSIVE
    return Judgement(verdict, change, note)


COPYING_STAYS = Rule(
    f"The same change. Reproduced if its interval lies below {MARGIN:g} points, not reproduced if above. Else "
    "inconclusive.",
    COPYING_RISES.metric,
    "points",
    _copying_stays,
)


# How much of a loss masking takes back --------------------------------------------------------------------------------


def _nearer(evidence: Evidence, arm: str, other: str, reference: str) -> Judgement:
    ends = pd.concat({name: evidence.points(name, "mean_at_k") for name in (arm, other, reference)}, axis=1).dropna()
    if ends.empty:
        return _nothing("no seed in common")
    regained, left = ends[arm] - ends[other], ends[reference] - ends[arm]
    nearer = paired_t_interval(regained, left)
    loss = (ends[reference] - ends[other]).mean()
    share = f"{100 * regained.mean() / loss:.0f} % of the {loss:.1f} points" if loss > 0 else "there is no loss"
    return Judgement(by_sign(nearer), nearer, f"taken back: {share} that {other} ends below {reference}")


NEARER = Rule(
    "How far the first arm ends above the second, minus how far it ends below the third, paired by seed. Reproduced if "
    "the interval lies above 0: more than half of the second arm's loss is taken back. Not reproduced if below. Else "
    "inconclusive.",
    "points taken back minus points still lost",
    "points",
    _nearer,
)


# Training reward against what was learned -----------------------------------------------------------------------------


def _gap(evidence: Evidence, arm: str, other: str) -> Judgement:
    a, b = paired(
        *(100 * evidence.runs(name)["reward_last"] - evidence.points(name, "mean_at_k") for name in (arm, other))
    )
    if not len(a):
        return _nothing("no seed in common")
    wider = paired_t_interval(a, b)
    return Judgement(by_sign(wider), wider, f"{arm} {a.mean():+.1f} points, {other} {b.mean():+.1f}")


WIDER_GAP = Rule(
    "The gap is a run's training reward (last 20 updates, asked as the arm asks) minus its final held-out success "
    "(never guided). Reproduced if the interval of the paired difference of gaps lies above 0, not reproduced if "
    "below. Else inconclusive.",
    "gap between training reward and held-out success, first arm minus second",
    "points",
    _gap,
)


# Time to a target -----------------------------------------------------------------------------------------------------


def _sooner(evidence: Evidence, arm: str, other: str, axis: str) -> Judgement:
    seeds = evidence.runs(arm).index.intersection(evidence.runs(other).index)
    ours, theirs = (course(evidence.tables, name, axis) for name in (arm, other))
    target = theirs.ends()
    found = speed_up(ours.times(target), theirs.times_to_ends(), seeds)
    if found is None:
        return Judgement(INCONCLUSIVE, Interval(nan, 0.0, inf, 0), "no seed in common")
    sooner = 1 - found.a_faster_share.high, 1 - found.a_faster_share.low  # share of the decided pairs, its limits
    if found.ratio.n == found.pairs > 1 and found.ratio.low > 1:
        verdict = REPRODUCED
    elif found.ratio.n == found.pairs > 1 and found.ratio.high < 1:
        verdict = NOT_REPRODUCED
    elif sooner[0] > HALF:
        verdict = DIRECTION
    elif sooner[1] < HALF:
        verdict = NOT_REPRODUCED
    else:
        verdict = INCONCLUSIVE
    mean = 100 * target.reindex(seeds).mean()
    words = (
        f"targets {mean:.1f} % on average: reached by {found.reached_b} of {found.pairs} runs of {arm}; "
        f"provably sooner than {other} in {found.b_faster} pairs, later in {found.a_faster}"
    )
    return Judgement(verdict, found.ratio, words)


def _sooner_rule(axis: str) -> Rule:
    return Rule(
        "The target of a pair is the success of the second arm's run at its last evaluation along the way, on the same "
        f"questions as before. A run reaches it at the first of {HOLD} consecutive evaluations at or above it, the "
        "second arm's by its end. If all runs of the first arm reach it, the interval of the ratio of times decides: "
        "reproduced above 1, not reproduced below. Else the pairs in which one run is provably sooner, censored ones "
        f"included: direction only if the exact interval of the first arm's share of them lies above {HALF:g}, not "
        "reproduced if below. Else inconclusive.",
        f"time to target in {AXES[axis]}, second arm over first",
        "times",
        partial(_sooner, axis=axis),
    )


SOONER_UPDATES, SOONER_TOKENS, SOONER_HOURS = (_sooner_rule(axis) for axis in ("updates", "tokens", "hours"))
