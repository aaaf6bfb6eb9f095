"""Accuracy against what it cost: curves over the bill, what the bill is made of, phases, ablations and constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.figures import allocation, style
from repro.figures.comparisons import draw_interval, final
from repro.study import bill
from repro.study.definition import Study
from repro.study.statistics import paired_t_interval, t_interval
from repro.study.tables import Tables

REFERENCE, METHOD = "uniform", "sgpo"
LOOKS = {
    "sgpo": style.Look("#0b559f", "-", "v"),
    "uniform": style.Look("#222222", "-", "D"),
    "dapo": style.Look("#d55e00", style.DASHED, "o"),
    "greso": style.Look("#c98a00", style.DASHDOT, "s"),
    "knapsack": style.Look("#882255", style.DOTTED, "h"),
    "filtered8": style.Look("#009371", style.DASHED, "P"),
    "stop": style.Look("#66738c", style.DOTTED, "X"),
}
PLAIN = {"baseline": "#7a4b2a", "without": "#117733", "matched": "#66738c", "constants": "#332288", "sgpo": "#0b559f"}
CURVES = ("uniform", "dapo", "filtered8", "stop", "sgpo")  # of the cost figure, METHOD last and on top
HEADS = {
    "baseline": "other methods",
    "matched": "uniform at sGPO's cost",
    "without": "sGPO without a part",
    "constants": "other constants",
}
PARTS = {  # of the itemised bill: label, colour
    "profiling": ("profiling", "#c0500a"),
    "wasted": ("sampling groups without signal", "#c9c9c9"),
    "informative": ("sampling groups with signal", "#7fb2dd"),
    "training": ("training", "#0b559f"),
}
GRID = 120


def look(arm: str, study: Study) -> style.Look:
    """Colour by what the arm is; the arms of the curves have their own."""
    return LOOKS.get(arm, style.Look(PLAIN.get(study.arms[arm].condition, style.MUTED)))


# Accuracy over the bill -----------------------------------------------------------------------------------------------


@style.styled
def cost(tables: Tables, study: Study) -> Figure:
    """Held-out success over the cumulative bill in two conventions; sGPO starts at the price of its profile."""
    success = bill.accuracy(tables)
    figure, axes = style.panels(1, 2, 3.3, sharey=True)
    arms = [arm for arm in CURVES if (tables.runs["arm"] == arm).any()]
    for ax, convention in zip(axes[0], ("paper", "itemised"), strict=True):
        points = pd.concat([success.rename("y"), bill.cumulative(tables, convention).rename("x")], axis=1).dropna()
        ends = []
        for arm in arms:
            runs = [group for _, group in points.loc[[arm]].groupby(level="seed")]
            ends.append(_seeds_and_mean(ax, runs, look(arm, study), arm))
        if not arms:
            style.empty(ax, "no runs yet")
            continue
        ax.set_xlabel(f"cumulative bill, {bill.CONVENTIONS[convention].removeprefix('FLOPs, ')}, TFLOP")
        ax.set_xlim(left=0)
        ax.margins(y=0.04)
        if convention == "itemised":
            named = zip(ends, arms, strict=True)
            style.label_ends(ax, [(y, SHORT.get(arm, arm), look(arm, study).colour) for y, arm in named])
    axes[0, 0].set_ylabel("held-out success, %")
    axes[0, 0].set_title("at the paper's prices (2P a profiled token, 12P a trained one)", weight="bold")
    axes[0, 1].set_title("FLOPs counted, updates where there is a gradient", weight="bold")
    caption = (
        f"{style.seeds_text(tables.runs, arms)}. Thin: every run; thick: their mean; marker: mean at the end with its "
        "95 % t interval. The last evaluation is the full one, those before it are small and noisy. sGPO's curve "
        "starts at the price of its profile."
    )
    return style.finish(figure, "Held-out success against cost", caption, tables.runs)


SHORT = {
    "uniform": "uniform G = 8", "dapo": "DAPO dyn.", "filtered8": "filter only", "stop": "stopped", "sgpo": "sGPO",
    "greso": "GRESO", "knapsack": "Knapsack",
}  # fmt: skip


def _seeds_and_mean(ax: Axes, runs: Sequence[pd.DataFrame], look: style.Look, label: str) -> float:
    """Every run and, up to the mean end of the bill, the mean of the runs; returns the mean final success in percent.

    Runs end at different bills, so the mean is taken at equal shares of each run's bill: its x is the mean bill there.
    """
    shares, xs, ys = np.linspace(0, 1, GRID), [], []
    for run in runs:
        x, y = run["x"].to_numpy() / 1e12, 100 * run["y"].to_numpy()
        ax.plot(x, y, color=look.colour, lw=0.5, alpha=0.28, zorder=2, label=f"{label} seeds")
        at = x[0] + shares * (x[-1] - x[0])
        xs.append(at)
        ys.append(np.interp(at, x, y))
    x, y = np.mean(xs, axis=0), np.mean(ys, axis=0)
    ax.plot(x, y, color=look.colour, lw=1.7, ls=look.line, zorder=4, label=f"{label} mean")
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
    arms = [arm for arm in study.arms if (runs["arm"] == arm).any()]
    figure, axes = style.panels(1, 2, 0.19 * max(len(arms), 4) + 1.35, sharey=True)
    left, right = axes[0]
    for at, arm in enumerate(arms):
        rows = runs[runs["arm"] == arm]
        mean, begin = parts(rows).mean() / 1e12, 0.0
        for part, (label, colour) in PARTS.items():
            left.barh(at, mean[part], left=begin, height=0.66, color=colour, label=label if at == 0 else None)
            begin += mean[part]
        _total(left, begin, at)
        price = 1e-12 * rows["parameters"].astype(float)
        begin = 0.0
        informative = 12 * price * rows["informative_tokens"]
        priced = {
            "profiling": 2 * price * rows["profile_generated_tokens"],
            "wasted": 12 * price * rows["generated_tokens"] - informative,
            "training": informative,
        }
        for part, values in priced.items():
            right.barh(at, values.mean(), left=begin, height=0.66, color=PARTS[part][1])
            begin += values.mean()
        _total(right, begin, at)
    if not arms:
        style.empty(left, "no runs yet")
    left.set_yticks(range(len(arms)), [style.short_label(study, arm) for arm in arms])
    left.set_ylim(len(arms) - 0.4, -0.6)
    for tick, arm in zip(left.get_yticklabels(), arms, strict=False):
        tick.set_color(look(arm, study).colour)
    for ax, title in ((left, "FLOPs counted"), (right, "at the paper's prices")):
        ax.set_title(title, weight="bold")
        ax.set_xlabel("TFLOP a run")
        ax.margins(x=0.12)
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
    if arms:
        left.legend(loc="lower right", fontsize=6.5, frameon=False, handlelength=1.0)
    caption = (
        f"{style.seeds_text(runs, arms)}; means. Left: sampling of groups whose rewards were all equal is grey, that "
        "of the others light blue, forward and backward passes of what had a gradient dark. Right: 2P a profiled "
        "token, 12P a generated one; grey was spent on groups without signal, which the paper's prices charge in full."
    )
    return style.finish(figure, "Where each FLOP went", caption, runs)


def _total(ax: Axes, end: float, at: float) -> None:
    ax.annotate(f"{end:.1f}" if end < 99.5 else f"{end:.0f}", (end, at), (3, 0), textcoords="offset points", size=6.3,
                va="center", color=style.MUTED)  # fmt: skip


# Final success beside the bill ----------------------------------------------------------------------------------------


@style.styled
def ablation(tables: Tables, study: Study) -> Figure:
    """Final success of every arm minus uniform groups', paired, beside its bill relative to theirs."""
    rows = [METHOD]
    heads: dict[int, str] = {}
    for condition, head in HEADS.items():
        arms = [
            a.name
            for a in study.arms.values()
            if a.condition == condition and a.name != REFERENCE and (tables.runs["arm"] == a.name).any()
        ]
        if arms:
            heads[len(rows)] = head
            rows += ["", *arms]
    figure, axes = style.panels(1, 2, 0.2 * len(rows) + 1.3, sharey=True, width_ratios=(1.6, 1))
    left, right = axes[0]
    reference = final(tables.runs, REFERENCE, "mean_at_k")
    base = _bill_by_seed(tables, REFERENCE)
    for at, arm in enumerate(rows):
        if not arm:
            continue
        for ax in (left, right):
            ax.axhline(at, color="#ececec", lw=0.5, zorder=0)
        values, drawn = final(tables.runs, arm, "mean_at_k"), look(arm, study)
        shared = sorted(values.keys() & reference.keys())
        if not shared:
            style_text = "no seed shared with uniform yet"
            left.text(0.5, at, style_text, transform=left.get_yaxis_transform(), ha="center", va="center", size=6)
            continue
        gaps = [values[seed] - reference[seed] for seed in shared]
        left.plot(gaps, _fan(at, len(gaps)), ls="", marker="o", ms=1.9, mew=0, color=drawn.colour, alpha=0.6)
        interval = paired_t_interval([values[s] for s in shared], [reference[s] for s in shared])
        draw_interval(left, interval, at - 0.12, drawn, arm, horizontal=True, size=3.8)
        own = _bill_by_seed(tables, arm)
        ratios = [own[seed] / base[seed] for seed in shared]
        right.plot(ratios, _fan(at, len(ratios)), ls="", marker="o", ms=1.9, mew=0, color=drawn.colour, alpha=0.6)
        right.plot(np.exp(np.mean(np.log(ratios))), at - 0.12, marker=drawn.marker, ms=3.8, color=drawn.colour)
    points = [line.get_xdata() for line in left.lines if line.get_marker() == "o" and line.get_ls() == "None"]
    if points:  # the interval of two seeds can be twenty times as wide as their points
        together = np.concatenate([[-2.0, 2.0], *points])
        pad = 0.15 * np.ptp(together)
        left.set_xlim(together.min() - pad, together.max() + pad)
        right.set_xlim(left=0)
    left.axvline(0, color="#9a9a9a", lw=0.7, zorder=1)
    right.axvline(1, color="#9a9a9a", lw=0.7, zorder=1)
    left.set_yticks(range(len(rows)), [style.short_label(study, arm) if arm else "" for arm in rows])
    left.set_ylim(len(rows) - 0.4, -0.7)
    for tick, arm in zip(left.get_yticklabels(), rows, strict=True):
        tick.set_color(look(arm, study).colour if arm else style.INK)
    for at, head in heads.items():
        left.annotate(head, (0, at), (-4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha="right", va="center", weight="bold", size=7.5, annotation_clip=False)  # fmt: skip
    for ax in (left, right):
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
    left.set_xlabel("final held-out success minus uniform G = 8, points")
    right.set_xlabel("bill over that of uniform G = 8 (FLOPs counted)")
    caption = (
        f"{style.seeds_text(tables.runs, [arm for arm in rows if arm])}. Points: every pair of runs that share a seed. "
        "Left: marker and bar are mean and 95 % t interval of the paired differences. Right: geometric means; "
        "profiling included."
    )
    return style.finish(figure, "What each part is worth, and what it costs", caption, tables.runs)


def _fan(at: float, count: int) -> np.ndarray:
    """Places of the points of a row, just below its interval, in the order of the seeds."""
    return at + 0.22 + 0.24 * (np.arange(count) / max(count - 1, 1) - 0.5) * (count > 1)


def _bill_by_seed(tables: Tables, arm: str) -> dict[int, float]:
    rows = tables.runs[tables.runs["arm"] == arm].set_index("seed")
    return {int(seed): float(value) for seed, value in bill.total(rows, "itemised").items()}


# Over training --------------------------------------------------------------------------------------------------------


@style.styled
def phases(tables: Tables, study: Study) -> Figure:
    """sGPO's phases: training reward, tokens a query and share of groups with signal, update by update."""
    rows = tables.curves[tables.curves["arm"] == METHOD]
    panels = {"reward": "training reward", "tokens": "tokens a query", "mixed": "groups with signal, %"}
    figure, axes = style.panels(1, 3, 2.5)
    if rows.empty:
        for ax in axes[0]:
            style.empty(ax, "no runs of sGPO yet")
        return style.finish(figure, "sGPO's phases", "No runs yet.", tables.runs)
    colour = {2: "#dcebf7", 4: "#b5d4ec", 8: "#84b3dc"}
    rows = rows.assign(
        tokens=rows["generated_tokens"] / rows["groups"],
        size=np.rint(rows["rollouts"] / rows["groups"]).astype(int),
        mixed=100 * rows["mixed"],
    ).sort_values(["seed", "update"])
    # Phases have other lengths in every run: each is drawn over the mean length of its kind.
    phase = rows.groupby("seed")["size"].transform(lambda size: (size != size.shift()).cumsum())
    rows = rows.assign(phase=phase)
    known = rows.groupby("phase").agg(size=("size", "first"), runs=("seed", "nunique"))
    length = rows.groupby(["phase", "seed"]).size().groupby("phase").mean()
    start = length.cumsum() - length
    for ax, (column, name) in zip(axes[0], panels.items(), strict=True):
        for number, row in known.iterrows():
            a, b = start[number], start[number] + length[number]
            ax.axvspan(a, b, color=colour.get(int(row["size"]), "#eeeeee"), lw=0, zorder=0)
            grid, curves = np.linspace(0, 1, 40), []
            for _, run in rows[rows["phase"] == number].groupby("seed"):
                values = run[column].rolling(5, min_periods=1, center=True).mean().to_numpy(dtype=float)
                at = (np.arange(len(values)) + 0.5) / len(values)
                ax.plot(a + at * (b - a), values, color="#0b559f", lw=0.4, alpha=0.3)
                curves.append(np.interp(grid, at, values))
            ax.plot(a + grid * (b - a), np.mean(curves, axis=0), color="#0b559f", lw=1.6)
            if column == "reward":
                ax.text((a + b) / 2, 1.0, f"G = {int(row['size'])}", transform=ax.get_xaxis_transform(), ha="center",
                        va="bottom", size=6.3, color=style.MUTED)  # fmt: skip
        ax.set_xlim(0, float(length.sum()))
        ax.set_ylabel(name)
        ax.set_xlabel("update (phases at their mean length)")
    axes[0, 1].set_ylim(bottom=0)
    caption = (
        f"{style.seeds_text(tables.runs, [METHOD])}. Two sweeps of G = 2, 4, 8, shaded darker with G. Thin: every run, "
        "running mean over 5 updates; thick: their mean. Runs have phases of different lengths; each phase is drawn "
        "over its mean length."
    )
    return style.finish(
        figure, "sGPO's phases: easy queries first", caption, tables.runs
    )


@style.styled
def constants(tables: Tables, study: Study) -> Figure:
    """The constants that the paper fixes: N, t and alpha; final success minus sGPO's own."""
    sweeps: Mapping[str, Mapping[str, str]] = {
        "draws a query, N": {"n4": "4", METHOD: "8", "n16": "16", "n32": "32", "oracle": "64*"},
        "trivial above t": {"t50": "0.5", METHOD: "0.75", "t100": "1"},
        "unsolved kept, α": {"alpha0": "0", METHOD: "10 %", "alpha25": "25 %", "alpha30": "30 %"},
    }
    figure, axes = style.panels(1, 3, 2.6, sharey=True, width_ratios=(5, 3, 4))
    own, drawn = final(tables.runs, METHOD, "mean_at_k"), []
    for ax, (name, arms) in zip(axes[0], sweeps.items(), strict=True):
        ax.axhline(0, color="#9a9a9a", lw=0.7, zorder=1)
        for at, arm in enumerate(arms):
            values = final(tables.runs, arm, "mean_at_k")
            shared = sorted(values.keys() & own.keys())
            if arm == METHOD:
                ax.plot(at, 0, marker="v", ms=5, color=LOOKS[METHOD].colour, zorder=5)
            elif shared:
                gaps = [values[seed] - own[seed] for seed in shared]
                drawn += gaps
                ax.plot(_fan(at, len(gaps)) - 0.02, gaps, ls="", marker="o", ms=1.9, mew=0, color="#332288", alpha=0.6)
                interval = paired_t_interval([values[s] for s in shared], [own[s] for s in shared])
                draw_interval(ax, interval, at - 0.1, style.Look("#332288"), arm)
            else:
                ax.text(at, 0.5, "no runs", transform=ax.get_xaxis_transform(), ha="center", size=6, color=style.MUTED)
        ax.set_xticks(range(len(arms)), list(arms.values()))
        ax.set_xlim(-0.5, len(arms) - 0.5)
        ax.set_xlabel(name)
    if drawn:
        together = np.array([-2.0, 2.0, *drawn])
        pad = 0.2 * np.ptp(together)
        axes[0, 0].set_ylim(together.min() - pad, together.max() + pad)
    axes[0, 0].set_ylabel("final success minus sGPO's, points")
    caption = (
        f"{style.seeds_text(tables.runs, [a for arms in sweeps.values() for a in arms if a != METHOD])}, against sGPO "
        "with its published constants (triangle). Points: every pair; bars: 95 % t interval of the paired difference. "
        "*: 64 draws, not charged, a stand-in for the true success rates."
    )
    return style.finish(figure, "Does it matter how sGPO's constants are chosen?", caption, tables.runs)


# Profiles -------------------------------------------------------------------------------------------------------------


def difficulty_shift(tables: Tables, study: Study) -> Figure:
    """The first and the last profile of the runs that take two."""
    profiles = tables.profiles[(tables.profiles["arm"] == "reprofiled") & (tables.profiles["samples"] == 8)]
    if profiles.empty:
        figure, axes = style.panels(1, 1, 2.0)
        style.empty(axes[0, 0], "no runs that profile twice yet")
        return style.finish(figure, "How difficult the queries are for the policy", "No runs yet.", tables.runs)
    first, last = [], []
    for _, run in profiles.groupby("seed"):
        counts = {update: rows.set_index("solved")["queries"] for update, rows in run.groupby("update")}
        for kept, update in ((first, min(counts)), (last, max(counts))):
            kept.append(np.repeat(counts[update].index.to_numpy(), counts[update].to_numpy()))
    return allocation.difficulty_histogram(np.array(first), np.array(last))


def signal_map(tables: Tables, study: Study) -> Figure:
    """What a group size buys at a success rate, with the sizes of the paper's table."""
    return allocation.signal_map([0, 8, 4, 2, 2, 2, 2, 0, 0])


SGPO_FIGURES = {
    "cost": cost,
    "bill": bills,
    "ablation": ablation,
    "phases": phases,
    "constants": constants,
    "difficulty_shift": difficulty_shift,
    "signal_map": signal_map,
}
