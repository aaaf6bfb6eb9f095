"""Time to a target: which runs reach the reference's final success, and when; and how much sooner, by target."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MultipleLocator

from repro.figures import style
from repro.figures.guidance import PAPER, REFERENCE, core_arms, hint, look, short
from repro.study import targets
from repro.study.definition import Study
from repro.study.survival import kaplan_meier
from repro.study.tables import Tables

GRID = 13  # targets of the lower row, from halfway: below, evaluations are too noisy to tell times apart
BASE = f"{REFERENCE}@{PAPER}"


@style.styled
def time_to_target(tables: Tables, study: Study) -> Figure:
    """Above: share of runs that have reached where their seed's GRPO run ends, censored runs marked. Below: how many
    times sooner than GRPO each target is reached. A column an axis: updates, generated tokens, hours."""
    arms = [arm for arm in core_arms(study) if (tables.evals["arm"] == arm).any()]
    figure, axes = style.panels(2, len(targets.AXES), 4.7, sharey="row")
    curves = targets.success(tables, BASE)
    target = 100 * float(targets.course(tables, BASE, "updates").ends().mean()) if len(curves) else None
    for column, (axis, label) in enumerate(targets.AXES.items()):
        above, below = axes[:, column]
        if target is None:
            style.empty(above, "no runs of GRPO yet")
            style.empty(below, "no runs of GRPO yet")
            continue
        courses = {arm: targets.course(tables, arm, axis) for arm in arms}
        ends = courses[BASE].ends()
        times = {arm: one.times_to_ends() if arm == BASE else one.times(ends) for arm, one in courses.items()}
        reached_by = [(arm, _reached(above, times[arm], arm)) for arm in arms]
        above.set_xlabel(label)
        above.set_xlim(left=0)
        above.locator_params(axis="x", nbins=4)
        if axis == "tokens":
            above.xaxis.set_major_formatter(EngFormatter(sep=""))
        elif axis == "hours" and above.get_xlim()[1] < 2:
            above.xaxis.set_major_locator(MultipleLocator(_minutes(above.get_xlim()[1])))
            above.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{60 * value:.0f}"))
            above.set_xlabel(label.replace("hours", "minutes"))
        grid = np.linspace((100 * float(curves.iloc[0].mean()) + target) / 2, target, GRID)
        others = [arm for arm in arms if hint(arm) != REFERENCE]
        absent = [short(arm, study) for arm in others if not _sooner(below, courses, arm, grid)]
        below.axhline(1, color="#9a9a9a", lw=0.7, zorder=1)
        if grid[-1] > grid[0]:  # GRPO has learned something
            below.set_xlim(grid[0], grid[-1])
        below.set_xlabel("target, % held-out success")
        if absent:
            words = f"{', '.join(absent)}:\nfewer than half of the pairs"
            below.text(0.03, 0.03, words, transform=below.transAxes, va="bottom", size=6.5, color="#6a6a6a")
        if column == len(targets.AXES) - 1:
            names = [(share, f"{short(arm, study)} {k}/{n}", look(arm).colour) for arm, (share, k, n) in reached_by]
            above.set_ylim(-0.04, 1.04)
            style.label_ends(above, names, gap=0.1)
    if target is not None:
        _log(axes[1, 0])
        ends_at = [(line.get_ydata()[-1], short(arm, study), look(arm).colour) for arm in arms if (
            line := next((one for one in axes[1, -1].lines if one.get_label() == f"{arm} ratio"), None))]  # fmt: skip
        style.label_ends(axes[1, -1], ends_at, gap=0.1)
        axes[0, 0].set_ylabel(f"share of runs that reached\nwhere GRPO ends, {target:.0f} %")
    axes[1, 0].set_ylabel("times sooner than GRPO")
    caption = (
        f"{style.seeds_text(tables.runs, arms)}. Evaluations along the way, on the same questions throughout. Above, a "
        "seed's target is where its GRPO run is at the last of them, which that run reaches by then. Reached: at the "
        f"first of {targets.HOLD} consecutive evaluations at or above the target. Above: Kaplan-Meier; strokes: ends "
        "of runs that never reached it, which are censored. "
        "Below: geometric mean of GRPO's time over the arm's in the pairs that both reach a target, with its 95 % t "
        "interval, where these are at least half of the pairs; elsewhere nothing is drawn. Evaluation is not "
        "counted as time."
    )
    return style.finish(figure, "Time to a target", caption, tables.runs)


def _reached(ax: Axes, times: pd.DataFrame, arm: str) -> tuple[float, int, int]:
    """The arm's steps; its share at the end, and k of n runs that reached the target."""
    drawn, event = look(arm), times["reached"].notna().to_numpy()
    at = times["reached"].fillna(times["end"]).to_numpy()
    if not len(at):
        return 0.0, 0, 0
    curve = kaplan_meier(at, event)
    last = float(times["end"].max())
    x = np.append(curve.time, max(last, curve.time[-1]))
    y = 1 - np.append(curve.survival, curve.survival[-1])
    ax.plot(x, y, drawstyle="steps-post", color=drawn.colour, lw=1.5, ls=drawn.line, label=f"{arm} reached")
    if (~event).any():
        heights = 1 - curve.at(at[~event])
        ax.plot(at[~event], heights, ls="", marker="|", ms=6, mew=1.0, color=drawn.colour, zorder=5,
                label=f"{arm} censored")  # fmt: skip
    return float(y[-1]), int(event.sum()), len(event)


def _sooner(ax: Axes, courses: dict[str, targets.Course], arm: str, grid: np.ndarray) -> bool:
    """The ratio of times by target, where at least half of the pairs reach it; False if that is nowhere."""
    found = []
    for percent in grid:
        times = targets.speed_up(*(courses[name].times(percent / 100) for name in (arm, BASE)))
        if times is not None and times.ratio.n and times.ratio.n >= 0.5 * times.pairs:
            found.append((percent, times.ratio.estimate, times.ratio.low, times.ratio.high))
    if not found:
        return False
    x, ratio, low, high = np.array(found).T
    drawn = look(arm)
    ax.plot(x, ratio, color=drawn.colour, lw=1.5, ls=drawn.line, zorder=4, label=f"{arm} ratio")
    known = np.isfinite(high) & (low > 0)
    ax.fill_between(
        x, np.where(known, low, np.nan), np.where(known, high, np.nan), color=drawn.colour, alpha=0.14, lw=0
    )
    return True


def _log(ax: Axes) -> None:
    """A logarithmic axis of ratios, by the lines rather than by the intervals, with one among its ticks."""
    ratios = np.concatenate([[1.0], *(line.get_ydata() for line in ax.figure.axes[3].lines + ax.figure.axes[-1].lines)])
    low, high = min(ratios.min() / 1.5, 0.5), max(ratios.max() * 1.5, 2.0)
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    ticks = [t for t in (0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32) if low <= t <= high]
    ax.set_yticks(ticks, minor=False)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.minorticks_off()


def _minutes(hours: float) -> float:
    """A step of whole minutes, in hours, that cuts the axis in five or less."""
    return next((step for step in (1, 2, 5, 10, 20, 30) if 60 * hours / step <= 5), 60) / 60
