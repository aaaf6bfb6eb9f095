"""The ledger: every verdict of every rule on tables made by hand, its schema, and what missing data does."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from repro.errors import ReproError
from repro.study import STUDIES, claims, rules, summary, tables, theory_results
from repro.study.asympo_claims import MEAN_AT_8, PASS_AT_8
from repro.study.cost_rules import BEATS_AT_A_PRICE, NO_WORSE
from repro.study.evidence import VERDICTS, Evidence, marks

STUDY = STUDIES["asympo_async"]
CLAIM = {claim.id: claim for claim in claims.CLAIMS}
KEYS = (
    "id paper study tier statement paper_value paper_number source metric arms value low high unit seeds verdict rule "
    "figure note"
).split()
UPDATES = 100
STEADY = [0.8] * 40  # a curve that does not collapse
# Mean of the last ten: 0.8 at the tenth update; after six zeros 0.32, below half of it; after eight 0.16, below a
# quarter.
FALLEN = [0.8] * 10 + [0.0] * 30
HALVED = [0.8] * 10 + [0.3] * 30  # ends at 0.3: below half of 0.8, never below a quarter


def arm(success=50.0, collapsed=0, seeds=10, curve=None, **columns):
    """Runs of an arm: success in %, one number or one a seed; the first `collapsed` seeds collapsed at update 70."""
    fallen = np.arange(seeds) < collapsed
    frame = {
        "seed": np.arange(seeds),
        "status": "finished",
        "updates": UPDATES,
        "reward_max": 0.8,
        "collapsed": fallen,
        "collapse_update": pd.array([70 if f else None for f in fallen], dtype="Int64"),
        "mean_at_k": np.broadcast_to(np.asarray(success, dtype=float), seeds) / 100,
    }
    frame["pass_at_k"] = frame["mean_at_k"]
    runs = pd.DataFrame(frame | columns)
    rewards = {seed: curve or (FALLEN if fallen[seed] else STEADY) for seed in range(seeds)}
    return runs, pd.DataFrame(
        [
            {"seed": seed, "update": update, "reward": reward}
            for seed, values in rewards.items()
            for update, reward in enumerate(values, start=1)
        ]
    )


def evidence(**arms):
    """Arms by name with _at_ for @, for example naive_at_ref=arm(...)."""
    named = {name.replace("_at_", "@"): frames for name, frames in arms.items()}
    runs, curves = (pd.concat([f[i].assign(arm=a) for a, f in named.items()], ignore_index=True) for i in (0, 1))
    return Evidence(STUDY, tables.Tables(runs, curves, pd.DataFrame()))


def judged(claim, **arms):
    return claims.row(CLAIM[claim], evidence(**arms))


def spread(mean, half, seeds=10):
    """Values with that mean whose t interval is mean ± half: seeds / 2 at either side of it.

    s = d sqrt(n / (n - 1)) for values mean ± d, so half = t d / sqrt(n - 1), with t_9 = 2.2622 at n = 10.
    """
    assert seeds == 10
    return mean + np.tile([1, -1], 5) * half * 3 / 2.262157


@pytest.mark.parametrize(
    ("note", "expected"),
    [("", ""), ("from 1 to 2 %. Added after five seeds", "†"), ("Interim, seeds: a 5 of 10", "‡"),
     ("Interim, seeds: a 5 of 10. Posed after the runs", "†‡"), ("Changed after five seeds", "†")],
)  # fmt: skip
def test_a_row_says_if_it_came_late_or_is_not_complete(note, expected):
    row = judged("naive-collapses", naive_at_ref=arm()) | {"note": note}
    assert marks(row) == expected and f"**{row['verdict']}**{expected} |" in claims.render_markdown([row])
    assert f"**{row['verdict']}**{expected} |" in summary.ledger([row])


# Clopper and Pearson's limits for k of 10: 0: [0, 0.31], 1: [0.00, 0.45], 2: [0.03, 0.56], 5: [0.19, 0.81],
# 8: [0.44, 0.97], 9: [0.55, 1.00], 10: [0.69, 1].
@pytest.mark.parametrize(
    "collapsed, control, success, verdict",
    [
        (9, 0, 50, "reproduced"),
        (9, 9, 50, "reproduced"),  # whether the control falls too is for the reader of the note
        (8, 0, 50, "direction only"),  # 0.8 more runs than in the control
        (0, 0, 40, "direction only"),  # no collapse, yet 10 points below the control
        (0, 0, 60, "not reproduced"),
        (1, 0, 50, "not reproduced"),  # 0.1 more runs proves nothing
        (5, 4, 50, "inconclusive"),
    ],
)
def test_collapses(collapsed, control, success, verdict):
    for method in ("naive", "gpg"):
        made = {f"{method}_at_ref": arm(success, collapsed), f"{method}_at_lag0": arm(50, control)}
        row = judged(f"{method}-collapses", **made)
        assert row["verdict"] == verdict
        assert row["value"] == collapsed / 10 and row["seeds"] == 10


def test_collapse_numbers_by_hand():
    row = judged("naive-collapses", naive_at_ref=arm(spread(40, 2), 10), naive_at_lag0=arm(50))
    # 10 of 10: lower limit 0.025 ** (1 / 10) = 0.6915. Paired differences -10 ± 2 points.
    assert (row["value"], row["high"]) == (1.0, 1.0) and row["low"] == pytest.approx(0.6915, abs=1e-4)
    assert "naive@ref: 10 of 10 collapsed (10 at 0.25)" in row["note"]
    assert "of mean@8: -10.0 [-12.0, -8.0] points" in row["note"]
    assert row["paper_number"] == 1.0 and "alpha 1" in row["note"]


def test_longer_runs_have_rows_of_their_own():
    made = {"naive-long_at_ref": arm(40, 2, seeds=3), "naive_at_lag0": arm(80), "asympo-long_at_ref": arm(90, seeds=3)}
    falls, stays = judged("naive-long-collapses", **made), judged("asympo-long-stable", **made)
    assert falls["value"] == pytest.approx(2 / 3) and stays["value"] == 0.0
    assert (falls["verdict"], stays["verdict"]) == ("direction only", "inconclusive")  # three seeds cannot say more
    assert all("three times as many updates" in row["statement"] for row in (falls, stays))
    assert all("Added after the first runs" in row["note"] for row in (falls, stays))


def test_the_stricter_collapse_is_read_from_the_curves():
    halved = arm(50, 10, curve=HALVED)
    halved[0].loc[3, "status"] = "diverged"
    note = judged("naive-collapses", naive_at_ref=halved, naive_at_lag0=arm())["note"]
    # Ends at 0.3 / 0.8 = 0.375 of its maximum: a collapse at one half, none at a quarter; the diverged run always is.
    assert "naive@ref: 10 of 10 collapsed (1 at 0.25)" in note


@pytest.mark.parametrize(
    "collapsed, verdict",
    [(0, "reproduced"), (1, "reproduced"), (2, "inconclusive"), (8, "inconclusive"), (9, "not reproduced")],
)
def test_stays_stable(collapsed, verdict):
    for method, name in (("spo", "spo"), ("asympo_stable", "asympo-stabilised"), ("grpo", "grpo")):
        made = {f"{method}_at_ref": arm(50, collapsed), "naive_at_ref": arm(20, 9)}
        row = judged(f"{name}-stable", **made)
        assert row["verdict"] == verdict and "naive@ref: 9 of 10" in row["note"] and "says little" not in row["note"]
    unhurt = judged("asympo-stable", asympo_at_ref=arm(50, collapsed), naive_at_ref=arm(50, 8))
    assert unhurt["verdict"] == verdict and "says little" in unhurt["note"]


@pytest.mark.parametrize(
    "mean, half, verdict",
    [(2, 1, "reproduced"), (-2, 1, "not reproduced"), (0.5, 1, "inconclusive"), (-0.5, 1, "inconclusive")],
)
def test_beats_naive(mean, half, verdict):
    for method in ("spo", "asympo"):
        made = {f"{method}_at_ref": arm(spread(50 + mean, half)), "naive_at_ref": arm(50)}
        row = judged(f"{method}-beats-naive", **made)
        assert row["verdict"] == verdict and row["unit"] == "points"
        assert [row["value"], row["low"], row["high"]] == pytest.approx([mean, mean - half, mean + half], abs=1e-4)


@pytest.mark.parametrize(
    "mean, half, verdict",
    [
        (1, 1.9, "reproduced"),
        (-1, 1.9, "reproduced"),
        (1, 2.5, "direction only"),  # -1.5..3.5: not worse by 3, but perhaps better by more
        (4, 1.5, "direction only"),  # 2.5..5.5
        (5, 1, "not reproduced"),  # better by more than the margin is no parity either
        (-5, 1, "not reproduced"),
        (-1, 2.5, "inconclusive"),  # -3.5..1.5
        (-3, 2, "inconclusive"),
    ],
)
def test_parity(mean, half, verdict):
    own, other = arm(spread(50 + mean, half)), arm(50)
    for claim in ("asympo-parity-grpo", "asympo-pass8-parity-grpo"):
        assert judged(claim, asympo_at_ref=own, grpo_at_ref=other)["verdict"] == verdict
    for claim in ("spo-parity-grpo", "spo-pass8-parity-grpo"):
        assert judged(claim, spo_at_ref=own, grpo_at_ref=other)["verdict"] == verdict
    stabilised = judged("asympo-stabilised-parity-grpo", asympo_stable_at_ref=own, grpo_at_ref=other)
    assert stabilised["verdict"] == verdict
    assert judged("asympo-vs-spo", asympo_at_ref=own, spo_at_ref=other)["verdict"] == verdict


def test_pass_at_k_is_another_column():
    own = arm(50, pass_at_k=0.9)
    assert judged("asympo-parity-grpo", asympo_at_ref=own, grpo_at_ref=arm(50))["value"] == 0.0
    assert judged("asympo-pass8-parity-grpo", asympo_at_ref=own, grpo_at_ref=arm(50))["value"] == pytest.approx(40.0)


@pytest.mark.parametrize(
    "collapsed, mean, half, verdict",
    [
        (0, -4, 1, "reproduced"),
        (2, -4, 1, "direction only"),  # weaker, but 2 of 10 may be half
        (9, -4, 1, "not reproduced"),
        (0, 4, 1, "not reproduced"),
        (0, -0.5, 1, "inconclusive"),
    ],
)
def test_stable_but_weak(collapsed, mean, half, verdict):
    weak = arm(spread(50 + mean, half), collapsed)
    assert judged("spo0-stable-but-weak", positive_only_at_ref=weak, spo_at_ref=arm(50))["verdict"] == verdict


def late(when, gap, collapsed=10):
    """naive and gpg collapse at updates `when` and when + 4 of 100, having peaked `gap` points above GRPO's 0.8."""
    fall = pd.array([when + 4 * (seed % 2) if seed < collapsed else None for seed in range(10)], dtype="Int64")
    falling = arm(20, collapsed, collapse_update=fall, reward_max=0.8 + gap / 100)
    return judged("early-high-late-collapse", naive_at_ref=falling, gpg_at_ref=falling, grpo_at_ref=arm())


