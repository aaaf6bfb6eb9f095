"""Every rule about cost on tables made by hand: each verdict, its borders, and what too few seeds do."""

import sys
from math import inf, isnan, log, sqrt
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cost_tables import COUNTS, PROFILED, arm, evidence, spread, update  # noqa: E402

from repro.study import claims, cost_rules  # noqa: E402
from repro.study.cost_rules import (  # noqa: E402
    AS_PREDICTED,
    BEATS_AT_A_PRICE,
    BUYS_LITTLE,
    NO_WORSE,
    REWARD_DROPS,
    TOKENS_BY_SIZE,
    cheaper,
    cheaper_to_reach,
    predicted_ratio,
    share_moves,
)
from repro.study.sgpo_claims import SGPO_CLAIMS  # noqa: E402

REPRODUCED, DIRECTION, NOT_REPRODUCED, INCONCLUSIVE = (
    "reproduced", "direction only", "not reproduced", "inconclusive"
)  # fmt: skip
T9, T1 = 2.262157, 12.706205  # t quantiles at 97.5 %


def success(gain, half):
    """sGPO `gain` ± `half` points above uniform groups of constant success."""
    return evidence(sgpo=arm(mean_at_k=spread(50 + gain, half) / 100), uniform=arm(mean_at_k=0.5))


def bills(ratio, factor=1.0, **columns):
    """Uniform runs that cost `ratio` times sGPO's, with a 95 % interval from ratio / factor to ratio x factor.

    The logarithms of the ratios are those of `spread`; all columns of cost are scaled alike.
    """
    times = np.exp(spread(log(ratio), log(factor)))
    costs = ("flops_needed", "seconds_generate", "seconds_update")
    theirs = {name: times * value for name, value in zip(costs, (8e3, 3.0, 1.0), strict=True)}
    return evidence(sgpo=arm(**columns), uniform=arm(**theirs))


# Accuracy -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule, gain, half, verdict",
    [
        (NO_WORSE, 1, 3.5, REPRODUCED),  # -2.5 .. 4.5: above -3
        (NO_WORSE, -2, 0.9, REPRODUCED),  # worse, but not by the margin
        (NO_WORSE, 9, 1, REPRODUCED),
        (NO_WORSE, 0, 3.5, INCONCLUSIVE),
        (NO_WORSE, -4, 1.1, INCONCLUSIVE),  # -5.1 .. -2.9
        (NO_WORSE, -4, 0.9, NOT_REPRODUCED),  # -4.9 .. -3.1
        (BEATS_AT_A_PRICE, 1, 0.9, REPRODUCED),
        (BEATS_AT_A_PRICE, 1, 1.1, INCONCLUSIVE),
        (BEATS_AT_A_PRICE, -1, 1.1, INCONCLUSIVE),
        (BEATS_AT_A_PRICE, -1, 0.9, NOT_REPRODUCED),
        (BUYS_LITTLE, 2, 0.9, REPRODUCED),  # better, but by less than the margin
        (BUYS_LITTLE, -9, 1, REPRODUCED),
        (BUYS_LITTLE, 2, 1.1, INCONCLUSIVE),
        (BUYS_LITTLE, 4, 1.1, INCONCLUSIVE),
        (BUYS_LITTLE, 4, 0.9, NOT_REPRODUCED),
    ],
)
def test_rules_about_success(rule, gain, half, verdict):
    judged = rule.judge(success(gain, half), "sgpo", "uniform")
    assert judged.verdict == verdict
    found = (judged.interval.estimate, judged.interval.low, judged.interval.high)
    assert found == pytest.approx((gain, gain - half, gain + half), abs=1e-4) and judged.interval.n == 10


@pytest.mark.parametrize("rule", [NO_WORSE, BEATS_AT_A_PRICE, BUYS_LITTLE])
def test_success_without_shared_seeds_or_with_one_decides_nothing(rule):
    apart = evidence(sgpo=arm([0, 1], mean_at_k=0.9), uniform=arm([2, 3], mean_at_k=0.1))
    one = evidence(sgpo=arm([0], mean_at_k=0.9), uniform=arm([0, 1], mean_at_k=0.1))
    for made, n in ((apart, 0), (one, 1)):
        judged = rule.judge(made, "sgpo", "uniform")
        assert (judged.verdict, judged.interval.n) == (INCONCLUSIVE, n)
        assert (judged.interval.low, judged.interval.high) == (-inf, inf)


