"""Final results of arms side by side, every run a point: ablation, lag, learning rate, difficulty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.figures import style
from repro.figures.curves import collapses
from repro.study.asympo_async import BASELINES, CONTROLS, CORE
from repro.study.definition import Study
from repro.study.statistics import Interval, paired_t_interval, t_interval
from repro.study.tables import Tables, full_evaluations

BASELINE = "grpo@ref"
ALPHAS = ("positive_only@ref", "spo-alpha0.1@ref", "spo@ref", "spo-alpha0.5@ref", "spo-alpha0.8@ref", "naive@ref")
GROUPS = {
    "core": [f"{name}@ref" for name in CORE],
    "controls": [f"{name}@ref" for name in CONTROLS],
    "α of SPO": list(ALPHAS),
    "other baselines": [f"{name}@ref" for name in BASELINES],
}
ALPHA_LABELS = dict(zip(ALPHAS, ("α 0: SPO(0)", "α 0.1", "α 0.2", "α 0.5", "α 0.8", "α 1: naive"), strict=True))
NO_RUNS = "no runs yet"
NEAR = 25.0  # points from GRPO up to which a difference is drawn, and written beyond
METRICS = {"mean_at_k": "mean@8, %", "pass_at_k": "pass@8, %"}


def final(runs: pd.DataFrame, arm: str, column: str) -> dict[int, float]:
    """seed -> value, in percent, of the runs of an arm that have one."""
    rows = runs.loc[runs["arm"] == arm, ["seed", column]].dropna()
    return {int(seed): 100 * float(value) for seed, value in rows.itertuples(index=False)}


def draw_estimate(
    ax: Axes, values: Mapping[int, float], at: float, look: style.Look, label: str, *, fallen: Sequence[int] = (),
    horizontal: bool = False, log: bool = False, size: float = 4.5, width: float = 0.2, beside: float = 0.0,
) -> float:  # fmt: skip
    """Every run a small point, collapsed ones a cross; the mean a marker with its 95 % t interval. Returns the mean.

    `values` is seed -> value, at least one. The points lie around `at` + `beside`, spread over `width` in the order
    of the seeds. A single run has no interval, and none is drawn. `log`: mean and interval of the logarithms.
    """
    seeds = sorted(values)
    value = np.array([values[seed] for seed in seeds])
    place = at + beside + width * (np.arange(len(seeds)) / max(len(seeds) - 1, 1) - 0.5) * (len(seeds) > 1)
    collapsed = np.isin(seeds, list(fallen))
    for mask, marker, points in ((~collapsed, "o", 1.9), (collapsed, "x", 3.0)):
        if mask.any():
            x, y = (value[mask], place[mask]) if horizontal else (place[mask], value[mask])
            ax.plot(
                x, y, ls="", marker=marker, ms=points, mew=0.7 if marker == "x" else 0, color=look.colour, alpha=0.6,
                zorder=3, label=f"{label} seeds{' collapsed' if marker == 'x' else ''}",
            )  # fmt: skip
    interval = t_interval(np.log(value)) if log else t_interval(value)
    mean, low, high = (float(np.exp(v)) if log else v for v in (interval.estimate, interval.low, interval.high))
    draw_interval(ax, Interval(mean, low, high, interval.n), at, look, label, horizontal=horizontal, size=size)
    return mean


def draw_interval(
    ax: Axes,
    interval: Interval,
    at: float,
    look: style.Look,
    label: str,
    *,
    horizontal: bool = False,
    size: float = 4.5,
) -> None:
    """A marker with a bar; an infinite interval (one run) has no bar."""
    if np.isfinite([interval.low, interval.high]).all():
        ends, place = [interval.low, interval.high], [at, at]
        x, y = (ends, place) if horizontal else (place, ends)
        ax.plot(x, y, lw=1.3, color=look.colour, solid_capstyle="butt", zorder=4, label=f"{label} interval")
    x, y = (interval.estimate, at) if horizontal else (at, interval.estimate)
    ax.plot(x, y, marker=look.marker, ms=size, color=look.colour, mec="white", mew=0.5, zorder=5, label=f"{label} mean")


@style.styled
def ablation(tables: Tables, study: Study) -> Figure:
    """Final mean@8 and pass@8 of every arm at the reference staleness, beside each its paired difference to GRPO."""
    runs, rows, heads, y = tables.runs, [], [], 0.0
    for head, arms in GROUPS.items():
        heads.append((y + 0.15, head))
        y += 1.0
        if not runs["arm"].isin(arms).any():
            heads.append((y, NO_RUNS))
            arms, y = [], y + 1.0
        for arm in arms:
            rows.append((arm, y, ALPHA_LABELS[arm] if arms == list(ALPHAS) else style.short_label(study, arm)))
            y += 1.0
        y += 0.25
    figure, axes = style.panels(1, 4, 0.2 * y + 1.1, sharey=True, width_ratios=(1, 1.1, 1, 1.1))
    for pair, (column, name) in zip((axes[0, :2], axes[0, 2:]), METRICS.items(), strict=True):
        _absolute(pair[0], runs, rows, column)
        _difference(pair[1], runs, rows, column)
        pair[0].set_xlabel(name)
        pair[1].set_xlabel("minus GRPO, points")
    for ax in axes[0]:
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
        for _, at, _ in rows:
            ax.axhline(at, color="#ececec", lw=0.5, zorder=0)
    first = axes[0, 0]
    first.set_yticks([at for _, at, _ in rows], [label for _, _, label in rows])
    first.set_ylim(y - 0.4, -0.3)
    for tick, (arm, _, _) in zip(first.get_yticklabels(), rows, strict=True):
        if style.algorithm_of(arm) in CORE:
            tick.set_color(style.look_of(arm).colour)
    for at, head in heads:
        stated = head == NO_RUNS
        first.annotate(
            head, (0, at), xycoords=("axes fraction", "data"), xytext=(-4, 0), textcoords="offset points", ha="right",
            va="center", weight="normal" if stated else "bold", size=7 if stated else 7.5,
            color=style.MUTED if stated else style.INK, annotation_clip=False,
        )  # fmt: skip
    caption = (
        f"{style.seeds_text(runs, [arm for arm, _, _ in rows])}, at lag 8\u201323. Points: every run (cross: it "
        "collapsed), at its last evaluation. Marker and bar: mean and 95 % t interval; for differences of the pairs "
        f"that share a seed. Arrows: beyond the panel; differences above {NEAR:g} points are written. Dotted: the "
        "warm start. Lines: GRPO's mean, and zero difference."
    )
    return style.finish(figure, "Held-out success at the reference staleness", caption, runs)


def _absolute(ax: Axes, runs: pd.DataFrame, rows: list[tuple[str, float, str]], column: str) -> None:
    for arm, at, _ in rows:
        values = final(runs, arm, column)
        if values:
            draw_estimate(
                ax, values, at - 0.12, style.look_of(arm), f"{arm} {column}", fallen=collapses(runs, arm),
                horizontal=True, beside=0.34, width=0.22, size=3.6,
            )  # fmt: skip
        else:
            ax.text(
                0.5,
                at,
                NO_RUNS,
                transform=ax.get_yaxis_transform(),
                ha="center",
                va="center",
                size=6,
                color=style.MUTED,
            )
    grpo = final(runs, BASELINE, column)
    if grpo:
        ax.axvline(np.mean(list(grpo.values())), color="#9a9a9a", lw=0.7, zorder=1)
    if column == "mean_at_k":
        warm_start(ax.axvline, runs, [arm for arm, _, _ in rows])
    inside(ax, "x", 0, 100)
    ax.locator_params(axis="x", nbins=4)


def _difference(ax: Axes, runs: pd.DataFrame, rows: list[tuple[str, float, str]], column: str) -> None:
    """Pairs that share a seed with GRPO: their differences, with the paired interval.

    Arms further than NEAR from GRPO would squeeze all others into a line: they are written, and drawn beside in
    `_absolute`.
    """
    grpo, intervals = final(runs, BASELINE, column), []
    for arm, at, _ in rows:
        values = final(runs, arm, column)
        shared = sorted(values.keys() & grpo.keys())
        if arm == BASELINE or not shared:
            continue
        a, b = ([table[seed] for seed in shared] for table in (values, grpo))
        look, label, interval = style.look_of(arm), f"{arm} {column} minus GRPO", paired_t_interval(a, b)
        intervals.append((interval, at, look.colour))
        if abs(interval.estimate) <= NEAR:
            difference = dict(zip(shared, np.subtract(a, b), strict=True))
            draw_estimate(
                ax, difference, at - 0.12, look, label, fallen=collapses(runs, arm), horizontal=True, beside=0.34,
                width=0.22, size=3.6,
            )  # fmt: skip
    ax.axvline(0, color="#9a9a9a", lw=0.7, zorder=1)
    if not intervals:
        style.empty(ax, "no runs that share a seed with GRPO")
        return
    # The points decide on the range: the interval of three runs can be ten times as wide.
    points = [line.get_xdata() for line in ax.lines if "seeds" in str(line.get_label())]
    points = np.concatenate([[-1.0, 1.0], *points])
    pad = 0.12 * np.ptp(points)
    left, right = points.min() - pad, points.max() + pad
    ax.set_xlim(left, right)
    ax.locator_params(axis="x", nbins=4)
    for interval, at, colour in intervals:
        if abs(interval.estimate) > NEAR:
            below = interval.estimate < 0
            text = f"{interval.estimate:+.0f}"
            if interval.n > 1:
                text += f" [{interval.low:+.0f}, {interval.high:+.0f}]"
            ax.plot(left if below else right, at, marker="<" if below else ">", ms=3.5, color=colour, clip_on=False)
            ax.text(
                0.05 if below else 0.95, at, text.replace("-", "\u2212"), transform=ax.get_yaxis_transform(),
                va="center", ha="left" if below else "right", size=6.3, color=colour,
            )  # fmt: skip
            continue
        for beyond, limit, marker in ((interval.low < left, left, "<"), (interval.high > right, right, ">")):
            if beyond and np.isfinite([interval.low, interval.high]).all():
                ax.plot(limit, at - 0.12, marker=marker, ms=3.5, color=colour, clip_on=False, zorder=6)


def name_rows(ax: Axes, study: Study, arms: Sequence[str]) -> None:
    """Arms downwards at 0, 1, ..., named in their colours."""
    ax.set_yticks(range(len(arms)), [style.short_label(study, arm) for arm in arms])
    for tick, arm in zip(ax.get_yticklabels(), arms, strict=False):  # inner panels of a shared axis have no labels
        tick.set_color(style.look_of(arm).colour)
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.tick_params(left=False)
    ax.spines["left"].set_visible(False)


def warm_start(line: object, runs: pd.DataFrame, arms: Sequence[str], column: str = "start_mean_at_k") -> None:
    """A dotted line at the mean of the warm starts, each seed once: what runs of `arms` have of them in `column`."""
    start = runs[runs["arm"].isin(list(arms))].groupby("seed")[column].first().dropna()
    if len(start):
        line(100 * start.mean(), color=style.MUTED, lw=0.8, ls=style.DOTTED, zorder=1)


def inside(ax: Axes, axis: str, low: float, high: float) -> None:
    """Limits by the data, but not beyond what the quantity can be."""
    a, b = ax.get_xlim() if axis == "x" else ax.get_ylim()
    pad = 0.03 * (high - low)
    (ax.set_xlim if axis == "x" else ax.set_ylim)(max(a, low - pad), min(b, high + pad))


# Difficulty -------------------------------------------------------------------------------------------------


def levels_of(evals: pd.DataFrame) -> list[str]:
    """Levels in the order easy, medium, hard, then any others."""
    found, usual = list(dict.fromkeys(evals["level"])), ["easy", "medium", "hard"]
    return [level for level in usual if level in found] + [level for level in found if level not in usual]


def ends(evals: pd.DataFrame, arm: str, level: str, metric: str) -> pd.DataFrame:
    """First and last evaluation of each run at a level, in percent: columns start, end; rows by seed."""
    rows = evals[(evals["arm"] == arm) & (evals["level"] == level)]
    by_seed = full_evaluations(rows).sort_values("update").groupby("seed")[metric]
    return pd.DataFrame({"start": 100 * by_seed.first(), "end": 100 * by_seed.last()})


@style.styled
def difficulty(tables: Tables, study: Study, condition: str = "ref") -> Figure:
    """From the warm start to the last evaluation: a row a metric, a column a difficulty, a line an algorithm."""
    levels = levels_of(tables.evals) or ["easy"]
    figure, axes = style.panels(2, len(levels), 4.6, sharey=True, sharex="row")
    for row, (metric, name) in zip(axes, (("mean_at_k", "mean@8, %"), ("pass_at_k", "pass@8, %")), strict=True):
        for ax, level in zip(row, levels, strict=True):
            for at, algorithm in enumerate(CORE):
                arm, look = f"{algorithm}@{condition}", style.look_of(algorithm)
                ax.axhline(at, color="#ececec", lw=0.5, zorder=0)
                both = ends(tables.evals, arm, level, metric).dropna()
                if both.empty:
                    ax.text(
                        0.5,
                        at,
                        f"no runs of {arm}",
                        transform=ax.get_yaxis_transform(),
                        ha="center",
                        va="center",
                        size=6,
                    )
                    continue
                begin, finish = both["start"].mean(), both["end"].mean()
                ax.plot(
                    [begin, finish],
                    [at - 0.13] * 2,
                    lw=2.6,
                    color=look.colour,
                    alpha=0.25,
                    solid_capstyle="butt",
                    zorder=2,
                )
                ax.plot(
                    begin,
                    at - 0.13,
                    marker="|",
                    ms=7,
                    mew=1.2,
                    color=look.colour,
                    zorder=3,
                    label=f"{arm} {level} start",
                )
                ax.plot(
                    both["start"],
                    [at - 0.13] * len(both),
                    ls="",
                    marker="|",
                    ms=4,
                    mew=0.5,
                    color=look.colour,
                    alpha=0.5,
                )
                draw_estimate(
                    ax, both["end"].to_dict(), at - 0.13, look, f"{arm} {level}", fallen=collapses(tables.runs, arm),
                    horizontal=True, beside=0.35, width=0.24,
                )  # fmt: skip
            name_rows(ax, study, [f"{a}@{condition}" for a in CORE])
            ax.set_xlabel(name)
        if any(ax.lines for ax in row):
            inside(row[0], "x", 0, 100)
    for ax, level in zip(axes[0], levels, strict=True):
        ax.set_title(level, weight="bold")
    caption = (
        f"{style.seeds_text(tables.runs, [f'{a}@{condition}' for a in CORE])} at lag 8\u201323. From the warm start "
        "(stroke) to the last evaluation (marker, with its 95 % t interval); points: every run at its end (cross: "
        "it collapsed)."
    )
    return style.finish(figure, "Held-out success by difficulty, before and after", caption, tables.runs)