@pytest.mark.parametrize(
    "when, gap, verdict",
    [
        (70, 0, "reproduced"),
        (70, -4, "reproduced"),
        (70, -20, "direction only"),
        (20, 0, "direction only"),
        (20, -20, "not reproduced"),
        (49, -20, "not reproduced"),  # the time is undecided, the height is not
    ],
)
def test_late_collapse(when, gap, verdict):
    row = late(when, gap)
    assert row["verdict"] == verdict
    assert row["value"] == pytest.approx((when + 2) / 100) and row["seeds"] == 10  # seeds, not runs: arms share them
    assert f"20 of 20 runs collapsed, at a median of {(when + 2) / 100:.2f} of 100 updates" in row["note"]


def test_late_is_measured_by_the_arms_that_are_judged():
    """Others of the study train three times as long."""
    fall = pd.array([70] * 10, dtype="Int64")
    falling = arm(20, 10, collapse_update=fall, reward_max=0.8)
    longer = arm(20, updates=300)
    row = judged("early-high-late-collapse", naive_at_ref=falling, gpg_at_ref=falling, grpo_at_ref=arm(),
                 naive_long_at_ref=longer)  # fmt: skip
    assert (row["verdict"], row["value"]) == ("reproduced", pytest.approx(0.7)) and "of 100 updates" in row["note"]


