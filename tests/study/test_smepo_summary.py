"""What the SMEPO notebooks and the README say, on tables made by hand."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from guidance_tables import arm, evidence, made  # noqa: E402

from repro.study import smepo_summary, summary  # noqa: E402
from repro.study.smepo_math import CHECKS, SMEPO_MATH  # noqa: E402

GRPO, FULL, SMEPO = "grpo@wide", "full@wide", "smepo@wide"
ERRORS = {"route": 0.7, "fact": 0.15, "value": 0.12, "form": 0.0}
FORMATS = {
    "": (0.03, 0.15, ERRORS),
    "critical_path": (0.4, 0.9, {"route": 0.05, "fact": 0.05, "value": 0.5, "form": 0.0}),
    "full": (0.7, 0.99, {"route": 0.05, "fact": 0.05, "value": 0.2, "form": 0.0}),
}


def test_a_warm_start_that_meets_its_conditions_and_one_that_does_not():
    good = smepo_summary.warm_start(made({GRPO: arm(formats=FORMATS)}), CHECKS, SMEPO_MATH)
    assert "Means over 10 warm starts, one a seed" in good and "not evidence" not in good.lower()
    assert "| no hint | 3.0 | 15.0 | 15.0 | 0.0 | 70.0 | 12.0 |" in good
    assert "| SMEPO, critical path | 40.0 | 90.0 |" in good and "| full trace | 70.0 | 99.0 |" in good
    assert good.count("**yes**") == len(CHECKS) and "**no**" not in good

    easy = FORMATS | {"": (0.03, 0.5, ERRORS)}
    bad = smepo_summary.warm_start(made({GRPO: arm(formats=easy, tier="smoke")}), CHECKS, SMEPO_MATH)
    assert bad.startswith("**Smoke tier") and bad.count("**no**") == 1
    assert "| sparse, not zero | " in bad.split("**no**")[0].splitlines()[-1]


def test_a_warm_start_that_was_not_profiled():
    assert smepo_summary.warm_start(made({SMEPO: arm()}), CHECKS, SMEPO_MATH).startswith("No profile")


def test_a_row_an_arm():
    copies = {"copied_full": 0.9, "start_copied_full": 0.4, "seconds": 60.0}
    tables = made({GRPO: arm(), SMEPO: arm((0.1, 0.2, 0.3, 0.5)), FULL: arm(**copies), "full@usual": arm(seeds=1)})
    tables.runs.loc[tables.runs["arm"] == "full@usual", "reward_last"] = None  # as of a run that only reads traces
    text = smepo_summary.outcome(tables, SMEPO_MATH)
    assert "| **GRPO** | wide | 10 | 40.0 [40.0, 40.0] |  |" in text
    assert "| **SMEPO, critical path** | wide | 10 | 50.0 [50.0, 50.0] | +10.0 [+10.0, +10.0] |" in text
    assert "| 90.0 (40.0) | - |" in text and "| full trace | usual | 1 | 40.0 (one seed) | no seed in common |" in text
    assert "| 60.0 (one seed) | - | - | - |" in text and "| 50.0 | 90.0 (40.0) | - |" in text
    assert "usual" not in smepo_summary.outcome(tables, SMEPO_MATH, core=True)


def test_findings_are_those_of_the_rules():
    copied = {"copied_full": 0.9, "start_copied_full": 0.4}
    arms = {
        GRPO: arm((0.1, 0.2, 0.4, 0.4)),
        SMEPO: arm((0.1, 0.5, 0.5, 0.5), **copied | {"copied_full": 0.3, "copied_own": 0.05}),
        FULL: arm(**copied),
    }
    arms |= {"random@wide": arm((0.1, 0.1, 0.1, 0.1), seeds=5), "start@wide": arm((0.1, 0.1, 0.1, 0.2))}
    lines = "\n".join(smepo_summary._lines(evidence(arms)))
    assert "Against the warm start's 20.0 %: GRPO +20.0 [+20.0, +20.0] points, 10 seeds; SMEPO +30.0" in lines
    assert "SMEPO ends at 50.0 % held-out success, GRPO at 40.0 %: +10.0 [+10.0, +10.0] points, 10 seeds" in lines
    assert "Targets 40.0 % on average: reached by 10 of 10 runs of SMEPO; provably sooner than GRPO" in lines
    assert "warm starts gave that answer in 40 % of responses (40 to 40 from seed to seed)" in lines
    assert (
        "changed it by +50.0 [+50.0, +50.0] points with full traces; -10.0 [-10.0, -10.0] points with masked ones."
        in lines
    )
    assert "full trace minus SMEPO +60.0 [+60.0, +60.0] points. From masked traces, which do not show it" in lines
    assert "policies trained with them gave it in 5.0 %." in lines
    assert "SMEPO against a matched random mask +40.0 [+40.0, +40.0] points, 5 seeds." in lines


def test_what_is_found_where_plain_questions_are_hardly_ever_solved():
    arms = {"grpo@sparse": arm((0.1, 0.1, 0.1, 0.2)), "full@sparse": arm((0.1, 0.1, 0.1, 0.1))}
    lines = "\n".join(smepo_summary._lines(evidence(arms)))
    assert "GRPO ends at 20.0 % held-out success. Against" in lines
    lines += "\n".join(smepo_summary._lines(evidence(arms | {"start@sparse": arm((0.1, 0.1, 0.1, 0.15))})))
    assert (
        "GRPO ends at 20.0 % held-out success, +5.0 [+5.0, +5.0] points, 5 seeds from the warm start's 15.0 %" in lines
    )
    assert "Against it: full trace -10.0 [-10.0, -10.0] points, 5 seeds." in lines
    levels = {"mean_at_k_easy": 0.5, "mean_at_k_hard": 0.1}
    arms = {"grpo@sparse": arm(**levels), "smepo@sparse": arm(**levels | {"mean_at_k_easy": 0.9}), GRPO: arm()}
    lines = "\n".join(smepo_summary._lines(evidence(arms | {"ghpo@wide": arm((0.1, 0.1, 0.1, 0.5))})))
    assert "By level, SMEPO's: easy +40.0 [+40.0, +40.0], hard +0.0 [+0.0, +0.0]." in lines
    assert "other ways to use a trace?** Against GRPO: GHPO +10.0 [+10.0, +10.0] points, 5 seeds." in lines
    assert "hardly ever solved" not in "\n".join(smepo_summary._lines(evidence({GRPO: arm()})))


def test_what_is_found_after_another_warm_start():
    """SMEPO 50 %, GRPO 40 %, full 30 %; planted answers 40 -> 90 % with full traces and 40 -> 30 % with masked ones."""
    copied = {"copied_full": 0.9, "start_copied_full": 0.4}
    arms = {
        "grpo@trusting": arm((0.1, 0.2, 0.4, 0.4)),
        "smepo@trusting": arm((0.1, 0.5, 0.5, 0.5), **copied | {"copied_full": 0.3}),
        "full@trusting": arm((0.1, 0.2, 0.3, 0.3), **copied),
    }
    lines = "\n".join(smepo_summary._lines(evidence(arms)))
    assert (
        "One that trusts its hints: SMEPO against GRPO +10.0 [+10.0, +10.0] points, against the full trace "
        "+20.0 [+20.0, +20.0] points, 5 seeds; planted answers given from 40.0 to 90.0 % with full traces, "
        "from 40.0 to 30.0 % with masked ones." in lines
    )
    del arms["full@trusting"]
    assert "another warm start" not in "\n".join(smepo_summary._lines(evidence(arms)))


def test_conditions_that_some_warm_start_misses_are_named():
    lines = "\n".join(smepo_summary._lines(evidence({GRPO: arm(formats=FORMATS), SMEPO: arm()})))
    assert "Conditions on the warm start, set beforehand: 6 of 6 hold in every seed." in lines
    easy = FORMATS | {"": (0.03, 0.5, ERRORS)}
    lines = "\n".join(smepo_summary._lines(evidence({GRPO: arm(formats=easy), SMEPO: arm()})))
    assert lines.count('beforehand: 5 of 6 hold in every seed; "sparse, not zero" holds in 0 of 10.') == 1
    some = arm((0.1, 0.2, 0.3, 0.3), formats=FORMATS)
    probes = some[3].copy()
    probes.loc[(probes["seed"] < 7) & (probes["format"] == ""), "pass_at_k"] = 0.5  # three seeds meet all conditions
    success = [[0.1, 0.2, 0.3, 0.9]] * 7 + [[0.1, 0.2, 0.3, 0.5]] * 3
    arms = {GRPO: (*some[:3], probes), SMEPO: arm(success), FULL: arm(), "random@wide": arm((0.1, 0.2, 0.3, 0.6))}
    assert (
        "holds in 3 of 10. In the 3 seeds in which all hold, SMEPO ends against GRPO +20.0 [+20.0, +20.0], the full "
        "trace +10.0 [+10.0, +10.0], a random mask -10.0 [-10.0, -10.0] points."
    ) in "\n".join(smepo_summary._lines(evidence(arms)))


def test_without_results(tmp_path):
    nothing = "No small-tier results are committed yet."
    assert smepo_summary.finding(tmp_path) == smepo_summary.outcomes(tmp_path) == nothing


@pytest.mark.parametrize("tier", ["smoke", "small"])
def test_the_set_up_says_what_all_runs_share(tier):
    text = smepo_summary.setup(SMEPO_MATH, tier)
    assert "operations" in text and "rollouts 0 to 3 updates old" in text
    assert all(line.count("|") == 3 for line in text.splitlines())


def test_the_set_up_of_a_paper_tier_is_its_plan():
    for tier in filter(SMEPO_MATH.paper_tier, SMEPO_MATH.tiers):
        assert smepo_summary.setup(SMEPO_MATH, tier) == summary.setup(SMEPO_MATH, tier)
