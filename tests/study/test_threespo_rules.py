"""The verdicts on 3SPO's claims, on tables of straight lines whose differences are known."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from explored_tables import explored  # noqa: E402

from repro.study import claims, threespo_claims, threespo_rules  # noqa: E402
from repro.study.evidence import (  # noqa: E402
    DIRECTION,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_RUN,
    NOT_TESTABLE,
    REPRODUCED,
    VERDICTS,
    Evidence,
)
from repro.study.statistics import Interval  # noqa: E402
from repro.study.threespo_alfworld import THREESPO_ALFWORLD as ALFWORLD  # noqa: E402
from repro.study.threespo_webshop import THREESPO_WEBSHOP as WEBSHOP  # noqa: E402

CLAIMS = {claim.id: claim for claim in threespo_claims.THREESPO_CLAIMS}
STUDIES = {study.name: study for study in (ALFWORLD, WEBSHOP)}


def evidence(gains=None, study=ALFWORLD, **options):
    return Evidence(study, explored(study, gains, **options))


def verdict(id, evidence):
    claim = CLAIMS[id]
    return claims.row(claim, evidence)["verdict"]


@pytest.mark.parametrize(
    ("low", "high", "number", "neutral", "expected"),
    [
        (1, 25, 20, 0, REPRODUCED),
        (21, 25, 20, 0, REPRODUCED),  # more than claimed is no less
        (1, 19, 20, 0, DIRECTION),
        (-5, 9, 20, 0, NOT_REPRODUCED),
        (-5, 11, 20, 0, INCONCLUSIVE),
        (-9, -1, 20, 0, NOT_REPRODUCED),
        (1.1, 2.5, 2.42, 1, REPRODUCED),
        (1.1, 2.0, 2.42, 1, DIRECTION),
        (0.5, 1.5, 2.42, 1, NOT_REPRODUCED),  # below sqrt(2.42) = 1.556
        (0.5, 1.6, 2.42, 1, INCONCLUSIVE),
        (0.1, 2, None, 0, REPRODUCED),
        (0.1, 0.9, None, 1, NOT_REPRODUCED),
        (-1, 2, None, 0, INCONCLUSIVE),
    ],
)
def test_an_effect(low, high, number, neutral, expected):
    assert threespo_rules.effect(Interval((low + high) / 2, low, high, 5), number, neutral) == expected


def test_every_claim_has_arms_of_its_study_and_ids_are_unique():
    assert len(CLAIMS) == len(threespo_claims.THREESPO_CLAIMS)
    for claim in CLAIMS.values():
        assert set(claim.arms) <= set(STUDIES[claim.study].arms) and claim.paper == "3spo"
        assert (claim.rule.judge is None) == (not claim.arms)
    words = [claim.statement for claim in CLAIMS.values()]
    assert len(set(words)) == len(words)  # the same in two worlds is told apart by the world's name
    assert all(statement.endswith(("households)", "shop)")) for statement in words)
    for study in STUDIES:
        tested = {arm for claim in CLAIMS.values() if claim.study == study for arm in claim.arms}
        assert tested == set(STUDIES[study].arms)  # no arm is run in vain


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_every_claim_has_a_verdict_where_all_ran_and_where_nothing_did(study):
    data = evidence(study=study, seeds=2)
    rows = [claims.row(claim, data) for claim in CLAIMS.values() if claim.study == study.name]
    assert {row["verdict"] for row in rows} <= set(VERDICTS)
    assert all(row["seeds"] for row in rows if row["arms"] and "faster" not in row["id"])
    empty = [claims.row(claim, None) for claim in CLAIMS.values() if claim.study == study.name]
    assert {row["verdict"] for row in empty} <= {NOT_RUN, NOT_TESTABLE}


def test_success_is_compared_at_the_papers_temperature_and_by_seed():
    # GRPO gains 0.3 over the budget, the literal reading 0.3 + 0.25 by seed -+ 0.001.
    data = evidence({"literal": lambda seed: 0.55 + 0.001 * (-1) ** seed}, seeds=4)
    row = claims.row(CLAIMS["threespo-alfworld-literal-beats-grpo-valid-seen"], data)
    assert row["verdict"] == REPRODUCED and row["value"] == pytest.approx(25) and row["unit"] == "points"
    assert "at training's temperature +25.0" in row["note"] and "Interim" in row["note"]
    worse = evidence({"literal": lambda seed: 0.3 + 0.001 * (-1) ** seed}, seeds=4)
    assert verdict("threespo-alfworld-literal-beats-grpo-valid-seen", worse) == NOT_REPRODUCED


def test_score_and_success_of_the_shop_are_told_apart():
    data = explored(WEBSHOP, seeds=3)
    data.runs["score_t0.4"] += (data.runs["arm"] == "literal") * (0.2 + 0.001 * data.runs["seed"])
    rows = {m: claims.row(CLAIMS[f"threespo-webshop-literal-beats-grpo-{m}"], Evidence(WEBSHOP, data))
            for m in ("score", "success")}  # fmt: skip
    assert rows["score"]["value"] == pytest.approx(20.1) and rows["score"]["verdict"] == REPRODUCED
    assert rows["success"]["value"] == pytest.approx(0) and rows["success"]["verdict"] == NOT_REPRODUCED


def test_a_piece_is_compared_at_its_own_budget_not_at_the_readings_end():
    # The piece rises as fast as its reading, and ends at half of the budget: no difference there.
    data = evidence({"table-novelty": lambda seed: 0.3 + 0.01 * (seed - 1)})
    row = claims.row(CLAIMS["threespo-alfworld-table-stands-novelty"], data)
    assert row["value"] == pytest.approx(0) and row["verdict"] == REPRODUCED
    # 0.1 against 0.3 of the whole budget's gain: 10 points at half of it.
    broken = evidence({"table-novelty": lambda seed: 0.1 + 0.001 * seed})
    row = claims.row(CLAIMS["threespo-alfworld-table-stands-novelty"], broken)
    assert row["value"] == pytest.approx(-9.95) and row["verdict"] == NOT_REPRODUCED


def test_states_by_generation_and_by_epoch():
    # 300 against 200 at equal generations. By epochs, both have spent four: GRPO then has 40 states of its 20 updates.
    data = evidence(seeds=2)
    row = claims.row(CLAIMS["literal-more-states-a-generation"], data)
    assert row["value"] == pytest.approx(1.5) and row["verdict"] == DIRECTION and "300 against 200" in row["note"]
    row = claims.row(CLAIMS["literal-more-states-an-epoch"], data)
    assert row["value"] == pytest.approx(300 / 40) and row["verdict"] == REPRODUCED


def test_the_price_of_a_threshold_and_who_never_reaches_it():
    data = evidence({"grpo": 0.5, "literal": 0.1, "table": 1.0}, arms=("grpo", "literal", "table"))
    # Mean over lists 0.175 + gain g / 1000: 0.5 at 650 and 325 generations.
    row = claims.row(CLAIMS["table-faster-generations-50"], data)
    assert row["value"] == pytest.approx(2) and row["verdict"] == REPRODUCED
    row = claims.row(CLAIMS["literal-faster-generations-50"], data)
    assert row["value"] is None and row["verdict"] == NOT_REPRODUCED and "in 0 of 5" in row["note"]
    neither = evidence({"grpo": 0.1, "literal": 0.1}, arms=("grpo", "literal"))
    assert verdict("literal-faster-generations-50", neither) == INCONCLUSIVE


def test_mechanism_and_cost():
    data = evidence(arms=("grpo", "literal", "literal-fixed_n"), seeds=3)
    row = claims.row(CLAIMS["score-falls-literal"], data)
    assert row["value"] == pytest.approx(0.3) and row["verdict"] == DIRECTION  # 0.9 to 0.6, the paper's is 0.57
    assert verdict("threespo-alfworld-literal-shrinks", data) == INCONCLUSIVE  # all epochs are equal
    assert verdict("literal-comparable-flops", data) == REPRODUCED
    assert claims.row(CLAIMS["threespo-alfworld-fixed-n-costs"], data)["value"] == pytest.approx(1)
