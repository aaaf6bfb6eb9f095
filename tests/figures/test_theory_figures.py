"""The theory's figures: all are drawn from a tier's tables alone, say what they are, and repeat to the byte."""

import pytest

from repro.figures.theory import THEORY_FIGURES, regenerate
from repro.study import theory_results
from repro.study.theory_claims import THEORY_CLAIMS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return theory_results.build("smoke", tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", THEORY_FIGURES)
def test_figures_are_drawn_titled_and_stamped(data, name):
    figure = THEORY_FIGURES[name](data)
    texts = [text.get_text() for text in figure.texts]
    assert texts[0].endswith("?") and "smoke tier: not evidence" in texts
    assert all(ax.lines for ax in figure.axes)


def test_the_shares_panel_shows_its_table(data):
    figure = THEORY_FIGURES["share"](data)
    panel = next(ax for ax in figure.axes if ax.get_title().startswith("α = 5"))
    drawn = next(line for line in panel.lines if line.get_label() == "Δ = 0.4")
    frame = data.bandit.query("rule == 'plain' and alpha == 5 and gap == 0.4")
    assert drawn.get_ydata()[-1] == pytest.approx(frame[frame["t"] == frame["t"].max()]["share"].mean())
    stated = [line for line in panel.lines if line.get_label() == "as stated"][1]
    assert stated.get_ydata()[-1] == pytest.approx(2000**-1.0)


def test_claims_point_at_figures_that_exist():
    stems = {claim.figure.rsplit("/", 1)[1].removesuffix(".png") for claim in THEORY_CLAIMS}
    assert stems == set(THEORY_FIGURES)


def test_the_same_tables_give_the_same_bytes(data, tmp_path, monkeypatch):
    monkeypatch.setattr("repro.figures.theory.THEORY_FIGURES", {"scores": THEORY_FIGURES["scores"]})
    first, second = (regenerate(data, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert [path.relative_to(tmp_path / "a").as_posix() for path in first] == [
        "threespo_theory/scores.png",
        "threespo_theory/scores.svg",
    ]
