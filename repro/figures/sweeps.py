"""Final success along a setting, a column an algorithm: staleness, learning rate."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.figures import style
from repro.figures.comparisons import METRICS, draw_estimate, final, inside, warm_start
from repro.figures.curves import collapses
from repro.study.asympo_async import SWEPT
from repro.study.definition import Study
from repro.study.statistics import t_interval
from repro.study.tables import Tables

LAGS = (0, 4, 16, 32, 64)
REF_LAGS = (8, 23)
RATES = {"-lr3e-05": 3e-5, "": 1e-4, "-lr0.0003": 3e-4}  # the study's learning rate is the middle one


def _lag_place(lag: np.ndarray | float) -> np.ndarray | float:
    return np.log2(1 + np.asarray(lag) / 4)


@style.styled
def lag_sweep(tables: Tables, study: Study) -> Figure:
    """Final success against a fixed lag, and the reference law as a bar over its range: a column an algorithm."""
    arms = {algorithm: {float(_lag_place(lag)): f"{algorithm}@lag{lag}" for lag in LAGS} for algorithm in SWEPT}
    figure, axes = _sweep(tables, study, arms, "lag, updates")
    for row, column in zip(axes, METRICS, strict=True):
        for ax, algorithm in zip(row, SWEPT, strict=True):
            values = final(tables.runs, f"{algorithm}@ref", column)
            if values:
                _reference_bar(ax, values, style.look_of(algorithm), f"{algorithm}@ref {column}")
            ax.set_xticks([float(_lag_place(lag)) for lag in LAGS], [str(lag) for lag in LAGS])
            ax.set_xlim(-0.4, float(_lag_place(64)) + 0.4)
    counts = style.seeds_text(tables.runs, [arm for sweep in arms.values() for arm in sweep.values()])
    at_ref = style.seeds_text(tables.runs, [f"{algorithm}@ref" for algorithm in SWEPT])
    caption = (
        f"{counts} (at lag 8\u201323: {at_ref}). Points: every run (cross: it collapsed). Marker and bar: mean and "
        "95 % t interval. Box: the same for lags drawn from 8\u201323, a thin line each run. Grey: GRPO's means. "
        "Dotted: the warm start."
    )
    return style.finish(figure, "Held-out success by staleness", caption, tables.runs)


def _reference_bar(ax: Axes, values: dict[int, float], look: style.Look, label: str) -> None:
    """Over the lags of the reference law: a thin line each run, a thick one for the mean, a box for the interval."""
    ends, interval = _lag_place(np.array(REF_LAGS)), t_interval(list(values.values()))
    for seed, value in values.items():
        ax.plot(ends, [value, value], lw=0.5, color=look.colour, alpha=0.55, zorder=2, label=f"{label} seed {seed}")
    if np.isfinite(interval.low):
        ax.fill_between(ends, interval.low, interval.high, color=look.colour, alpha=0.18, lw=0, zorder=1)
    ax.plot(
        ends, [interval.estimate] * 2, lw=1.6, color=look.colour, solid_capstyle="butt", zorder=2, label=f"{label} mean"
    )


@style.styled
def learning_rate(tables: Tables, study: Study) -> Figure:
    """Final success at a third and at three times the study's learning rate: a column an algorithm."""
    places = [float(np.log10(rate)) for rate in RATES.values()]
    arms = {a: {x: f"{a}{variant}@ref" for x, variant in zip(places, RATES, strict=True)} for a in SWEPT}
    figure, axes = _sweep(tables, study, arms, "learning rate")
    for ax in axes.flat:
        ax.set_xticks(places, [f"{rate:.0e}".replace("e-0", "e\u2212") for rate in RATES.values()])
        ax.set_xlim(min(places) - 0.2, max(places) + 0.2)
    counts = style.seeds_text(tables.runs, [arm for sweep in arms.values() for arm in sweep.values()])
    caption = (
        f"{counts}, at lag 8\u201323. Points: every run (cross: it collapsed). Marker and bar: mean and 95 % t "
        "interval; a bar may leave the panel where runs are few. Grey: GRPO's means. Dotted: the warm start."
    )
    return style.finish(figure, "Held-out success by learning rate", caption, tables.runs)


def _sweep(tables: Tables, study: Study, arms: dict[str, dict[float, str]], along: str) -> tuple[Figure, np.ndarray]:
    """Rows of metrics, columns of algorithms; `arms` gives each algorithm's arm at each x."""
    figure, axes = style.panels(2, len(arms), 4.3, sharex=True, sharey="row")
    spacing = min(np.diff(sorted(next(iter(arms.values())))))
    for row, (column, name) in zip(axes, METRICS.items(), strict=True):
        for ax, (algorithm, sweep) in zip(row, arms.items(), strict=True):
            look, means = style.look_of(algorithm), {}
            for x, arm in sweep.items():
                values = final(tables.runs, arm, column)
                if values:
                    means[x] = draw_estimate(
                        ax, values, x, look, f"{arm} {column}", fallen=collapses(tables.runs, arm), width=0.2 * spacing,
                        beside=0.2 * spacing,
                    )  # fmt: skip
            if not means:
                style.empty(ax, f"no runs of {algorithm} in this sweep yet")
                continue
            ax.plot(
                list(means),
                list(means.values()),
                lw=1.0,
                ls=look.line,
                color=look.colour,
                zorder=2,
                label=f"{algorithm} means",
            )
            grpo = {x: list(final(tables.runs, arm, column).values()) for x, arm in arms["grpo"].items()}
            if algorithm != "grpo" and any(grpo.values()):
                points = [(x, np.mean(values)) for x, values in grpo.items() if values]
                ax.plot(*zip(*points, strict=True), lw=0.9, color="#9a9a9a", zorder=1, label="GRPO for reference")
            if column == "mean_at_k":
                warm_start(ax.axhline, tables.runs, list(sweep.values()))
        row[0].set_ylabel(name)
        if any(ax.lines for ax in row):
            inside(row[0], "y", 0, 100)
    for ax in axes[-1]:
        ax.set_xlabel(along)
    for ax, algorithm in zip(axes[0], arms, strict=True):
        ax.set_title(style.short_label(study, f"{algorithm}@ref"), color=style.look_of(algorithm).colour, weight="bold")
    return figure, axes
