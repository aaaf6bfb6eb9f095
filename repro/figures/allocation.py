"""What a group size buys at a success rate, and how difficult a list of queries is: pictures behind an allocation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from repro.errors import ReproError
from repro.figures import style
from repro.study.statistics import t_interval

SAMPLES = 8  # of a profile; sGPO section 3
# Successes of 8 and the share of the queries of DAPO-Math-17k there, for Qwen2.5-Math-7B: from sGPO's Figure 8.
CLASSES = {"0": (0, 0, 0.38), "1": (1, 1, 0.15), "2": (2, 2, 0.11), "3\u20136": (3, 6, 0.27), "7\u20138": (7, 8, 0.09)}
ROLES = ("unsolved", "G = 8", "G = 4", "G = 2", "trivial")  # what sGPO makes of them (Eqs. 8 and 10)
BEFORE, AFTER, PAPER = "#a9b4bf", "#0b559f", "#c0500a"
MAP = "Blues"


# Expected signal ----------------------------------------------------------------------------------------------


def lone_success(rate: ArrayLike, size: ArrayLike) -> NDArray:
    """P(exactly one of `size` rollouts succeeds): G p (1 - p)^(G - 1). Shapes broadcast. sGPO Figure 4."""
    p, g = np.asarray(rate, dtype=float), np.asarray(size)
    return g * p * (1 - p) ** (g - 1)


def informative(rate: ArrayLike, size: ArrayLike) -> NDArray:
    """P(a group has successes and failures): 1 - p^G - (1 - p)^G. Shapes broadcast."""
    p, g = np.asarray(rate, dtype=float), np.asarray(size)
    return 1 - p**g - (1 - p) ** g


def mean_advantage(rate: ArrayLike, size: ArrayLike) -> NDArray:
    """Expected |A| of a rollout, rewards centred and divided by the group's population deviation. Shapes broadcast.

    With n successes of G the |A| of a group add up to 2 sqrt(n (G - n)): sGPO Eqs. 5 and 6.
    """
    p, g = np.broadcast_arrays(np.asarray(rate, dtype=float), np.asarray(size))
    n = np.arange(int(g.max()) + 1).reshape(-1, *[1] * g.ndim)
    total = 2 * np.sqrt(np.clip(n * (g - n), 0, None))
    return (stats.binom.pmf(n, g, p) * total).sum(0) / g


SIGNALS: dict[str, Callable[[ArrayLike, ArrayLike], NDArray]] = {
    "P(one success)": lone_success,
    "P(informative group)": informative,
    "mean |A| of a rollout": mean_advantage,
}


@style.styled
def signal_map(assigned: Sequence[int], largest: int = 16, title: str = "What a group size buys") -> Figure:
    """Three measures of expected signal over success rate and group size, with the sizes that an allocation assigns.

    `assigned[k]` is the group size for queries solved k times in N = len(assigned) - 1 profiling samples, 0 if they
    are dropped. Sizes run from 2 to `largest`. ReproError if an assigned size lies outside.
    """
    samples = len(assigned) - 1
    off = [size for size in assigned if size and not 2 <= size <= largest]
    if samples < 1 or off:
        raise ReproError(
            f"signal_map: assigned sizes {list(assigned)} for 0 to {samples} successes; give two or more, each 0 "
            f"(dropped) or from 2 to {largest}"
        )
    rates, sizes = np.linspace(0, 1, 201), np.arange(2, largest + 1)
    edges = np.concatenate([[1.5], sizes + 0.5])
    figure, axes = style.panels(1, len(SIGNALS), 3.0, sharey=True)
    for ax, (name, signal) in zip(axes[0], SIGNALS.items(), strict=True):
        values = signal(rates[None, :], sizes[:, None])
        mesh = ax.pcolormesh(
            np.linspace(-0.0025, 1.0025, 202), edges, values, cmap=MAP, vmin=0, vmax=1, rasterized=True
        )
        inverse = rates[rates >= 1 / largest]
        ax.plot(inverse, 1 / inverse, color=PAPER, lw=1.0, ls=style.DASHED, label=f"{name} G = 1/p")
        for k, size in enumerate(assigned):
            if not size:
                continue
            at, value = (k / samples, size), float(signal(k / samples, size))
            ax.plot(
                *at, marker="o", ms=5.5, color=PAPER, mec="white", mew=0.9, zorder=5, clip_on=False,
                label=f"{name} assigned to {k}",
            )  # fmt: skip
            beside, side = ((0, 5), "center") if size == 2 else ((4, 3), "left")  # off the dashed line
            ax.annotate(
                f"{value:.2f}", at, beside, textcoords="offset points", ha=side, va="bottom", size=6.3, zorder=6,
                color="white" if value > 0.55 else style.INK,
            )  # fmt: skip
        ax.set_yscale("log", base=2)
        ax.set_ylim(edges[0], edges[-1])
        ax.set_xlim(0, 1)
        ax.yaxis.set_minor_locator(NullLocator())
        ticks = [size for size in (2, 4, 8, 16, 32, 64, 128) if size <= largest]
        ax.set_yticks(ticks, map(str, ticks))
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "\u00bc", "\u00bd", "\u00be", "1"])
        ax.set_xlabel("success rate p")
        ax.set_title(name, weight="bold")
    axes[0, 0].set_ylabel("group size G")
    bar = figure.colorbar(mesh, ax=axes[0].tolist(), aspect=26, pad=0.015)
    bar.outline.set_visible(False)
    dropped = [f"{k}" for k, size in enumerate(assigned) if not size]
    caption = (
        f"Colour: what is expected of one group, by p and G alone. Circles: the size assigned to queries solved k of "
        f"{samples} times, at p = k/{samples}, with the panel's value there"
        + (f" (none for k = {', '.join(dropped)})" if dropped else "")
        + ". Dashed: G = 1/p, where one success is expected. |A|: rewards less their group's mean, over its standard "
        "deviation."
    )
    return style.finish(figure, title, caption)


# Difficulty ---------------------------------------------------------------------------------------------------


def shares(solved: ArrayLike) -> NDArray:
    """Share of queries solved 0, 1, ..., 8 times of 8, (runs, 9), from successes (queries,) or (runs, queries).

    ReproError for counts that are not whole numbers from 0 to 8, or no queries.
    """
    counts = np.atleast_2d(np.asarray(solved))
    if counts.ndim != 2 or not counts.size or not np.isin(counts, np.arange(SAMPLES + 1)).all():
        raise ReproError(
            f"difficulty_histogram: successes of shape {counts.shape} must be whole numbers from 0 to {SAMPLES}, one "
            "for each query of each run"
        )
    return np.stack([(counts == k).mean(1) for k in range(SAMPLES + 1)], 1)


@style.styled
def difficulty_histogram(
    before: ArrayLike,
    after: ArrayLike | None = None,
    title: str = "How difficult the queries are for the policy",
    table: pd.DataFrame | None = None,
) -> Figure:
    """Queries by times solved in 8, and by what sGPO makes of them, before and after training on them.

    `before`, `after`: successes in 8 samples of each query, (queries,) or (runs, queries); `table`: the rows of `runs`
    behind them, whose tier decides on the stamp. ReproError as of `shares`.
    """
    found = {"before": (shares(before), BEFORE)}
    if after is not None:
        found["after"] = (shares(after), AFTER)
    figure, axes = style.panels(1, 2, 2.7, width_ratios=(1.25, 1))
    left, right = axes[0]
    width = 0.8 / len(found)
    for j, (name, (share, colour)) in enumerate(found.items()):
        offset = (j - (len(found) - 1) / 2) * width
        _bars(left, np.arange(SAMPLES + 1) + offset, share, width, colour, name)
        by_class = np.stack([share[:, low : high + 1].sum(1) for low, high, _ in CLASSES.values()], 1)
        _bars(right, np.arange(len(CLASSES)) + offset, by_class, width, colour, name)
    first = -(len(found) - 1) / 2 * width  # the paper's shares are of a policy before training
    for k, (_, _, share) in enumerate(CLASSES.values()):
        ends = [k + first - 0.55 * width, k + first + 0.55 * width]
        right.plot(ends, [100 * share] * 2, color=PAPER, lw=1.6, zorder=5, label=f"paper {share:.2f}")
    for ax in (left, right):
        ax.set_ylim(bottom=0)  # only now: it ends the adjustment to what is drawn
        ax.tick_params(axis="x", length=0)
    left.set_xticks(range(SAMPLES + 1))
    left.set_xlabel(f"times solved in {SAMPLES}")
    left.set_ylabel("queries, %")
    right.set_xticks(range(len(CLASSES)), [f"{name}\n{role}" for name, role in zip(CLASSES, ROLES, strict=True)])
    right.set_xlabel(f"times solved in {SAMPLES}, and group size in sGPO")
    runs = max(len(share) for share, _ in found.values())
    for at, (name, (_, colour)) in enumerate(found.items()):
        text = {"before": "before training", "after": "after"}[name]
        left.text(0.97, 0.95 - 0.09 * at, text, transform=left.transAxes, ha="right", va="top", size=7, weight="bold",
                  color=style.MUTED if name == "before" else colour)  # fmt: skip
    right.text(0.97, 0.95, "paper, 7B", transform=right.transAxes, ha="right", va="top", size=7, weight="bold",
               color=PAPER)  # fmt: skip
    drawn = f"Bars: mean of {runs} runs, with 95 % t interval; points: every run" if runs > 1 else "One run"
    caption = (
        f"Share of the training queries by successes in {SAMPLES} samples. {drawn}. "
        "Orange strokes: shares of DAPO-Math-17k before training, from sGPO's Figure 8 (38, 15, 11, 27 and 9 %)."
    )
    return style.finish(figure, title, caption, table)


def _bars(ax: Axes, at: NDArray, share: NDArray, width: float, colour: str, name: str) -> None:
    """Bars at the mean over runs in percent, (runs, places); with more than one run, points and an interval."""
    percent = 100 * share
    ax.bar(at, percent.mean(0), width=0.92 * width, color=colour, zorder=2, label=name)
    if len(percent) > 1:
        for x, column in zip(at, percent.T, strict=True):
            interval = t_interval(column)
            ax.plot([x, x], [interval.low, interval.high], color=style.INK, lw=0.8, solid_capstyle="butt", zorder=4)
            spots = x + 0.5 * width * (np.arange(len(column)) / (len(column) - 1) - 0.5)
            ax.plot(spots, column, ls="", marker="o", ms=1.8, mew=0, color=style.INK, alpha=0.55, zorder=3)
