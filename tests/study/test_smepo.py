"""The maths study of SMEPO: its arms, the checks of its warm start, and its rules on tables made by hand."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from repro.algorithms import ALGORITHMS, Recipe
from repro.algorithms.credit import GroupCredit
from repro.algorithms.grpo import GRPO
from repro.algorithms.guidance import Unguided
from repro.algorithms.smepo import HINTS
from repro.config import config_hash
from repro.study.definition import Study
from repro.study.evidence import Evidence
from repro.study.smepo_claims import SMEPO_MATH_CLAIMS
from repro.study.smepo_math import CHECKS, GUIDANCE, SMEPO_MATH
from repro.study.smepo_rules import COPIES, SOONER_SECONDS, SOONER_TOKENS, SOONER_UPDATES, accuracy, reached
from repro.study.tables import Tables

ARMS = ("full@wide", "smepo@wide")


@pytest.fixture
def paper_loss(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "smepo_loss", Recipe(GRPO(eps_low=0.0, eps_high=5.0), GroupCredit("std")))


def test_arms_differ_in_the_hint_alone(paper_loss):
    plain = SMEPO_MATH.config("grpo@wide", 3, "small")
    for name, (_, hint) in GUIDANCE.items():
        config = SMEPO_MATH.config(f"{name}@wide", 3, "small")
        assert config.recipe.guidance == (HINTS[hint] if hint else Unguided())
        assert config.recipe.objective == plain.recipe.objective == GRPO(eps_low=0.0, eps_high=5.0, dual_clip=3.0)
        for part in ("world", "policy", "warmstart", "training", "evaluation", "schedule"):
            assert getattr(config, part) == getattr(plain, part)
    assert SMEPO_MATH.config("smepo@usual", 0, "small").recipe.objective == GRPO()
    assert SMEPO_MATH.config("full@trusting", 0, "small").warmstart.doubt == 0.0
    assert SMEPO_MATH.config("full@doubting", 0, "small").warmstart.doubt == 0.5


@pytest.mark.parametrize("tier", ["smoke", "small"])
def test_every_cell_is_a_run_of_its_own(paper_loss, tier):
    hashes = [config_hash(SMEPO_MATH.config(arm, 0, tier)) for arm in SMEPO_MATH.arms]
    assert len(set(hashes)) == len(hashes) == 20
    cells = SMEPO_MATH.cells(tier, seeds=1)
    assert cells[0].arm == "grpo@wide" and all(arm.core == (name.split("@")[0] in ("grpo", "full", "smepo", "random")
               and name.endswith("@wide")) for name, arm in SMEPO_MATH.arms.items())  # fmt: skip


def test_claims_name_arms_that_exist():
    assert isinstance(SMEPO_MATH, Study)
    for claim in SMEPO_MATH_CLAIMS:
        assert set(claim.arms) <= set(SMEPO_MATH.arms), claim.id
    assert len({claim.id for claim in SMEPO_MATH_CLAIMS}) == len(SMEPO_MATH_CLAIMS)
    published = {claim.id: claim.paper_number for claim in SMEPO_MATH_CLAIMS}
    assert published["smepo-beats-grpo"] == pytest.approx((2.7 + 2.1 + 0.8) / 3, abs=1e-3)
    assert published["full-trace-hurts"] == pytest.approx((6.6 + 3.8 + 1.4) / 3, abs=1e-3)


def profile(**changes):
    """A warm start that passes every check."""
    base = {
        "": dict(mean=0.03, route=0.7, fact=0.15, value=0.12, form=0.0, **{"pass": 0.15}),
        "critical_path": dict(mean=0.4, route=0.05, fact=0.05, value=0.5, form=0.0, **{"pass": 0.9}),
        "full": dict(mean=0.7, route=0.05, fact=0.05, value=0.2, form=0.0, **{"pass": 0.99}),
    }
    return {hint: {**row, **changes.get(hint or "bare", {})} for hint, row in base.items()}


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({}, []),
        ({"bare": {"pass": 0.0}}, ["sparse, not zero"]),
        ({"bare": {"pass": 0.5}}, ["sparse, not zero"]),
        ({"bare": {"route": 0.2, "value": 0.62}}, ["the route is the bottleneck"]),
        ({"critical_path": {"pass": 0.4}}, ["a route that is shown can be followed"]),
        ({"critical_path": {"mean": 0.05}}, ["a route that is shown can be followed"]),
        ({"critical_path": {"mean": 0.02}}, ["a route that is shown can be followed", "every format is read"]),
        ({"full": {"mean": 0.3}}, ["copying pays"]),
        ({"full": {"mean": 0.97}}, ["there is something left to learn"]),
    ],
)
def test_checks(changes, failing):
    assert [check.name for check in CHECKS if not check.holds(profile(**changes))] == failing


UPDATES = [0, 20, 40, 60]


def evidence(curves, copied=None, seconds=None, tokens=100):
    """Tables of arms with the same success curve (or one a seed) at UPDATES; one second an update unless said."""
    runs, evals, costs = [], [], []
    for arm, values in curves.items():
        values = np.broadcast_to(np.asarray(values, dtype=float), (10, len(UPDATES)))
        for seed, curve in enumerate(values):
            share = np.broadcast_to((copied or {}).get(arm, np.nan), 10)[seed]
            runs.append({"arm": arm, "seed": seed, "status": "finished", "copied_full": share})
            for update, value in zip(UPDATES, curve, strict=True):
                for level, shift in (("easy", 0.1), ("hard", -0.1)):  # the mean over levels is what counts
                    evals.append({"arm": arm, "seed": seed, "update": update, "level": level, "queries": 8,
                                  "samples": 4, "mean_at_k": value + shift})  # fmt: skip
            for update in range(1, UPDATES[-1] + 1):
                half = (seconds or {}).get(arm, 1.0) / 2
                costs.append({"arm": arm, "seed": seed, "update": update, "reward": 0.5, "seconds_generate": half,
                              "seconds_update": half, "generated_tokens": tokens})  # fmt: skip
    return Evidence(SMEPO_MATH, Tables(pd.DataFrame(runs), pd.DataFrame(costs), pd.DataFrame(evals), pd.DataFrame()))


def spread(mean, half):
    """Ten values with that mean whose t interval is mean ± half (t_9 = 2.2622)."""
    return mean + np.tile([1, -1], 5) * half * 3 / 2.262157


FLAT = [0.2, 0.2, 0.2, 0.2]


@pytest.mark.parametrize(
    ("full", "smepo", "verdict"),
    [
        (spread(0.9, 0.05), 0.2, "reproduced"),
        (spread(0.4, 0.05), 0.1, "direction only"),  # more than the other, yet less often than not
        (spread(0.3, 0.05), 0.3, "not reproduced"),  # rarely, and no more than the other
        (spread(0.2, 0.05), 0.6, "not reproduced"),
        (spread(0.9, 0.05), 0.9, "inconclusive"),  # both copy
    ],
)
def test_copies(full, smepo, verdict):
    made = evidence({arm: FLAT for arm in ARMS}, dict(zip(ARMS, (full, smepo), strict=True)))
    judged = COPIES.judge(made, *ARMS)
    assert judged.verdict == verdict
    assert judged.interval.estimate == pytest.approx(100 * (np.mean(full) - smepo))
    assert judged.interval.n == 10


def test_copies_that_were_not_measured():
    assert COPIES.judge(evidence({arm: FLAT for arm in ARMS}), *ARMS).verdict == "inconclusive"


def test_a_target_is_reached_when_it_is_held():
    curve = pd.Series([0.1, 0.5, 0.2, 0.5, 0.6], index=[0, 20, 40, 60, 80])
    assert reached(curve, 0.5) == 60 and reached(curve, 0.1) == 0
    assert reached(curve, 0.6) is None  # at the last evaluation, too late to be seen to stay
    assert reached(pd.Series(dtype=float), 0.1) is None


def test_accuracy_is_the_mean_over_levels():
    assert accuracy(evidence({"grpo@wide": [0.1, 0.2, 0.3, 0.4]}), "grpo@wide")[3].tolist() == pytest.approx(
        [0.1, 0.2, 0.3, 0.4]
    )
    assert accuracy(evidence({"grpo@wide": FLAT}), "smepo@wide").empty


SOON, LATE = [0.1, 0.4, 0.4, 0.4], [0.1, 0.2, 0.4, 0.4]
PAIR = ("smepo@wide", "grpo@wide")


@pytest.mark.parametrize(
    ("first", "second", "verdict", "ratio"),
    [
        (SOON, LATE, "reproduced", 2.0),  # 20 updates against 40
        (LATE, SOON, "not reproduced", 0.5),
        (LATE, LATE, "inconclusive", 1.0),
        ([0.1, 0.1, 0.1, 0.1], SOON, "not reproduced", None),  # never
        ([0.1, 0.1, 0.1, 0.4], SOON, "not reproduced", None),  # too late to be held: censored
    ],
)
def test_time_to_target(first, second, verdict, ratio):
    judged = SOONER_UPDATES.judge(evidence(dict(zip(PAIR, (first, second), strict=True))), *PAIR)
    assert judged.verdict == verdict
    if ratio:
        assert judged.interval.estimate == pytest.approx(ratio) and judged.interval.n == 10
    else:
        assert judged.interval.n == 0 and "reached by 0 of 10 runs of smepo@wide" in judged.note


def test_a_reference_that_ends_at_the_target_too_late_to_hold_it_is_censored():
    rising = [0.1, 0.2, 0.3, 0.4]  # the target is its last value
    judged = SOONER_UPDATES.judge(evidence(dict(zip(PAIR, (SOON, rising), strict=True))), *PAIR)
    assert judged.verdict == "direction only" and "sooner in 10 pairs, later in 0" in judged.note


def test_time_is_charged_where_it_is_spent():
    """Hints make updates slower: 20 updates of 3 s against 40 of 1 s, and tokens as the updates."""
    made = evidence(dict(zip(PAIR, (SOON, LATE), strict=True)), seconds={"smepo@wide": 3.0, "grpo@wide": 1.0})
    slower, tokens = (rule.judge(made, *PAIR) for rule in (SOONER_SECONDS, SOONER_TOKENS))
    assert slower.verdict == "not reproduced" and slower.interval.estimate == pytest.approx(40 / 60)
    assert tokens.verdict == "reproduced" and tokens.interval.estimate == pytest.approx(2.0)


def test_no_seed_in_common():
    assert SOONER_SECONDS.judge(evidence({"grpo@wide": SOON}), *PAIR).verdict == "inconclusive"


def test_needs_no_torch():
    code = "import sys, repro.study.smepo_math, repro.study.smepo_claims; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
