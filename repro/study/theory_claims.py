"""The statements of 3SPO's theory (arXiv 2606.09961 v1), and controls that say what they cover.

Of the paper's theory the rates are known, its constants are not: they are reconstructed by Hoeffding's inequality, in
the way most favourable to the statements. Intervals are t intervals over batches of replications, Clopper and Pearson's
for shares of replications; what is computed exactly has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from repro.study import runs, theory
from repro.study import theory_rules as judge
from repro.study.evidence import Claim, Judgement, Rule
from repro.study.theory_results import NAME, WINDOW, Theory, folder
from repro.study.theory_rules import DISTINCT, GROWTH, LOST, RARE, SHARE

FIGURE = "figures/threespo_theory/{}.png"
SOURCE = "theory section; rate as reported, constants reconstructed"
OWN = "not in the paper: own control"

_NOT_BELOW = "Not reproduced if in some setting it lies above. Else inconclusive."
_DECADE = "allocation regret of the last decade of rounds over that of the decade before, largest of the settings"


def _claim(id: str, statement: str, value: str, rule: Rule, figure: str, **fields: Any) -> Claim:
    fields = {"source": SOURCE} | fields
    return Claim(
        id=f"theory-{id}", paper="3spo", study=NAME, statement=statement, paper_value=value, rule=rule,
        figure=FIGURE.format(figure), **fields,
    )  # fmt: skip


def _rule(judged: Callable[..., Judgement], words: str, metric: str, unit: str, **settings: Any) -> Rule:
    return Rule(words, metric, unit, partial(judged, **settings) if settings else judged)


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
            judge.concentration,
            "Reproduced if in every setting the interval lies below 0.095: i^-2 summed from round 11 on. " + _NOT_BELOW,
            "share of replications outside at some round after the 10th, largest of the settings",
            "share of replications",
        ),
        "concentration",
        paper_number=0.0952,
    ),
    _claim(
        "identification",
        "With 8 log(2 K i^2) / Delta^2 rollouts of every arm, estimates err by at most Delta / 4, but for O(i^-2)",
        "a sample-complexity guarantee",
        _rule(
            judge.identification,
            f"Reproduced if in every setting the interval lies below {RARE:g}. {_NOT_BELOW}",
            "share of replications that are ever wrong by more once every arm has so many",
            "share of replications",
        ),
        "concentration",
        paper_number=0.0,
    ),
    _claim(
        "separation",
        "Then the score of a_w stands out: S(a) / S(a_w) <= t^(-alpha Delta / 2)",
        "a distinguishability guarantee",
        _rule(
            judge.never,
            f"Reproduced if in every setting the interval lies below {RARE:g}. {_NOT_BELOW}",
            "share of replications in which it ever fails once every arm has so many rollouts",
            "share of replications",
            column="unseparated",
        ),
        "concentration",
        paper_number=0.0,
    ),
    _claim(
        "premise",
        "The allocation gathers that many rollouts of every arm by itself",
        "presumed by the two statements above",
        _rule(
            judge.gathered,
            "Reproduced if the interval lies above 0.5, not reproduced if below. Else inconclusive.",
            "share of replications with enough rollouts of every arm at the end, mean over settings with alpha Delta "
            ">= 2",
            "share of replications",
        ),
        "concentration",
        source=OWN,
    ),
    _claim(
        "share",
        "The share of rollouts of any other arm than a_w falls like t^(-alpha Delta / 2)",
        "t^(-alpha Delta/2)",
        _rule(judge.share, _SHARE_WORDS, _SHARE_METRIC, "times the rate", rule="plain"),
        "share",
        paper_number=1.0,
    ),
    _claim(
        "share-identified",
        "It does once every arm has the rollouts that identification presumes",
        "t^(-alpha Delta/2)",
        _rule(judge.share, _SHARE_WORDS, _SHARE_METRIC, "times the rate", rule="identified"),
        "share",
        source=OWN,
        paper_number=1.0,
    ),
    _claim(
        "regret",
        "Allocation regret against always sampling a_w is O(log I)",
        "O(log I)",
        _rule(judge.regret, _REGRET_WORDS, _DECADE, "ratio", rule="plain"),
        "regret",
        paper_number=1.0,
    ),
    _claim(
        "regret-identified",
        "It is once every arm has the rollouts that identification presumes",
        "O(log I)",
        _rule(judge.regret, _REGRET_WORDS, _DECADE, "ratio", rule="identified"),
        "regret",
        source=OWN,
        paper_number=1.0,
    ),
    _claim(
        "condition",
        "The bound's condition alpha Delta >= 2 is needed: below it regret grows faster than log I",
        "sum over t of t^(-alpha Delta/2)",
        _rule(
            judge.condition,
            f"Over settings with alpha Delta < 2, rule identified: reproduced if every interval lies above {GROWTH:g}, "
            "not reproduced if one lies below. Else inconclusive.",
            "regret of the draws in the last decade over that in the decade before, smallest of the settings",
            "ratio",
        ),
        "regret",
        source=OWN,
    ),
    _claim(
        "lost",
        "With the published alpha the allocation settles on the most unresolved arm",
        "implied",
        _rule(
            judge.lost,
            f"Reproduced if the interval lies below {LOST:g}, not reproduced if above. Else inconclusive.",
            "share of replications that end on another arm, alpha 50, mean over gaps",
            "share of replications",
        ),
        "share",
        source=OWN,
        paper_number=0.0,
    ),
    _claim(
        "eq3-share",
        "Eq. 3, which gives each arm ceil(G S), leaves other arms a vanishing share too",
        "implied",
        _rule(
            judge.eq3,
            f"Reproduced if the interval lies below {SHARE:g}, not reproduced if above. Else inconclusive.",
            "share of a round's rollouts to other arms than a_w at the end, alpha 50, no indicator",
            "share of rollouts",
            column="share",
            pruning=False,
            threshold=SHARE,
        ),
        "eq3",
        source=OWN,
        paper_number=0.0,
        remark="A positive score, however small, is one rollout",
    ),
    _claim(
        "eq3-spares-worst",
        "The indicator spares the arm that the allocation is meant for",
        "implied",
        _rule(
            judge.eq3,
            "Reproduced if the interval lies below 0.5, not reproduced if above. Else inconclusive.",
            "share of replications in which a_w (p* = 0.1) is given up at the end, alpha 50",
            "share of replications",
            column="given_up",
            pruning=True,
            threshold=0.5,
        ),
        "eq3",
        source=OWN,
        paper_number=0.0,
        remark="0.1 is zeta itself; how often a better state is given up is in filter-absorbing",
    ),
    _claim(
        "filter-at-count",
        "At one count N a state with p* > zeta is filtered with probability <= exp(-2 N (p* - zeta)^2)",
        "a filtering-stability guarantee",
        _rule(
            judge.filter_at,
            "Reproduced if the exact probability is at most the bound for every p* and N tried. Else not reproduced.",
            "exact probability over bound, largest over p* in 0.15-0.5 and N in 1-64",
            "ratio",
        ),
        "filtering",
    ),
    _claim(
        "filter-absorbing",
        "Filtering is stable: a state with p* > zeta is lost as rarely over its visits",
        f"exp(-2 N (p* - zeta)^2) = {float(theory.filtering_bound(0.3, WINDOW)):.3f} at p* = 0.3, N = {WINDOW}",
        _rule(
            judge.filter_within,
            f"Reproduced if the exact probability of being filtered at some count up to {WINDOW} is at most "
            "the bound for every p* > zeta tried. Else not reproduced.",
            f"exact probability that a state with p* = 0.3 is given up within {WINDOW} visits",
            "probability",
        ),
        "filtering",
        paper_number=round(float(theory.filtering_bound(0.3, WINDOW)), 4),
        remark="A state that is given up is not visited, so it stays given up",
    ),
    _claim(
        "score-difference",
        "Scores tell solved states apart",
        "a distinguishability guarantee",
        _rule(
            judge.distinguishable,
            f"Reproduced if the exact difference exceeds {DISTINCT:g}. Else not reproduced.",
            "S at p_hat 0.3 minus S at 0.5, which is what Eq. 2 pays, at t = 100 and alpha 50",
            "score",
        ),
        "scores",
        source=OWN,
        remark="The ratio of the two is large; Eq. 2 uses their difference",
    ),
)


def ledger_rows(data: Theory) -> list[dict[str, Any]]:
    """The statements' rows of the ledger, in its schema."""
    from repro.study import claims  # which lists these claims itself

    return [claims.row(claim, data) | {"tier": data.tier} for claim in THEORY_CLAIMS]


def write(data: Theory, root: Path | None = None) -> Path:
    """Write the rows to `claims.json` beside the tables; the same tables give the same bytes."""
    path = folder(data.tier, root) / "claims.json"
    runs.atomic_write(path, json.dumps(ledger_rows(data), indent=1, allow_nan=False) + "\n")
    return path
