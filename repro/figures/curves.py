"""Curves over training with every run visible, and figures made of them: convergence, any metric of any arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from scipy import stats

from repro.errors import ReproError
from repro.figures import style
from repro.study.asympo_async import CONDITIONS, CORE
from repro.study.definition import COLLAPSE, Study
from repro.study.statistics import running_mean
from repro.study.tables import Tables

X_AXES = {  # columns of one update, added up along a run
    "update": "update",
    "rollouts": "rollouts",
    "generated_tokens": "generated tokens",
    "trained_tokens": "trained tokens",
    "flops": "FLOP",
    "seconds": "seconds of sampling and learning",
}
SMALL_PANEL = 3  # of the runs' points one in so many is drawn where a panel is an inch wide
GRID = 200  # points at which runs are averaged on an axis that they do not share


@dataclass(frozen=True, eq=False)
class SeedCurve:
    """One run's smoothed curve; arrays (K,) over the updates with a measurement and a whole window before it."""

    update: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def at(self, update: float) -> tuple[float, float]:
        """The point (x, y) at an update, or the nearest there is."""
        k = int(np.abs(self.update - update).argmin())
        return float(self.x[k]), float(self.y[k])


@dataclass(frozen=True, eq=False)
class Band:
    """Mean over runs and pointwise t interval on a common grid, all (K,); `count` runs reach that far.

    Past the end of the first run the mean is one of the runs that are left, and has no interval (nan).
    """

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray
    n: int


def seed_curves(
    curves: pd.DataFrame,
    arm: str,
    metric: str,
    x: str = "update",
    smoothing: int = 10,
    seeds: Sequence[int] | None = None,
) -> dict[int, SeedCurve]:
    """The smoothed curve of each seed of an arm; seeds without a measured value are left out.

    `smoothing` is in updates: the mean of each point and those before it. A metric that is measured every few updates
    is averaged over as many updates, not as many measurements, and a run shorter than the window over its whole
    length. ReproError for an unknown metric or x, or a window below 1.
    """
    if x not in X_AXES:
        raise ReproError(f"no x-axis {x!r}; there are: {', '.join(X_AXES)}")
    if smoothing < 1:
        raise ReproError(f"smoothing={smoothing}: give a number of updates, 1 or more")
    costs = [] if x == "update" else ["seconds_generate", "seconds_update"] if x == "seconds" else [x]
    style.need(curves, [metric, *costs], "the table of curves")
    columns = list(dict.fromkeys(["seed", "update", metric, *costs]))  # a cost can be its own x-axis
    runs = curves.loc[curves["arm"] == arm, columns].sort_values(["seed", "update"])
    found = {}
    for seed, run in runs.groupby("seed"):
        if seeds is not None and seed not in seeds:
            continue
        update, value = run["update"].to_numpy(), run[metric].to_numpy(dtype=float)
        along = run[costs].to_numpy(dtype=float).sum(1).cumsum() if costs else update.astype(float)
        known = np.isfinite(value)
        update, along, value = update[known], along[known], value[known]
        if not len(value):
            continue
        gap = float(np.median(np.diff(update))) if len(update) > 1 else 1.0
        window = min(max(1, round(smoothing / gap)), len(value))
        mean, whole = running_mean(value, window), slice(window - 1, None)
        found[int(seed)] = SeedCurve(update[whole], along[whole], mean[whole])
    return found


def band(bundle: dict[int, SeedCurve], log: bool = False, level: float = 0.95) -> Band:
    """Mean and t interval over the runs at each x; with `log` a geometric mean. Needs one run or more."""
    shared = all(np.array_equal(curve.x, curve.update) for curve in bundle.values())
    ends = [(curve.x[0], curve.x[-1]) for curve in bundle.values()]
    if shared:
        grid = np.unique(np.concatenate([curve.x for curve in bundle.values()]))
    else:
        grid = np.linspace(min(a for a, _ in ends), max(b for _, b in ends), GRID)
    value_NK = np.stack([np.interp(grid, c.x, c.y, left=np.nan, right=np.nan) for c in bundle.values()])
    if log:
        value_NK = np.log(np.where(value_NK > 0, value_NK, np.nan))
    n, count = len(value_NK), np.isfinite(value_NK).sum(0)
    mean = np.where(count > 0, np.nansum(value_NK, 0) / np.maximum(count, 1), np.nan)
    half = np.full(len(grid), np.nan)
    if n > 1:
        half = np.where(
            count == n, stats.t.ppf((1 + level) / 2, n - 1) * np.std(value_NK, 0, ddof=1) / np.sqrt(n), np.nan
        )
    low, high = mean - half, mean + half
    if log:
        mean, low, high = np.exp(mean), np.exp(low), np.exp(high)
    return Band(grid, mean, low, high, count, n)


