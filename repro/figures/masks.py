"""A question and its trace under each hint, as a picture: what is hidden, what stays, what is cut off."""

from __future__ import annotations

import re
import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from repro.figures import style
from repro.study import masking
from repro.study.definition import Study
from repro.study.tables import Tables

COLUMNS = 3
SIZE = 6.15  # points
WIDE = 46  # characters of a card
NOTE = 52  # characters of a line below it
FILL = {masking.HIDDEN: "#cfe3f7", masking.ANSWER: "#fbd9c0"}
EDGE = {masking.HIDDEN: "#3a86b9", masking.ANSWER: "#d55e00"}


def laid_out(parts: tuple[masking.Part, ...], wide: int = WIDE) -> list[list[tuple[int, str, str]]]:
    """Lines of (column, text, kind), broken between words at `wide` characters."""
    lines: list[list[tuple[int, str, str]]] = [[]]
    at = 0
    for part in parts:
        for piece in re.findall(r"\n|[^\S\n]+|\S+", part.text):
            if piece == "\n" or (at + len(piece) > wide and at and not piece.isspace()):
                lines.append([])
                at = 0
            if piece == "\n" or (piece.isspace() and not at and piece != part.text):
                continue
            lines[-1].append((at, piece, part.kind))
            at += len(piece)
    return lines[:-1] if len(lines) > 1 and not lines[-1] else lines


@style.styled
def masks(tables: Tables, study: Study, example: masking.Example | None = None) -> Figure:
    """The study's committed example, or any other: the question, then its trace under each hint."""
    example = example or masking.load(study.name)
    if example is None:
        figure, axes = style.panels(1, 1, 1.5)
        style.empty(axes[0, 0], "no example yet")
        return style.finish(figure, "What a hint shows", "No example is committed yet.")
    answer = textwrap.shorten(example.answer, WIDE, placeholder=" …")
    cards = [("question", laid_out((masking.Part(example.question, masking.KEPT),)), f"answer: {answer}")]
    cards += [(view.label, laid_out(view.parts), view.note) for view in example.views]
    rows = [cards[k : k + COLUMNS] for k in range(0, len(cards), COLUMNS)]
    heights = [max(len(lines) + len(textwrap.wrap(note, NOTE)) for _, lines, note in row) + 1.7 for row in rows]
    inches = 0.128
    figure, axes = style.panels(len(rows), COLUMNS, inches * sum(heights) + 1.0, height_ratios=heights)
    for row, line, height in zip(axes, rows, heights, strict=True):
        for ax in row[len(line) :]:
            ax.set_axis_off()
        for ax, card in zip(row, line, strict=False):
            _card(ax, *card, height)
    caption = (
        "The first training question, and what the policy is shown of its expert trace. Blue frames: hidden, one token "
        "for whatever stood there. Orange: the answer, where it is still shown. Struck out: cut off."
    )
    return style.finish(figure, "What each hint shows, and what it hides", caption)


def _card(ax: Axes, title: str, lines: list[list[tuple[int, str, str]]], note: str, height: float) -> None:
    """Text on a grid of characters, so that frames fit the letters."""
    ax.set_xlim(-0.8, WIDE + 0.8)
    ax.set_ylim(height - 0.4, -1.6)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color=style.FAINT)
    ax.text(0, -0.7, title, size=7.2, weight="bold", va="center").set_in_layout(False)
    mono = {"family": "DejaVu Sans Mono", "size": SIZE, "va": "center_baseline"}
    for y, line in enumerate(lines, start=1):
        for x, text, kind in line:
            if kind in FILL:
                box = (x - 0.15, y - 0.47), len(text) + 0.3, 0.94
                ax.add_patch(Rectangle(*box, facecolor=FILL[kind], edgecolor=EDGE[kind], lw=0.5))
            colour = "#8a8a8a" if kind == masking.CUT else style.INK
            ax.text(x, y, text, color=colour, **mono).set_in_layout(False)
            if kind == masking.CUT:
                ax.plot([x, x + len(text)], [y, y], color=colour, lw=0.7)
    foot = {"size": 6.2, "color": style.MUTED, "va": "bottom", "linespacing": 1.2}
    ax.text(0, height - 0.6, textwrap.fill(note, NOTE), **foot).set_in_layout(False)
