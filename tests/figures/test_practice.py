"""The figure of what a hint leaves to find: which arms have a place, and where."""

import pytest

from repro.figures import practice
from repro.study.smepo_math import SMEPO_MATH
from tests.study.guidance_tables import arm, made

LEFT = {"": 0.8, "full": 0.1, "critical_path": 0.2, "random": 0.5}  # share that loses the way, by format
FORMATS = {name: (0.1, 0.5, {"route": share, "value": 0.05}) for name, share in LEFT.items()}
ENDS = {"grpo": 0.9, "full": 0.3, "smepo": 0.4, "random": 0.6}


@pytest.fixture(scope="module")
def tables():
    frames = {f"{name}@wide": arm((0.1, 0.1, 0.2, end), seeds=3) for name, end in ENDS.items() if name != "grpo"}
    frames["grpo@wide"] = arm((0.1, 0.1, 0.2, ENDS["grpo"]), seeds=3, formats=FORMATS)
    return made(frames | {"ghpo@wide": arm(seeds=3), "numerals@wide": arm(seeds=3), "smepo@usual": arm(seeds=3)})


def test_an_arm_stands_where_its_hint_and_its_end_put_it(tables):
    points = practice.places(tables, SMEPO_MATH, "wide")
    assert set(points) == {"grpo@wide", "full@wide", "smepo@wide", "random@wide"}  # no profile, or not one hint: none
    assert points["grpo@wide"] == {seed: pytest.approx((80, 90)) for seed in range(3)}
    assert points["random@wide"] == {seed: pytest.approx((50, 60)) for seed in range(3)}
    figure = practice.practice(tables, SMEPO_MATH)
    (mean,) = (line for line in figure.axes[0].lines if line.get_label() == "smepo@wide mean")
    assert (mean.get_xdata()[0], mean.get_ydata()[0]) == pytest.approx((20, 40))
    assert "not measured yet" in [text.get_text() for text in figure.axes[1].texts]
    words = " ".join(t.get_text() for t in figure.texts).replace("\n", " ")
    assert "the study's own questions 1.00 (without GRPO 1.00)." in words


def test_rank_correlations_by_hand():
    # Seed 0: ranks 1 2 3 against 1 3 2: 1 - 6 * (0 + 1 + 1) / (3 * 8) = 0.5. Seed 1 has two arms, seed 2 no spread.
    points = {"a": {0: (1, 10), 1: (1, 10), 2: (5, 1)}, "b": {0: (2, 30), 1: (2, 5), 2: (5, 2)},
              "c": {0: (3, 20), 2: (5, 3)}}  # fmt: skip
    assert practice.rank_correlations(points) == pytest.approx([0.5])
    assert practice.rank_correlations({}) == []


def test_a_world_that_calls_the_way_a_plan():
    assert practice.lost({"": {"mean": 0.1, "plan": 0.7, "code": 0.1}}, "") == 0.7
    assert practice.lost({"": {"mean": 0.1}}, "") is None and practice.lost({}, "full") is None


def test_without_profiles():
    figure = practice.practice(made({"smepo@wide": arm(seeds=1)}), SMEPO_MATH)
    assert all("not measured yet" in [text.get_text() for text in ax.texts] for ax in figure.axes)
