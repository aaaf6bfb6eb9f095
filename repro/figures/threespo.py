"""3SPO against whole episodes: success, distinct states and cost along training, and which piece breaks a reading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter

from repro.figures import style
from repro.figures.comparisons import draw_estimate, draw_interval, final, inside
from repro.figures.curves import SeedCurve, draw_bundle
from repro.study import progress, threespo
from repro.study.definition import Study
from repro.study.evidence import Evidence, geometric_mean
from repro.study.statistics import paired_t_interval
from repro.study.tables import STATES, Tables
from repro.study.threespo_rules import AT, THRESHOLDS, point, reached

# Ink for the baseline, warm for the paper as it stands, blue and green for what was changed.
LOOKS = {
    "grpo": style.Look("#222222", "-", "D"),
    "gigpo": style.Look("#66738c", style.DASHED, "s"),
    "literal": style.Look("#d55e00", "-", "o"),
    "table": style.Look("#0b559f", "-", "v"),
    "continuation": style.Look("#009371", style.DASHDOT, "P"),
}
SHORT = {"grpo": "GRPO", "gigpo": "GiGPO", "literal": "literal", "table": "table", "continuation": "continuation"}
KINDS = dict(zip(STATES, ("observation text", "goal and text", "world state with goal"), strict=True))
LISTS = {"valid_seen": "in distribution", "valid_unseen": "out of distribution", "heldout": "held out"}
COSTS = ("generations", "generated_tokens", "flops_needed", "seconds")


def look(arm: str) -> style.Look:
    """That of the core arm that an arm is a change of."""
    return LOOKS[threespo.reading_of(arm)]


def present(tables: Tables, arms: Sequence[str]) -> list[str]:
    """Those of the arms that have runs."""
    return [arm for arm in arms if (tables.runs["arm"] == arm).any()]


def measures(tables: Tables) -> list[tuple[str, str, str]]:
    """(list, metric, words) of what is shown: success of each held-out list, and the score where it is measured."""
    lists = list(dict.fromkeys(tables.evals["level"])) or ["heldout"]
    found = [(level, "won", f"success {LISTS.get(level, level)}") for level in lists]
    if "score" in tables.evals and tables.evals["score"].notna().any():
        found += [(level, "score", "score") for level in lists]
    return found


def bundle(curve: pd.DataFrame, arm: str, x: str, scale: float = 1.0) -> dict[int, SeedCurve]:
    """The curve of each seed's run, from a frame indexed by arm, seed and update."""
    rows = curve[curve.index.get_level_values("arm") == arm].dropna()
    return {
        int(seed): SeedCurve(np.arange(len(run)), run[x].to_numpy(), scale * run["y"].to_numpy())
        for seed, run in rows.groupby(level="seed")
    }


# Success --------------------------------------------------------------------------------------------------------------


def _early(tables: Tables, arms: list[str]) -> str:
    """For a caption: which arms could not spend their generations."""
    words = progress.which_ended_early(tables, {arm: SHORT[arm] for arm in arms})
    return f" (unless nothing is left to sample: {words})" if words else ""


