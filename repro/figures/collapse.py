"""When runs collapse: survival curves of the core algorithms, of the naive loss by staleness, and of longer runs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.figures import style
from repro.figures.curves import count_collapsed
from repro.study.asympo_async import CORE
from repro.study.definition import COLLAPSE, Study
from repro.study.survival import kaplan_meier
from repro.study.tables import Tables

LAGS = ("lag0", "lag4", "ref", "lag16", "lag32", "lag64", "queue")
LONG = ("naive-long@ref", "asympo-long@ref")
LONG_UPDATES = 3  # times those of all other runs, and as many panels wide: one scale for the figure


@style.styled
def survival(tables: Tables, study: Study, swept: str = "naive") -> Figure:
    """Kaplan-Meier curves of the time to collapse: core algorithms at the reference staleness, one of them by lag, and
    below what three times as many updates bring."""
    figure, axes = style.panels(3, len(CORE), 5.3, sharex="row", sharey=True)
    above, below = [f"{name}@ref" for name in CORE], [f"{swept}@{lag}" for lag in LAGS]
    for row, arms in zip(axes, (above, below), strict=False):
        for ax, arm in zip(row, arms, strict=True):
            _curve(ax, tables, arm)
        row[0].set_xlim(left=0)
        row[0].locator_params(axis="x", nbins=2)
    for ax, arm in zip(axes[0], above, strict=True):
        ax.set_title(style.short_label(study, arm), color=style.look_of(arm).colour, weight="bold")
    for ax, lag in zip(axes[1], LAGS, strict=True):
        text = {"queue": "queue", "ref": "lag 8\u201323"}.get(lag, f"lag {lag.removeprefix('lag')}")
        ax.set_title(text, color=style.look_of(swept).colour)
    first = axes[0, 0]
    first.set_ylim(-0.04, 1.3)  # room for the count
    first.set_yticks([0, 0.5, 1])
    first.set_ylabel("share not collapsed\nlag 8\u201323")
    axes[1, 0].set_ylabel(f"share not collapsed\n{style.short_label(study, f'{swept}@ref')} by lag")
    axes[1, len(LAGS) // 2].set_xlabel("update")
    for ax, arm in zip(_wide(figure, axes), LONG, strict=True):
        _curve(ax, tables, arm)
        name = style.short_label(study, f"{style.algorithm_of(arm)}@ref")
        ax.set_title(f"{name}, three times as many updates", color=style.look_of(arm).colour, weight="bold")
        ax.set_xlim(left=0)
        ax.set_xlabel("update")
    caption = (
        f"{style.seeds_text(tables.runs, above + below)}; of the longer runs {style.seeds_text(tables.runs, LONG)}, "
        "added when five seeds of naive had fallen without a collapse. Kaplan-Meier estimate with its pointwise "
        "95 % interval (log-log Greenwood; exact while no run has collapsed). Cross: a run's collapse, running mean of "
        f"{COLLAPSE.window} updates below {COLLAPSE.fraction:g} of its maximum for {COLLAPSE.stretch} updates, or a "
        "non-finite loss. Stroke: the end of runs without one, with their number."
    )
    return style.finish(figure, "Time to collapse", caption, tables.runs)


def _wide(figure: Figure, axes: np.ndarray) -> list[Axes]:
    """Panels for the longer runs in place of the last row."""
    for ax in axes[-1]:
        ax.remove()
    grid = axes[0, 0].get_gridspec()
    wide = [
        figure.add_subplot(grid[-1, LONG_UPDATES * k : LONG_UPDATES * (k + 1)], sharey=axes[0, 0])
        for k in range(len(LONG))
    ]
    wide[0].set_ylabel("share not collapsed\nlag 8\u201323")
    for ax in wide[1:]:
        ax.tick_params(labelleft=False)
    return wide


def _curve(ax: Axes, tables: Tables, arm: str) -> None:
    runs, look = tables.runs[tables.runs["arm"] == arm], style.look_of(arm)
    if runs.empty:
        style.empty(ax, f"no runs of {arm}")
        return
    event = runs["collapsed"].to_numpy(dtype=bool)
    time = runs["collapse_update"].where(runs["collapsed"], runs["updates"]).to_numpy(dtype=float)
    curve = kaplan_meier(time, event)
    ax.fill_between(curve.time, curve.low, curve.high, step="post", color=look.colour, alpha=0.18, lw=0)
    ax.plot(curve.time, curve.survival, drawstyle="steps-post", color=look.colour, lw=1.6, label=f"{arm} survival")
    for now, (mask, marker, name) in enumerate(((~event, "|", "censored"), (event, "X", "collapsed"))):
        if mask.any():  # every run a mark: several on one spot stand above each other
            seen: dict[float, int] = {}
            heights = []
            for t in time[mask]:
                heights.append(float(curve.at(t)) + 0.05 * seen.get(t, 0) * now)
                seen[t] = seen.get(t, 0) + 1
            ax.plot(
                time[mask], heights, ls="", marker=marker, ms=4.2 if now else 7, color=look.colour, clip_on=False,
                mec="white" if now else look.colour, mew=0.5 if now else 1.2, zorder=5, label=f"{arm} {name}",
            )  # fmt: skip
    if (~event).any():
        end = float(time[~event].max())
        ax.annotate(
            f"{int((~event).sum())}", (end, float(curve.at(end))), xytext=(-3, 3), textcoords="offset points",
            ha="right", va="bottom", size=6.5, color=look.colour,
        )  # fmt: skip
    count_collapsed(ax, int(event.sum()), len(event))
