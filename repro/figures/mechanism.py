"""What the algorithms do to the policy in training: the claimed mechanism, its bounds, its dependence on the lag."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from repro.figures import style
from repro.figures.comparisons import draw_estimate
from repro.figures.curves import SMALL_PANEL, collapses, draw_bundle, mark_x, seed_curves
from repro.study.asympo_async import CONDITIONS, CORE, SWEPT
from repro.study.definition import Study
from repro.study.tables import Tables


@dataclass(frozen=True)
class Quantity:
    """A row of panels: one column of the curves, or two (negatives, then positives, drawn paler)."""

    columns: tuple[str, ...]
    label: str
    scale: str = "linear"  # or log, or symlog (linear within `linear`)
    linear: float = 0.1
    reference: float | None = None
    floor: float = 1e-5  # on a logarithmic scale anything smaller, zero included, is drawn here


SURPRISAL = Quantity(("nll_neg", "nll_pos"), "surprisal S\nnats/token", "log")
RATIO = Quantity(("nll_ratio",), "R = S$_N$ / S$_P$", "log", reference=1.0)
IMBALANCE = Quantity(("imbalance",), "imbalance\nmean of A S", "symlog", 0.01, 0.0)
DRIFT = Quantity(("drift_neg", "drift_pos"), "drift S $-$ S$_b$\nnats/token", "symlog", 0.1, 0.0)
KL = Quantity(("kl_k3",), "KL to behaviour\nk3, nats/token", "log")
ENTROPY = Quantity(("entropy",), "entropy\nnats/token", "log")
NORMS = Quantity(("grad_norm_neg", "grad_norm_pos"), "gradient\nnorm", "log")
COSINE = Quantity(("grad_cosine",), "cosine of the\ntwo gradients", reference=0.0)
MECHANISM = (SURPRISAL, RATIO, IMBALANCE, DRIFT, KL, ENTROPY, NORMS, COSINE)
BOUNDARY = (
    Quantity(("frac_below_low",), "tokens of A < 0\nwith p < 0.02", "log"),
    Quantity(("frac_above_high",), "tokens of A > 0\nwith p > 0.98"),
    Quantity(("coef_mean",), "coefficient\nmean", "log", reference=1.0),
    Quantity(("coef_max",), "coefficient\nmaximum", "log", reference=1.0),
)
BY_LAG = (
    Quantity(("nll_neg",), "S$_N$\nnats/token", "log"),
    RATIO,
    Quantity(("drift_neg",), "drift of A < 0\nnats/token", "symlog", 0.1, 0.0),
    KL,
    Quantity(("imbalance",), "imbalance\nmean of A S", "symlog", 0.01, 0.0),
)
BUCKETS = ((8, 11), (12, 15), (16, 19), (20, 23))  # of the lag law 8..23 at `ref`
ORDERED = ("lag0", "lag4", "ref", "lag16", "lag32", "lag64", "queue")


@style.styled
def mechanism(tables: Tables, study: Study, condition: str = "ref", smoothing: int = 10) -> Figure:
    """Surprisals by sign, ratio, imbalance, drift, KL, entropy, gradients by sign: rows; core algorithms: columns."""
    title = "What happens to positives and negatives during training"
    caption = (
        "Solid: responses with A < 0 (N); dashed and pale: A > 0 (P). S: their surprisal under the current policy, "
        "weighted by |A|; S$_b$: under the policy that sampled them. Gradients by sign are measured every few "
        "updates."
    )
    return _matrix(tables, study, MECHANISM, condition, smoothing, title, caption)


@style.styled
def boundary(tables: Tables, study: Study, condition: str = "ref", smoothing: int = 10) -> Figure:
    """Tokens beyond p_low and p_high, and the objective's coefficient: rows; core algorithms: columns."""
    title = "Tokens near probability 0 and 1, and the coefficient they cause"
    caption = (
        "Coefficient: the response's weight C in the loss (1 / S for ASymPO, 1 for naive), over responses with A not 0."
    )
    return _matrix(tables, study, BOUNDARY, condition, smoothing, title, caption)