def test_a_diverged_run_counts_as_nothing_solved():
    status = ["diverged"] + ["finished"] * 9
    judged = NO_WORSE.judge(evidence(sgpo=arm(status=status), uniform=arm()), "sgpo", "uniform")
    # One pair of -50 points, nine of 0: mean -5, s = 50 / sqrt(10), half = t_9 s / sqrt(10) = 5 t_9
    assert judged.interval.estimate == pytest.approx(-5) and judged.interval.low == pytest.approx(-5 - 5 * T9, abs=1e-4)


def test_seeds_beyond_the_plan_are_not_counted():
    extra = evidence(sgpo=arm(12, mean_at_k=[0.5] * 10 + [0.0] * 2), uniform=arm(12))
    assert NO_WORSE.judge(extra, "sgpo", "uniform").interval.n == 10


def test_notes_compare_bills():
    """8000 against 2000 FLOPs: four times, whichever arm comes first."""
    made = evidence(sgpo=arm(flops_needed=2e3), uniform=arm())
    note = BEATS_AT_A_PRICE.judge(made, "sgpo", "uniform").note
    assert note == "bill of uniform over that of sgpo, itemised: 4.00 [4.00, 4.00] times"
    note = BUYS_LITTLE.judge(made, "uniform", "sgpo").note
    assert note == "bill of uniform over that of sgpo, itemised: 4.00 [4.00, 4.00] times"


# Bills ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ratio, factor, verdict",
    [
        (2.5, 1.2, REPRODUCED),  # 2.08 .. 3
        (2.5, 1.3, DIRECTION),  # 1.92 .. 3.25
        (1.5, 1.2, DIRECTION),  # 1.25 .. 1.8: cheaper, if by less than claimed
        (1.5, 1.6, INCONCLUSIVE),  # 0.94 .. 2.4
        (1.1, 1.3, NOT_REPRODUCED),  # 0.85 .. 1.43
        (0.5, 1.1, NOT_REPRODUCED),
    ],
)
def test_cheaper(ratio, factor, verdict):
    for convention in ("itemised", "seconds"):
        judged = cheaper(convention).judge(bills(ratio, factor), "sgpo", "uniform")
        found = (judged.interval.estimate, judged.interval.low, judged.interval.high)
        assert judged.verdict == verdict
        assert found == pytest.approx((ratio, ratio / factor, ratio * factor), rel=1e-5)


def test_cheaper_at_exactly_two_is_reproduced_and_profiles_are_on_the_bill():
    assert cheaper("itemised").judge(bills(2.0, 1.0), "sgpo", "uniform").verdict == REPRODUCED
    profiled = cheaper("itemised").judge(bills(2.0, 1.0, **PROFILED), "sgpo", "uniform")
    assert profiled.interval.estimate == pytest.approx(16_000 / 8_600) and profiled.verdict == DIRECTION
    paper = evidence(sgpo=arm(generated_tokens=200, **PROFILED), uniform=arm(generated_tokens=510))
    # 12 x 5 x 510 over 12 x 5 x 200 + 2 x 5 x 120
    assert cheaper("paper").judge(paper, "sgpo", "uniform").interval.estimate == pytest.approx(30_600 / 13_200)


def test_cheaper_with_one_seed_or_none():
    one = evidence(sgpo=arm([0]), uniform=arm([0, 1], flops_needed=4e4))
    judged = cheaper("itemised").judge(one, "sgpo", "uniform")
    assert (judged.verdict, judged.interval.low, judged.interval.high) == (INCONCLUSIVE, 0.0, inf)
    assert judged.interval.estimate == pytest.approx(5)
    none = cheaper("itemised").judge(evidence(sgpo=arm([0]), uniform=arm([1])), "sgpo", "uniform")
    assert none.verdict == INCONCLUSIVE and none.interval.n == 0 and isnan(none.interval.estimate)


def test_two_seeds_far_apart_have_an_endless_interval():
    """log ratios ± 60: the limit exp(60 t_1 ...) has no float."""
    made = evidence(sgpo=arm(2), uniform=arm(2, flops_needed=[8e3 * np.exp(60), 8e3 * np.exp(-60)]))
    judged = cheaper("itemised").judge(made, "sgpo", "uniform")
    assert judged.verdict == INCONCLUSIVE and judged.interval.high == inf


