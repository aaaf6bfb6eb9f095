"""Accuracy against what it cost: curves over the bill, what the bill is made of, and what each part is worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from repro.figures import style
from repro.figures.comparisons import draw_interval, final
from repro.study import bill
from repro.study.definition import Study
from repro.study.statistics import paired_t_interval, t_interval
from repro.study.tables import Tables

REFERENCE, METHOD = "uniform", "sgpo"
# sGPO has the only solid line: lines and markers tell arms apart in grey.
LOOKS = {
    "sgpo": style.Look("#0b559f", "-", "v"),
    "uniform": style.Look("#222222", style.DASHED, "D"),
    "dapo": style.Look("#d55e00", style.DASHDOT, "o"),
    "greso": style.Look("#c98a00", (0, (2, 1)), "s"),
    "knapsack": style.Look("#882255", style.DOTTED, "h"),
    "ada": style.Look("#7a4b2a", (0, (7, 1.2)), "^"),
    "filtered8": style.Look("#009371", (0, (7, 1.2, 1, 1.2, 1, 1.2)), "P"),
    "stop": style.Look("#66738c", style.DOTTED, "X"),
}
PLAIN = {
    "baseline": "#7a4b2a",
    "without": "#117733",
    "matched": "#66738c",
    "constants": "#332288",
    "sgpo": "#0b559f",
    "longer": "#7a4b2a",
}
CURVES = {  # rows of the cost figure, METHOD last and on top
    "against uniform groups and controls": ("uniform", "filtered8", "stop", "sgpo"),
    "against other methods": ("uniform", "dapo", "greso", "knapsack", "ada", "sgpo"),
}
HEADS = {
    "baseline": "other methods",
    "matched": "uniform at sGPO's cost",
    "without": "sGPO without a part",
    "constants": "sGPO, other constants",
    "longer": "added: longer, other rate",
}
PARTS = {  # of the itemised bill: label, colour
    "profiling": ("profiling", "#c0500a"),
    "wasted": ("sampling groups without signal", "#d9d9d9"),
    "informative": ("sampling groups with signal", "#7fb2dd"),
    "training": ("training", "#0b559f"),
}
SHORT = {
    "uniform": "uniform G = 8", "dapo": "DAPO", "filtered8": "filter, G = 8", "stop": "stopped", "sgpo": "sGPO",
    "greso": "GRESO", "knapsack": "Knapsack", "ada": "R.-Ada",
}  # fmt: skip
NAMES = {  # where a label is longer than a row's head allows
    "uniform": "uniform G = 8", "uniform16": "uniform G = 16", "dropped": "DAPO without refill",
    "stop": "stopped early", "subset": "random subset", "reprofiled": "profiled twice",
    "uniform_4": "uniform, four passes",
}  # fmt: skip
UNITS = {1e18: "EFLOP", 1e15: "PFLOP", 1e12: "TFLOP", 1e9: "GFLOP", 1e6: "MFLOP"}
GRID = 120


def look(arm: str, study: Study) -> style.Look:
    """Colour by what the arm is; the arms of the curves have their own."""
    return LOOKS.get(arm, style.Look(PLAIN.get(study.arms[arm].condition, style.MUTED)))


def unit(largest: float) -> tuple[float, str]:
    """FLOPs in the unit that suits a largest value, and its name."""
    return next(((scale, name) for scale, name in UNITS.items() if largest >= scale), (1.0, "FLOP"))


def present(tables: Tables, arms: Iterable[str]) -> list[str]:
    """Those of the arms that have runs."""
    return [arm for arm in arms if (tables.runs["arm"] == arm).any()]


# Accuracy over the bill -----------------------------------------------------------------------------------------------


@style.styled
def cost(tables: Tables, study: Study) -> Figure:
    """Held-out success over the cumulative bill in two conventions; sGPO starts at the price of its profile."""
    rows = {head: present(tables, arms) for head, arms in CURVES.items()}
    rows = {head: arms for head, arms in rows.items() if set(arms) - {REFERENCE, METHOD}} or dict([*rows.items()][:1])
    figure, axes = style.panels(len(rows), 2, 2.45 * len(rows) + 0.9, sharey=True, sharex="col")
    conventions = ("paper", "itemised")
    points = {
        convention: pd.concat(
            [bill.accuracy(tables).rename("y"), bill.cumulative(tables, convention).rename("x")], axis=1
        ).dropna()
        for convention in conventions
    }
    scale, name = unit(max((frame["x"].max() for frame in points.values() if len(frame)), default=0.0))
    extent, names = [], {}
    for line, arms in zip(axes, rows.values(), strict=True):
        for ax, convention in zip(line, conventions, strict=True):
            ends = []
            for arm in arms:
                runs = [group for _, group in points[convention].loc[[arm]].groupby(level="seed")]
                ends.append(_seeds_and_mean(ax, runs, scale, look(arm, study), arm))
            extent += [y for drawn in ax.lines if "interval" not in str(drawn.get_label()) for y in drawn.get_ydata()]
            if not arms:
                style.empty(ax, "no runs yet")
            names[ax] = [(y, SHORT[arm], look(arm, study).colour) for y, arm in zip(ends, arms, strict=True)]
    for ax, head in zip(axes[:, 0], rows, strict=True):
        ax.set_ylabel("held-out success, %")
        over = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        ax.text(0.02, 0.99, head, transform=ax.transAxes, va="top", size=7, color=style.MUTED, bbox=over, zorder=9)
    if extent:  # the interval of two runs can be twenty times as wide as the runs are apart
        pad = 0.06 * max(np.ptp(extent), 1.0)
        axes[0, 0].set_ylim(min(extent) - pad, max(extent) + 2 * pad)
    for ax, title in zip(axes[0], ("at the paper's prices", "FLOPs counted"), strict=True):
        ax.set_title(title, weight="bold")
        ax.set_xlim(left=0)
    for ax in axes[-1]:
        ax.set_xlabel(f"cumulative bill, {name}")
    for ax in axes[:, 1]:
        style.label_ends(ax, names[ax], gap=0.085)
    caption = (
        f"{style.seeds_text(tables.runs, {arm for arms in rows.values() for arm in arms})}. Left: 2P a profiled token, "
        "12P a token sampled in training. Right: forward and backward passes counted, updates only where there is a "
        "gradient. Thin: every run; thick: their mean; marker: mean at the end with its 95 % t interval. The last "
        "evaluation is the full one, those before it are small and noisy. Curves start at the price of the profile."
    )
    return style.finish(figure, "Held-out success against cost", caption, tables.runs)


def _seeds_and_mean(ax: Axes, runs: Sequence[pd.DataFrame], scale: float, look: style.Look, label: str) -> float:
    """Every run and, up to the mean end of the bill, the mean of the runs; returns the mean final success in percent.

    Runs end at different bills, so the mean is taken at equal shares of each run's bill: its x is the mean bill there.
    """
    shares, xs, ys = np.linspace(0, 1, GRID), [], []
    for run in runs:
        x, y = run["x"].to_numpy() / scale, 100 * run["y"].to_numpy()
        ax.plot(x, y, color=look.colour, lw=0.5, alpha=0.28, zorder=2, label=f"{label} seeds")
        at = x[0] + shares * (x[-1] - x[0])
        xs.append(at)
        ys.append(np.interp(at, x, y))
    x, y = np.mean(xs, axis=0), np.mean(ys, axis=0)
    ax.plot(x, y, color=look.colour, lw=1.6, ls=look.line, zorder=4, label=f"{label} mean")
    draw_interval(ax, t_interval([values[-1] for values in ys]), x[-1], look, label)
    return float(y[-1])


# What the bill is made of ---------------------------------------------------------------------------------------------


def parts(runs: pd.DataFrame) -> pd.DataFrame:
    """The itemised bill of each run in FLOPs: a column a part; they add up to `bill.total`.

    The tables hold the sum of sampling and training. It is divided as if every response token brought the same share
    of its prompt: training a token costs three times its sampling, so sampling is the sum / (1 + 3 share trained).
    """
    tokens = runs["generated_tokens"].astype(float)
    sampling = runs["flops_needed"] / (1 + 3 * runs["trained_tokens"] / tokens)
    informative = runs["informative_tokens"] / tokens
    columns = {
        "profiling": runs["profile_flops"],
        "wasted": sampling * (1 - informative),
        "informative": sampling * informative,
        "training": runs["flops_needed"] - sampling,
    }
    return pd.DataFrame(columns).astype(float)


@style.styled
def bills(tables: Tables, study: Study) -> Figure:
    """Where each FLOP went, arm by arm: itemised on the left, at the paper's prices on the right."""
    runs = tables.runs
    rows, heads = _rows(tables, study, (REFERENCE, METHOD))
    largest = max((bill.total(runs, c).max() for c in ("paper", "itemised") if len(runs)), default=0.0)
    scale, name = unit(largest)
    figure, axes = style.panels(1, 2, 0.185 * max(len(rows), 4) + 1.5, sharey=True)
    left, right = axes[0]
    for at, arm in enumerate(rows):
        if arm:
            chosen = runs[runs["arm"] == arm]
            _stack(left, at, parts(chosen).mean() / scale)
            _stack(right, at, priced_parts(chosen).mean() / scale)
    _name_rows(left, rows, heads, study)
    for ax, title in ((left, "FLOPs counted"), (right, "at the paper's prices")):
        ax.set_title(title, weight="bold", pad=19)
        ax.set_xlabel(f"{name} a run, mean")
        ax.margins(x=0.12)
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
    if not rows:
        style.empty(left, "no runs yet")
    keys = [Patch(facecolor=colour, label=label) for label, colour in PARTS.values()]
    legend = left.legend(handles=keys, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=6.8, frameon=False,
                         borderaxespad=0.1, handlelength=1.0, columnspacing=1.4)  # fmt: skip
    legend.set_in_layout(False)
    caption = (
        f"{style.seeds_text(runs, rows)}; means. Left: a group has signal if its rewards are not all equal; training "
        "is the forward and backward passes of what had a gradient. Right: 2P a profiled token, 12P a token sampled in "
        "training, whether its group had a signal (dark) or not (grey)."
    )
    return style.finish(figure, "Where each FLOP went", caption, runs)