def _matrix(
    tables: Tables,
    study: Study,
    quantities: tuple[Quantity, ...],
    condition: str,
    smoothing: int,
    title: str,
    text: str,
) -> Figure:
    """Small multiples over updates: a row a quantity with a scale of its own, a column a core algorithm."""
    figure, axes = style.panels(len(quantities), len(CORE), 0.86 * len(quantities) + 1.05, sharex=True, sharey="row")
    for row, quantity in zip(axes, quantities, strict=True):
        for ax, algorithm in zip(row, CORE, strict=True):
            arm = f"{algorithm}@{condition}"
            if not _draw(ax, tables, arm, quantity, smoothing):
                known = (tables.curves["arm"] == arm).any()
                style.empty(ax, "not measured, or not defined here" if known else f"no runs of {arm}")
        _scale(row[0], quantity, [ax for ax in row if ax.lines])
        row[0].set_ylabel(quantity.label, size=7)
    for ax, algorithm in zip(axes[0], CORE, strict=True):
        look = style.look_of(algorithm)
        ax.set_title(style.short_label(study, f"{algorithm}@{condition}"), color=look.colour, weight="bold")
    axes[-1, len(CORE) // 2].set_xlabel("update")
    figure.align_ylabels(axes[:, 0])
    caption = (
        f"{style.seeds_text(tables.runs, [f'{a}@{condition}' for a in CORE])}, "
        f"{CONDITIONS[condition].split(',')[0]}. {text} Thin: every run, mean of the last {smoothing} updates; bold: "
        "their mean (geometric where the scale is logarithmic) with its pointwise 95 % t interval; cross: collapse."
    )
    return style.finish(figure, title, caption, tables.runs)


def _draw(ax: Axes, tables: Tables, arm: str, quantity: Quantity, smoothing: int) -> bool:
    """Whether there was anything to draw."""
    for k, column in enumerate(quantity.columns):
        if column not in tables.curves:
            continue
        bundle = seed_curves(tables.curves, arm, column, "update", smoothing)
        log = quantity.scale == "log"
        if log:
            bundle = {seed: replace(curve, y=np.maximum(curve.y, quantity.floor)) for seed, curve in bundle.items()}
        if bundle:
            marks = collapses(tables.runs, arm)
            draw_bundle(ax, bundle, style.look_of(arm), f"{arm} {column}", marks, log, light=k > 0, every=SMALL_PANEL)
    if ax.lines:
        if quantity.reference is not None:
            ax.axhline(quantity.reference, color="#9a9a9a", lw=0.7, zorder=1)
        mark_x(ax, "update")
    return bool(ax.lines)


def _scale(ax: Axes, quantity: Quantity, drawn: list[Axes]) -> None:
    """The scale of a row that shares its y axis, with a few plain ticks and limits that hold every run."""
    values = [np.asarray(line.get_ydata(), dtype=float) for other in drawn for line in other.lines]
    values = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.array([])
    if not len(values):
        ax.yaxis.set_major_locator(NullLocator())
        return
    low, high = float(values.min()), float(values.max())
    if quantity.scale == "linear":
        ax.margins(y=0.08)
        ax.locator_params(axis="y", nbins=3)
    elif quantity.scale == "log":
        ax.set_yscale("log")
        low, high = low / 1.15, high * 1.15
        few = np.log10(high / low) < 1.2
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=4))
        ax.set_ylim(low, high)
    else:
        ax.set_yscale("symlog", linthresh=quantity.linear)
        ax.set_ylim(min(1.3 * low, -0.1 * quantity.linear), max(1.3 * high, 0.1 * quantity.linear))
        decades = [quantity.linear * 10.0**k for k in range(0, 8)]
        ticks = [t for t in [-d for d in decades[::-1]] + [0.0] + decades if ax.get_ylim()[0] <= t <= ax.get_ylim()[1]]
        ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))


def _plain(value: float) -> str:
    return f"{value:g}".replace("e-0", "e-").replace("-", "\u2212")


# By lag -----------------------------------------------------------------------------------------------------


def _mean(value: pd.Series, keys: list[pd.Series], quantity: Quantity) -> pd.Series:
    """Mean by groups; geometric where the quantity's scale is logarithmic."""
    if quantity.scale != "log":
        return value.astype(float).groupby(keys).mean()
    return np.exp(np.log(value.astype(float).clip(lower=quantity.floor)).groupby(keys).mean())


def bucket_means(curves: pd.DataFrame, arm: str, quantity: Quantity) -> pd.DataFrame:
    """Mean of a quantity over the updates of each lag bucket (columns) of each run (rows, by seed) of an arm.

    The first updates are left out: with no weights so old yet, their lag is less than the law's, and training is at
    its start.
    """
    run = curves[(curves["arm"] == arm) & (curves["update"] > BUCKETS[-1][1])]
    bucket = pd.cut(run["lag"].astype(float), [BUCKETS[0][0] - 0.5, *(high + 0.5 for _, high in BUCKETS)], labels=False)
    return _mean(run[quantity.columns[0]], [run["seed"], bucket], quantity).unstack()


