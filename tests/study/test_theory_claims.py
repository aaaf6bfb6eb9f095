"""Every rule of the theory's claims on tables made by hand, the schema, and the ledger's own view of them."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from repro.study import claims, theory, theory_claims, theory_results
from repro.study.evidence import VERDICTS
from repro.study.statistics import t_interval
from repro.study.theory_claims import THEORY_CLAIMS
from repro.study.theory_results import Theory
from repro.study.theory_rules import growth

CLAIM = {claim.id.removeprefix("theory-"): claim for claim in THEORY_CLAIMS}
BANDIT = theory.TIERS["small"]
ROUNDS = [10, 100, 1000, 3000, 10_000]
WOBBLE = 1 + 0.001 * np.linspace(-1, 1, BANDIT.batches)  # batches differ a little


def column(value):
    """`value(rule, alpha, gap, t)`, or a constant, for every row of the bandit's table."""
    return value if callable(value) else lambda *_: value


def made(eq3=None, exact=None, **columns):
    """Tables in which each named column of the bandit has that value, times one plus the batch's wobble."""
    defaults = dict.fromkeys("share regret mistaken lost enough error unseparated outside outside_now".split(), 0.0)
    columns = {name: column(value) for name, value in (defaults | {"share": 0.1, "regret": 1.0} | columns).items()}
    rows = [
        {"rule": rule, "alpha": alpha, "gap": gap, "batch": batch, "t": t}
        | {name: value(rule, alpha, gap, t) * wobble for name, value in columns.items()}
        for t in ROUNDS
        for rule in theory.RULES
        for alpha, gap in BANDIT.settings()
        for batch, wobble in enumerate(WOBBLE)
    ]
    eq3 = {"share": 0.5, "given_up": 0.5} | (eq3 or {})
    given = [
        {"pruning": pruning, "alpha": alpha, "gap": gap, "batch": batch, "round": 10}
        | {name: value * wobble for name, value in eq3.items()}
        for pruning in (False, True)
        for alpha, gap in BANDIT.settings()
        for batch, wobble in enumerate(WOBBLE)
    ]
    exact = theory_results.exact(replace(BANDIT, gaps=(0.8,))) if exact is None else exact
    return Theory("small", pd.DataFrame(rows), pd.DataFrame(given), exact)


def verdict(claim, data):
    return claims.row(CLAIM[claim], data)["verdict"]


EXACT = theory_results.exact(replace(BANDIT, gaps=(0.8,)))


def test_the_shares_exponent_is_judged_against_the_rate():
    # t^(-k alpha Delta): k = 1 is twice the rate that is stated, k = 0.3 is 0.6 of it, k = 0.2 is 0.4.
    for k, expected in ((1.0, "reproduced"), (0.5, "reproduced"), (0.3, "direction only"), (0.2, "not reproduced")):
        data = made(exact=EXACT, share=lambda rule, alpha, gap, t, k=k: t ** (-(k + 1e-9) * alpha * gap))
        row = claims.row(CLAIM["share"], data)
        assert row["verdict"] == expected and row["value"] == pytest.approx(2 * k, abs=1e-3)
    # One setting that stays flat is enough.
    flat = made(
        exact=EXACT, share=lambda rule, alpha, gap, t: 0.2 if (alpha, gap) == (50, 0.2) else t ** (-alpha * gap)
    )
    row = claims.row(CLAIM["share"], flat)
    assert row["verdict"] == "not reproduced" and "slowest at alpha 50, Delta 0.2" in row["note"]


def test_each_rule_of_allocation_has_its_own_share():
    def shares(rule, alpha, gap, t):
        return 0.3 if rule == "plain" else t ** (-alpha * gap)

    data = made(exact=EXACT, share=shares)
    assert (verdict("share", data), verdict("share-identified", data)) == ("not reproduced", "reproduced")


def test_regret_by_its_growth_over_decades():
    # From 100 to 1,000 and on to 10,000: log t grows by as much again, t by ten times as much, t^0.2 by 10^0.2.
    for f, expected, ratio in (
        (math.log, "reproduced", 1.0),
        (lambda t: t, "not reproduced", 10.0),
        (lambda t: t**0.2, "reproduced", 10**0.2),
        (lambda t: t**0.5, "not reproduced", 10**0.5),
    ):
        data = made(exact=EXACT, regret=lambda rule, alpha, gap, t, f=f: 1e4 * f(t))
        row = claims.row(CLAIM["regret"], data)
        assert row["verdict"] == expected and row["value"] == pytest.approx(ratio, rel=1e-3)
    # Settings with alpha Delta below 2 are not asked.
    only_small = made(exact=EXACT, regret=lambda rule, alpha, gap, t: t if alpha * gap < 1.9 else math.log(t))
    assert verdict("regret", only_small) == "reproduced"


def test_growth_is_a_ratio_of_means_with_a_jackknife():
    # Most batches lost nothing: with the rollout that is added, 5 and 2 in batch 0, 3 and 2 in batch 1, 2 and 1 else.
    data = made(exact=EXACT)
    frame, late, early = data.bandit, [5, 3] + [2] * 8, [2, 2] + [1] * 8
    chosen = (frame["rule"] == "plain") & (frame["alpha"] == 10) & (frame["gap"] == 0.4)
    for t, values in (
        (100, [0] * 10),
        (1000, [e - 1 for e in early]),
        (10_000, [a + e - 2 for a, e in zip(late, early, strict=True)]),
    ):
        frame.loc[chosen & (frame["t"] == t), "regret"] = values
    # 24 / 12 = 2; without batch 0: 19 / 10, without batch 1: 21 / 10, without another: 22 / 11.
    pseudo = [10 * 2 - 9 * 1.9, 10 * 2 - 9 * 2.1] + [10 * 2 - 9 * 2.0] * 8
    interval, expected = growth(data, "plain", (10.0, 0.4)), t_interval(pseudo)
    assert (interval.estimate, interval.low) == pytest.approx((expected.estimate, expected.low))