@style.styled
def success(tables: Tables, study: Study) -> Figure:
    """Held-out success (and score) over generations, and at the end at both sampling temperatures."""
    shown, arms = measures(tables), present(tables, threespo.CORE)
    figure, axes = style.panels(2, len(shown), 4.6, sharey="col", height_ratios=(1.25, 1))
    for k, (column, (level, metric, words)) in enumerate(zip(axes.T, shown, strict=True), start=1):
        curve, ends = progress.success(tables, level, metric), []
        for arm in arms:
            runs = bundle(curve, arm, "generations", 100)
            if runs:
                mean = draw_bundle(column[0], runs, look(arm), arm)
                _line(column[0], arm).set_linestyle(look(arm).line)
                whole = mean.mean[mean.count == mean.n]
                ends.append((float(whole[-1]), SHORT[arm], look(arm).colour))
        column[0].set_title(words, weight="bold")
        column[0].set_xlabel("generations")
        column[0].xaxis.set_major_formatter(EngFormatter(sep="", places=0))
        column[0].set_xlim(left=0)
        _ends(column[1], tables, arms, level, metric)
        if not arms:
            style.empty(column[0], "no runs yet")
        inside(column[0], "y", 0, 100)
        if k == len(axes.T) and ends:
            figure.draw_without_rendering()
            style.label_ends(column[0], ends, gap=0.09)
    for ax in axes[:, 0]:
        ax.set_ylabel("held-out, %")
    caption = (
        f"{style.seeds_text(tables.runs, arms)}; all arms have the same number of generations{_early(tables, arms)}. "
        "Above: at training's temperature; thin: every run, bold: mean with its pointwise 95 % t interval. Below: the "
        "last policy at temperature 1 (left of each pair) and 0.4 (right), every run a point, mean with its 95 % t "
        "interval; stroke: the warm start. Evaluations along the way are smaller than the last."
    )
    return style.finish(figure, "Held-out success by generations", caption, tables.runs)


def _line(ax: Axes, arm: str) -> Line2D:
    return next(line for line in ax.lines if line.get_label() == f"{arm} mean")


def _ends(ax: Axes, tables: Tables, arms: Sequence[str], level: str, metric: str) -> None:
    for at, arm in enumerate(arms):
        for beside, suffix in ((-0.18, ""), (0.18, AT)):
            values = (
                final(tables.runs, arm, f"{metric}_{level}{suffix}") if _measured(tables, metric, level, suffix) else {}
            )
            start = final(tables.runs, arm, f"start_{metric}_{level}{suffix}") if values else {}
            if values:
                mark = style.Look(look(arm).colour, "-", look(arm).marker)
                draw_estimate(ax, values, at + beside, mark, f"{arm}{suffix}", beside=0.1, width=0.08, size=3.8)
            if start:
                width, mean = np.array([-0.13, 0.13]), np.mean(list(start.values()))
                ax.plot(at + beside + width, [mean] * 2, color=style.MUTED, lw=0.8, label=f"{arm}{suffix} start")
    ax.set_xticks(range(len(arms)), [SHORT[arm] for arm in arms], rotation=18, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, max(len(arms), 1) - 0.4)
    if not arms:
        style.empty(ax, "no runs yet")


def _measured(tables: Tables, metric: str, level: str, suffix: str) -> bool:
    return f"{metric}_{level}{suffix}" in tables.runs


# States ---------------------------------------------------------------------------------------------------------------


@style.styled
def states(tables: Tables, study: Study) -> Figure:
    """Distinct states met over generations by three notions of a state, and their ratio to GRPO."""
    arms = [arm for arm in present(tables, threespo.CORE) if STATES[0] in tables.curves]
    figure, axes = style.panels(2, 3, 4.3, sharex=True, height_ratios=(1.3, 1))
    top = float(tables.runs["generations"].max()) if arms else 1.0
    for k, (column, (kind, words)) in enumerate(zip(axes.T, KINDS.items(), strict=True), start=1):
        ends = []
        for arm in arms:
            runs = bundle(progress.states(tables, kind), arm, "x")
            if not runs:  # no update was made
                continue
            mean = draw_bundle(column[0], runs, look(arm), arm, every=4)
            _line(column[0], arm).set_linestyle(look(arm).line)
            ends.append((float(mean.mean[mean.count == mean.n][-1]), SHORT[arm], look(arm).colour))
        for arm in [arm for arm in arms if arm != "grpo" and "grpo" in arms]:
            _ratio(column[1], tables, arm, kind, top)
        column[1].axhline(1, color="#9a9a9a", lw=0.7, zorder=1)
        column[0].set_title(words, weight="bold")
        column[1].set_xlabel("generations")
        column[1].xaxis.set_major_formatter(EngFormatter(sep="", places=0))
        column[1].set_xlim(0, top)
        if not arms:
            style.empty(column[0], "no runs yet")
        if k == len(axes.T) and ends:
            figure.draw_without_rendering()
            style.label_ends(column[0], ends, gap=0.09)
    for above, below in axes.T:
        above.set_ylim(bottom=0)
        below.sharey(axes[1, 0])
    axes[1, 0].autoscale(axis="y")
    axes[0, 0].set_ylabel("distinct states met")
    axes[1, 0].set_ylabel("over GRPO's")
    caption = (
        f"{style.seeds_text(tables.runs, arms)}. Above: states that sampling has met since training began, each once, "
        "by what counts as one state. Thin: every run. Below: the ratio to GRPO's number after as many generations, "
        "geometric mean over seeds with its pointwise 95 % t interval; above 1, a generation finds more than GRPO's."
    )
    return style.finish(figure, "Distinct states by generations", caption, tables.runs)


