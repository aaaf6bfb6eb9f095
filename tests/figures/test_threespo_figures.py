"""The figures of the 3SPO studies: what is drawn is what the tables say, and nothing is drawn that was not run."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "study"))
from explored_tables import explored  # noqa: E402

from repro.figures import threespo, threespo_mechanism  # noqa: E402
from repro.study.threespo_alfworld import THREESPO_ALFWORLD as ALFWORLD  # noqa: E402
from repro.study.threespo_webshop import THREESPO_WEBSHOP as WEBSHOP  # noqa: E402

ALL = {
    **{name: getattr(threespo, name) for name in ("success", "states", "speed", "cost", "pieces")},
    **{name: getattr(threespo_mechanism, name) for name in ("mechanism", "steps")},
}
SOME = ("grpo", "gigpo", "literal", "table", "table-novelty", "literal-figure_alpha")
GAINS = {"grpo": 0.5, "literal": -0.1, "table-novelty": lambda seed: -0.1 + 0.01 * seed}


@pytest.fixture(scope="module")
def tables():
    return explored(ALFWORLD, GAINS, SOME, seeds=3)


def lines(figure, label):
    return [line for ax in figure.axes for line in ax.lines if line.get_label() == label]


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


@pytest.mark.parametrize("name", ["pieces", "mechanism"])
def test_what_has_no_runs_is_said_and_smoke_is_stamped(name):
    one = ALL[name](explored(ALFWORLD, arms=("grpo",), seeds=1, tier="smoke"), ALFWORLD)
    assert "smoke tier: not evidence" in [text.get_text() for text in one.texts]
    assert any(words in " ".join(texts(one)) for words in ("no runs", "no epochs"))


def test_whole_runs_are_divided_by_grpos(tables):
    figure = threespo.cost(tables, ALFWORLD)
    assert lines(figure, "literal generated tokens mean")[0].get_xdata() == pytest.approx([300 / 250])
    assert lines(figure, "table optimiser steps mean")[0].get_xdata() == pytest.approx([1])


def test_arms_that_could_not_spend_their_generations_are_named():
    early = explored(ALFWORLD, GAINS, SOME, seeds=3)
    assert "nothing is left" not in " ".join(text.get_text() for text in threespo.success(early, ALFWORLD).texts)
    rows = early.runs["arm"] == "literal"
    early.runs["exhausted"] = (rows & (early.runs["seed"] < 2)).astype("boolean").mask(~rows)
    early.runs.loc[rows, "generations"] = [400, 600, 1000]
    words = " ".join(" ".join(text.get_text() for text in threespo.success(early, ALFWORLD).texts).split())
    assert "(unless nothing is left to sample: literal: 2 of 3 runs, after 500 generations)" in words


def test_success_by_list_and_temperature(tables):
    figure = threespo.success(tables, ALFWORLD)
    (mean, *_) = lines(figure, "grpo mean")  # the first list's
    assert mean.get_ydata()[[0, -1]] == pytest.approx([20, 70]) and mean.get_xdata()[-1] == pytest.approx(1000)
    ends = [line.get_ydata()[0] for line in lines(figure, "grpo_t0.4 mean")]
    assert ends == pytest.approx([80, 75, 90, 85])  # two lists of success, then of the score
    assert lines(figure, "literal start")[0].get_ydata() == pytest.approx([20, 20])
    shop = explored(WEBSHOP, arms=("grpo",), seeds=1)
    assert [words for _, _, words in threespo.measures(shop)] == ["success held out", "score"]


def test_states_are_counted_by_generation_and_divided_by_grpos(tables):
    figure = threespo.states(tables, ALFWORLD)
    ends = [line.get_ydata()[-1] for line in lines(figure, "literal mean")]
    assert ends == pytest.approx([300, 600, 900])
    assert all(line.get_ydata() == pytest.approx(np.full(20, 1.5)) for line in lines(figure, "literal ratio"))
    assert not lines(figure, "grpo ratio")


def test_runs_that_never_arrive_are_open_triangles_at_their_end(tables):
    figure = threespo.speed(tables, ALFWORLD)
    # GRPO passes 50 % (mean of the lists 17.5 + 50 g / 1000) at 650 generations; the literal reading never.
    assert lines(figure, "grpo 0.5")[0].get_ydata() == pytest.approx([650] * 3)
    assert lines(figure, "literal 0.5 never")[0].get_ydata() == pytest.approx([1000] * 3)
    assert len(lines(figure, "literal 0.5")[0].get_ydata()) == 0


def test_a_piece_that_breaks_its_reading_is_red(tables):
    figure = threespo.pieces(tables, ALFWORLD)
    (pairs,) = lines(figure, "table-novelty pairs")
    # Half of the budget: (-0.1 + 0.01 seed - 0.3) / 2 of the second against the first.
    assert sorted(pairs.get_xdata()) == pytest.approx([-20, -19.5, -19])
    assert pairs.get_color() == threespo.style.ALARM
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "novelty" in labels and "raw text as key" not in labels  # what was not run has no row


def test_mechanism_is_the_epochs_own(tables):
    figure = threespo_mechanism.mechanism(tables, ALFWORLD)
    (score, *_) = lines(figure, "mean score")
    assert score.get_ydata() == pytest.approx([90, 80, 70, 60])
    (won, *_) = lines(figure, "won: leaves")
    assert won.get_ydata() == pytest.approx([10] * 4)
    (paid, *_) = lines(figure, "pruned mean")
    assert paid.get_ydata()[0] == pytest.approx(0.3) and "17" in texts(figure)  # each kind a sixth of the branches
    assert "starts given up an epoch:\n1.0 at first, 4.0 at last" in texts(figure)


def test_what_ended_early_is_told_inside_the_panel_and_few_outcomes_are_not_a_share():
    early = explored(ALFWORLD, GAINS, SOME, seeds=3)
    early.runs["exhausted"] = early.runs["arm"] == "literal"
    early.epochs.loc[early.epochs["epoch"] == 4, "leaves"] = 5  # 15 of three runs
    figure = threespo_mechanism.mechanism(early, ALFWORLD)
    titles = {ax.get_title() for ax in figure.axes} - {""}
    assert titles == {"literal, alpha 50", "literal, alpha 1"}  # short: longer ones print over each other
    assert "nothing left to sample in\n3 of 3 runs,\nafter 1,000 generations" in texts(figure)
    assert len(lines(figure, "won: leaves")[0].get_ydata()) == 3


def test_steps_are_counted_by_run(tables):
    figure = threespo_mechanism.steps(tables, ALFWORLD)
    assert lines(figure, "grpo steps per 1,000 generations mean")[0].get_xdata() == pytest.approx([20])
    assert lines(figure, "table groups with spread, % mean")[0].get_xdata() == pytest.approx([100 / 3])