def test_the_condition_on_alpha_delta():
    # Shares that fall like 1/t lose the same in each decade; like t^-0.5, 10^0.5 times as much.
    # Trapezoids between five checkpoints: from 100 to 1,000 (1/100 + 1/1000) / 2 * 900 = 4.95, the next two
    # (1/1000 + 1/3000) / 2 * 2000 + (1/3000 + 1/10000) / 2 * 7000 = 2.85; with a rollout added, 3.85 / 5.95.
    row = claims.row(CLAIM["condition"], made(exact=EXACT, share=lambda rule, alpha, gap, t: 1 / t))
    assert row["verdict"] == "not reproduced" and row["value"] == pytest.approx(3.85 / 5.95, abs=1e-3)
    assert "by alpha Delta: 0.2: 0.6, 0.4: 0.6, 0.8: 0.6, 1: 0.6" in row["note"]
    assert verdict("condition", made(exact=EXACT, share=lambda rule, alpha, gap, t: t**-0.5)) == "reproduced"
    # What is forced is no matter.
    forced = made(exact=EXACT, share=lambda rule, alpha, gap, t: 1 / t, regret=lambda rule, alpha, gap, t: t)
    assert verdict("condition", forced) == "not reproduced"


@pytest.mark.parametrize(
    "claim, name, reproduced, not_reproduced",
    [
        ("premise", "enough", 0.9, 0.1),
        ("lost", "lost", 0.0, 0.2),
    ],
)
def test_thresholds(claim, name, reproduced, not_reproduced):
    assert verdict(claim, made(exact=EXACT, **{name: reproduced})) == "reproduced"
    assert verdict(claim, made(exact=EXACT, **{name: not_reproduced})) == "not reproduced"


def test_concentration_needs_every_setting():
    """Rounds outside are counted from the first checkpoint on: 200 replications, 0.2 of a round each: 40 at most."""
    early = claims.row(CLAIM["concentration"], made(exact=EXACT, outside=0.5))
    assert (early["verdict"], early["value"], early["high"]) == ("reproduced", 0.0, pytest.approx(0.018275))
    late = made(exact=EXACT, outside=lambda rule, alpha, gap, t: 0.2 * (t > 10 and (alpha, gap) == (5, 0.4)))
    row = claims.row(CLAIM["concentration"], late)
    assert row["verdict"] == "not reproduced" and row["value"] == pytest.approx(0.2)
    assert "largest at alpha 5, Delta 0.4; above 0.0951 in 1 of 12 settings" in row["note"]


@pytest.mark.parametrize("claim, name", [("identification", "error"), ("separation", "unseparated")])
def test_what_must_never_happen(claim, name):
    never = claims.row(CLAIM[claim], made(exact=EXACT))
    assert (never["verdict"], never["value"], never["seeds"]) == ("reproduced", 0.0, 200)
    # One batch of twenty in twenty, at one checkpoint: 200 replications, 10 of them: [0.024, 0.090].
    some = made(exact=EXACT)
    frame = some.bandit
    chosen = (frame["rule"] == "identified") & (frame["alpha"] == 1) & (frame["gap"] == 0.8) & (frame["t"] == 100)
    frame.loc[chosen & (frame["batch"] == 3), name] = 0.5
    row = claims.row(CLAIM[claim], some)
    assert (row["verdict"], row["value"]) == ("not reproduced", 0.05)


def test_eq3():
    assert verdict("eq3-share", made({"share": 0.02}, EXACT)) == "reproduced"
    assert verdict("eq3-share", made({"share": 0.75}, EXACT)) == "not reproduced"
    assert verdict("eq3-spares-worst", made({"given_up": 0.1}, EXACT)) == "reproduced"
    assert verdict("eq3-spares-worst", made({"given_up": 0.9}, EXACT)) == "not reproduced"


def test_exact_claims_can_go_either_way():
    halved, doubled = EXACT.copy(), EXACT.copy()
    halved["value"] = EXACT[["value", "bound"]].min(axis=1)
    doubled["value"] = 2 * EXACT["bound"]
    for claim in ("filter-at-count", "filter-absorbing"):
        assert verdict(claim, made(exact=halved)) == "reproduced"
        assert verdict(claim, made(exact=doubled)) == "not reproduced"


def test_the_score_difference_by_hand():
    # 100^(-50 * 0.3) - 100^(-50 * 0.5) = 1e-30; with alpha 1: 100^-0.3 - 100^-0.5 = 0.151.
    row = claims.row(CLAIM["score-difference"], made(exact=EXACT))
    assert row["verdict"] == "not reproduced" and "1.0e-30; alpha 1: 0.151" in row["note"]


def test_rows_have_the_ledgers_schema(tmp_path):
    data = theory_results.build("smoke", tmp_path)
    path = theory_claims.write(data, tmp_path)
    rows = json.loads(path.read_text())
    assert path == tmp_path / "results/threespo_theory/smoke/claims.json"
    keys = claims.row(claims.CLAIMS[0], None).keys()
    for row in rows:
        assert row.keys() == keys and row["verdict"] in VERDICTS and row["tier"] == "smoke"
        assert row["paper"] == "3spo" and row["rule"] and row["metric"] and "|" not in row["statement"]
    assert len({row["id"] for row in rows}) == len(rows) == len(THEORY_CLAIMS)


def test_committed_claims_are_those_of_the_committed_tables():
    path = theory_results.folder("small") / "claims.json"
    assert json.loads(path.read_text()) == theory_claims.ledger_rows(theory_results.load("small"))