def _ratio(ax: Axes, tables: Tables, arm: str, kind: str, top: float) -> None:
    grid = np.linspace(0.05, 1, 20) * top
    rows = []
    for at in grid:
        ours, theirs = (progress.states_at(tables, name, at, kind) for name in (arm, "grpo"))
        both = pd.concat([ours, theirs], axis=1, join="inner").dropna()
        if both.empty:
            return
        rows.append(geometric_mean(np.log(both.iloc[:, 0] / both.iloc[:, 1])))
    mean = [row.estimate for row in rows]
    ax.plot(grid, mean, color=look(arm).colour, lw=1.5, ls=look(arm).line, label=f"{arm} ratio")
    if rows[0].n > 1:
        ax.fill_between(grid, [r.low for r in rows], [r.high for r in rows], color=look(arm).colour, alpha=0.15, lw=0)


# Time to a threshold, and cost ----------------------------------------------------------------------------------------


@style.styled
def speed(tables: Tables, study: Study) -> Figure:
    """What each run had spent when its held-out success passed a threshold, on four axes; runs that never did."""
    arms = present(tables, threespo.CORE)
    figure, axes = style.panels(1, len(COSTS), 3.0)
    for ax, axis in zip(axes[0], COSTS, strict=True):
        for k, threshold in enumerate(THRESHOLDS if arms else ()):
            table = progress.cost_to_reach(tables, axis, threshold)
            for j, arm in enumerate(arms):
                rows = table[table.index.get_level_values("arm") == arm]
                place = k + (j - (len(arms) - 1) / 2) * 0.16
                came = rows["reached"].dropna().to_numpy()
                ax.plot([place] * len(came), came, ls="", marker=look(arm).marker, ms=3, mew=0, color=look(arm).colour,
                        alpha=0.7, label=f"{arm} {threshold}")  # fmt: skip
                never = rows.loc[rows["reached"].isna(), "end"].to_numpy()
                ax.plot([place] * len(never), never, ls="", marker="^", ms=3.2, mfc="none", mew=0.7,
                        mec=look(arm).colour, label=f"{arm} {threshold} never")  # fmt: skip
        ax.set_title(progress.AXES[axis], weight="bold", pad=18)
        ax.set_xticks(range(len(THRESHOLDS)), [f"{100 * t:.0f}" for t in THRESHOLDS])
        ax.set_xlabel("success reached, %")
        ax.yaxis.set_major_formatter(EngFormatter(sep="", places=None))
        ax.set_ylim(bottom=0)
        ax.set_xlim(-0.5, len(THRESHOLDS) - 0.5)
        if not arms:
            style.empty(ax, "no runs yet")
    _legend(axes[0, 0], arms)
    caption = (
        f"{style.seeds_text(tables.runs, arms)}. Success of all held-out lists at training's temperature; between two "
        "evaluations it is taken to go in a line. Open triangles: runs that had not reached it when they ended, drawn "
        "at their end. Seconds are those of sampling and updates on one core of a busy machine."
    )
    return style.finish(figure, "What it takes to reach a success rate", caption, tables.runs)