@style.styled
def mechanism_by_lag(tables: Tables, study: Study) -> Figure:
    """Key quantities against staleness: within runs at `ref` by each update's lag (left), and by condition (right)."""
    figure, axes = style.panels(len(BY_LAG), 2, 1.12 * len(BY_LAG) + 1.0, sharey="row", width_ratios=(4, 7))
    curves, shift = tables.curves, {algorithm: 0.17 * (k - 1.5) for k, algorithm in enumerate(SWEPT)}
    for row, quantity in zip(axes, BY_LAG, strict=True):
        column, log = quantity.columns[0], quantity.scale == "log"
        for algorithm in SWEPT:
            look = style.look_of(algorithm)
            if column not in curves or "lag" not in curves:
                continue
            points = []
            buckets = bucket_means(curves, f"{algorithm}@ref", quantity)
            for k in buckets.columns:
                values = buckets[k].dropna()
                label = f"{algorithm}@ref {column} lag {BUCKETS[int(k)][0]}"
                points += [(k + shift[algorithm], _point(row[0], values, k + shift[algorithm], look, label, log))]
            _join(row[0], points, look)
            points = []
            for k, condition in enumerate(ORDERED):
                arm = f"{algorithm}@{condition}"
                run = curves[curves["arm"] == arm]
                values = _mean(run[column], [run["seed"]], quantity).dropna()
                if len(values):
                    at = k + shift[algorithm]
                    points += [(at, _point(row[1], values, at, look, f"{arm} {column}", log))]
            _join(row[1], points[:-1] if points and points[-1][0] > 5.5 else points, look)
        for ax in row:
            if not ax.lines:
                style.empty(ax, f"no runs, or {column} not measured")
            elif quantity.reference is not None:
                ax.axhline(quantity.reference, color="#9a9a9a", lw=0.7, zorder=1)
        _scale(row[0], quantity, [ax for ax in row if ax.lines])
        row[0].set_ylabel(quantity.label, size=7)
    for k, (ax, ticks) in enumerate(zip(axes[-1], ([f"{a}\u2013{b}" for a, b in BUCKETS], ORDERED), strict=True)):
        for other in axes[:, k]:
            other.set_xticks(range(len(ticks)), ["8\u201323" if t == "ref" else t.removeprefix("lag") for t in ticks])
            other.set_xlim(-0.5, len(ticks) - 0.5)
            other.tick_params(labelbottom=other is ax)
        ax.set_xlabel(
            ("lag of the update (within runs at lag 8\u201323)", "lag of the arm, updates, or the real queue")[k]
        )
    figure.align_ylabels(axes[:, 0])
    _key(axes[0, 1], study)
    counts = style.seeds_text(tables.runs, [f"{a}@{c}" for a in SWEPT for c in ORDERED])
    caption = (
        f"{counts}. Points: the mean over a run's updates (geometric where the scale is logarithmic), every run; "
        f"markers: mean over runs with its 95 % t interval. Left: updates after the first {BUCKETS[-1][1]}, by the "
        f"lag drawn for each. What is below {_plain(KL.floor)} on a logarithmic scale, as the KL at lag 0, is drawn "
        "there."
    )
    return style.finish(figure, "The mechanism by staleness", caption, tables.runs)


def _point(ax: Axes, values: pd.Series, at: float, look: style.Look, label: str, log: bool) -> float:
    return draw_estimate(ax, dict(values.items()), at, look, label, log=log, size=3.2, width=0.1)


def _join(ax: Axes, points: list[tuple[float, float]], look: style.Look) -> None:
    if len(points) > 1:
        ax.plot(*zip(*points, strict=True), lw=0.7, ls=look.line, color=look.colour, alpha=0.6, zorder=2)


def _key(ax: Axes, study: Study) -> None:
    """Names in their colours, with marker, above a panel."""
    for k, algorithm in enumerate(SWEPT):
        look = style.look_of(algorithm)
        x = 0.02 + 0.25 * k
        ax.plot(x, 1.1, marker=look.marker, ms=4, color=look.colour, transform=ax.transAxes, clip_on=False)
        ax.text(
            x + 0.025, 1.1, style.short_label(study, f"{algorithm}@ref"), transform=ax.transAxes, va="center", size=8,
            color=look.colour, weight="bold",
        )  # fmt: skip