def collapses(runs: pd.DataFrame, arm: str) -> dict[int, int]:
    """seed -> update of its collapse or divergence, for the runs of an arm that have one."""
    fallen = runs[(runs["arm"] == arm) & runs["collapsed"] & runs["collapse_update"].notna()]
    return {int(row.seed): int(row.collapse_update) for row in fallen.itertuples()}


def draw_bundle(
    ax: Axes, bundle: dict[int, SeedCurve], look: style.Look, name: str = "", marks: dict[int, int] | None = None,
    log: bool = False, light: bool = False, every: int = 1,
) -> Band:  # fmt: skip
    """Every run thin, the mean bold with its interval, a cross where a run collapsed; returns the mean.

    `light` draws the second of two bundles in a panel: paler and dashed. `every` thins out the points of the runs'
    lines, for panels too small to show them all.
    """
    colour = to_rgba(look.colour, 0.55) if light else look.colour
    for seed, curve in bundle.items():
        kept = np.arange(len(curve.x))[::-every][::-1]
        ax.plot(
            curve.x[kept],
            curve.y[kept],
            lw=0.45,
            color=look.colour,
            alpha=0.22 if light else 0.4,
            label=f"{name} seed {seed}",
        )
    mean = band(bundle, log)
    ax.fill_between(mean.x, mean.low, mean.high, color=look.colour, alpha=0.1 if light else 0.2, lw=0)
    whole = mean.count == mean.n
    line = (0, (2.5, 1.2)) if light else "-"
    ax.plot(mean.x[whole], mean.mean[whole], color=colour, lw=1.5, ls=line, zorder=4, label=f"{name} mean")
    left = ~whole & (mean.count > 1)
    if left.any():
        first = max(int(left.argmax()) - 1, 0)  # from the last point of the whole mean, without a gap
        rest = np.r_[first : len(left)][mean.count[first:] > 1]
        ax.plot(mean.x[rest], mean.mean[rest], color=colour, lw=1.1, ls=":", label=f"{name} mean of the runs left")
    fallen = [bundle[seed].at(update) for seed, update in (marks or {}).items() if seed in bundle]
    if fallen:
        ax.plot(
            *zip(*fallen, strict=True), ls="", marker="X", ms=4.2, mfc=look.colour, mec="white", mew=0.5, zorder=5,
            label=f"{name} collapse",
        )  # fmt: skip
    return mean


def count_collapsed(ax: Axes, fallen: int, n: int) -> None:
    """The count in a panel's upper right corner."""
    ax.text(
        0.99, 0.99, f"\u2715 {fallen} of {n}", transform=ax.transAxes, ha="right", va="top", size=7,
        color=style.ALARM if fallen else style.MUTED, weight="bold" if fallen else "normal",
    )  # fmt: skip


def mark_x(ax: Axes, x: str) -> None:
    """Few, short ticks, from zero."""
    ax.set_xlim(left=0)
    ax.locator_params(axis="x", nbins=2 if x == "update" else 3)
    if x != "update":
        ax.xaxis.set_major_formatter(EngFormatter(sep="", places=0))


