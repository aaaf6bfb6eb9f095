"""The studies of SMEPO: their arms, and the checks of their warm starts."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from repro.algorithms.grpo import GRPO
from repro.algorithms.guidance import Unguided
from repro.algorithms.luffy import ExpertRows
from repro.algorithms.smepo import HINTS, EscalatingTrace
from repro.config import config_hash
from repro.study.smepo_arms import SECOND, profiles
from repro.study.smepo_math import CHECKS, GUIDANCE, SMEPO_MATH


def test_arms_differ_in_the_hint_alone():
    plain = SMEPO_MATH.config("grpo@wide", 3, "small")
    for name, (_, hint) in GUIDANCE.items():
        config = SMEPO_MATH.config(f"{name}@wide", 3, "small")
        assert config.recipe.guidance == (HINTS[hint] if hint else Unguided())
        assert config.recipe.objective == plain.recipe.objective == GRPO(eps_low=0.0, eps_high=5.0, dual_clip=3.0)
        for part in ("world", "policy", "warmstart", "training", "schedule"):
            assert getattr(config, part) == getattr(plain, part)
        assert replace(config.evaluation, formats=plain.evaluation.formats) == plain.evaluation
    assert set(plain.evaluation.formats) == {hint for _, hint in GUIDANCE.values()}  # GRPO's warm start is profiled
    assert SMEPO_MATH.config("smepo@usual", 0, "small").recipe.objective == GRPO()
    assert SMEPO_MATH.config("full@trusting", 0, "small").warmstart.doubt == 0.0
    assert SMEPO_MATH.config("full@doubting", 0, "small").warmstart.doubt == 0.5
    for tier, length in (("smoke", 2), ("small", 7)):
        sparse, own = (SMEPO_MATH.config(f"smepo@{condition}", 0, tier) for condition in ("sparse", "wide"))
        assert sparse.warmstart == replace(own.warmstart, route_slip=0.6) and own.warmstart.route_slip == 0.3
        assert sparse.world == replace(own.world, min_length=length) and sparse.world.max_length == length
        assert sparse.recipe == own.recipe and sparse.training == own.training


def test_the_warm_start_is_examined_as_all_are_at_their_end():
    for condition in ("wide", "sparse"):
        start, plain = (SMEPO_MATH.config(f"{name}@{condition}", 3, "small") for name in ("start", "grpo"))
        assert start.training == replace(plain.training, updates=1, learning_rate=0.0)
        assert start.evaluation == replace(plain.evaluation, formats=())
        for part in ("world", "policy", "warmstart", "recipe", "schedule"):
            assert getattr(start, part) == getattr(plain, part)


def test_the_second_tier():
    plain = SMEPO_MATH.config("grpo@wide", 3, "small")
    for name in SECOND:
        config = SMEPO_MATH.config(f"{name}@wide", 3, "small")
        for part in ("world", "policy", "warmstart", "training", "schedule"):
            assert getattr(config, part) == getattr(plain, part)
        assert config.recipe.allocation == plain.recipe.allocation
        assert config.recipe.objective.eps_high == plain.recipe.objective.eps_high == 5.0
    ghpo, both = (SMEPO_MATH.config(f"{name}@wide", 0, "small").recipe.guidance for name in ("ghpo", "ghpo_smepo"))
    assert ghpo == EscalatingTrace(HINTS["full"]) and both == EscalatingTrace(HINTS["critical_path"], stages=(1.0,))
    assert SMEPO_MATH.config("luffy@wide", 0, "small").recipe.exploration == ExpertRows(mixed=1)


@pytest.mark.parametrize("tier", ["smoke", "small"])
def test_every_cell_is_a_run_of_its_own(tier):
    hashes = [config_hash(SMEPO_MATH.config(arm, 0, tier)) for arm in SMEPO_MATH.arms]
    assert len(set(hashes)) == len(hashes) == 31
    cells = SMEPO_MATH.cells(tier, seeds=1)
    assert cells[0].arm == "grpo@wide" and all(arm.core == (name.split("@")[0] in ("grpo", "full", "smepo", "random")
               and name.endswith("@wide")) for name, arm in SMEPO_MATH.arms.items())  # fmt: skip


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
        ({"critical_path": {"mean": 0.02}}, ["a route that is shown can be followed", "every hint helps"]),
        ({"full": {"mean": 0.3}}, ["copying pays"]),
        ({"full": {"mean": 0.97}}, ["there is something left to learn"]),
    ],
)
def test_checks(changes, failing):
    assert [check.name for check in CHECKS if not check.holds(profile(**changes))] == failing


def test_profiles_are_read_from_the_tables_of_runs():
    rows = [
        {"arm": "grpo@wide", "seed": seed, "update": 0, "probe": "format", "format": hint, "mean_at_k": row["mean"] / 2,
         "pass_at_k": row["pass"], "error_route": row["route"], "error_fact": row["fact"], "error_value": row["value"],
         "error_form": row["form"], "error_plan": float("nan"), "copied": float("nan")}
        for seed in (0, 3) for hint, row in profile().items()
    ]  # fmt: skip
    rows += [rows[0] | {"arm": "grpo@trusting"}, rows[0] | {"probe": "guided", "mean_at_k": 9.0}]
    read = profiles(SimpleNamespace(probes=pd.DataFrame(rows)))
    assert list(read) == [0, 3] and read[0] == read[3]
    assert read[0] == {hint: row | {"mean": row["mean"] / 2} for hint, row in profile().items()}
    assert [check.name for check in CHECKS if not check.holds(read[0])] == []


def test_needs_no_torch():
    code = "import sys, repro.study.smepo_math; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