def priced_parts(runs: pd.DataFrame) -> pd.DataFrame:
    """The bill of each run at the paper's prices, in FLOPs; the columns add up to `bill.total`."""
    price = runs["parameters"].astype(float)
    columns = {
        "profiling": 2 * price * runs["profile_generated_tokens"],
        "wasted": 12 * price * (runs["generated_tokens"] - runs["informative_tokens"]),
        "training": 12 * price * runs["informative_tokens"],
    }
    return pd.DataFrame(columns).astype(float)


def _stack(ax: Axes, at: float, values: pd.Series) -> None:
    """A row's bar, part by part, and its sum."""
    begin = 0.0
    for part, value in values.items():
        ax.barh(at, value, left=begin, height=0.68, color=PARTS[part][1], edgecolor="white", linewidth=0.3)
        begin += value
    text = f"{begin:.2f}" if begin < 10 else f"{begin:.1f}" if begin < 100 else f"{begin:.0f}"
    ax.annotate(text, (begin, at), (3, 0), textcoords="offset points", size=6.3, va="center", color=style.MUTED)


def _rows(tables: Tables, study: Study, first: Sequence[str]) -> tuple[list[str], dict[int, str]]:
    """Arms that have runs from top to bottom, those of `first` before all, "" for a head; and the heads by row."""
    rows, heads = present(tables, first), {}
    for condition, head in HEADS.items():
        members = [a.name for a in study.arms.values() if a.condition == condition and a.name != REFERENCE]
        if arms := present(tables, members):
            heads[len(rows)] = head
            rows += ["", *arms]
    return rows, heads