@style.styled
def convergence(tables: Tables, study: Study, x: str = "update", smoothing: int = 10) -> Figure:
    """Training reward along training: a row a condition (reference staleness, none), a column a core algorithm.

    `x` is one of X_AXES. GRPO's mean stands grey in every panel, so that each algorithm is read against it without
    seven bundles on top of each other.
    """
    figure, axes = style.panels(2, len(CORE), 3.5, sharex=True, sharey=True)
    for row, condition in zip(axes, ("ref", "lag0"), strict=True):
        reference = seed_curves(tables.curves, f"grpo@{condition}", "reward", x, smoothing)
        for ax, algorithm in zip(row, CORE, strict=True):
            arm = f"{algorithm}@{condition}"
            bundle = seed_curves(tables.curves, arm, "reward", x, smoothing)
            if not bundle:
                style.empty(ax, f"no runs of {arm}")
                continue
            if reference and algorithm != "grpo":
                mean = band(reference)
                ax.plot(mean.x, mean.mean, color="#9a9a9a", lw=0.9, zorder=1, label="GRPO for reference")
            marks = collapses(tables.runs, arm)
            draw_bundle(ax, bundle, style.look_of(arm), arm, marks, every=SMALL_PANEL)
            count_collapsed(ax, len(marks), len(bundle))
            mark_x(ax, x)
        row[0].set_ylabel(f"train reward\n{CONDITIONS[condition].split(',')[0].split(':')[-1].strip()}")
    for ax, algorithm in zip(axes[0], CORE, strict=True):
        ax.set_title(style.short_label(study, f"{algorithm}@ref"), color=style.look_of(algorithm).colour, weight="bold")
    axes[0, 0].set_ylim(0, 1)
    axes[0, 0].set_yticks([0, 0.5, 1])
    axes[-1, len(CORE) // 2].set_xlabel(X_AXES[x])
    arms = [f"{algorithm}@{condition}" for condition in ("ref", "lag0") for algorithm in CORE]
    rule = (
        f"running mean over {COLLAPSE.window} updates below {COLLAPSE.fraction:g} of its own maximum for "
        f"{COLLAPSE.stretch} updates, or a non-finite loss"
    )
    caption = (
        f"{style.seeds_text(tables.runs, arms)}. Thin: every run, mean of the last {smoothing} updates. Bold: their "
        "mean, with its pointwise 95 % t interval; dotted once a run has ended. Grey: GRPO's mean. Cross, and count "
        f"in the corner: runs that collapsed ({rule})."
    )
    return style.finish(figure, "Training reward with stale and with fresh rollouts", caption, tables.runs)


@style.styled
def curve_figure(
    curves: pd.DataFrame, arms: Sequence[str], metric: str = "reward", x: str = "update", smoothing: int = 10,
    seeds: Sequence[int] | None = None, runs: pd.DataFrame | None = None, study: Study | None = None, log: bool = False,
) -> Figure:  # fmt: skip
    """One metric of any arms in one panel: the figure to explore with.

    With `runs` (the table of runs) collapses are marked, and the smoke tier is stamped. ReproError for no arms, an
    arm without runs, an unknown metric or x, or if none of the chosen seeds has a value of the metric.
    """
    if not arms:
        raise ReproError("choose at least one arm to draw")
    known = list(dict.fromkeys(curves["arm"]))
    for arm in arms:
        if arm not in known:
            raise ReproError(f"there are no curves of arm {arm!r}; there are of: {', '.join(known)}")
    figure, axes = style.panels(1, 1, 3.6)
    ax, ends, counts = axes[0, 0], [], []
    for arm, look in zip(arms, style.looks_of(arms), strict=True):
        bundle = seed_curves(curves, arm, metric, x, smoothing, seeds)
        if not bundle:
            raise ReproError(
                f"no value of {metric!r} in the chosen seeds of {arm!r}: choose another metric, arm or seeds, or "
                "smooth over fewer updates"
            )
        mean = draw_bundle(ax, bundle, look, arm, collapses(runs, arm) if runs is not None else None, log)
        bold = next(line for line in ax.lines if line.get_label() == f"{arm} mean")
        bold.set_linestyle(look.line)
        counts.append(len(bundle))
        name = style.short_label(study, arm)
        condition = arm.partition("@")[2]
        several = len({other.partition("@")[2] for other in arms}) > 1
        last = mean.mean[mean.count == mean.n]
        if not len(last):
            raise ReproError(f"no point of {metric!r} in {arm!r} can be drawn{' on a logarithmic axis' if log else ''}")
        ends.append((float(last[-1]), f"{name}, {condition}" if several and condition else name, look.colour))
    if log:
        ax.set_yscale("log")
    ax.set_xlabel(X_AXES[x])
    ax.set_ylabel(metric.replace("_", " "))
    if x != "update":
        ax.xaxis.set_major_formatter(EngFormatter(sep="", places=0))
    ax.margins(x=0)
    figure.draw_without_rendering()
    style.label_ends(ax, ends, gap=0.055)
    n = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    caption = (
        f"n = {n} seeds an arm. Thin: every run, mean of the last {smoothing} updates. Bold: their "
        f"{'geometric ' if log else ''}mean with its pointwise 95 % t interval; dotted once a run has ended."
        + (" Cross: collapse." if runs is not None else "")
    )
    return style.finish(figure, metric.replace("_", " "), caption, runs)
