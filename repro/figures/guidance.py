"""Guidance by expert traces over training and at its end: what was learned, what reward said of it, arm by arm.

Arms are named `<hint>@<condition>`, alike in all studies of it; colours and short names here are by hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.figures import style
from repro.figures.comparisons import draw_estimate, draw_interval, final, inside, warm_start
from repro.figures.cost import fan
from repro.figures.curves import SMALL_PANEL, SeedCurve, band, draw_bundle, mark_x, seed_curves
from repro.study.definition import Study
from repro.study.smepo_arms import START
from repro.study.statistics import Interval, paired_t_interval, t_interval
from repro.study.tables import Tables
from repro.study.targets import success

PAPER = "wide"  # the condition of the paper's clip, in which all arms are run
LOOKS = {
    "grpo": style.Look("#222222", style.DASHED, "D"),
    "full": style.Look("#d55e00", "-", "o"),
    "smepo": style.Look("#0b559f", "-", "v"),
    "random": style.Look("#009371", style.DASHDOT, "P"),
    "words": style.Look("#5fb89b", style.DOTTED, "P"),
    "full_cut": style.Look("#a34700", style.DASHED, "s"),
    "numerals": style.Look("#3a86b9", style.DASHED, "^"),
    "defects": style.Look("#882255", style.DOTTED, "h"),
    "found": style.Look("#3a86b9", style.DASHED, "^"),
    "prefix25": style.Look("#8a7fc7", style.DOTTED, "<"),
    "prefix50": style.Look("#6355ad", style.DASHDOT, "<"),
    "prefix75": style.Look("#332288", "-", "<"),
    "sft": style.Look("#7a4b2a", style.DOTTED, "X"),
    "sft_rl": style.Look("#7a4b2a", style.DASHED, "X"),
    "luffy": style.Look("#6b7d00", style.DASHDOT, "p"),
    "ghpo": style.Look("#c0507a", style.DASHED, "d"),
    "ghpo_smepo": style.Look("#c0507a", "-", "d"),
}
SHORT = {
    "grpo": "GRPO", "full": "full trace", "smepo": "SMEPO", "random": "random mask", "words": "random words",
    "full_cut": "full, last line cut",
    "numerals": "SMEPO, numerals", "defects": "numerals, as released", "prefix25": "prefix 25 %",
    "prefix50": "prefix 50 %", "prefix75": "prefix 75 %", "sft": "SFT", "sft_rl": "SFT, then GRPO", "luffy": "LUFFY",
    "ghpo": "GHPO", "ghpo_smepo": "GHPO + SMEPO", "found": "SMEPO, found only",
}  # fmt: skip
METHODS = ("sft", "sft_rl", "luffy", "ghpo", "ghpo_smepo")
HEADS = {
    "usual": "the usual clip",
    "trusting": "warm start trusts hints",
    "doubting": "warm start doubts hints",
    "sparse": "hardly any success to learn from",
}
REFERENCE = "grpo"


def hint(arm: str) -> str:
    """`smepo@wide` is of the hint `smepo`."""
    return arm.partition("@")[0].partition("-")[0]


def look(arm: str) -> style.Look:
    return LOOKS.get(hint(arm), style.OTHER)


def short(arm: str, study: Study) -> str:
    """An arm's name on a panel: short for a known hint, the study's own label otherwise."""
    name = arm.partition("@")[0]
    return SHORT.get(name) or study.arms[arm].label


def core_arms(study: Study) -> list[str]:
    return [name for name, arm in study.arms.items() if arm.core]


def reference_of(arm: str) -> str:
    """GRPO under the same condition."""
    return f"{REFERENCE}@{arm.partition('@')[2]}"


def untrained(line: object, runs: pd.DataFrame, condition: str = PAPER) -> None:
    """A dotted line at the success of the warm starts, on the questions that every arm is asked at its end."""
    warm_start(line, runs, [f"{START}@{condition}"], "mean_at_k")


def rows_of(tables: Tables, study: Study, column: str = "mean_at_k", reference: bool = True) -> list[tuple[str, str]]:
    """(arm, "") of arms that have the column's value, grouped by what they test, with ("", head) above each group."""
    groups: dict[str, list[str]] = {"the paper's clip": core_arms(study), "other hints": [], "other methods": []}
    for name, arm in study.arms.items():
        if arm.core or hint(name) == START:  # a line, where it is drawn
            continue
        head = HEADS.get(arm.condition, arm.condition)
        if arm.condition == PAPER:
            head = "other methods" if hint(name) in METHODS else "other hints"
        groups.setdefault(head, []).append(name)
    rows = []
    for head, arms in groups.items():
        known = [arm for arm in arms if final(tables.runs, arm, column)] if column in tables.runs else []
        known = [arm for arm in known if reference or hint(arm) != REFERENCE]
        rows += [("", head), *((arm, "") for arm in known)] if known else []
    return rows