def climbing(flops, top=0.8):
    """An arm that climbs from 0.2 to `top` in two updates of so many FLOPs each; a number, or one a seed."""
    return lambda seed: {
        "curve": [update(flops_needed=float(np.broadcast_to(flops, 10)[seed]))] * 2,
        "evals": [(0, (0.2, 0.2)), (1, (0.3, 0.3)), (2, (np.broadcast_to(top, 10)[seed],) * 2)],
    }


def racers(ours, theirs, seeds=10, **tops):
    made = {}
    for name, flops in (("sgpo", ours), ("uniform", theirs)):
        run = climbing(flops, tops.get(name, 0.8))
        made[name] = arm(seeds, lambda s, r=run: r(s)["curve"], lambda s, r=run: r(s)["evals"])
    return evidence(**made)


@pytest.mark.parametrize(
    "ratio, factor, verdict",
    [
        (2.5, 1.2, REPRODUCED),
        (2.5, 1.3, DIRECTION),
        (1.5, 1.2, DIRECTION),
        (1.5, 1.6, INCONCLUSIVE),
        (1.1, 1.3, NOT_REPRODUCED),
    ],
)
def test_cheaper_to_reach(ratio, factor, verdict):
    made = racers(100.0, 100.0 * np.exp(spread(log(ratio), log(factor))))
    judged = cheaper_to_reach("itemised").judge(made, "sgpo", "uniform")
    found = (judged.interval.estimate, judged.interval.low, judged.interval.high)
    assert judged.verdict == verdict and found == pytest.approx((ratio, ratio / factor, ratio * factor), rel=1e-5)
    assert judged.note.startswith("sgpo reached 60 % in 10 of 10 runs, uniform in 10;")


def test_cheaper_to_reach_with_censored_runs_is_a_direction_at_most():
    made = racers(100.0, 400.0, uniform=[0.5] * 2 + [0.8] * 8)
    judged = cheaper_to_reach("itemised").judge(made, "sgpo", "uniform")
    # Two of uniform's runs never get there, and went on for far longer than sGPO needed.
    assert judged.verdict == DIRECTION and judged.interval.n == 8
    assert judged.interval.estimate == pytest.approx(4)
    assert judged.note == (
        "sgpo reached 60 % in 10 of 10 runs, uniform in 8; cheaper beyond doubt in 10 pairs, dearer in 0"
    )
    never = cheaper_to_reach("itemised").judge(racers(1.0, 1.0, sgpo=0.5, uniform=0.5), "sgpo", "uniform")
    assert never.verdict == INCONCLUSIVE and never.interval.n == 0


def test_cheaper_to_reach_with_missing_seeds():
    made = evidence(
        sgpo=arm([0, 1], [update()], lambda _: [(0, (0.1, 0.1)), (1, (0.9, 0.9))]),
        uniform=arm([2, 3], [update()], lambda _: [(0, (0.1, 0.1)), (1, (0.9, 0.9))]),
    )
    judged = cheaper_to_reach("paper").judge(made, "sgpo", "uniform")
    assert judged.verdict == INCONCLUSIVE and judged.interval.n == 0


def test_cheaper_to_reach_leaves_out_runs_that_start_beyond_the_threshold():
    """They paid nothing, or their profile alone: no ratio of bills says anything about them."""
    start = arm(2, [update()], lambda s: [(0, (0.7 if s else 0.1,) * 2), (1, (0.8, 0.8))])
    judged = cheaper_to_reach("itemised").judge(evidence(sgpo=start, uniform=start), "sgpo", "uniform")
    assert judged.interval.n == 1 and judged.interval.estimate == pytest.approx(1)


# Difficulty -----------------------------------------------------------------------------------------------------------

FALLS, RISES = share_moves("never solved", 0.0, 0.0, -1), share_moves("trivial", 0.7501, 1.0, 1)


def profiled(before, after, seeds=5):
    """A list of 100 queries: so many unsolved before and after (after: one number a seed), one solved 6 times, the
    others 8 times."""

    def taken(seed):
        return [(k, (n, 0, 0, 0, 0, 0, 1, 0, 99 - n)) for k, n in ((0, before), (40, after[seed]))]

    return evidence(reprofiled=arm(seeds, profiles=taken))