@style.styled
def cost(tables: Tables, study: Study) -> Figure:
    """Cost of whole runs at the same generations over GRPO's, and what an epoch takes."""
    arms = [arm for arm in present(tables, threespo.CORE) if arm != "grpo"]
    columns = {"generated tokens": ["generated_tokens"], "FLOPs, itemised": ["flops_needed"],
               "seconds": ["seconds_generate", "seconds_update"], "optimiser steps": ["updates"]}  # fmt: skip
    figure, axes = style.panels(1, len(columns), 1.9, sharey=True)
    base = tables.runs[tables.runs["arm"] == "grpo"].set_index("seed")
    for ax, (words, names) in zip(axes[0], columns.items(), strict=True):
        ax.axvline(1, color="#9a9a9a", lw=0.7, zorder=1)
        for at, arm in enumerate(arms):
            own = tables.runs[tables.runs["arm"] == arm].set_index("seed")
            ratio = (own[names].astype(float).sum(axis=1) / base[names].astype(float).sum(axis=1)).dropna()
            ratio = ratio[ratio > 0]
            if len(ratio):
                draw_estimate(
                    ax, ratio.to_dict(), at, look(arm), f"{arm} {words}", horizontal=True, log=True, width=0.3,
                    beside=0.22, size=3.8,
                )  # fmt: skip
        ax.set_title(words, weight="bold")
        logarithmic(ax)
        ax.set_xlabel("over GRPO's")
    axes[0, 0].set_yticks(range(len(arms)), [SHORT[arm] for arm in arms])
    axes[0, 0].set_ylim(max(len(arms), 1) - 0.5, -0.6)
    caption = (
        f"{style.seeds_text(tables.runs, arms)}, whole runs, all with the same number of generations"
        f"{_early(tables, arms)}; geometric mean of the ratio to GRPO's run of the same seed, with its 95 % t interval."
    )
    return style.finish(figure, "What the same number of generations costs", caption, tables.runs)


