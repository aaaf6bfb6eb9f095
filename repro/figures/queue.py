"""The real asynchronous queue: how old rollouts were, how full the queue, who waited for whom, and what came of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from repro.figures import style
from repro.figures.comparisons import draw_estimate, final, name_rows
from repro.figures.curves import collapses, seed_curves
from repro.study.definition import Study
from repro.study.tables import Tables

NO_RUNS = "no runs at the queue yet"
ROWS = ("naive", "grpo", "spo", "asympo", "asympo_stable")


@style.styled
def queue(tables: Tables, study: Study) -> Figure:
    """Measured lag (histogram and over time), queue depth, idle shares and final success of the arms at `queue`."""
    arms = [f"{algorithm}@queue" for algorithm in ROWS]
    curves = tables.curves[tables.curves["arm"].isin(arms)]
    figure, axes = style.panels(2, 3, 4.5)
    _lags(axes[0, 0], curves)
    for ax, column, text in ((axes[0, 1], "lag", "lag, updates"), (axes[0, 2], "queue_depth", "queue depth, batches")):
        for arm in arms:
            bundle = seed_curves(curves, arm, column, smoothing=1) if _known(curves, column) else {}
            for seed, curve in bundle.items():
                ax.plot(
                    curve.x, curve.y, lw=0.5, color=style.look_of(arm).colour, alpha=0.45, label=f"{arm} seed {seed}"
                )
        _finish(ax, f"{column} was not measured" if len(curves) else NO_RUNS, "update", text)
    for ax, column in ((axes[1, 0], "idle_generator"), (axes[1, 1], "idle_learner")):
        for at, arm in enumerate(arms):
            run = curves[curves["arm"] == arm]
            idle = {}
            if _known(curves, column):
                idle = (100 * run.groupby("seed")[column].mean().dropna()).to_dict()
            if idle:
                draw_estimate(
                    ax, idle, at - 0.12, style.look_of(arm), f"{arm} {column}", horizontal=True, beside=0.34, width=0.2,
                )  # fmt: skip
        name = column.removeprefix("idle_")
        missing = f"{column} was not measured" if len(curves) else NO_RUNS
        _names(ax, study, arms, f"{name} waiting, % of time", missing)
        if ax.lines:
            ax.set_xlim(left=min(0.0, ax.get_xlim()[0]))
    ax = axes[1, 2]
    for at, arm in enumerate(arms):
        values = final(tables.runs, arm, "mean_at_k")
        reference = final(tables.runs, arm.replace("@queue", "@ref"), "mean_at_k")
        if values:
            look = style.look_of(arm)
            draw_estimate(
                ax, values, at - 0.12, look, f"{arm} mean_at_k", fallen=collapses(tables.runs, arm), horizontal=True,
                beside=0.34, width=0.2,
            )  # fmt: skip
            if reference:
                mean = np.mean(list(reference.values()))
                ax.plot(
                    mean,
                    at - 0.12,
                    marker="|",
                    ms=9,
                    mew=1.0,
                    color=look.colour,
                    alpha=0.7,
                    zorder=2,
                    label=f"{arm} at ref",
                )
    _names(ax, study, arms, "mean@8, %", NO_RUNS)
    caption = (
        f"{style.seeds_text(tables.runs, arms)} at the queue. Histogram: share of all updates at each lag, thin a "
        "run, bars their mean with 95 % t interval; grey: the law of the simulated reference, uniform on 8\u201323. "
        "Points: every run (cross: it collapsed); marker and bar: mean and 95 % t interval. Strokes: the mean of "
        "the same algorithm at lag 8\u201323."
    )
    return style.finish(
        figure, "The real queue", caption, tables.runs[tables.runs["arm"].isin(arms)] if len(curves) else tables.runs
    )


def lag_shares(curves: pd.DataFrame) -> pd.DataFrame:
    """Share of each run's updates at each lag: rows by arm and seed, columns the lags 0, 1, ... up to the greatest."""
    lag = curves["lag"].round().astype("Int64")
    counts = pd.crosstab([curves["arm"], curves["seed"]], lag)
    counts = counts.reindex(columns=range(int(lag.max()) + 1), fill_value=0)
    return counts.div(counts.sum(axis=1), axis=0)


def _lags(ax: Axes, curves: pd.DataFrame) -> None:
    if _known(curves, "lag"):
        shares = lag_shares(curves.dropna(subset=["lag"]))
        n, lags = len(shares), shares.columns.to_numpy()
        mean = shares.mean()
        ax.bar(lags, mean, width=0.86, color="#b9c4cf", zorder=1, label="mean over runs")
        if n > 1:
            half = stats.t.ppf(0.975, n - 1) * shares.std() / np.sqrt(n)
            ax.vlines(lags, mean - half, mean + half, color=style.INK, lw=0.8, zorder=4)
        for (arm, seed), share in shares.iterrows():
            ax.step(
                lags, share, where="mid", lw=0.4, alpha=0.35, color=style.look_of(arm).colour, zorder=3,
                label=f"{arm} seed {seed}",
            )  # fmt: skip
        ax.plot([7.5, 23.5], [1 / 16, 1 / 16], color=style.MUTED, lw=1.0, ls=style.DASHED, zorder=2)
        ax.text(23.8, 1 / 16, "8\u201323", size=6.5, va="center", color=style.MUTED)
    _finish(ax, NO_RUNS, "measured lag, updates", "share of updates")


def _known(curves: pd.DataFrame, column: str) -> bool:
    return column in curves and bool(curves[column].notna().any())


def _finish(ax: Axes, missing: str, x: str, y: str) -> None:
    if not ax.lines:
        style.empty(ax, missing)
        ax.set_xticks([])
        ax.set_yticks([])
    else:
        ax.set_xlim(left=-0.6 if "lag" in x else 0)
        ax.set_ylim(bottom=0)
        ax.locator_params(nbins=5)
    ax.set_xlabel(x)
    ax.set_ylabel(y)


def _names(ax: Axes, study: Study, arms: list[str], x: str, missing: str) -> None:
    ax.set_xlabel(x)
    if not ax.lines:
        style.empty(ax, missing)
        ax.set_xticks([])
        ax.set_yticks([])
        return
    name_rows(ax, study, arms)
    first = ax.get_subplotspec().is_first_col()
    ax.tick_params(labelleft=first or not ax.figure.axes[3].lines)  # named once a row
    ax.locator_params(axis="x", nbins=5)
