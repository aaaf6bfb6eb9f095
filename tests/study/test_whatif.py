"""Bills predicted from profiles by hand arithmetic, the refusals, and the widgets that call them."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cost_tables import COUNTS, arm, made  # noqa: E402

from repro.algorithms.allocation import Profile  # noqa: E402
from repro.algorithms.sgpo import PAPER_BUCKETS  # noqa: E402
from repro.errors import ReproError  # noqa: E402
from repro.study import whatif  # noqa: E402
from repro.study.whatif_panel import WhatIf  # noqa: E402

PROFILE = Profile(0, 8, (0, 0, 0, 0, 1, 2, 4, 8))  # COUNTS spelled out


def test_the_finest_first_profile_is_taken():
    sixteen = (3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)
    tables = made(
        sgpo=arm(2, profiles=[(0, COUNTS)]),
        shuffled=arm(2, profiles=[(0, COUNTS)]),
        n16=arm([1], profiles=[(0, sixteen)]),
        reprofiled=arm([1], profiles=[(0, COUNTS), (40, (0,) * 8 + (8,))]),
    )
    found = whatif.finest(tables)
    assert found == {0: PROFILE, 1: Profile(0, 16, (0, 0, 0, 2, 16, 16))}
    with pytest.raises(ReproError, match="hold no profile"):
        whatif.finest(made(uniform=arm(1)))


def test_thinning_draws_from_what_was_drawn():
    assert whatif.thinned(PROFILE, 8, 0) == PROFILE
    for seed in range(20):
        few = whatif.thinned(PROFILE, 3, seed)
        assert few.samples == 3 and few.solved[:4] == (0,) * 4 and few.solved[7] == 3
        assert all(0 <= k <= min(3, of) for k, of in zip(few.solved, PROFILE.solved, strict=True))
    many = whatif.thinned(Profile(0, 64, (16,) * 2000), 4, 0)  # hypergeometric: mean 1, variance 3/4 x 60/63
    mean = sum(many.solved) / 2000
    assert mean == pytest.approx(1, abs=0.06)  # three standard errors
    assert sum((k - mean) ** 2 for k in many.solved) / 2000 == pytest.approx(0.714, abs=0.08)
    for samples in (0, 9):
        with pytest.raises(ReproError, match=f"N = {samples}: this profile has 8 draws"):
            whatif.thinned(PROFILE, samples, 0)


def test_predicted_by_hand():
    (row,) = whatif.predicted({3: PROFILE}).to_dict("index").values()
    # Of eight queries those solved 1, 2 and 4 times get 8, 4 and 2; of four unsolved ones 10 % are none.
    assert (row["dropped"], row["G = 2"], row["G = 4"], row["G = 8"]) == (5 / 8, 1, 1, 1)
    assert (row["rollouts_sweep"], row["rollouts_profile"], row["rollouts_uniform"]) == (14, 64, 64)
    assert row["paper"] == pytest.approx(128 / (28 + 64 / 6))
    # A group with signal, P = 1 - p^G - (1 - p)^G, costs G (1 + 3 P). P of the three: 0.65639, 0.67969, 0.5.
    ours = 8 * (1 + 3 * 0.65639) + 4 * (1 + 3 * 0.67969) + 2 * (1 + 3 * 0.5)
    # Uniform: five groups without signal; p = 1/8, 1/4, 1/2 have 0.65639, 0.89987, 0.99219.
    theirs = 8 * (8 + 3 * (0.65639 + 0.89987 + 0.99219))
    assert row["itemised"] == pytest.approx(2 * theirs / (2 * ours + 64), rel=1e-4)


@pytest.mark.parametrize(
    "setting, sweep, profile, ratio",
    [
        ({"unsolved": 1.0}, 14 * 5, 64, 128 / (140 + 64 / 6)),  # four unsolved queries in each phase
        ({"trivial": 1.0}, 16, 64, 128 / (32 + 64 / 6)),
        ({"trivial": 0.3}, 12, 64, 128 / (24 + 64 / 6)),
        ({"buckets": ((1.0, 8),)}, 24, 64, 128 / (48 + 64 / 6)),
        ({"sweeps": 1}, 14, 64, 64 / (14 + 64 / 6)),
    ],
)
def test_every_constant_counts(setting, sweep, profile, ratio):
    (row,) = whatif.predicted({0: PROFILE}, **setting).to_dict("index").values()
    assert (row["rollouts_sweep"], row["rollouts_profile"]) == (sweep, profile)
    assert row["paper"] == pytest.approx(ratio)


@pytest.mark.parametrize(
    "profile, setting, message",
    [
        (Profile(0, 8, (0, 8)), {}, "no query is learnable"),
        (PROFILE, {"buckets": ((0.5, 4),)}, "must rise from above 0 to 1.0"),
        (PROFILE, {"trivial": 1.5}, "trivial=1.5"),
        (PROFILE, {"samples": 64}, "this profile has 8 draws"),
    ],
)
def test_what_cannot_be_predicted_is_refused(profile, setting, message):
    with pytest.raises(ReproError, match=re.escape(message)):
        whatif.predicted({0: profile}, **setting)


def test_comparison_in_words():
    text = whatif.markdown({"paper": {}, "one sweep": {"sweeps": 1}}, {0: PROFILE, 1: PROFILE})
    head, _, paper, once = text.splitlines()
    assert head.count("|") == len(whatif.HEAD) + 1
    assert "| paper | 62 % | G = 2: 1, G = 4: 1, G = 8: 1 | 64 | 14 (64) | 3.31 [3.31, 3.31] times |" in paper
    assert "| 2.59 [2.59, 2.59] times |" in once
    assert "3.31 times (one seed)" in whatif.markdown({"paper": {}}, {0: PROFILE})


def test_prediction_and_measurement_side_by_side():
    """The bill of `test_predicted_by_hand`, measured at half of what was promised for the second convention."""
    ours = 12 * 5 * 400 + 2 * 5 * 120
    sgpo = arm(2, profiles=[(0, COUNTS)], profile_generated_tokens=120, flops_needed=1e4)
    uniform = arm([1, 2], flops_needed=5e4, generated_tokens=800)
    _, _, paper, itemised = whatif.against_measured(made(sgpo=sgpo, uniform=uniform)).splitlines()
    # Seed 1 alone is shared; 12 x 5 x 800 over 25,200; 5 over 1.717 (see above)
    assert f"| 3.31 times (one seed) | {48_000 / ours:.2f} times (one seed) | 0.58 times (one seed) |" in paper
    assert "| 1.72 times (one seed) | 5.00 times (one seed) | 2.91 times (one seed) |" in itemised
    both = whatif.against_measured(made(sgpo=sgpo, uniform=arm(2, flops_needed=[2e4, 8e4])))
    assert "| 4.00 [0.00, 26730.6" in both  # the geometric mean of 2 and 8: log 4 ± t_1 log 2
    assert whatif.against_measured(made(uniform=uniform)).startswith("No seed has runs of both")


def test_sizes_are_read_from_text():
    assert whatif.parsed_buckets("1/8: 8, 0.25:4 ,1: 2") == PAPER_BUCKETS
    for text in ("", "1/0: 8", "p: 2", "1: 2: 3", "1: 2.5", "1"):
        with pytest.raises(ReproError, match="is no table of sizes"):
            whatif.parsed_buckets(text)


def test_the_panel_follows_its_widgets():
    panel = WhatIf(made(sgpo=arm(2, profiles=[(0, COUNTS)])))
    assert panel.samples.options == (1, 2, 4, 8) and panel.settings()["buckets"] == PAPER_BUCKETS
    assert panel.shown.value.count("14 (64)") == 2
    panel.trivial.value = 1.0
    assert "16 (64)" in panel.shown.value
    panel.preset.value = "1: 8"
    assert panel.settings()["buckets"] == ((1.0, 8),) and "32 (64)" in panel.shown.value
    panel.buckets.value = "0.5: 8"
    assert "must rise" in panel.shown.value and "<b>" in panel.shown.value
    panel.buckets.value = "?"
    assert "is no table of sizes" in panel.shown.value
    panel.preset.value = "1: 2"
    assert "8 (64)" in panel.shown.value