def name_rows(ax: Axes, rows: Sequence[tuple[str, str]], study: Study) -> None:
    """Arms downwards at 0, 1, ..., in their colours, heads bold."""
    ax.set_yticks(range(len(rows)), [short(arm, study) if arm else head for arm, head in rows])
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.7)
    for tick, (arm, _) in zip(ax.get_yticklabels(), rows, strict=True):
        tick.set_color(look(arm).colour if arm else style.INK)
        tick.set_weight("normal" if arm else "bold")


def plain_rows(axes: Iterable[Axes], rows: Sequence[tuple[str, str]]) -> None:
    """Panels whose rows are arms: a faint line for each, no axis."""
    for ax in axes:
        for at, (arm, _) in enumerate(rows):
            if arm:
                ax.axhline(at, color="#ececec", lw=0.5, zorder=0)
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
        ax.locator_params(axis="x", nbins=4)
        if not rows:
            style.empty(ax, "no runs yet")


# Over training --------------------------------------------------------------------------------------------------------

PANELS = {
    "success": "held-out success, %\nnever guided",
    "reward": "training reward, %\nas the arm asks",
    "mixed": "groups with mixed\nrewards, %",
    "copied": "planted answers\ngiven, %",  # where it was asked along the way
}


def percent(tables: Tables, arm: str, what: str, smoothing: int) -> dict[int, SeedCurve]:
    """Each seed's curve of a row of PANELS, in percent."""
    if what == "success":
        curves = success(tables, arm)
        return {int(seed): _measured(curves[seed]) for seed in curves.columns}
    if what == "copied":
        asked = tables.probes[(tables.probes["arm"] == arm) & (tables.probes["probe"] == "planted_full")]
        asked = asked[
            asked["queries"] == asked["queries"].min()
        ]  # both ends ask more: a curve is of the same questions
        return {int(seed): _measured(rows.set_index("update")[what]) for seed, rows in asked.groupby("seed")}
    if what not in tables.curves:
        return {}
    bundle = seed_curves(tables.curves, arm, what, smoothing=smoothing)
    return {seed: SeedCurve(curve.update, curve.x, 100 * curve.y) for seed, curve in bundle.items()}


def _measured(shares: pd.Series) -> SeedCurve:
    """A run's shares by update, as they were measured, in percent."""
    known = shares.dropna().sort_index()
    update = known.index.to_numpy()
    return SeedCurve(update, update.astype(float), 100 * known.to_numpy(dtype=float))


@style.styled
def convergence(tables: Tables, study: Study, smoothing: int = 10) -> Figure:
    """Held-out success without a hint, training reward with it, and mixed groups: a column a core arm.

    Where reward rises and success does not, training has found something that it cannot do without the hint. GRPO's
    mean stands grey in every panel.
    """
    arms, rows = core_arms(study), [what for what in PANELS if what != "copied" or what in tables.probes]
    figure, axes = style.panels(len(rows), len(arms), 1.4 * len(rows) + 0.8, sharex=True, sharey="row")
    for row, what in zip(axes, rows, strict=True):
        grey = percent(tables, f"{REFERENCE}@{PAPER}", what, smoothing)
        for ax, arm in zip(row, arms, strict=True):
            bundle = percent(tables, arm, what, smoothing)
            if not bundle:
                style.empty(ax, f"no runs of {short(arm, study)} yet")
                continue
            if grey and hint(arm) != REFERENCE:
                mean = band(grey)
                ax.plot(mean.x, mean.mean, color="#9a9a9a", lw=0.9, zorder=1, label="GRPO for reference")
            drawn = draw_bundle(
                ax, bundle, look(arm), f"{arm} {what}", every=SMALL_PANEL if what in ("reward", "mixed") else 1
            )
            last = drawn.mean[-1]
            if what == "success" and (ends := final(tables.runs, arm, "mean_at_k")):
                interval = t_interval(list(ends.values()))
                last = interval.estimate
                untrained(partial(ax.axhline, xmin=0.8), tables.runs)  # beside what it compares with
                draw_interval(
                    ax, interval, tables.runs.loc[tables.runs["arm"] == arm, "updates"].max(), look(arm), f"{arm} end"
                )
            ax.text(0.97, 0.97, f"{last:.0f} %", transform=ax.transAxes, ha="right", va="top", size=7,
                    color=look(arm).colour, weight="bold")  # fmt: skip
            mark_x(ax, "update")
        row[0].set_ylabel(PANELS[what])
        if any(ax.lines for ax in row):
            row[0].set_ylim(0, 1.14 * min(row[0].get_ylim()[1], 102))  # room for the number in the corner
    for ax, arm in zip(axes[0], arms, strict=True):
        ax.set_title(short(arm, study), color=look(arm).colour, weight="bold")
    for ax in axes[-1]:
        ax.set_xlabel("update")
    caption = (
        f"{style.seeds_text(tables.runs, arms)}. Thin: every run (reward and mixed groups: mean of the last "
        f"{smoothing} updates). Bold: their mean with its pointwise 95 % t interval; its last value in the corner. "
        "Marker: success at the end, on all held-out questions; dotted, beside it: the warm start's; lines: "
        "on the first of them. Grey: GRPO's mean. Evaluation never shows a hint; training "
        "queries are harder than the held-out ones on "
        "average. Only groups with mixed rewards carry a gradient. Planted answers: of responses to full traces with a "
        "wrong answer planted, to the questions asked along the way."
    )
    return style.finish(figure, "What is learned, and what reward says of it", caption, tables.runs)