@pytest.mark.parametrize(
    "after, falls, rises",
    [
        ([28, 29, 30, 31, 32], REPRODUCED, REPRODUCED),  # fewer unsolved are more trivial here
        ([48, 49, 50, 51, 52], NOT_REPRODUCED, NOT_REPRODUCED),
        ([38, 39, 40, 41, 42], INCONCLUSIVE, INCONCLUSIVE),
    ],
)
def test_shares_move(after, falls, rises):
    made = profiled(40, after)
    unsolved, trivial = (rule.judge(made, "reprofiled") for rule in (FALLS, RISES))
    assert (unsolved.verdict, trivial.verdict) == (falls, rises)
    # s = sqrt(2.5), half = t_4 s / sqrt(5) with t_4 = 2.776445
    half, change = 2.776445 * sqrt(0.5), np.mean(after) - 40
    assert (unsolved.interval.low, unsolved.interval.high) == pytest.approx((change - half, change + half), abs=1e-4)
    assert trivial.interval.estimate == pytest.approx(-change)
    assert unsolved.note == f"from 40.0 to {np.mean(after):.1f} % of the queries"


def test_three_of_four_is_not_trivial():
    """p_hat = 6/8 is learnable (Eq. 8 drops what is above t = 0.75); 7/8 is trivial."""
    counts = ((0, (0, 0, 0, 0, 0, 0, 100, 0, 0)), (9, (0, 0, 0, 0, 0, 0, 60, 40, 0)))
    shares = cost_rules.shares(evidence(reprofiled=arm(2, profiles=list(counts))), "reprofiled", 0.7501, 1.0)
    assert shares["before"].tolist() == [0, 0] and shares["after"].tolist() == [40, 40]


def test_one_seed_moves_nothing():
    assert FALLS.judge(profiled(40, [5], seeds=1), "reprofiled").verdict == INCONCLUSIVE


def test_runs_without_profiles_decide_nothing():
    judged = FALLS.judge(evidence(reprofiled=arm(5)), "reprofiled")
    assert judged.verdict == INCONCLUSIVE and judged.interval.n == 0


# Phases ---------------------------------------------------------------------------------------------------------------


def phased(*phases, seeds=10):
    """Runs with phases of (group size, tokens a rollout, rewards); tokens may be one a seed."""

    def curve(seed):
        return [
            update(size, groups=4, tokens=float(np.broadcast_to(tokens, 10)[seed]), reward=reward)
            for size, tokens, rewards in phases
            for reward in rewards
        ]

    return evidence(sgpo=arm(seeds, curve))


@pytest.mark.parametrize(
    "longer, factor, verdict",
    [
        (1.0, 1.1, REPRODUCED),  # 3.64 .. 4.4 within 3.2 .. 4.8
        (1.1, 1.05, REPRODUCED),  # 4.19 .. 4.62
        (1.1, 1.2, INCONCLUSIVE),  # 3.67 .. 5.28
        (1.3, 1.05, NOT_REPRODUCED),  # 4.95 .. 5.46
        (0.7, 1.1, NOT_REPRODUCED),  # 2.55 .. 3.08
    ],
)
def test_tokens_by_group_size(longer, factor, verdict):
    """Responses to hard queries are `longer` times as long; a phase of another size is not looked at."""
    tokens = 10 * longer * np.exp(spread(0, log(factor)))
    judged = TOKENS_BY_SIZE.judge(phased((2, 10, [0.5] * 3), (4, 99, [0.5]), (8, tokens, [0.5] * 2)), "sgpo")
    found = (judged.interval.estimate, judged.interval.low, judged.interval.high)
    assert judged.verdict == verdict
    assert found == pytest.approx((4 * longer, 4 * longer / factor, 4 * longer * factor), rel=1e-5)


def test_tokens_are_averaged_over_both_sweeps():
    made = phased((2, 10, [0.5]), (8, 10, [0.5]), (2, 30, [0.5] * 3), (8, 20, [0.5]))
    # G = 2: (20 + 3 x 60) / 4 = 50 tokens a query; G = 8: (80 + 160) / 2 = 120
    assert TOKENS_BY_SIZE.judge(made, "sgpo").interval.estimate == pytest.approx(2.4)


def test_tokens_without_both_sizes():
    judged = TOKENS_BY_SIZE.judge(phased((2, 10, [0.5]), (4, 10, [0.5])), "sgpo")
    assert (judged.verdict, judged.interval.n, judged.note) == (INCONCLUSIVE, 0, "no run has both phases")


def test_reward_drops_by_hand():
    """The last 5 updates of a phase against the first 5 of the next, where groups grow: 0.8 to 0.5, and 0.6 to 0.5.

    From the first sweep's last phase to the second sweep's first one groups shrink, so that rise is not one of them.
    """
    made = phased(
        (2, 10, [0.0] * 3 + [0.8] * 5), (8, 10, [0.5] * 5 + [0.9] * 2), (2, 10, [0.6] * 5), (8, 10, [0.5] * 5)
    )
    judged = REWARD_DROPS.judge(made, "sgpo")
    assert judged.verdict == REPRODUCED and judged.interval.estimate == pytest.approx(-20)


