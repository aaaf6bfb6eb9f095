"""The two studies of 3SPO: every piece and ablation has its arm, and tuning picks by its rule."""

from collections import Counter

import pytest

from repro.algorithms.threespo import ABLATIONS, PIECES
from repro.study import threespo, tuning
from repro.study.threespo_alfworld import ALFWORLD, THREESPO_ALFWORLD
from repro.study.threespo_webshop import THREESPO_WEBSHOP, WEBSHOP

STUDIES = (THREESPO_ALFWORLD, THREESPO_WEBSHOP)


def test_every_piece_and_every_ablation_has_an_arm():
    put_back = {piece for pieces in threespo.PUT_BACK.values() for piece in pieces}
    assert put_back == set(PIECES)
    assert set(threespo.ABLATED) - set(threespo.OWN) == set(ABLATIONS)
    for study in STUDIES:
        assert list(study.arms)[:5] == list(threespo.CORE) == [name for name, arm in study.arms.items() if arm.core]
        assert {f"table-{piece}" for piece in set(PIECES) - {"table_estimate"}} <= set(study.arms)
        counts = Counter(arm.condition for arm in study.arms.values())
        assert set(counts) == set(threespo.CONDITIONS) == set(threespo.SHARE)
        assert all(arm.seeds >= (5 if arm.core else 3) for arm in study.arms.values())
        assert all(threespo.reading_of(name) in threespo.CORE for name in study.arms)


def test_arms_and_rates_are_the_settings_own():
    for setting, study in zip((ALFWORLD, WEBSHOP), STUDIES, strict=True):
        assert set(setting.rates) == set(threespo.CORE) and set(setting.rates.values()) <= set(threespo.RATES)
        assert study.name == setting.name and study.notebook == f"{study.name}.ipynb"


def test_the_highest_success_is_chosen_and_the_smaller_rate_of_equals():
    def row(arm, rate, success, status="finished"):
        return {"arm": arm, "learning_rate": rate, "success": success, "status": status}

    rows = [row("grpo", 1e-3, 0.5), row("grpo", 1e-4, 0.25), row("grpo", 3e-4, 0.5)]
    rows += [row("table", 1e-3, 0.9, "diverged"), row("table", 1e-4, 0.125)]
    assert tuning.chosen(rows) == {"grpo": 3e-4, "table": 1e-4}


@pytest.mark.parametrize("setting", [ALFWORLD, WEBSHOP], ids=lambda setting: setting.name)
def test_the_committed_tuning_is_the_one_in_use(setting):
    recorded = tuning.recorded(setting)
    if recorded is None:
        pytest.skip("not tuned yet")
    assert recorded["chosen"] == tuning.chosen(recorded["rows"]) == setting.rates
    assert Counter(row["arm"] for row in recorded["rows"]) == dict.fromkeys(threespo.CORE, len(threespo.RATES))
    assert {row["seed"] for row in recorded["rows"]} == {threespo.TUNING_SEED}
