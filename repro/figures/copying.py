"""The copy-rate experiment: hints with a planted wrong answer, and what policies make of them before and after."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.figures import style
from repro.figures.comparisons import draw_estimate, inside
from repro.figures.guidance import look, name_rows, plain_rows, rows_of
from repro.study.definition import Study
from repro.study.tables import Tables

PANELS = {  # column of runs, with "start_" before it for the warm start: title, label
    "copied_full": ("shown a full trace", "give its planted answer, %"),
    "solved_full": ("shown a full trace", "give the right answer, %"),
    "copied_own": ("shown the arm's own hint", "give its planted answer, %"),
}


@style.styled
def copying(tables: Tables, study: Study) -> Figure:
    """Responses to hints with a planted wrong answer, from the warm start to the end of training, arm by arm."""
    rows = rows_of(tables, study, "copied_full")
    figure, axes = style.panels(1, len(PANELS), 0.2 * max(len(rows), 5) + 1.5, sharey=True)
    for ax, (column, (title, label)) in zip(axes[0], PANELS.items(), strict=True):
        for at, (arm, _) in enumerate(rows):
            if arm:
                moved(ax, ends(tables.runs, arm, column), at, look(arm), f"{arm} {column}")
        ax.set_title(title, weight="bold")
        ax.set_xlabel(label)
        if ax.lines:
            ax.set_xlim(-3, 103)
    plain_rows(axes[0], rows)
    name_rows(axes[0, 0], rows, study)
    caption = (
        f"{style.seeds_text(tables.runs, [arm for arm, _ in rows if arm])}. A wrong value is planted in the expert "
        "trace and carried on consistently; the question stays. Left and middle: every policy is shown the same "
        "full traces. Right: the hint that the arm trains with, cut from the planted trace; where the mask hides what "
        "was planted, this is luck. From the warm start (stroke) to the end (marker, with its 95 % t interval); "
        "points: every run."
    )
    return style.finish(figure, "Is the answer copied?", caption, tables.runs)


def ends(runs: pd.DataFrame, arm: str, column: str) -> pd.DataFrame:
    """`start` and `end` of a share by seed, in percent; `start` is NaN where the warm start was not asked."""
    rows = runs[runs["arm"] == arm].set_index("seed")
    nothing = pd.Series(np.nan, rows.index)
    both = {"start": rows.get(f"start_{column}", nothing), "end": rows.get(column, nothing)}
    return (100 * pd.DataFrame(both).astype(float)).dropna(subset="end")


def moved(ax: Axes, both: pd.DataFrame, at: float, drawn: style.Look, label: str) -> None:
    """A row: a stroke where runs began, on average and one by one, a bar to where they ended, with their interval."""
    if both.empty:
        return
    start, line = both["start"].dropna(), at - 0.13
    if len(start):
        ax.plot([start.mean(), both["end"].mean()], [line] * 2, lw=2.6, color=drawn.colour, alpha=0.25,
                solid_capstyle="butt", zorder=2)  # fmt: skip
        ax.plot(start.mean(), line, marker="|", ms=7, mew=1.2, color=drawn.colour, zorder=3, label=f"{label} start")
        ax.plot(start, [line] * len(start), ls="", marker="|", ms=4, mew=0.5, color=drawn.colour, alpha=0.5)
    draw_estimate(ax, both["end"].to_dict(), line, drawn, label, horizontal=True, beside=0.35, width=0.24, size=3.8)


@style.styled
def mixed(tables: Tables, study: Study, ends_of: int = 20) -> Figure:
    """Share of groups with mixed rewards, the only ones with a gradient, and of reward: first and last updates."""
    columns = {"mixed": "groups with mixed rewards, %", "reward": "training reward, %"}
    columns = {name: label for name, label in columns.items() if name in tables.curves}
    rows, parts = rows_of(tables, study), (slice(ends_of), slice(-ends_of, None))
    figure, axes = style.panels(1, max(len(columns), 1), 0.2 * max(len(rows), 5) + 1.3, sharey=True)
    for ax, (column, label) in zip(axes[0], columns.items(), strict=False):
        for at, (arm, _) in enumerate(rows):
            if not arm:
                continue
            curves = tables.curves[tables.curves["arm"] == arm].sort_values("update").groupby("seed")[column]
            first, last = (curves.apply(lambda x, part=part: x.iloc[part].mean()) for part in parts)
            both = 100 * pd.DataFrame({"start": first, "end": last})
            moved(ax, both.dropna(subset="end"), at, look(arm), f"{arm} {column}")
        ax.set_xlabel(label)
        if ax.lines:
            inside(ax, "x", 0, 100)
    plain_rows(axes[0], rows)
    name_rows(axes[0, 0], rows, study)
    caption = (
        f"{style.seeds_text(tables.runs, [arm for arm, _ in rows if arm])}. From the first {ends_of} updates (stroke) "
        f"to the last {ends_of} (marker, with its 95 % t interval); points: every run. A group whose rewards are all "
        "equal has no advantage and no gradient."
    )
    return style.finish(figure, "Does a hint restore the gradient?", caption, tables.runs)