@pytest.mark.parametrize(
    "last, verdict", [([0.4] * 10, REPRODUCED), ([0.6] * 10, NOT_REPRODUCED), ([0.4, 0.6] * 5, INCONCLUSIVE)]
)
def test_reward_drops(last, verdict):
    made = evidence(sgpo=arm(10, lambda seed: [update(2, reward=0.5)] * 6 + [update(4, reward=last[seed])] * 6))
    assert REWARD_DROPS.judge(made, "sgpo").verdict == verdict


def test_reward_without_a_second_phase():
    judged = REWARD_DROPS.judge(phased((2, 10, [0.5] * 3)), "sgpo")
    assert (judged.verdict, judged.interval.n, judged.note) == (INCONCLUSIVE, 0, "no run has two phases")


# Prediction -----------------------------------------------------------------------------------------------------------


def test_predicted_ratio_is_that_of_the_paper():
    """Its 14,116 queries and 38,138 rollouts a sweep: 2.37 for two sweeps at 12P against 2P, 2.16 at 8P."""
    profile = np.array([5306, 2081, 1592, 1000, 1000, 1000, 852, 1000, 285])
    assert profile.sum() == 14_116
    for sweeps, price, ratio in ((1, 6, 1.98), (2, 6, 2.37), (3, 6, 2.54), (5, 6, 2.70), (2, 4, 2.16)):
        assert predicted_ratio(profile, 38_138, sweeps, price) == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize(
    "off, factor, verdict",
    [
        (1.0, 1.05, REPRODUCED),
        (1.05, 1.04, REPRODUCED),  # 1.01 .. 1.092
        (1.05, 1.06, INCONCLUSIVE),  # 0.99 .. 1.113
        (1.2, 1.05, NOT_REPRODUCED),  # 1.14 .. 1.26
        (0.8, 1.05, NOT_REPRODUCED),
    ],
)
def test_as_predicted(off, factor, verdict):
    # 8 queries, 24 rollouts in two sweeps: 2 x 64 / (24 + 64 / 6) = 3.692 predicted. sGPO's bill in tokens trained on:
    # 40 and 120 / 6, in millions.
    theirs = 60e6 * 128 / (24 + 64 / 6) * off * np.exp(spread(0, log(factor)))
    made = evidence(
        sgpo=arm(
            rollouts=24, generated_tokens=40_000_000, profile_generated_tokens=120_000_000, profiles=[(0, COUNTS)]
        ),
        uniform=arm(generated_tokens=np.rint(theirs).astype(int)),
    )
    judged = AS_PREDICTED.judge(made, "sgpo", "uniform")
    assert judged.verdict == verdict and judged.note == "predicted from the profiles: 3.69 times"
    assert judged.interval.estimate == pytest.approx(off, rel=1e-3)


def test_as_predicted_without_shared_seeds():
    made = evidence(sgpo=arm([0], profiles=[(0, COUNTS)], **PROFILED), uniform=arm([1]))
    judged = AS_PREDICTED.judge(made, "sgpo", "uniform")
    assert judged.verdict == INCONCLUSIVE and judged.interval.n == 0


# The ledger -----------------------------------------------------------------------------------------------------------


def test_every_claim_has_a_row_whatever_is_missing():
    """With no results, with one arm, and with two seeds of everything, apart: nothing breaks and nothing is claimed."""
    lonely = evidence(sgpo=arm(1))
    tests = [(0, (0.1, 0.1)), (1, (0.9, 0.9))]
    names = {name for claim in SGPO_CLAIMS for name in claim.arms}
    apart = evidence(
        **{name: arm([k % 5], [update()], lambda _: tests, [(0, COUNTS)]) for k, name in enumerate(sorted(names))}
    )
    for found, verdict in ((None, "not run yet"), (lonely, "not run yet"), (apart, INCONCLUSIVE)):
        rows = [claims.row(claim, found) for claim in SGPO_CLAIMS]
        assert {row["verdict"] for row in rows} - {INCONCLUSIVE} == {verdict, "not testable here"} - {INCONCLUSIVE}
        assert len({row["id"] for row in rows}) == len(rows)