def logarithmic(ax: Axes) -> None:
    """A logarithmic x-axis with a few round numbers, whatever its range."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    rounds = [float(f"{digit}e{power}") for power in range(-4, 7) for digit in (1, 2, 5)]
    chosen = [tick for tick in rounds if low <= tick <= high]
    if len(chosen) < 2:  # less than a doubling
        chosen = sorted({float(f"{tick:.2g}") for tick in (low * (high / low) ** 0.1, high / (high / low) ** 0.1)})
    ax.set_xticks(chosen[:: max(1, len(chosen) // 3)])
    ax.set_xticks([], minor=True)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _legend(ax: Axes, arms: Sequence[str]) -> None:
    """Above the first panel, over the width of all."""
    keys = [Line2D([], [], ls="", marker=look(a).marker, color=look(a).colour, ms=4, label=SHORT[a]) for a in arms]
    legend = ax.legend(handles=keys, loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=5, fontsize=7, frameon=False,
                       handletextpad=0.1, borderaxespad=0.1)  # fmt: skip
    legend.set_in_layout(False)


# Pieces ---------------------------------------------------------------------------------------------------------------


@style.styled
def pieces(tables: Tables, study: Study) -> Figure:
    """Every change of a reading: success at half of the budget, and minus the reading itself at that point."""
    evidence = Evidence(study, tables)
    groups = {
        "table + one piece of the paper": ("table", [f"table-{p}" for p in threespo.PUT_BACK["table"]]),
        "continuation + one piece": ("continuation", [f"continuation-{p}" for p in threespo.PUT_BACK["continuation"]]),
        "literal, one thing changed": ("literal", [f"literal-{p}" for p in threespo.ABLATED]),
    }
    rows: list[tuple[str, str]] = []  # (arm, reading); ("", head)
    for head, (base, arms) in groups.items():
        ran = present(tables, arms)
        rows += [("", head), *((arm, base) for arm in present(tables, [base]) + ran)] if ran else []
    figure, axes = style.panels(1, 2, 0.17 * max(len(rows), 6) + 1.2, sharey=True, width_ratios=(1, 1.15))
    left, right = axes[0]
    at_half = point(evidence, next(arm for arm, _ in rows if arm and arm not in LOOKS)) if rows else 0.0
    for at, (arm, base) in enumerate(rows):
        if not arm:
            left.annotate(base, (0, at), xycoords=("axes fraction", "data"), xytext=(-4, 0), textcoords="offset points",
                          ha="right", va="center", weight="bold", size=7.2, annotation_clip=False)  # fmt: skip
            continue
        values = reached(evidence, arm, at_half).dropna()
        whole = arm in LOOKS
        mark = style.Look(look(arm).colour if whole else style.MUTED, "-", look(arm).marker if whole else "o")
        if len(values):
            draw_estimate(left, values.to_dict(), at, mark, arm, horizontal=True, beside=0.25, width=0.2, size=3.4)
        if not whole:
            _minus(right, values, reached(evidence, base, at_half).dropna(), at, arm)
    for ax in (left, right):
        for at, (arm, _) in enumerate(rows):
            if arm:
                ax.axhline(at, color="#ececec", lw=0.5, zorder=0)
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
    right.axvline(0, color="#9a9a9a", lw=0.7, zorder=1)
    names = [_name(study, arm) if arm else "" for arm, _ in rows]
    left.set_yticks(range(len(rows)), names, size=6.6)
    left.set_ylim(max(len(rows), 1) - 0.4, -0.7)
    left.set_xlabel("held-out success, %")
    right.set_xlabel("minus the reading, points")
    if rows:
        grpo = reached(evidence, "grpo", at_half).dropna()
        if len(grpo):
            left.axvline(grpo.mean(), color=LOOKS["grpo"].colour, lw=0.8, ls=style.DOTTED, zorder=1)
        starts = 100 * tables.runs["start_won"].dropna()
        if len(starts):
            left.axvline(starts.mean(), color=style.FAINT, lw=0.8, zorder=1)
        inside(left, "x", 0, 100)
    else:
        style.empty(left, "no runs yet")
        style.empty(right, "no runs yet")
    drawn = [arm for arm, _ in rows if arm]
    caption = (
        f"{style.seeds_text(tables.runs, drawn)}. Success of all held-out lists at training's "
        "temperature and half of the core arms' budget. Points: every run; bars: 95 % t interval, on the right of "
        "pairs that share a seed. Red: the interval lies below 0; green: above. Dotted: GRPO at the same point; grey "
        "line: the warm start."
    )
    return style.finish(figure, "Which piece breaks it?", caption, tables.runs)


def _name(study: Study, arm: str) -> str:
    base = threespo.reading_of(arm)
    if arm == base:
        return f"{base}, as it is"
    known = threespo.ABLATED if base == "literal" else threespo.PUT_BACK[base]
    return known[arm.partition("-")[2]]


def _minus(ax: Axes, ours: pd.Series, theirs: pd.Series, at: float, arm: str) -> None:
    shared = ours.index.intersection(theirs.index)
    if shared.empty:
        return
    interval = paired_t_interval(ours[shared], theirs[shared])
    colour = style.ALARM if interval.high < 0 else LOOKS["continuation"].colour if interval.low > 0 else style.MUTED
    ax.plot(ours[shared] - theirs[shared], [at + 0.25] * len(shared), ls="", marker="o", ms=1.9, mew=0, color=colour,
            alpha=0.6, label=f"{arm} pairs")  # fmt: skip
    draw_interval(ax, interval, at, style.Look(colour), arm, horizontal=True, size=3.4)
