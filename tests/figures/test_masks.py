"""The picture of masks: lines are broken where they must be, and frames stand where something is hidden."""

from repro.figures.masks import FILL, laid_out, masks
from repro.figures.style import WIDTH
from repro.study.masking import ANSWER, CUT, HIDDEN, KEPT, Example, Part, View
from repro.study.smepo_math import SMEPO_MATH

PARTS = (Part("a = ", KEPT), Part("[NUMBER]", HIDDEN, "7"), Part("\nb is ", KEPT), Part("9", ANSWER), Part("\nc", CUT))


def test_lines_are_broken_at_line_ends_and_between_words():
    assert laid_out(PARTS) == [
        [(0, "a", KEPT), (1, " ", KEPT), (2, "=", KEPT), (3, " ", KEPT), (4, "[NUMBER]", HIDDEN)],
        [(0, "b", KEPT), (1, " ", KEPT), (2, "is", KEPT), (4, " ", KEPT), (5, "9", ANSWER)],
        [(0, "c", CUT)],
    ]
    narrow = laid_out((Part("one two  three\n", KEPT),), 7)
    assert [[word for _, word, _ in line if word.strip()] for line in narrow] == [["one", "two"], ["three"]]
    assert laid_out((Part("longerthanaline", KEPT),), 5) == [[(0, "longerthanaline", KEPT)]]


def test_a_card_for_the_question_and_for_every_hint():
    views = tuple(View(f"hint {k}", PARTS, "hides 1 of 4") for k in range(3))
    figure = masks(None, SMEPO_MATH, Example("a ?\nb ?", "9", views))
    cards = [ax for ax in figure.axes if ax.axison]
    assert figure.get_size_inches()[0] == WIDTH and len(figure.axes) == 6
    assert [ax.texts[0].get_text() for ax in cards] == ["question", "hint 0", "hint 1", "hint 2"]
    assert [box.get_facecolor()[:3] for box in cards[1].patches] != [] and len(cards[1].patches) == len(FILL)
    assert len(cards[1].lines) == 1 and cards[0].texts[-1].get_text() == "answer: 9"


def test_a_study_without_an_example_says_so(monkeypatch):
    monkeypatch.setattr("repro.study.masking.load", lambda study: None)
    figure = masks(None, SMEPO_MATH)
    assert "no example yet" in figure.axes[0].texts[0].get_text().replace("\n", " ")
