"""The claims of the SMEPO studies and their rules, on tables made by hand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from guidance_tables import arm, evidence, made, spread  # noqa: E402

from repro.figures import FIGURES  # noqa: E402
from repro.study import STUDIES, claims, targets  # noqa: E402
from repro.study.definition import Study  # noqa: E402
from repro.study.smepo_claims import MATHS, NOT_PLANNED, SMEPO_CLAIMS, smepo_claims  # noqa: E402
from repro.study.smepo_math import SMEPO_MATH  # noqa: E402
from repro.study.smepo_rules import (  # noqa: E402
    COPIES,
    COPYING_RISES,
    COPYING_STAYS,
    HURTS_AND_COPIES,
    NEARER,
    SOONER_HOURS,
    SOONER_TOKENS,
    SOONER_UPDATES,
    WIDER_GAP,
)

FULL, SMEPO, GRPO = "full@wide", "smepo@wide", "grpo@wide"
CLAIM = {claim.id: claim for claim in SMEPO_CLAIMS}


# Claims ---------------------------------------------------------------------------------------------------------------


def test_claims_name_arms_and_figures_that_exist():
    studies = {SMEPO_MATH.name: SMEPO_MATH} | STUDIES
    assert len(CLAIM) == len(SMEPO_CLAIMS)
    for claim in SMEPO_CLAIMS:
        assert isinstance(studies[claim.study], Study) and claim.id.endswith(claim.study.removeprefix("smepo_"))
        assert set(claim.arms) <= set(studies[claim.study].arms), claim.id
        assert (claim.rule.judge is None) == (not claim.arms)
        if claim.figure:
            path = Path(claim.figure)
            assert path.parent == Path("figures") / claim.study and path.stem in FIGURES[claim.study], claim.id


def test_published_differences():
    """SMEPO over GRPO +2.7, +2.1, +0.8; GRPO over the full trace 6.6, 3.8, 1.4; SMEPO over that their sums."""
    published = {claim.id: claim.paper_number for claim in SMEPO_CLAIMS}
    assert published["smepo-beats-grpo-math"] == pytest.approx((2.7 + 2.1 + 0.8) / 3, abs=1e-3)
    assert published["full-trace-hurts-math"] == pytest.approx((6.6 + 3.8 + 1.4) / 3, abs=1e-3)
    assert published["smepo-beats-full-math"] == pytest.approx((9.3 + 5.9 + 2.2) / 3, abs=1e-3)
    assert CLAIM["smepo-beats-grpo-math"].paper_value.startswith("+2.7, +2.1, +0.8 points (Qwen3-8B-Base")
    assert published["smepo-sooner-hours-math"] == pytest.approx(9.90 / 2.37, abs=0.01)


def test_what_a_study_has_no_arm_for_is_not_judged():
    few = Study("smepo_few", "few", "smepo", "few.ipynb", {GRPO: SMEPO_MATH.arms[GRPO]}, ("small",), SMEPO_MATH.build)
    made = {claim.id: claim for claim in smepo_claims(few, MATHS)}
    assert "smepo-numerals-beats-grpo-few" not in made
    assert {c.rule for c in made.values() if c.id != "smepo-absolute-accuracy-few"} == {NOT_PLANNED}
    row = claims.row(made["full-trace-is-copied-few"], None)
    assert row["verdict"] == "not testable here" and row["paper_value"] and row["arms"] == []


def test_needs_no_torch():
    code = "import sys, repro.study.smepo_claims; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Copying --------------------------------------------------------------------------------------------------------------


def shares(**copied):
    """Two arms with what they copy at the end, and a warm start that copies 30 %."""
    return evidence({f"{name}@wide": arm(copied_full=end, start_copied_full=0.3) for name, end in copied.items()})


@pytest.mark.parametrize(
    ("full", "smepo", "verdict"),
    [
        (spread(0.9, 0.05), 0.2, "reproduced"),
        (spread(0.4, 0.05), 0.1, "direction only"),  # more than the other, yet less often than not
        (spread(0.3, 0.05), 0.3, "not reproduced"),  # rarely, and no more than the other
        (spread(0.2, 0.05), 0.6, "not reproduced"),
        (spread(0.9, 0.05), 0.9, "inconclusive"),  # both copy
        (np.nan, np.nan, "inconclusive"),
    ],
)
def test_copies(full, smepo, verdict):
    judged = COPIES.judge(shares(full=full, smepo=smepo), FULL, SMEPO)
    assert judged.verdict == verdict
    if np.isfinite(smepo):
        assert judged.interval.estimate == pytest.approx(100 * (np.mean(full) - smepo)) and judged.interval.n == 10
        assert f"{SMEPO} {100 * smepo:.1f}" in judged.note


def test_copies_that_were_not_measured():
    bare = evidence({FULL: arm(), SMEPO: arm()})
    judged = [COPIES.judge(bare, FULL, SMEPO), COPYING_RISES.judge(bare, FULL), COPYING_STAYS.judge(bare, SMEPO)]
    assert [(j.verdict, j.note, j.interval.n) for j in judged] == [("inconclusive", "not measured", 0)] * 3


@pytest.mark.parametrize(
    ("full", "copied", "verdict"),
    [
        (0.2, spread(0.7, 0.1), "reproduced"),
        (0.2, spread(0.55, 0.1), "direction only"),  # it hurts, and not by copying
        (0.6, spread(0.9, 0.05), "not reproduced"),
        (spread(0.4, 0.1), spread(0.9, 0.05), "inconclusive"),
        (0.2, np.nan, "direction only"),
    ],
)
def test_a_loss_is_the_paper_s_if_answers_are_copied(full, copied, verdict):
    made = evidence({GRPO: arm(), FULL: arm(mean_at_k=full, copied_full=copied)})
    judged = HURTS_AND_COPIES.judge(made, GRPO, FULL)
    assert judged.verdict == verdict and judged.interval.estimate == pytest.approx(40 - 100 * np.mean(full))


@pytest.mark.parametrize(
    ("end", "rises", "stays"),
    [
        (spread(0.5, 0.05), "reproduced", "not reproduced"),  # +20 ± 5 points
        (spread(0.3, 0.01), "inconclusive", "reproduced"),  # within 3 points, of either sign
        (spread(0.2, 0.05), "not reproduced", "reproduced"),
        (spread(0.3, 0.2), "inconclusive", "inconclusive"),
        (spread(0.32, 0.005), "reproduced", "reproduced"),  # up, by less than the margin
    ],
)
def test_copying_over_training(end, rises, stays):
    made = shares(full=end)
    up, still = COPYING_RISES.judge(made, FULL), COPYING_STAYS.judge(made, FULL)
    assert (up.verdict, still.verdict) == (rises, stays)
    assert up.interval.estimate == pytest.approx(100 * (end.mean() - 0.3))
    assert up.note == f"from 30.0 to {100 * end.mean():.1f} %"


# What a mask takes back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("smepo", "verdict", "share"),
    [
        (spread(0.38, 0.01), "reproduced", "90 %"),  # 18 of 20 points
        (spread(0.30, 0.02), "inconclusive", "50 %"),
        (spread(0.22, 0.01), "not reproduced", "10 %"),
        (spread(0.60, 0.01), "reproduced", "200 %"),
    ],
)
def test_how_much_of_a_loss_is_taken_back(smepo, verdict, share):
    """GRPO 40 %, full trace 20 %: what SMEPO gains on the one minus what it lacks of the other."""
    judged = NEARER.judge(
        evidence({SMEPO: arm(mean_at_k=smepo), FULL: arm(mean_at_k=0.2), GRPO: arm()}), SMEPO, FULL, GRPO
    )
    assert judged.verdict == verdict and judged.interval.estimate == pytest.approx(100 * (2 * smepo.mean() - 0.6))
    assert judged.note == f"taken back: {share} of the 20.0 points that {FULL} ends below {GRPO}"


def test_a_loss_that_is_none_or_that_no_seed_shows():
    none = evidence({SMEPO: arm(), FULL: arm(mean_at_k=0.5), GRPO: arm()})
    assert NEARER.judge(none, SMEPO, FULL, GRPO).note.startswith("taken back: there is no loss")
    judged = NEARER.judge(evidence({SMEPO: arm(), GRPO: arm()}), SMEPO, FULL, GRPO)
    assert (judged.verdict, judged.note) == ("inconclusive", "no seed in common")


# Reward against success -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reward", "verdict"),
    [(spread(0.9, 0.05), "reproduced"), (spread(0.6, 0.05), "inconclusive"), (spread(0.4, 0.05), "not reproduced")],
)
def test_the_gap_between_reward_and_success(reward, verdict):
    """Full: reward - 0.4. SMEPO: 0.6 - 0.4 = 20 points."""
    tables = evidence({FULL: arm(reward_last=reward), SMEPO: arm(reward_last=0.6)})
    judged = WIDER_GAP.judge(tables, FULL, SMEPO)
    assert judged.verdict == verdict
    assert judged.interval.estimate == pytest.approx(100 * (reward.mean() - 0.6))
    assert judged.note.endswith(f"{SMEPO} +20.0")


# Time to a target -----------------------------------------------------------------------------------------------------


def test_a_target_is_reached_when_it_is_held():
    curve = pd.Series([0.1, 0.5, 0.2, 0.5, 0.6], index=[0, 20, 40, 60, 80])
    assert targets.reached(curve, 0.5) == 60 and targets.reached(curve, 0.1) == 0
    assert targets.reached(curve, 0.6) is None  # at the last evaluation, too late to be seen to stay
    assert targets.reached(pd.Series(dtype=float), 0.1) is None


def test_success_is_the_mean_over_levels_and_time_adds_up():
    tables = made({GRPO: arm((0.1, 0.2, 0.3, 0.4), seeds=4, seconds=3.0, tokens=7)})
    assert targets.success(tables, GRPO)[3].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert targets.success(tables, SMEPO).empty
    for axis, at_40, end in (("updates", 40, 60), ("tokens", 280, 420), ("hours", 120 / 3600, 180 / 3600)):
        spent = targets.spent(tables, GRPO, axis)
        assert list(spent.columns) == [0, 1, 2, 3] and spent.loc[40, 2] == pytest.approx(at_40)
        assert targets.course(tables, GRPO, axis).times(0.25).loc[1].tolist() == pytest.approx([at_40, end])
    course = targets.course(tables, GRPO, "updates")
    assert course.times(0.35)["reached"].isna().all()  # at the last alone
    assert course.times(0.05)["reached"].tolist() == [1.0] * 4  # the warm start has it


def test_a_curve_is_of_the_same_questions():
    tables = made({GRPO: arm((0.1, 0.2, 0.3, 0.9), seeds=2)})
    tables.evals.loc[tables.evals["update"] == 60, "queries"] = 128
    assert targets.success(tables, GRPO)[0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert targets.course(tables, GRPO, "updates").ends().tolist() == pytest.approx([0.3, 0.3])
    assert targets.course(tables, SMEPO, "updates").ends().empty


SOON, LATE = (0.1, 0.4, 0.4, 0.4), (0.1, 0.2, 0.4, 0.4)


def pair(first, second, **columns):
    return evidence({SMEPO: arm(first, **columns), GRPO: arm(second)})


@pytest.mark.parametrize(
    ("first", "second", "verdict", "ratio"),
    [
        (SOON, LATE, "reproduced", 2.0),  # 20 updates against 40
        (LATE, SOON, "not reproduced", 0.5),
        (LATE, LATE, "inconclusive", 1.0),
        (SOON, (0.1, 0.2, 0.3, 0.4), "reproduced", 3.0),  # GRPO is where it ends at its end, held or not: 60
        ((0.1, 0.1, 0.1, 0.1), SOON, "not reproduced", None),  # never
        ((0.1, 0.1, 0.1, 0.4), SOON, "not reproduced", None),  # too late to be held: censored
    ],
)
def test_time_to_target(first, second, verdict, ratio):
    judged = SOONER_UPDATES.judge(pair(first, second), SMEPO, GRPO)
    assert judged.verdict == verdict
    if ratio:
        assert judged.interval.estimate == pytest.approx(ratio) and judged.interval.n == 10
    else:
        assert judged.interval.n == 0 and "provably sooner than" in judged.note


@pytest.mark.parametrize(
    ("arrived", "verdict"), [(10, "reproduced"), (9, "direction only"), (5, "inconclusive"), (1, "not reproduced")]
)
def test_runs_that_never_arrive_are_not_left_out(arrived, verdict):
    """SMEPO is there at 20 or never, GRPO at 40 always: among the pairs that both reach the ratio is always 2."""
    rows = [(0.1, 0.5, 0.5, 0.5)] * arrived + [(0.1, 0.2, 0.2, 0.2)] * (10 - arrived)
    judged = SOONER_UPDATES.judge(pair(rows, (0.1, 0.2, 0.5, 0.5)), SMEPO, GRPO)
    assert judged.verdict == verdict and judged.interval.estimate == pytest.approx(2) and judged.interval.n == arrived
    assert f"by {arrived} of 10" in judged.note and f"in {arrived} pairs, later in {10 - arrived}" in judged.note


def test_each_seed_has_its_own_target():
    """GRPO ends at 0.3 in half of the seeds and at 0.5 in the others; SMEPO reaches 0.4 in all, the mean."""
    ends = [(0.1, 0.1, 0.3, 0.3)] * 5 + [(0.1, 0.1, 0.5, 0.5)] * 5
    judged = SOONER_UPDATES.judge(pair((0.1, 0.4, 0.4, 0.4), ends), SMEPO, GRPO)
    assert judged.verdict == "inconclusive" and "targets 40.0 % on average: reached by 5 of 10" in judged.note


def test_time_is_charged_where_it_is_spent():
    """Hints make updates slower: 20 updates of 3 s against 40 of 1 s; the tokens of an update are the same."""
    tables = pair(SOON, LATE, seconds=3.0)
    hours, tokens = (rule.judge(tables, SMEPO, GRPO) for rule in (SOONER_HOURS, SOONER_TOKENS))
    assert hours.verdict == "not reproduced" and hours.interval.estimate == pytest.approx(40 / 60)
    assert tokens.verdict == "reproduced" and tokens.interval.estimate == pytest.approx(2.0)


def test_no_seed_in_common():
    assert SOONER_HOURS.judge(evidence({GRPO: arm(SOON)}), SMEPO, GRPO).verdict == "inconclusive"