def test_late_collapse_without_enough_collapses():
    none, one = late(70, 0, collapsed=0), late(70, 0, collapsed=1)
    assert (none["verdict"], none["value"], none["seeds"]) == ("inconclusive", None, 0)
    assert "no run collapsed" in none["note"]
    # One seed has no spread: its interval is unbounded, which JSON has no number for.
    assert (one["verdict"], one["value"], one["low"], one["high"]) == ("inconclusive", 0.7, None, None)


@pytest.mark.parametrize(
    "slopes, verdict",
    [
        ((-2.1, -1.9, -2.0, -2.0, -2.0), "reproduced"),
        ((-0.3, -0.31, -0.29, -0.3, -0.3), "direction only"),
        ((0.1, -0.1, 0.0, 0.05, -0.05), "not reproduced"),
        ((2.1, 1.9, 2.0, 2.0, 2.0), "not reproduced"),
        ((3.0, -3.0, -1.0, 0.0, 1.0), "inconclusive"),
    ],
)
def test_falls_with_lag(slopes, verdict):
    # Success 50 + slope log2(1 + lag): the fit recovers each seed's slope.
    lags = {lag: 50 + np.array(slopes) * np.log2(1 + lag) for lag in (0, 4, 16, 32, 64)}
    row = judged("staleness-hurts-naive", **{f"naive_at_lag{lag}": arm(v, seeds=5) for lag, v in lags.items()})
    assert row["verdict"] == verdict and row["seeds"] == 5
    assert row["value"] == pytest.approx(np.mean(slopes))