# At the end -----------------------------------------------------------------------------------------------------------


def differences(ax: Axes, gaps: Mapping[int, tuple[str, Mapping[int, float], Mapping[int, float]]]) -> None:
    """Rows of paired differences: {place: (arm, its values by seed, the other's)}; an arrow: a bar leaves the panel.

    The points decide on the range: the interval of three runs can be ten times as wide.
    """
    drawn: list[tuple[int, Interval, style.Look]] = []
    points = [-2.0, 2.0]
    for at, (arm, ours, theirs) in gaps.items():
        shared = sorted(ours.keys() & theirs.keys())
        if not shared:
            continue
        a, b = ([values[seed] for seed in shared] for values in (ours, theirs))
        points += np.subtract(a, b).tolist()
        ax.plot(np.subtract(a, b), fan(at, len(a)), ls="", marker="o", ms=1.9, mew=0, color=look(arm).colour, alpha=0.6,
                label=f"{arm} seeds")  # fmt: skip
        drawn.append((at, paired_t_interval(a, b), look(arm)))
        draw_interval(ax, drawn[-1][1], at - 0.12, look(arm), arm, horizontal=True, size=3.8)
    pad = 0.1 * np.ptp(points)
    ends = (min(points) - pad, max(points) + pad)
    ax.set_xlim(*ends)
    ax.axvline(0, color="#9a9a9a", lw=0.7, zorder=1)
    for at, interval, mark in drawn:
        for limit, marker, beyond in zip(ends, "<>", (interval.low < ends[0], interval.high > ends[1]), strict=True):
            if beyond and interval.n > 1:
                ax.plot(limit, at - 0.12, marker=marker, ms=3.5, color=mark.colour, clip_on=False, zorder=6)


@style.styled
def accuracy(tables: Tables, study: Study) -> Figure:
    """Final held-out success of every arm, every seed a point, and beside it the paired difference to GRPO's."""
    rows = rows_of(tables, study)
    figure, axes = style.panels(1, 2, 0.2 * max(len(rows), 4) + 1.3, sharey=True)
    left, right = axes[0]
    values = {arm: final(tables.runs, arm, "mean_at_k") for arm, _ in rows if arm}
    for at, (arm, _) in enumerate(rows):
        if arm:
            draw_estimate(
                left, values[arm], at - 0.12, look(arm), arm, horizontal=True, beside=0.34, width=0.22, size=3.8
            )
    untrained(left.axvline, tables.runs)
    gaps = {
        at: (arm, values[arm], final(tables.runs, reference_of(arm), "mean_at_k"))
        for at, (arm, _) in enumerate(rows)
        if arm and hint(arm) != REFERENCE
    }
    differences(right, gaps)
    plain_rows((left, right), rows)
    name_rows(left, rows, study)
    left.set_xlabel("final held-out success, %")
    right.set_xlabel("minus GRPO in the same condition, points")
    inside(left, "x", 0, 100)
    caption = (
        f"{style.seeds_text(tables.runs, values)}, held-out questions without a hint at the last update. Points: every "
        "run, and on the right every pair of runs that share a seed. Marker and bar: mean and 95 % t interval; arrows: "
        "beyond the panel. Dotted: the study's own warm start."
    )
    return style.finish(figure, "Held-out success by what training showed", caption, tables.runs)


# From one condition to another ----------------------------------------------------------------------------------------

