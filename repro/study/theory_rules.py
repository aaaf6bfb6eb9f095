"""What turns the theory's tables into verdicts: a measure, a threshold, and a note for each kind of statement.

"plain", "identified" and Eq. 3 are the rules of allocation of `repro.study.theory`; a setting is one alpha with one
gap Delta. The thresholds were fixed before the small tier was simulated, after trials of 2,000 rounds. Two measures
were made sharper after it, and their verdicts stayed: concentration is counted in replications, and regret below
alpha Delta = 2 without the rollouts that the rule "identified" forces.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
import pandas as pd

from repro.study import theory
from repro.study.evidence import DIRECTION, INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, Judgement
from repro.study.statistics import Interval, proportion_interval, t_interval
from repro.study.theory_results import WINDOW, Theory

PUBLISHED_ALPHA = 50.0
LOG_REGRET = 2.0  # alpha Delta from which on the regret is said to be logarithmic
GROWTH = 2.0  # of a decade's regret over that of the decade before: 1 for log I, 10 for I
RARE = 0.02  # share of replications that counts as none, given 200 of them
SHARE = 0.1  # of rollouts to other arms that counts as vanishing
LOST = 0.05  # share of replications on the wrong arm that counts as few
DISTINCT = 0.05  # difference of scores that Eq. 2 can still use
SOLVED = (0.3, 0.5)  # success rates of two solved states, at t = 100

Setting = tuple[float, float]  # alpha, gap


def at_end(data: Theory, rule: str, column: str) -> dict[Setting, np.ndarray]:
    """The last value of a column in each setting, (batches,)."""
    frame = data.bandit[(data.bandit["rule"] == rule) & (data.bandit["t"] == data.bandit["t"].max())]
    return {key: group[column].to_numpy(float) for key, group in frame.groupby(["alpha", "gap"])}


def by_batch(data: Theory, rule: str, setting: Setting, column: str) -> pd.DataFrame:
    """A column of one setting: a row a round, a column a batch."""
    frame = data.bandit
    chosen = frame[(frame["rule"] == rule) & (frame["alpha"] == setting[0]) & (frame["gap"] == setting[1])]
    return chosen.pivot(index="t", columns="batch", values=column).astype(float)


def exponent(data: Theory, rule: str, setting: Setting) -> Interval:
    """Least-squares slope of log share on log t over the last decade, a value a batch."""
    share = by_batch(data, rule, setting, "share")
    share = share[share.index >= share.index.max() / 10]
    return t_interval(np.polyfit(np.log(share.index.to_numpy(float)), np.log(share.to_numpy()), 1)[0])


def growth(data: Theory, rule: str, setting: Setting, drawn: bool = False) -> Interval:
    """Regret of the last decade of rounds over that of the decade before: of all batches, with a jackknife interval.

    With `drawn` the regret of the draws alone: the share of other arms, summed over rounds (by trapezoids between
    checkpoints), whatever was forced. A ratio of means, one rollout added to each: batches that lost little would make
    a mean of ratios meaningless, and decades without any loss have none.
    """
    regret = by_batch(data, rule, setting, "share" if drawn else "regret")
    rounds = regret.index.to_numpy(float)
    if drawn:
        steps = (regret + regret.shift()) / 2
        regret = steps.mul(np.diff(rounds, prepend=rounds[0]), axis=0).fillna(0).cumsum()
    last, before, first = (regret.iloc[int(np.abs(rounds - rounds[-1] / 10**k).argmin())] for k in range(3))
    late, early = (last - before).to_numpy() + 1, (before - first).to_numpy() + 1
    n, ratio = len(late), late.sum() / early.sum()
    left_out = (late.sum() - late) / (early.sum() - early)
    # Pseudo-values have the ratio's jackknife estimate as their mean, and its standard error as theirs.
    return t_interval(n * ratio - (n - 1) * left_out)


def replications(data: Theory) -> int:
    return theory.TIERS[data.tier].replications * theory.TIERS[data.tier].batches


def settings(data: Theory, low: float = 0.0, high: float = np.inf) -> list[Setting]:
    """Settings with low <= alpha Delta < high."""
    return [s for s in theory.TIERS[data.tier].settings() if low - 1e-9 <= s[0] * s[1] < high - 1e-9]


def named(setting: Setting) -> str:
    return f"alpha {setting[0]:g}, Delta {setting[1]:g}"


# Rules ----------------------------------------------------------------------------------------------------------------


def _below(intervals: dict[Setting, Interval], threshold: float) -> Judgement:
    """Reproduced if every interval lies below the threshold, not reproduced if one lies above."""
    worst = max(intervals, key=lambda setting: intervals[setting].estimate)
    if all(interval.high < threshold for interval in intervals.values()):
        verdict = REPRODUCED
    else:
        verdict = NOT_REPRODUCED if any(i.low > threshold for i in intervals.values()) else INCONCLUSIVE
    above = sum(interval.estimate > threshold for interval in intervals.values())
    note = f"largest at {named(worst)}; above {threshold:.3g} in {above} of {len(intervals)} settings"
    return Judgement(verdict, intervals[worst], note)


def concentration(data: Theory) -> Judgement:
    rounds, bandit = by_batch(data, "plain", settings(data)[0], "outside").index, theory.TIERS[data.tier]
    expected = float((np.arange(rounds[0] + 1, rounds[-1] + 1.0) ** -2).sum())
    found = {}
    for setting in settings(data):
        outside = by_batch(data, "plain", setting, "outside")
        # Rounds outside since the first checkpoint: no fewer than the replications that have one.
        number = (outside.iloc[-1] - outside.iloc[0]).sum() * bandit.replications
        found[setting] = proportion_interval(min(round(number), replications(data)), replications(data))
    return _below(found, expected)


def never(data: Theory, column: str) -> Judgement:
    """Share of replications of "identified" in which something ever happened, counted at the checkpoints."""
    found = {}
    for setting in settings(data):
        happened = by_batch(data, "identified", setting, column).sum().sum() * theory.TIERS[data.tier].replications
        found[setting] = proportion_interval(min(round(happened), replications(data)), replications(data))
    return _below(found, RARE)


def identification(data: Theory) -> Judgement:
    judged = never(data, "error")
    needed = data.exact[data.exact["quantity"] == "needed"]
    slack = needed["bound"] / needed["value"]
    few = f"the bound asks for {slack.min():.1f} to {slack.max():.1f} times the rollouts that are needed (exact)"
    return Judgement(judged.verdict, judged.interval, f"{judged.note}; {few}")


def gathered(data: Theory) -> Judgement:
    enough, chosen = at_end(data, "plain", "enough"), settings(data, LOG_REGRET)
    share = t_interval(np.mean([enough[setting] for setting in chosen], axis=0))
    verdict = REPRODUCED if share.low > 0.5 else NOT_REPRODUCED if share.high < 0.5 else INCONCLUSIVE
    bandit = theory.TIERS[data.tier]
    counts = [theory.identification_threshold(bandit.rounds, bandit.arms, gap) for gap in bandit.gaps]
    asked = ", ".join(f"{n:.0f} at Delta {gap:g}" for n, gap in zip(counts, bandit.gaps, strict=True))
    return Judgement(verdict, share, f"asked for at the end: {asked} rollouts of each arm")


def share(data: Theory, rule: str) -> Judgement:
    ratios = {}
    for setting in settings(data):
        slope, claimed = exponent(data, rule, setting), -setting[0] * setting[1] / 2
        low, high = sorted((slope.low / claimed, slope.high / claimed))
        ratios[setting] = Interval(slope.estimate / claimed, low, high, slope.n)
    worst = min(ratios, key=lambda setting: ratios[setting].estimate)
    if all(ratio.low >= 1 for ratio in ratios.values()):
        verdict = REPRODUCED
    elif any(ratio.high < 0.5 for ratio in ratios.values()):
        verdict = NOT_REPRODUCED
    else:
        verdict = DIRECTION if all(ratio.low > 0 for ratio in ratios.values()) else INCONCLUSIVE
    fast = sum(ratio.estimate >= 1 for ratio in ratios.values())
    note = f"slowest at {named(worst)}; at least as fast as said in {fast} of {len(ratios)} settings"
    return Judgement(verdict, ratios[worst], note)


def regret(data: Theory, rule: str) -> Judgement:
    judged = _below({s: growth(data, rule, s) for s in settings(data, LOG_REGRET)}, GROWTH)
    slopes = []
    for setting in settings(data, LOG_REGRET):
        regret = by_batch(data, rule, setting, "regret").mean(axis=1)
        late = regret[regret.index >= regret.index.max() / 10]
        slopes.append(np.polyfit(np.log(late.index.to_numpy(float)), late.to_numpy(), 1)[0])
    fitted = f"{max(min(slopes), 0):.3g} to {max(slopes):.3g} rollouts per unit of log I over the last decade"
    return Judgement(judged.verdict, judged.interval, f"{judged.note}; slope {fitted}")


def condition(data: Theory) -> Judgement:
    ratios = {s: growth(data, "identified", s, drawn=True) for s in settings(data, high=LOG_REGRET)}
    least = min(ratios, key=lambda setting: ratios[setting].estimate)
    if all(ratio.low > GROWTH for ratio in ratios.values()):
        verdict = REPRODUCED
    else:
        verdict = NOT_REPRODUCED if any(r.high < GROWTH for r in ratios.values()) else INCONCLUSIVE
    each = ", ".join(f"{s[0] * s[1]:g}: {ratios[s].estimate:.1f}" for s in sorted(ratios, key=lambda s: s[0] * s[1]))
    return Judgement(verdict, ratios[least], f"by alpha Delta: {each}; the smallest is at {named(least)}")


def lost(data: Theory) -> Judgement:
    lost = at_end(data, "plain", "lost")
    published = [setting for setting in settings(data) if setting[0] == PUBLISHED_ALPHA]
    each = ", ".join(f"alpha {s[0]:g}, Delta {s[1]:g}: {lost[s].mean():.2f}" for s in settings(data))
    return Judgement(
        _sided(share := t_interval(np.mean([lost[s] for s in published], axis=0)), LOST), share, f"lost: {each}"
    )


def _sided(share: Interval, threshold: float) -> str:
    return REPRODUCED if share.high < threshold else NOT_REPRODUCED if share.low > threshold else INCONCLUSIVE


def eq3(data: Theory, column: str, pruning: bool, threshold: float) -> Judgement:
    frame = data.eq3[(data.eq3["round"] == data.eq3["round"].max()) & (data.eq3["pruning"] == pruning)]
    means = frame.groupby(["alpha", "batch"])[column].mean().unstack()
    share = t_interval(means.loc[PUBLISHED_ALPHA].to_numpy(float))
    each = ", ".join(f"alpha {alpha:g}: {values.mean():.2f}" for alpha, values in means.iterrows())
    return Judgement(_sided(share, threshold), share, each)


def filter_at(data: Theory) -> Judgement:
    rows = data.exact[(data.exact["quantity"] == "pruned_at") & data.exact["bound"].notna()]
    ratio = float((rows["value"] / rows["bound"]).max())
    return Judgement(REPRODUCED if ratio <= 1 else NOT_REPRODUCED, Interval(ratio, ratio, ratio, 0), "exact")


def filter_within(data: Theory) -> Judgement:
    rows = data.exact[(data.exact["quantity"] == "pruned_within") & (data.exact["n"] == WINDOW)].set_index("p")
    held = rows[rows["bound"].notna()]
    verdict = REPRODUCED if (held["value"] <= held["bound"]).all() else NOT_REPRODUCED
    value = float(held.loc[0.3, "value"])
    each = ", ".join(f"{p:g}: {row['value']:.3f}" for p, row in rows.iterrows())
    return Judgement(verdict, Interval(value, value, value, 0), f"exact, by p*: {each}")


def distinguishable(data: Theory) -> Judgement:
    def difference(alpha: float) -> float:
        low, high = (exp(-alpha * log(100) * p) for p in SOLVED)
        return low - high

    value = difference(PUBLISHED_ALPHA)
    verdict = REPRODUCED if value > DISTINCT else NOT_REPRODUCED
    return Judgement(verdict, Interval(value, value, value, 0), f"exact: {value:.1e}; alpha 1: {difference(1.0):.3f}")
