"""Expected signal by hand and by enumeration; both pictures show what they were given, and refuse what they cannot."""

import itertools

import numpy as np
import pytest

from repro.errors import ReproError
from repro.figures.allocation import (
    CLASSES,
    difficulty_histogram,
    informative,
    lone_success,
    mean_advantage,
    shares,
    signal_map,
)

SGPO = [0, 8, 4, 2, 2, 2, 2, 0, 0]  # by successes in 8


def lines(figure, panel, text):
    return [line for line in figure.axes[panel].lines if text in str(line.get_label())]


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


# Successes of 8, assigned size, P(one success), P(informative), mean |A| per rollout: worked out on paper for a few.
@pytest.mark.parametrize(
    "k, size, one, mixed, advantage",
    [
        (1, 8, 0.393, 0.656, 0.495),
        (2, 4, 0.422, 0.680, 0.617),  # 4 * 27/256; 1 - 82/256
        (3, 2, 0.469, 0.469, 0.469),  # groups of two: 2 p (1 - p), thrice
        (4, 2, 0.500, 0.500, 0.500),
        (6, 2, 0.375, 0.375, 0.375),
        (4, 8, 0.031, 0.992, 0.928),
    ],
)
def test_signals_by_hand(k, size, one, mixed, advantage):
    assert lone_success(k / 8, size) == pytest.approx(one, abs=5e-4)
    assert informative(k / 8, size) == pytest.approx(mixed, abs=5e-4)
    assert mean_advantage(k / 8, size) == pytest.approx(advantage, abs=5e-4)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_signals_by_enumeration_of_all_groups(size):
    rates = np.array([0.0, 0.1, 0.5, 0.8, 1.0])
    one, mixed, advantage = (np.zeros(5) for _ in range(3))
    for group in itertools.product((0, 1), repeat=size):
        reward = np.array(group)
        weight = np.prod(np.where(reward, rates[:, None], 1 - rates[:, None]), axis=1)
        one += weight * (reward.sum() == 1)
        mixed += weight * (reward.std() > 0)
        if reward.std() > 0:
            advantage += weight * np.abs((reward - reward.mean()) / reward.std()).mean()
    np.testing.assert_allclose(lone_success(rates, size), one, atol=1e-12)
    np.testing.assert_allclose(informative(rates, size), mixed, atol=1e-12)
    np.testing.assert_allclose(mean_advantage(rates, size), advantage, atol=1e-12)


def test_signals_broadcast():
    rates, sizes = np.linspace(0, 1, 5)[None, :], np.arange(2, 9)[:, None]
    for signal in (lone_success, informative, mean_advantage):
        table = signal(rates, sizes)
        assert table.shape == (7, 5)
        assert table[3, 1] == pytest.approx(float(signal(0.25, 5)))
        assert (table[:, [0, -1]] == 0).all()  # nothing to learn at 0 and 1


def test_map_marks_every_assigned_size_with_its_value():
    figure = signal_map(SGPO)
    for panel, signal in enumerate((lone_success, informative, mean_advantage)):
        marks = lines(figure, panel, "assigned to")
        assert [(mark.get_xdata()[0], mark.get_ydata()[0]) for mark in marks] == [
            (k / 8, size) for k, size in enumerate(SGPO) if size
        ]
        written = [text.get_text() for text in figure.axes[panel].texts]
        assert written == [f"{float(signal(k / 8, size)):.2f}" for k, size in enumerate(SGPO) if size]
        (inverse,) = lines(figure, panel, "1/p")
        np.testing.assert_allclose(inverse.get_xdata() * inverse.get_ydata(), 1)
    caption = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "none for k = 0, 7, 8" in caption


def test_map_of_another_table():
    figure = signal_map([0, 32, 2, 2, 0], largest=32)
    assert [mark.get_ydata()[0] for mark in lines(figure, 0, "assigned to")] == [32, 2, 2]
    assert figure.axes[0].get_ylim()[1] > 32
    for table in ([0, 17, 0], [1, 2, 2], [4], [0, -2]):
        with pytest.raises(ReproError, match="from 2 to 16"):
            signal_map(table)


def test_shares_by_hand():
    assert shares([0, 0, 8, 3]).tolist() == [[0.5, 0, 0, 0.25, 0, 0, 0, 0, 0.25]]
    assert shares([[0, 1], [1, 1]])[:, :2].tolist() == [[0.5, 0.5], [0, 1]]
    for wrong in ([9], [-1], [0.5], [], [[[1]]]):
        with pytest.raises(ReproError, match="whole numbers from 0 to 8"):
            shares(wrong)


def heights(figure, panel):
    return {bars.get_label(): [bar.get_height() for bar in bars] for bars in figure.axes[panel].containers}


def test_histogram_shows_shares_and_classes():
    before = [0] * 4 + [1, 2, 3, 6, 7, 8]
    after = [0] + [8] * 9
    figure = difficulty_histogram(before, after)
    bars = heights(figure, 0)
    assert bars["before"] == pytest.approx([40, 10, 10, 10, 0, 0, 10, 10, 10])
    assert bars["after"] == pytest.approx([10, 0, 0, 0, 0, 0, 0, 0, 90])
    assert heights(figure, 1)["before"] == pytest.approx([40, 10, 10, 20, 20])
    assert [t for t in texts(figure) if "training" in t or t == "after"] == ["before training", "after"]


def test_the_papers_shares_are_all_within_the_panel():
    assert sum(share for _, _, share in CLASSES.values()) == pytest.approx(1.0)
    figure = difficulty_histogram([4] * 10)
    strokes = lines(figure, 1, "paper")
    assert [line.get_ydata()[0] for line in strokes] == pytest.approx([38, 15, 11, 27, 9])
    easy = difficulty_histogram([0, 1, 2, 3, 4, 5, 6, 7, 8])  # none as high as the paper's 38 %
    for drawn in (figure, easy):
        low, high = drawn.axes[1].get_ylim()
        assert low == 0 and all(low < line.get_ydata()[0] < high for line in lines(drawn, 1, "paper"))


def test_runs_are_points_around_their_mean():
    figure = difficulty_histogram([[0, 0, 8, 8], [0, 8, 8, 8], [8, 8, 8, 8]])
    assert heights(figure, 0)["before"][0] == pytest.approx(25)
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(points) == 9 and points[0].get_ydata() == pytest.approx([50, 25, 0])
    assert "mean of 3 runs" in " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert not [line for line in difficulty_histogram([0, 8]).axes[0].lines if line.get_marker() == "o"]
