"""The figures of the sGPO study on hand-made tables: what is drawn is what the tables say, and arms may be missing."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1] / "study"))
from cost_tables import COUNTS, PROFILED, arm, made, update  # noqa: E402

from repro.figures import FIGURES, cost, style  # noqa: E402
from repro.study import bill  # noqa: E402
from repro.study.sgpo_math import SGPO_MATH  # noqa: E402

SEEDS = 3
AFTER = (2, 0, 0, 0, 0, 0, 1, 2, 3)


def run(shift=0.0, seeds=SEEDS, scale=1.0, **columns):
    """An arm whose success goes from 0.2 to 0.5 + shift + 0.01 a seed, in four updates of growing groups."""
    curve = [update(size, flops_needed=scale * 1e12 * size) for size in (2, 4, 2, 4)]

    def evals(seed):
        return [(0, (0.2, 0.2)), (2, (0.3, 0.3)), (4, (0.5 + shift + 0.01 * seed,) * 2)]

    return arm(
        seeds, curve, evals, mean_at_k=0.5 + shift + 0.01 * np.arange(seeds), flops_needed=scale * 12e12, **columns
    )


@pytest.fixture(scope="module")
def everything():
    """Uniform at 50 %, sGPO at 53 % for half the FLOPs and a profile of 1 TFLOP, all others as sGPO."""
    arms = {name: run(0.03, scale=0.5, **PROFILED | {"profile_flops": 1e12}) for name in SGPO_MATH.arms}
    frames = arms["reprofiled"]
    twice = arm(SEEDS, profiles=[(0, COUNTS), (2, AFTER)])[3]
    once = arm(SEEDS, profiles=[(0, COUNTS)])[3]
    return made(**arms | {"uniform": run(), "sgpo": (*arms["sgpo"][:3], once), "reprofiled": (*frames[:3], twice)})


@pytest.fixture(scope="module")
def drawn(everything):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {stem: draw(everything, SGPO_MATH) for stem, draw in FIGURES["sgpo_math"].items()}


def labelled(ax, text):
    return [line for line in ax.lines if str(line.get_label()) == text]


def caption(figure):
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def row_names(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_all_figures_draw_without_a_warning_and_state_their_seeds(drawn):
    assert set(drawn) == {"cost", "bill", "ablation", "phases", "constants", "difficulty_shift", "signal_map"}
    for stem, figure in drawn.items():
        assert isinstance(figure, Figure) and np.isclose(figure.get_size_inches()[0], style.WIDTH)
        if stem not in ("signal_map", "difficulty_shift"):
            assert f"{SEEDS} paired seeds an arm" in caption(figure), stem
        assert "not evidence" not in caption(figure)


def test_every_claim_points_at_a_figure(drawn):
    from repro.study.sgpo_claims import SGPO_CLAIMS

    assert {Path(claim.figure).stem for claim in SGPO_CLAIMS if claim.figure} <= set(drawn)


# Success over the bill ------------------------------------------------------------------------------------------------


def test_curves_start_at_the_profile_and_end_at_the_total(drawn):
    itemised = drawn["cost"].axes[1]  # TFLOP: uniform 0 .. 12, sGPO 1 .. 7
    for name, start, end, top in (("uniform", 0, 12, 51), ("sgpo", 1, 7, 54)):
        (mean,) = labelled(itemised, f"{name} mean")[:1]
        assert mean.get_xdata()[[0, -1]] == pytest.approx([start, end])
        assert mean.get_ydata()[[0, -1]] == pytest.approx([20, top])
        assert len(labelled(itemised, f"{name} seeds")) == SEEDS
    assert itemised.get_xlim()[0] == 0


def test_cost_leaves_out_what_has_no_runs():
    figure = cost.cost(made(uniform=run(), sgpo=run(), stop=run(seeds=1)), SGPO_MATH)
    assert len(figure.axes) == 2 and labelled(figure.axes[0], "stop mean") and not labelled(figure.axes[0], "dapo mean")
    assert "1 to 3 paired seeds" in caption(figure)


def test_lines_are_told_apart_without_colour():
    for arms in cost.CURVES.values():
        assert len({(str(cost.LOOKS[name].line), cost.LOOKS[name].marker) for name in arms}) == len(arms)


# The bill -------------------------------------------------------------------------------------------------------------


def test_parts_by_hand_add_up():
    runs = made(sgpo=arm(1, **PROFILED)).runs
    # 8000 FLOPs; 200 of 400 tokens trained: sampling is 8000 / (1 + 3 / 2) = 3200, half of it informative
    assert cost.parts(runs).iloc[0].to_dict() == pytest.approx(
        {"profiling": 600, "wasted": 1600, "informative": 1600, "training": 4800}
    )
    # 2 x 5 x 120, and 12 x 5 x 200 each for tokens with and without signal
    assert cost.priced_parts(runs).iloc[0].to_dict() == {"profiling": 1200, "wasted": 12_000, "training": 12_000}
    for convention, found in (("itemised", cost.parts(runs)), ("paper", cost.priced_parts(runs))):
        assert found.sum(axis=1).tolist() == pytest.approx(bill.total(runs, convention).tolist())


def test_bars_are_the_parts_in_a_readable_unit(drawn, everything):
    left, right = drawn["bill"].axes[:2]
    assert left.get_xlabel() == right.get_xlabel() == "TFLOP a run, mean"
    names = row_names(left)
    at = names.index("sGPO")
    bars = [bar for bar in left.patches if abs(bar.get_y() + bar.get_height() / 2 - at) < 0.1]
    assert len(bars) == len(cost.PARTS) and sum(bar.get_width() for bar in bars) == pytest.approx(7)
    assert bars[0].get_width() == pytest.approx(1)  # the profile
    assert {"7.00", "12.0"} <= {text.get_text() for text in left.texts}
    assert len([name for name in names if name]) == len(SGPO_MATH.arms)


@pytest.mark.parametrize(
    "largest, unit", [(8.9e18, (1e18, "EFLOP")), (9.9e11, (1e9, "GFLOP")), (1e12, (1e12, "TFLOP")), (10, (1.0, "FLOP"))]
)
def test_units(largest, unit):
    assert cost.unit(largest) == unit


# Differences ----------------------------------------------------------------------------------------------------------


def test_ablation_shows_every_pair_and_every_bill(drawn):
    left, right = drawn["ablation"].axes[:2]
    assert "uniform G = 8" not in row_names(left)
    for name in set(SGPO_MATH.arms) - {"uniform"}:
        (points,), (bills,), (mean,) = (
            labelled(ax, f"{name} {what}") for ax, what in ((left, "seeds"), (right, "bills"), (right, "bill"))
        )
        assert points.get_xdata() == pytest.approx([3.0] * SEEDS)
        assert bills.get_xdata() == pytest.approx([7 / 12] * SEEDS) and mean.get_xdata() == pytest.approx([7 / 12])


def test_ablation_with_arms_missing_or_unpaired():
    figure = cost.ablation(made(uniform=run(seeds=2), sgpo=arm([7])), SGPO_MATH)
    left = figure.axes[0]
    assert row_names(left) == ["sGPO"]
    assert "no seed shared with uniform yet" in [text.get_text() for text in left.texts]


def test_constants_are_compared_with_sgpo(drawn):
    for ax, names in zip(
        drawn["constants"].axes,
        (["n4", "n16", "n32", "oracle"], ["t50", "t100"], ["alpha0", "alpha25", "alpha30"]),
        strict=True,
    ):
        for name in names:
            (points,) = labelled(ax, f"{name} seeds")
            assert points.get_ydata() == pytest.approx([0.0] * SEEDS)


# Phases and difficulty ------------------------------------------------------------------------------------------------


def test_phases_at_their_mean_length():
    """Two runs whose first phases have 1 and 3 updates: 2 on average; one of them never has groups of 8."""
    short = [update(2, reward=0.8), update(4, reward=0.4)]
    long = [update(2, reward=0.6)] * 3 + [update(4, reward=0.2), update(8, reward=0.1)]
    figure = FIGURES["sgpo_math"]["phases"](made(sgpo=arm(2, lambda seed: (short, long)[seed])), SGPO_MATH)
    reward, tokens = figure.axes[:2]
    means = labelled(reward, "reward mean")
    assert [line.get_ydata()[0] for line in means] == pytest.approx([0.7, 0.3, 0.1])
    assert [tuple(line.get_xdata()[[0, -1]]) for line in means] == [(0, 2), (2, 3), (3, 4)]
    assert [text.get_text() for text in reward.texts if text.get_text() != "G"] == ["2", "4", "8"]
    assert [line.get_ydata()[0] for line in labelled(tokens, "tokens mean")] == pytest.approx([20, 40, 80])


def test_difficulty_before_and_after(drawn):
    bars = {name: list(box) for box in drawn["difficulty_shift"].axes[0].containers for name in [box.get_label()]}
    for name, counts in (("before", COUNTS), ("after", AFTER)):
        assert [bar.get_height() for bar in bars[name]] == pytest.approx([100 * n / 8 for n in counts])


def test_difficulty_before_alone_where_nothing_was_profiled_twice():
    tables = made(sgpo=arm(2, profiles=[(0, COUNTS)], tier="smoke"))
    figure = FIGURES["sgpo_math"]["difficulty_shift"](tables, SGPO_MATH)
    assert [box.get_label() for box in figure.axes[0].containers] == ["before"]
    assert "smoke tier: not evidence" in caption(figure)


@pytest.mark.parametrize("stem", ["cost", "bill", "ablation", "phases", "constants", "difficulty_shift"])
def test_interim_tables_are_drawn(stem):
    """A single run, of an arm that is on no curve: nothing of uniform groups, of sGPO, of any profile."""
    tables = made(n4=arm(1, [update()], lambda _: [(0, (0.1, 0.1)), (1, (0.2, 0.2))]))
    figure = FIGURES["sgpo_math"][stem](tables, SGPO_MATH)
    said = caption(figure) + " ".join(text.get_text() for ax in figure.axes for text in ax.texts)
    if stem == "bill":
        assert "1 paired seed" in said
    else:
        assert "no runs" in said or "no profiles yet" in said or "no seed shared" in said.replace("\n", " ")