MEASURES = {
    "mean_at_k": "final held-out success, %",
    "copied_full": "planted answers given, %",
    "reward_last": "last training reward, %",
}


@style.styled
def conditions(tables: Tables, study: Study, names: Mapping[str, str], title: str) -> Figure:
    """The same arms under several conditions ({condition: label}): a column a measure, in it a row an arm.

    Runs that share a seed are joined, condition by condition from top to bottom.
    """
    arms = [name for name in core_arms(study) if sum(f"{hint(name)}@{c}" in study.arms for c in names) > 1]
    figure, axes = style.panels(1, len(MEASURES), 0.16 * max(len(arms), 3) * (len(names) + 1) + 1.35, sharey=True)
    measured = {name: label for name, label in MEASURES.items() if name in tables.runs}
    step, seen = 1.0 / (len(names) + 0.6), []
    for ax, (column, label) in zip(axes[0], MEASURES.items(), strict=True):
        ax.set_xlabel(label)
        for row, arm in enumerate(arms if column in measured else ()):
            paths: dict[int, list[tuple[float, float]]] = {}
            for place, condition in enumerate(names):
                name = f"{hint(arm)}@{condition}"
                values, at = final(tables.runs, name, column), row + (place - (len(names) - 1) / 2) * step
                if not values:
                    words = "not run yet" if name in study.arms else "no such arm"
                    ax.text(
                        0.02, at, words, transform=ax.get_yaxis_transform(), va="center", size=5.5, color=style.MUTED
                    )
                    continue
                seen.append(name)
                for seed, value in values.items():
                    paths.setdefault(seed, []).append((value, at))
                _estimate(ax, values, at, look(arm), name, open_=condition != PAPER)
            for path in paths.values():
                if len(path) > 1:
                    ax.plot(*zip(*path, strict=True), lw=0.4, color=look(arm).colour, alpha=0.35, zorder=2)
        if not ax.lines:
            style.empty(ax, "not measured yet")
        elif column != "mean_at_k":
            inside(ax, "x", 0, 100)
    for ax in axes[0]:
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
        ax.locator_params(axis="x", nbins=4)
    axes[0, 0].set_yticks(range(len(arms)), [short(arm, study) for arm in arms])
    axes[0, 0].set_ylim(max(len(arms), 1) - 0.45, -0.55)
    for tick, arm in zip(axes[0, 0].get_yticklabels(), arms, strict=True):
        tick.set_color(look(arm).colour)
    order = "; ".join(f"{label}{' (filled)' if name == PAPER else ''}" for name, label in names.items())
    caption = (
        f"{style.seeds_text(tables.runs, seen)}. In each row from top to bottom: {order}. Points: every run, joined "
        "where they share a seed. Marker and bar: mean and 95 % t interval. Planted answers: of responses to full "
        "traces with a wrong answer planted, shown to all arms alike."
    )
    return style.finish(figure, title, caption, tables.runs)


def _estimate(ax: Axes, values: Mapping[int, float], at: float, drawn: style.Look, label: str, open_: bool) -> None:
    """Every run a small point, mean and interval; an open marker tells the conditions apart in grey."""
    ax.plot(list(values.values()), [at] * len(values), ls="", marker="o", ms=1.7, mew=0, color=drawn.colour, alpha=0.5,
            zorder=3, label=f"{label} seeds")  # fmt: skip
    draw_interval(ax, t_interval(list(values.values())), at, drawn, label, horizontal=True, size=4.6)
    if open_:
        ax.lines[-1].set(markerfacecolor="white", markeredgecolor=drawn.colour, markeredgewidth=0.9)


def clip(tables: Tables, study: Study) -> Figure:
    """The paper's clip against the usual one."""
    names = {PAPER: "the paper's clip, 0 and 5", "usual": "the usual clip, 0.2 and 0.2"}
    return conditions(tables, study, names, "The paper's clip and the usual one")


def doubt(tables: Tables, study: Study) -> Figure:
    """What the warm start had learned of hints: how far copying was a matter of course before any reinforcement."""
    words = {
        condition: study.arms[f"full@{condition}"].description.partition("; ")[2]
        for condition in ("trusting", "doubting")
        if f"full@{condition}" in study.arms
    }
    names = {condition: words.get(condition, "the study's own") for condition in ("trusting", PAPER, "doubting")}
    return conditions(tables, study, names, "What was known of hints before")


def sparse(tables: Tables, study: Study) -> Figure:
    """Where plain GRPO finds enough to learn from, and where it does not."""
    names = {PAPER: "the study's own", "sparse": HEADS["sparse"]}
    return conditions(tables, study, names, "Where plain GRPO is stuck")
