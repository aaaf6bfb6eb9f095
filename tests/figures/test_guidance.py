"""The figures of the SMEPO studies on hand-made tables: what is drawn is what the tables say; arms may be missing."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1] / "study"))
from guidance_tables import arm, made  # noqa: E402

from repro.figures import FIGURES, guidance, style  # noqa: E402
from repro.study.smepo_math import SMEPO_MATH  # noqa: E402

SEEDS = 3
GRPO, FULL, SMEPO = "grpo@wide", "full@wide", "smepo@wide"
SOON, NEVER = (0.1, 0.4, 0.4, 0.4), (0.1, 0.1, 0.1, 0.2)


def run(name):
    """GRPO gets to 40 % at update 40 and stays; SMEPO at 20; the full trace never, and copies ever more."""
    hint = name.partition("@")[0]
    success = {"grpo": (0.1, 0.2, 0.4, 0.4), "smepo": SOON, "full": NEVER}.get(hint, (0.1, 0.2, 0.3, 0.3))
    columns = {"copied_full": 0.9 if hint == "full" else 0.3, "start_copied_full": 0.4, "solved_full": 0.05,
               "start_solved_full": 0.2}  # fmt: skip
    if hint != "grpo":
        columns |= {"copied_own": 0.9 if hint == "full" else 0.01, "start_copied_own": 0.1}
    return arm(success, SEEDS, reward=0.8 if hint == "full" else 0.2, mixed=0.25, **columns)


@pytest.fixture(scope="module")
def everything():
    return made({name: run(name) for name in SMEPO_MATH.arms})


@pytest.fixture(scope="module")
def drawn(everything):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {stem: draw(everything, SMEPO_MATH) for stem, draw in FIGURES["smepo_math"].items()}


def line(ax, label):
    (found,) = (one for one in ax.lines if one.get_label() == label)
    return found


def caption(figure):
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_all_figures_draw_without_a_warning_and_state_their_seeds(drawn):
    assert len(drawn) == len(FIGURES["smepo_math"]) >= 7
    for stem, figure in drawn.items():
        assert isinstance(figure, Figure) and np.isclose(figure.get_size_inches()[0], style.WIDTH)
        assert stem in ("masks", "practice") or f"{SEEDS} paired seeds an arm" in caption(figure), stem
        assert "not evidence" not in caption(figure)


def test_learning_and_reward_stand_side_by_side(drawn):
    axes = np.array(drawn["convergence"].axes).reshape(3, 4)
    assert [ax.get_title() for ax in axes[0]] == ["GRPO", "full trace", "SMEPO", "random mask"]
    full, grpo = line(axes[0, 1], f"{FULL} success mean"), line(axes[0, 1], "GRPO for reference")
    assert full.get_ydata().tolist() == pytest.approx([10, 10, 10, 20])
    assert grpo.get_ydata().tolist() == pytest.approx([10, 20, 40, 40])
    assert "20 %" in texts(axes[0, 1]) and "40 %" in texts(axes[0, 2])
    # The last 10 of 60 updates, mean over seeds 0..2: 80 + 1 + 5.55 %.
    assert line(axes[1, 1], f"{FULL} reward mean").get_ydata()[-1] == pytest.approx(86.55, abs=0.01)
    assert line(axes[2, 2], f"{SMEPO} mixed mean").get_ydata()[-1] == pytest.approx(25)


def test_the_last_evaluation_asks_more_and_stands_apart():
    tables = made({FULL: arm((0.1, 0.2, 0.3, 0.6), seeds=SEEDS), "start@wide": arm((0.1, 0.1, 0.1, 0.15), seeds=SEEDS)})
    tables.evals["queries"] = np.where(tables.evals["update"] == 60, 32, 8)
    ax = np.array(guidance.convergence(tables, SMEPO_MATH).axes).reshape(3, 4)[0, 1]
    along = line(ax, f"{FULL} success mean")
    assert along.get_xdata().tolist() == [0, 20, 40] and along.get_ydata().tolist() == pytest.approx([10, 20, 30])
    end = line(ax, f"{FULL} end mean")
    assert (end.get_xdata()[0], end.get_ydata()[0]) == pytest.approx((60, 60)) and "60 %" in texts(ax)
    assert [15, 15] in [pytest.approx(one.get_ydata()) for one in ax.lines if len(one.get_ydata()) == 2]


def test_copies_along_the_way_have_a_row_where_they_were_asked():
    tables = made({FULL: arm(seeds=SEEDS, planted=(0.4, 0.5, 0.7, 0.9)), GRPO: arm(seeds=SEEDS)})
    figure = guidance.convergence(tables, SMEPO_MATH)
    row = np.array(figure.axes).reshape(4, 4)[3]
    assert line(row[1], f"{FULL} copied mean").get_ydata().tolist() == pytest.approx([41, 51, 71, 91])
    assert row[0].texts and not row[0].lines and "planted" in row[0].get_ylabel()


def test_accuracy_is_compared_with_grpo_under_the_same_condition(drawn):
    left, right = drawn["accuracy"].axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names[:5] == ["the paper's clip", "GRPO", "full trace", "SMEPO", "random mask"]
    assert names[names.index("the usual clip") + 1] == "GRPO"
    assert line(left, f"{FULL} mean").get_xdata().tolist() == pytest.approx([20])
    assert line(right, f"{FULL} mean").get_xdata().tolist() == pytest.approx([-20])
    assert line(right, "smepo@usual mean").get_xdata().tolist() == pytest.approx([0])
    assert not [one for one in right.lines if str(one.get_label()).startswith("grpo")]


def test_runs_that_never_reach_the_target_are_counted_and_marked(drawn):
    axes = drawn["time_to_target"].axes
    updates, hours = axes[0], axes[2]
    steps = line(updates, f"{SMEPO} reached")
    assert steps.get_xdata().tolist() == [0, 20, 60] and steps.get_ydata().tolist() == [0, 1, 1]
    assert line(updates, f"{GRPO} reached").get_xdata().tolist() == [0, 40, 60]
    assert line(updates, f"{FULL} censored").get_xdata().tolist() == [60] * SEEDS
    assert {"SMEPO 3/3", "full trace 0/3", "GRPO 3/3"} <= set(texts(hours))
    ratio = line(axes[3], f"{SMEPO} ratio")
    assert ratio.get_ydata().tolist() == pytest.approx([2.0] * len(ratio.get_ydata()))  # 40 updates over 20
    assert not [one for one in axes[3].lines if one.get_label() == f"{FULL} ratio"]  # no pair reaches any target
    assert "minutes" in hours.get_xlabel() and line(hours, f"{SMEPO} reached").get_xdata()[1] == pytest.approx(
        20 / 3600
    )


def test_copying_goes_from_the_warm_start_to_the_end(drawn):
    planted, right, own = drawn["copying"].axes
    assert line(planted, f"{FULL} copied_full start").get_xdata().tolist() == [pytest.approx(40)]
    assert line(planted, f"{FULL} copied_full mean").get_xdata().tolist() == [pytest.approx(90)]
    assert line(right, f"{FULL} solved_full mean").get_xdata().tolist() == [pytest.approx(5)]
    assert line(own, f"{SMEPO} copied_own mean").get_xdata().tolist() == [pytest.approx(1)]
    assert not [one for one in own.lines if str(one.get_label()).startswith(GRPO)]  # it has no hint of its own


def test_mixed_groups_of_the_first_and_the_last_updates(drawn):
    share, reward = drawn["mixed"].axes
    assert line(share, f"{SMEPO} mixed mean").get_xdata().tolist() == [pytest.approx(25)]
    # updates 1..20 and 41..60, mean over seeds: 20 + 1 + 1.05 and 20 + 1 + 5.05 %.
    assert line(reward, f"{SMEPO} reward start").get_xdata().tolist() == [pytest.approx(22.05, abs=1e-3)]
    assert line(reward, f"{SMEPO} reward mean").get_xdata().tolist() == [pytest.approx(26.05, abs=1e-3)]


def test_conditions_stand_below_each_other_and_the_papers_is_filled(drawn):
    pairs = {"clip": ("wide", "usual"), "sparse": ("wide", "sparse"), "doubt": ("trusting", "wide", "doubting")}
    for stem, conditions in pairs.items():
        ax = drawn[stem].axes[0]
        places = [line(ax, f"full@{condition} mean").get_ydata()[0] for condition in conditions]
        assert places == sorted(places) and len(set(places)) == len(places)
        faces = {condition: line(ax, f"full@{condition} mean").get_markerfacecolor() for condition in conditions}
        assert faces.pop("wide") == guidance.LOOKS["full"].colour and set(faces.values()) == {"white"}


@pytest.mark.parametrize("stem", [stem for stem in FIGURES["smepo_math"] if stem != "masks"])
def test_interim_tables_are_drawn(stem):
    """One run of one arm without any probe; then one that is in no group of the core."""
    for name in (SMEPO, "prefix25@wide"):
        figure = FIGURES["smepo_math"][stem](made({name: arm(seeds=1, tier="smoke")}), SMEPO_MATH)
        assert "smoke tier: not evidence" in caption(figure)