def _name_rows(ax: Axes, rows: Sequence[str], heads: Mapping[int, str], study: Study) -> None:
    names = [NAMES.get(arm) or style.short_label(study, arm) if arm else "" for arm in rows]
    ax.set_yticks(range(len(rows)), [name.removeprefix("sGPO, ") for name in names])
    ax.set_ylim(len(rows) - 0.4, -0.7)
    for tick, arm in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_color(look(arm, study).colour if arm else style.INK)
    for at, head in heads.items():
        ax.annotate(head, (0, at), (-4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
                    va="center", weight="bold", size=7.5, annotation_clip=False)  # fmt: skip


# Final success beside the bill ----------------------------------------------------------------------------------------


@style.styled
def ablation(tables: Tables, study: Study) -> Figure:
    """Final success of every arm minus uniform groups', paired, beside its bill relative to theirs."""
    rows, heads = _rows(tables, study, (METHOD,))
    figure, axes = style.panels(1, 2, 0.2 * max(len(rows), 4) + 1.3, sharey=True, width_ratios=(1.6, 1))
    left, right = axes[0]
    reference = final(tables.runs, REFERENCE, "mean_at_k")
    base, intervals, points = _bill_by_seed(tables, REFERENCE), [], [-2.0, 2.0]
    for at, arm in enumerate(rows):
        if not arm:
            continue
        for ax in (left, right):
            ax.axhline(at, color="#ececec", lw=0.5, zorder=0)
        values, drawn = final(tables.runs, arm, "mean_at_k"), look(arm, study)
        shared = sorted(values.keys() & reference.keys())
        if not shared:
            left.text(0.5, at, "no seed shared with uniform yet", transform=left.get_yaxis_transform(), ha="center",
                      va="center", size=6, color=style.MUTED)  # fmt: skip
            continue
        gaps = [values[seed] - reference[seed] for seed in shared]
        points += gaps
        seeds = {"ls": "", "marker": "o", "ms": 1.9, "mew": 0, "color": drawn.colour, "alpha": 0.6}
        left.plot(gaps, fan(at, len(gaps)), label=f"{arm} seeds", **seeds)
        intervals.append((paired_t_interval([values[s] for s in shared], [reference[s] for s in shared]), at, drawn))
        draw_interval(left, intervals[-1][0], at - 0.12, drawn, arm, horizontal=True, size=3.8)
        own = _bill_by_seed(tables, arm)
        ratios = [own[seed] / base[seed] for seed in shared]
        right.plot(ratios, fan(at, len(ratios)), label=f"{arm} bills", **seeds)
        right.plot(np.exp(np.mean(np.log(ratios))), at - 0.12, marker=drawn.marker, ms=3.8, color=drawn.colour,
                   label=f"{arm} bill")  # fmt: skip
    pad = 0.12 * np.ptp(points)  # points decide: the interval of two seeds can be twenty times as wide
    ends = (min(points) - pad, max(points) + pad)
    left.set_xlim(*ends)
    right.set_xlim(left=0)
    for interval, at, drawn in intervals:
        for limit, marker, beyond in zip(ends, "<>", (interval.low < ends[0], interval.high > ends[1]), strict=True):
            if beyond and interval.n > 1:
                left.plot(limit, at - 0.12, marker=marker, ms=3.5, color=drawn.colour, clip_on=False, zorder=6)
    left.axvline(0, color="#9a9a9a", lw=0.7, zorder=1)
    right.axvline(1, color="#9a9a9a", lw=0.7, zorder=1)
    _name_rows(left, rows, heads, study)
    for ax, title, name in (
        (left, "final held-out success", "minus uniform G = 8, points"),
        (right, "bill, FLOPs counted", "over uniform G = 8"),
    ):
        ax.set_title(title, weight="bold")
        ax.set_xlabel(name)
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
    if not rows:
        style.empty(left, "no runs yet")
    caption = (
        f"{style.seeds_text(tables.runs, [arm for arm in rows if arm])}. Points: every pair of runs that share a seed. "
        "Left: marker and bar are mean and 95 % t interval of the paired differences; arrows: beyond the panel. Right: "
        "geometric means, profiling included."
    )
    return style.finish(figure, "What each part is worth, and what it costs", caption, tables.runs)


def fan(at: float, count: int) -> np.ndarray:
    """Places of the points of a row, just below its interval, in the order of the seeds."""
    return at + 0.22 + 0.24 * (np.arange(count) / max(count - 1, 1) - 0.5) * (count > 1)


def _bill_by_seed(tables: Tables, arm: str) -> dict[int, float]:
    rows = tables.runs[tables.runs["arm"] == arm].set_index("seed")
    return {int(seed): float(value) for seed, value in bill.total(rows, "itemised").items()}