@pytest.mark.parametrize(
    "ratios, verdict",
    [
        ((2.0, 2.2, 1.8), "reproduced"),
        ((1.02, 1.021, 1.019), "direction only"),
        ((1.0, 1.001, 0.999), "not reproduced"),
        ((0.5, 0.51, 0.49), "not reproduced"),
        ((2.0, 0.5, 1.0), "inconclusive"),
    ],
)
def test_imbalance_rises(ratios, verdict):
    runs, curves = arm(seeds=3)
    control = curves.assign(nll_ratio=3.0)
    # The first half of the updates is not read, nor one without the ratio.
    rise = np.where(curves["update"] > 20, np.array(ratios)[curves["seed"]], 100.0)
    stale = curves.assign(nll_ratio=np.where(curves["update"] == 40, np.inf, 3.0 * rise))
    stale.loc[curves["update"] <= 2, "nll_ratio"] = np.nan
    # Both have updates 3..39, 37 of them: the later half are the last 19, 21..39.
    row = judged("mechanism-imbalance", naive_at_ref=(runs, stale), naive_at_lag0=(runs, control))
    assert row["verdict"] == verdict and row["seeds"] == 3
    assert row["value"] == pytest.approx(np.prod(ratios) ** (1 / 3), rel=1e-5)


def test_arms_without_a_common_seed_say_so_and_no_number():
    runs, curves = arm(seeds=2)
    other = (runs.assign(seed=runs["seed"] + 2), curves.assign(seed=curves["seed"] + 2))
    row = judged("naive-collapses", naive_at_ref=(runs, curves), naive_at_lag0=other)
    assert row["verdict"] == "inconclusive" and row["value"] == 0.0  # the share of two runs alone
    assert "difference of shares: no seed in common" in row["note"] and "nan" not in row["note"]
    row = judged("asympo-beats-naive", asympo_at_ref=(runs, curves), naive_at_ref=other)
    assert (row["verdict"], row["value"], row["low"], row["seeds"]) == ("inconclusive", None, None, 0)


def test_imbalance_that_was_never_measured():
    row = judged("mechanism-imbalance", naive_at_ref=arm(), naive_at_lag0=arm())
    assert (row["verdict"], row["value"], row["seeds"]) == ("inconclusive", None, 0)


