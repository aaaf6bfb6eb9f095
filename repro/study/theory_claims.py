"""The statements of 3SPO's theory (arXiv 2606.09961 v1), and controls that say what they cover.

Of the paper's theory the rates are known, its constants are not: they are reconstructed by Hoeffding's inequality, in
the way most favourable to the statements. "plain", "identified" and Eq. 3 are the rules of `repro.study.theory`; a
setting is one alpha with one gap Delta. Thresholds were fixed before the small tier was simulated, after trials of
2,000 rounds.

Intervals are t intervals over batches of replications, Clopper and Pearson's for shares of replications; what is
computed exactly has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from math import exp, log, pi
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repro.study import runs, theory
from repro.study.evidence import DIRECTION, INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, Claim, Judgement, Rule
from repro.study.statistics import Interval, proportion_interval, t_interval
from repro.study.theory_results import NAME, WINDOW, Theory, folder

PUBLISHED_ALPHA = 50.0
LOG_REGRET = 2.0  # alpha Delta from which on the regret is said to be logarithmic
GROWTH = 2.0  # of a decade's regret over that of the decade before: 1 for log I, 10 for I
RARE = 0.02  # share of replications that counts as none, given 200 of them
SHARE = 0.1  # of rollouts to other arms that counts as vanishing
LOST = 0.05  # share of replications on the wrong arm that counts as few
DISTINCT = 0.05  # difference of scores that Eq. 2 can still use
SOLVED = (0.3, 0.5)  # success rates of two solved states, at t = 100

Setting = tuple[float, float]  # alpha, gap

FIGURE = "figures/threespo_theory/{}.png"
SOURCE = "theory section; rate as reported, constants reconstructed"
OWN = "not in the paper: own control"


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


def growth(data: Theory, rule: str, setting: Setting) -> Interval:
    """Regret of the last decade of rounds over that of the decade before: of all batches, with a jackknife interval.

    A ratio of means: batches in which little was lost would make a mean of ratios meaningless.
    """
    regret = by_batch(data, rule, setting, "regret")
    rounds = regret.index.to_numpy(float)
    last, before, first = (regret.iloc[int(np.abs(rounds - rounds[-1] / 10**k).argmin())] for k in range(3))
    late, early = (last - before).to_numpy(), (before - first).to_numpy()
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


def _concentration(data: Theory) -> Judgement:
    return _below({s: t_interval(values) for s, values in at_end(data, "plain", "outside").items()}, pi**2 / 6)


def _never(data: Theory, column: str) -> Judgement:
    """Share of replications of "identified" in which something ever happened, counted at the checkpoints."""
    found = {}
    for setting in settings(data):
        happened = by_batch(data, "identified", setting, column).sum().sum() * theory.TIERS[data.tier].replications
        found[setting] = proportion_interval(min(round(happened), replications(data)), replications(data))
    return _below(found, RARE)


def _identification(data: Theory) -> Judgement:
    judged = _never(data, "error")
    needed = data.exact[data.exact["quantity"] == "needed"]
    slack = needed["bound"] / needed["value"]
    few = f"the bound asks for {slack.min():.1f} to {slack.max():.1f} times the rollouts that are needed (exact)"
    return Judgement(judged.verdict, judged.interval, f"{judged.note}; {few}")


def _gathered(data: Theory) -> Judgement:
    enough, chosen = at_end(data, "plain", "enough"), settings(data, LOG_REGRET)
    share = t_interval(np.mean([enough[setting] for setting in chosen], axis=0))
    verdict = REPRODUCED if share.low > 0.5 else NOT_REPRODUCED if share.high < 0.5 else INCONCLUSIVE
    bandit = theory.TIERS[data.tier]
    counts = [theory.identification_threshold(bandit.rounds, bandit.arms, gap) for gap in bandit.gaps]
    asked = ", ".join(f"{n:.0f} at Delta {gap:g}" for n, gap in zip(counts, bandit.gaps, strict=True))
    return Judgement(verdict, share, f"asked for at the end: {asked} rollouts of each arm")


def _share(data: Theory, rule: str) -> Judgement:
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


def _regret(data: Theory, rule: str) -> Judgement:
    judged = _below({s: growth(data, rule, s) for s in settings(data, LOG_REGRET)}, GROWTH)
    slopes = []
    for setting in settings(data, LOG_REGRET):
        regret = by_batch(data, rule, setting, "regret").mean(axis=1)
        late = regret[regret.index >= regret.index.max() / 10]
        slopes.append(np.polyfit(np.log(late.index.to_numpy(float)), late.to_numpy(), 1)[0])
    fitted = f"{min(slopes):.3g} to {max(slopes):.3g} rollouts per unit of log I over the last decade"
    return Judgement(judged.verdict, judged.interval, f"{judged.note}; slope {fitted}")


def _condition(data: Theory) -> Judgement:
    ratios = {s: growth(data, "identified", s) for s in settings(data, high=LOG_REGRET)}
    least = min(ratios, key=lambda setting: ratios[setting].estimate)
    if all(ratio.low > GROWTH for ratio in ratios.values()):
        verdict = REPRODUCED
    else:
        verdict = NOT_REPRODUCED if any(r.high < GROWTH for r in ratios.values()) else INCONCLUSIVE
    each = ", ".join(f"{s[0] * s[1]:g}: {ratios[s].estimate:.1f}" for s in sorted(ratios, key=lambda s: s[0] * s[1]))
    return Judgement(verdict, ratios[least], f"by alpha Delta: {each}; the smallest is at {named(least)}")


def _lost(data: Theory) -> Judgement:
    lost = at_end(data, "plain", "lost")
    published = [setting for setting in settings(data) if setting[0] == PUBLISHED_ALPHA]
    each = ", ".join(f"alpha {s[0]:g}, Delta {s[1]:g}: {lost[s].mean():.2f}" for s in settings(data))
    return Judgement(
        _sided(share := t_interval(np.mean([lost[s] for s in published], axis=0)), LOST), share, f"lost: {each}"
    )


def _sided(share: Interval, threshold: float) -> str:
    return REPRODUCED if share.high < threshold else NOT_REPRODUCED if share.low > threshold else INCONCLUSIVE


def _eq3(data: Theory, column: str, pruning: bool, threshold: float) -> Judgement:
    frame = data.eq3[(data.eq3["round"] == data.eq3["round"].max()) & (data.eq3["pruning"] == pruning)]
    means = frame.groupby(["alpha", "batch"])[column].mean().unstack()
    share = t_interval(means.loc[PUBLISHED_ALPHA].to_numpy(float))
    each = ", ".join(f"alpha {alpha:g}: {values.mean():.2f}" for alpha, values in means.iterrows())
    return Judgement(_sided(share, threshold), share, each)


def _filter_at(data: Theory) -> Judgement:
    rows = data.exact[(data.exact["quantity"] == "pruned_at") & data.exact["bound"].notna()]
    ratio = float((rows["value"] / rows["bound"]).max())
    return Judgement(REPRODUCED if ratio <= 1 else NOT_REPRODUCED, Interval(ratio, ratio, ratio, 0), "exact")


def _filter_within(data: Theory) -> Judgement:
    rows = data.exact[(data.exact["quantity"] == "pruned_within") & (data.exact["n"] == WINDOW)].set_index("p")
    held = rows[rows["bound"].notna()]
    verdict = REPRODUCED if (held["value"] <= held["bound"]).all() else NOT_REPRODUCED
    value = float(held.loc[0.3, "value"])
    each = ", ".join(f"{p:g}: {row['value']:.3f}" for p, row in rows.iterrows())
    return Judgement(verdict, Interval(value, value, value, 0), f"exact, by p*: {each}")


def _distinguishable(data: Theory) -> Judgement:
    def difference(alpha: float) -> float:
        low, high = (exp(-alpha * log(100) * p) for p in SOLVED)
        return low - high

    value = difference(PUBLISHED_ALPHA)
    verdict = REPRODUCED if value > DISTINCT else NOT_REPRODUCED
    return Judgement(verdict, Interval(value, value, value, 0), f"exact: {value:.1e}; alpha 1: {difference(1.0):.3f}")


_NOT_BELOW = "Not reproduced if in some setting it lies above. Else inconclusive."
_DECADE = "allocation regret of the last decade of rounds over that of the decade before, largest of the settings"


def _claim(id: str, statement: str, value: str, rule: Rule, figure: str, **fields: Any) -> Claim:
    fields = {"source": SOURCE} | fields
    return Claim(
        id=f"theory-{id}", paper="3spo", study=NAME, statement=statement, paper_value=value, rule=rule,
        figure=FIGURE.format(figure), **fields,
    )  # fmt: skip


def _rule(judge: Callable[..., Judgement], words: str, metric: str, unit: str, **settings: Any) -> Rule:
    return Rule(words, metric, unit, partial(judge, **settings) if settings else judge)


_SHARE_WORDS = (
    "In each setting the fitted exponent over -alpha Delta / 2. Reproduced if every interval lies at or above 1, not "
    "reproduced if one lies below 0.5. Else direction only if all lie above 0. Else inconclusive."
)
_SHARE_METRIC = "exponent of the mean share of other arms in t, over the last decade, as a multiple of -alpha Delta / 2"
_REGRET_WORDS = f"Over settings with alpha Delta >= 2: reproduced if every interval lies below {GROWTH:g}. {_NOT_BELOW}"

THEORY_CLAIMS: tuple[Claim, ...] = (
    _claim(
        "concentration",
        "Estimates concentrate: all arms within sqrt(log(2 K i^2) / (2 N)) at round i, but for O(i^-2)",
        "probability at least 1 - O(i^-2)",
        _rule(
            _concentration, f"Reproduced if in every setting the interval lies below sum i^-2 = 1.645. {_NOT_BELOW}",
            "rounds at which some arm is outside, expected over all rounds, largest of the settings", "rounds",
        ),
        "concentration", paper_number=round(pi**2 / 6, 4),
    ),
    _claim(
        "identification",
        "With 8 log(2 K i^2) / Delta^2 rollouts of every arm, estimates err by at most Delta / 4, but for O(i^-2)",
        "a sample-complexity guarantee",
        _rule(
            _identification, f"Reproduced if in every setting the interval lies below {RARE:g}. {_NOT_BELOW}",
            "share of replications that are ever wrong by more once every arm has so many", "share of replications",
        ),
        "concentration", paper_number=0.0,
    ),
    _claim(
        "separation",
        "Then the score of a_w stands out: S(a) / S(a_w) <= t^(-alpha Delta / 2)",
        "a distinguishability guarantee",
        _rule(
            _never, f"Reproduced if in every setting the interval lies below {RARE:g}. {_NOT_BELOW}",
            "share of replications in which it ever fails once every arm has so many rollouts", "share of replications",
            column="unseparated",
        ),
        "concentration", paper_number=0.0,
    ),
    _claim(
        "premise",
        "The allocation gathers that many rollouts of every arm by itself",
        "presumed by the two statements above",
        _rule(
            _gathered, "Reproduced if the interval lies above 0.5, not reproduced if below. Else inconclusive.",
            "share of replications with enough rollouts of every arm at the end, mean over settings with alpha Delta "
            ">= 2", "share of replications",
        ),
        "concentration", source=OWN,
    ),
    _claim(
        "share",
        "The share of rollouts of any other arm than a_w falls like t^(-alpha Delta / 2)",
        "t^(-alpha Delta/2)",
        _rule(_share, _SHARE_WORDS, _SHARE_METRIC, "times the rate", rule="plain"), "share", paper_number=1.0,
    ),
    _claim(
        "share-identified", "It does once every arm has the rollouts that identification presumes",
        "t^(-alpha Delta/2)",
        _rule(_share, _SHARE_WORDS, _SHARE_METRIC, "times the rate", rule="identified"),
        "share", source=OWN, paper_number=1.0,
    ),
    _claim(
        "regret", "Allocation regret against always sampling a_w is O(log I)", "O(log I)",
        _rule(_regret, _REGRET_WORDS, _DECADE, "ratio", rule="plain"), "regret", paper_number=1.0,
    ),
    _claim(
        "regret-identified", "It is once every arm has the rollouts that identification presumes", "O(log I)",
        _rule(_regret, _REGRET_WORDS, _DECADE, "ratio", rule="identified"), "regret", source=OWN, paper_number=1.0,
    ),
    _claim(
        "condition", "Below alpha Delta = 2 regret grows faster than log I", "sum over t of t^(-alpha Delta/2)",
        _rule(
            _condition, f"Over settings with alpha Delta < 2, rule identified: reproduced if every interval lies above "
            f"{GROWTH:g}, not reproduced if one lies below. Else inconclusive.",
            "allocation regret of the last decade over that of the decade before, smallest of the settings", "ratio",
        ),
        "regret",
    ),
    _claim(
        "lost", "With the published alpha the allocation settles on the most unresolved arm", "implied",
        _rule(
            _lost, f"Reproduced if the interval lies below {LOST:g}, not reproduced if above. Else inconclusive.",
            "share of replications that end on another arm, alpha 50, mean over gaps", "share of replications",
        ),
        "share", source=OWN, paper_number=0.0,
    ),
    _claim(
        "eq3-share", "Eq. 3, which gives each arm ceil(G S), leaves other arms a vanishing share too", "implied",
        _rule(
            _eq3, f"Reproduced if the interval lies below {SHARE:g}, not reproduced if above. Else inconclusive.",
            "share of a round's rollouts to other arms than a_w at the end, alpha 50, no indicator",
            "share of rollouts", column="share", pruning=False, threshold=SHARE,
        ),
        "eq3", source=OWN, paper_number=0.0, remark="A positive score, however small, is one rollout",
    ),
    _claim(
        "eq3-spares-worst", "The indicator spares the arm that the allocation is meant for", "implied",
        _rule(
            _eq3, "Reproduced if the interval lies below 0.5, not reproduced if above. Else inconclusive.",
            "share of replications in which a_w (p* = 0.1) is given up at the end, alpha 50", "share of replications",
            column="given_up", pruning=True, threshold=0.5,
        ),
        "eq3", source=OWN, paper_number=0.0,
    ),
    _claim(
        "filter-at-count",
        "At one count N a state with p* > zeta is filtered with probability <= exp(-2 N (p* - zeta)^2)",
        "a filtering-stability guarantee",
        _rule(
            _filter_at, "Reproduced if the exact probability is at most the bound for every p* and N tried.",
            "exact probability over bound, largest over p* in 0.15-0.5 and N in 1-64", "ratio",
        ),
        "filtering",
    ),
    _claim(
        "filter-absorbing", "Filtering is stable: a state with p* > zeta is lost as rarely over its visits",
        f"exp(-2 N (p* - zeta)^2) = {float(theory.filtering_bound(0.3, WINDOW)):.3f} at p* = 0.3, N = {WINDOW}",
        _rule(
            _filter_within, f"Reproduced if the exact probability of being filtered at some count up to {WINDOW} is at "
            "most the bound for every p* > zeta tried. Else not reproduced.",
            f"exact probability that a state with p* = 0.3 is given up within {WINDOW} visits", "probability",
        ),
        "filtering", paper_number=round(float(theory.filtering_bound(0.3, WINDOW)), 4),
        remark="A state that is given up is not visited, so it stays given up",
    ),
    _claim(
        "score-difference", "Scores tell solved states apart", "a distinguishability guarantee",
        _rule(
            _distinguishable, f"Reproduced if the exact difference exceeds {DISTINCT:g}. Else not reproduced.",
            "S at p_hat 0.3 minus S at 0.5, which is what Eq. 2 pays, at t = 100 and alpha 50", "score",
        ),
        "scores", source=OWN, remark="The ratio of the two is large; Eq. 2 uses their difference",
    ),
)  # fmt: skip


def ledger_rows(data: Theory) -> list[dict[str, Any]]:
    """The statements' rows of the ledger, in its schema."""
    from repro.study import claims  # which lists these claims itself

    return [claims.row(claim, data) | {"tier": data.tier} for claim in THEORY_CLAIMS]


def write(data: Theory, root: Path | None = None) -> Path:
    """Write the rows to `claims.json` beside the tables; the same tables give the same bytes."""
    path = folder(data.tier, root) / "claims.json"
    runs.atomic_write(path, json.dumps(ledger_rows(data), indent=1, allow_nan=False) + "\n")
    return path