@pytest.mark.parametrize(
    "mean, half, collapsed, verdict",
    [
        (10, 2, 0, "reproduced"),
        (1.5, 1, 0, "direction only"),  # better, by less than the margin
        (0, 1, 8, "direction only"),  # as good at the end, but 8 of 10 runs collapse
        (0, 1, 0, "not reproduced"),
        (-10, 2, 0, "not reproduced"),
        (2, 4, 0, "inconclusive"),
    ],
)
def test_needs_balance(mean, half, collapsed, verdict):
    for control in ("batch_scaled", "asympo_shuffled", "naive_p_low", "asympo_behaviour", "asympo_positive"):
        # Five seeds: s = sqrt(4 / 4) = 1 for these signs, and t_4 / sqrt(5) = 1.2416.
        values = 50 - mean + np.array([1, -1, 1, -1, 0]) * half / 1.2416
        made = {f"{control}_at_ref": arm(values, min(collapsed, 5), seeds=5), "asympo_at_ref": arm(50)}
        row = judged(f"balance-not-{control.replace('_', '-')}", **made)
        assert row["verdict"] == verdict and row["seeds"] == 5
        assert [row["low"], row["high"]] == pytest.approx([mean - half, mean + half], abs=1e-3)
        assert row["statement"].endswith("does not do what ASymPO does")  # not: that the balance does it
        assert ("Posed after" in row["note"]) == (control in ("asympo_behaviour", "asympo_positive"))


@pytest.mark.parametrize(
    "mean, half, verdict",
    [(1, 3, "reproduced"), (8, 2, "not reproduced"), (-8, 2, "not reproduced"), (3, 3, "inconclusive")],
)
def test_queue_agrees(mean, half, verdict):
    for method in ("naive", "grpo", "spo", "asympo"):
        values = 50 + mean + np.array([1, -1, 1, -1, 0]) * half / 1.2416
        made = {f"{method}_at_queue": arm(values, seeds=5), f"{method}_at_ref": arm(50)}
        assert judged(f"queue-agrees-{method}", **made)["verdict"] == verdict


def test_a_diverged_run_counts_with_zero():
    runs, curves = arm(50, seeds=2)
    runs["status"] = ["diverged", "finished"]
    row = judged("asympo-beats-naive", asympo_at_ref=(runs, curves), naive_at_ref=arm(10, seeds=2))
    assert row["value"] == pytest.approx((-10 + 40) / 2)


def test_unplanned_seeds_do_not_count_and_missing_ones_are_named():
    row = judged("asympo-beats-naive", asympo_at_ref=arm(60, seeds=14), naive_at_ref=arm(spread(50, 1)[:6], seeds=6))
    assert row["seeds"] == 6 and "Interim, seeds: naive@ref 6 of 10" in row["note"]
    full = judged("asympo-beats-naive", asympo_at_ref=arm(60, seeds=14), naive_at_ref=arm(50, seeds=14))
    assert full["seeds"] == 10 and "Interim" not in full["note"]


def test_without_a_run_of_every_arm_nothing_is_judged():
    row = judged("naive-collapses", naive_at_ref=arm(50, 10))
    assert (row["verdict"], row["value"]) == ("not run yet", None)
    assert row["note"].startswith("no small-tier results of naive@lag0")


def test_every_verdict_of_every_rule_is_in_the_words_of_the_rule():
    for claim in claims.CLAIMS:
        words = claim.rule.words.lower()
        expected = ["not judged"] if claim.rule.judge is None else ["reproduced", "not reproduced", "inconclusive"]
        if claim.study == theory_results.NAME:
            expected = expected[:1]  # its rules have tests of their own
        assert all(word in words for word in expected), claim.id
        if claim.study != theory_results.NAME:  # a simulation without arms
            assert all(name in STUDIES[claim.study].arms for name in claim.arms), claim.id
            assert STUDIES[claim.study].paper == claim.paper
        if claim.paper_number is not None and claim.rule in (rules.BEATS, BEATS_AT_A_PRICE, NO_WORSE):
            assert claim.paper_number > 0, f"{claim.id}: the paper asserts it, so its number has the rule's sign"
    assert len(CLAIM) == len(claims.CLAIMS)
    assert f"{rules.MARGIN:g} points" in rules.PARITY.words


def test_published_differences():
    # The specification's reading of Tables 2 and 4: -0.47, +0.86, -0.45, +1.48, mean +0.355.
    row = claims.row(CLAIM["asympo-parity-grpo"], None)
    assert row["paper_value"].startswith("-0.47, +0.86, -0.45, +1.48 points") and row["paper_number"] == 0.355
    assert CLAIM["spo-parity-grpo"].paper_value.startswith("-1.04, -1.23, -0.07, +0.95")
    assert CLAIM["asympo-vs-spo"].paper_value.startswith("+0.57, +2.09, -0.38, +0.53")
    assert CLAIM["asympo-pass8-parity-grpo"].paper_value.startswith("-1.39, +3.10, -2.03, +2.13")
    assert CLAIM["spo-pass8-parity-grpo"].paper_value.startswith("-0.64, -0.84, -2.84, +2.83")
    assert all(len(values) == 4 for table in (MEAN_AT_8, PASS_AT_8) for values in table.values())


def store(root, made, tier="small"):
    """Tables on disk as `tables.load` wants them."""
    folder = tables.results_folder("asympo_async", tier, root)
    folder.mkdir(parents=True)
    frames = {"runs": (made.tables.runs, tables.RUNS), "curves": (made.tables.curves, tables.CURVES)}
    frames |= {"evals": (pd.DataFrame(), tables.EVALS), "profiles": (pd.DataFrame(), tables.PROFILES)}
    sums = ""
    for name, (frame, columns) in frames.items():
        frame = frame.reindex(columns=[*columns, *(c for c in frame.columns if c not in columns)])
        frame.to_parquet(folder / f"{name}.parquet", index=False)
        sums += f"{hashlib.sha256((folder / f'{name}.parquet').read_bytes()).hexdigest()}  {name}.parquet\n"
    (folder / "SHA256SUMS").write_text(sums)
    return folder


def check_schema(rows):
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [row["id"] for row in rows] == list(CLAIM)
    for row in rows:
        assert list(row) == KEYS
        assert row["verdict"] in VERDICTS and row["tier"] == "small"
        assert row["study"] in (*STUDIES, theory_results.NAME)
        assert all(row[key] for key in ("paper", "statement", "paper_value", "source", "metric", "rule")), row["id"]
        assert all(row[key] is None or isinstance(row[key], float) for key in ("value", "low", "high", "paper_number"))
        assert isinstance(row["seeds"], int) and (row["seeds"] > 0 or row["value"] is None)
        assert "nan" not in row["note"] and "|" not in row["statement"] + row["paper_value"]
        if row["verdict"] not in ("inconclusive", "not testable here", "not run yet"):
            assert row["low"] <= row["value"] <= row["high"]


def test_ledger_from_disk(tmp_path):
    core = {"naive_at_ref": arm(20, 10), "naive_at_lag0": arm(60), "asympo_at_ref": arm(61), "grpo_at_ref": arm(60)}
    made = evidence(**core, spo_at_ref=arm(60, seeds=1))
    folder = store(tmp_path, made)
    rows = claims.ledger(tmp_path)
    check_schema(rows)
    verdict = {row["id"]: row["verdict"] for row in rows}
    assert verdict["naive-collapses"] == verdict["asympo-stable"] == verdict["asympo-parity-grpo"] == "reproduced"
    assert (verdict["gpg-collapses"], verdict["spo-beats-naive"]) == (
        "not run yet",
        "inconclusive",
    )  # the latter: 1 seed
    assert verdict["absolute-accuracy"] == verdict["interface"] == "not testable here"

    path = claims.write(tmp_path)
    first = path.read_bytes()
    assert path == tmp_path / "claims.json" and json.loads(first) == rows
    assert claims.write(tmp_path).read_bytes() == first

    table = claims.render_markdown(rows).splitlines()
    assert len(table) == 2 + len(rows) and all(line.count("|") == 5 for line in table)
    assert "collapsed in 4 of 4 settings (Figure 1, Tables 2-4) | 1.00 [0.69, 1.00] share of runs, 10 |" in table[2]
    (parity,) = (line for line in table if line.startswith("| ASymPO without"))
    assert "| +1.0 [+1.0, +1.0] points, 10 | **reproduced** |" in parity

    (folder / "runs.parquet").write_bytes(b"damaged")
    with pytest.raises(ReproError, match="damaged"):
        claims.ledger(tmp_path)


def test_no_results_and_smoke_results_give_no_verdict(tmp_path):
    store(tmp_path, evidence(naive_at_ref=arm(20, 10), naive_at_lag0=arm(60)), tier="smoke")
    rows = claims.ledger(tmp_path)
    check_schema(rows)
    assert {row["verdict"] for row in rows} == {"not run yet", "not testable here"}
    assert all(row["value"] is None for row in rows)
    assert all(row["note"].startswith("no small-tier results") for row in rows if row["verdict"] == "not run yet")


def test_needs_no_torch():
    code = "import sys, repro.study.claims as c; c.CLAIMS; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
