"""What 3SPO's exploration does over training: branches, scores, rewards by successor, wins, and optimiser steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from repro.figures import style
from repro.figures.comparisons import draw_estimate
from repro.figures.threespo import LOOKS, SHORT, bundle, logarithmic, look, present
from repro.study import progress, threespo
from repro.study.definition import Study
from repro.study.tables import Tables

SHOWN = ("literal", "literal-figure_alpha", "literal-unpruned", "table-adaptive_n")  # those whose n varies
NAMES = {
    "literal": "literal, alpha 50",
    "literal-figure_alpha": "literal, alpha 1",
    "literal-unpruned": "literal, no pruning",
    "table-adaptive_n": "table, adaptive n",
}
KINDS = {  # of a successor, in the order in which the first that applies is taken
    "won": "won", "no_op": "same state", "unseen": "unseen", "pruned": "given up", "solved": "solved before",
    "unsolved": "other",
}  # fmt: skip
SHADES = ("#b3261e", "#d9d9d9", *sns.color_palette("Blues", 7).as_hex()[:6], "#0b3d7a")  # n = 0, 1, 2-7, 8
WINDOW = 10  # the epochs are joined in so many parts
FEW = 20  # below so many outcomes in a part their share of wins says nothing


def _epochs(tables: Tables, arm: str) -> pd.DataFrame:
    """The arm's epochs that sampled anything, each with the part of its run's generations that its middle is in."""
    rows = tables.epochs[tables.epochs["arm"] == arm].copy()
    if rows.empty:
        return rows
    rows = rows[rows["epoch_generations"] > 0]
    total = rows.groupby("seed")["generations"].transform("max").clip(lower=1)
    middle = rows["generations"] - rows["epoch_generations"] / 2
    rows["part"] = np.ceil(middle / total * WINDOW).clip(1, WINDOW).astype(int)
    return rows


@style.styled
def mechanism(tables: Tables, study: Study) -> Figure:
    """A column a reading: how many branches states get, their scores, rewards by successor, and who wins."""
    arms = present(tables, SHOWN) or ["literal"]
    figure, axes = style.panels(4, len(arms), 6.6, sharey="row", height_ratios=(1, 1, 1.15, 1))
    for k, (column, arm) in enumerate(zip(axes.T, arms, strict=True)):
        rows = _epochs(tables, arm)
        column[0].set_title(NAMES[arm], weight="bold", color=look(arm).colour, pad=16)
        if rows.empty:
            for ax in column:
                style.empty(ax, f"no epochs of {arm}")
            continue
        _branches(column[0], rows)
        _scores(column[1], rows, k == 0, _lost(rows, progress.ended_early(tables, arm)))
        _rewards(column[2], rows)
        _wins(column[3], tables, rows, arm, k == 0)
        for ax in (column[0], column[1], column[3]):
            ax.set_xlim(0, 1)
            ax.set_xticks([0, 0.5, 1], ["0", "half", "all"])
        column[3].set_xlabel("share of the run's generations")
    names = ("visits by n, %", "score and share, %", "mean reward, Eq. 2", "won, %")
    for ax, words in zip(axes[:, 0], names, strict=True):
        ax.set_ylabel(words)
    keys = [Patch(facecolor=SHADES[n], label=words) for n, words in ((0, "n = 0"), (1, "1"), (4, "2-7"), (8, "8"))]
    legend = axes[0, 0].legend(handles=keys, ncols=4, fontsize=6.5, frameon=False, loc="lower left",
                               bbox_to_anchor=(-0.04, 1.0), handlelength=0.9, columnspacing=0.9)  # fmt: skip
    legend.set_in_layout(False)
    axes[1, 0].set_ylim(0, 100)
    axes[3, 0].set_ylim(bottom=0)
    caption = (
        f"{style.seeds_text(tables.runs, arms)}; runs joined. First row: states that were asked for n, by n. Second: "
        "mean score (1 is 100 %) and share of visits that score above 0.5; in words, how many visits to a start an "
        "epoch met it given up, in the first and last tenth of a run. Third: mean reward of branches by what they led "
        "to, every run a point, and how many branches in a hundred (numbers). Fourth: wins of the tree's leaves or of "
        f"plain rollouts in training (tenths with at least {FEW}), beside held-out success of whole episodes."
    )
    return style.finish(figure, "What the state scores do", caption, tables.runs)


def _branches(ax: Axes, rows: pd.DataFrame) -> None:
    columns = [f"n_{n}" for n in range(threespo.GROUP + 1)]
    counts = rows.reindex(columns=columns).fillna(0).astype(float).groupby(rows["part"]).sum()
    share = 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    x = (share.index - 0.5) / WINDOW
    below = np.zeros(len(share))
    for n, column in enumerate(columns):
        ax.bar(x, share[column], bottom=below, width=0.96 / WINDOW, color=SHADES[n], linewidth=0)
        below += share[column].to_numpy()
    ax.set_ylim(0, 100)


def _along(ax: Axes, share: pd.Series, colour: str, line: str, label: str) -> None:
    """Draw what is indexed by parts of a run, each at its middle."""
    marker = "o" if len(share) < 2 else None  # a line of one point is not seen
    ax.plot((share.index - 0.5) / WINDOW, share, color=colour, ls=line, lw=1.4, marker=marker, ms=3, label=label)


def _scores(ax: Axes, rows: pd.DataFrame, named: bool, lost: str) -> None:
    lines = {"mean score": rows.get("score_mean"), "high scores": rows.get("high_share")}
    colours = (LOOKS["table"].colour, LOOKS["continuation"].colour)
    for (words, values), colour, line in zip(lines.items(), colours, ("-", style.DASHED), strict=True):
        if values is not None:
            _along(ax, 100 * values.astype(float).groupby(rows["part"]).mean(), colour, line, words)
    if named:
        ax.legend(fontsize=6, frameon=False, loc="upper right", handlelength=1.6, borderaxespad=0.1, labelspacing=0.2)
    below = all(min(line.get_ydata()) > 35 for line in ax.lines)  # room for words under the lines, or under the legend
    ax.text(0.04, 0.04 if below else 0.72, lost, transform=ax.transAxes, va="bottom" if below else "top", size=6,
            color=style.ALARM)  # fmt: skip


def _lost(rows: pd.DataFrame, early: str) -> str:
    """In words, as no axis here fits them: the starts that were given up, or that nothing was left to sample."""
    if early:
        return "nothing left to sample in\n" + early.replace(", after", ",\nafter")
    if "pruned_starts" not in rows or not rows["pruned_starts"].any():
        return ""
    mean = rows["pruned_starts"].fillna(0).groupby(rows["part"]).mean()
    return f"starts given up an epoch:\n{mean.iloc[0]:.1f} at first, {mean.iloc[-1]:.1f} at last"


def _rewards(ax: Axes, rows: pd.DataFrame) -> None:
    total = sum(rows[f"{kind}_successors"].fillna(0).sum() for kind in KINDS if f"{kind}_successors" in rows)
    ax.axhline(0, color="#9a9a9a", lw=0.7, zorder=1)
    for at, kind in enumerate(KINDS):
        if f"{kind}_successors" not in rows or not rows[f"{kind}_successors"].fillna(0).any():
            continue
        number = rows[f"{kind}_successors"].fillna(0).astype(float)
        paid = (number * rows[f"{kind}_reward"].fillna(0)).groupby(rows["seed"]).sum()
        mean = (paid / number.groupby(rows["seed"]).sum().clip(lower=1e-9)).to_dict()
        draw_estimate(ax, mean, at, style.Look(LOOKS["table"].colour), kind, beside=0.22, width=0.2, size=3.6)
        ax.text(at, 1.0, f"{100 * number.sum() / max(total, 1):.0f}", transform=ax.get_xaxis_transform(), ha="center",
                va="top", size=6, color=style.MUTED)  # fmt: skip
    ax.set_xticks(range(len(KINDS)), list(KINDS.values()), rotation=32, ha="right", rotation_mode="anchor", size=6.3)
    ax.set_xlim(-0.6, len(KINDS) - 0.4)
    ax.margins(y=0.18)


def _wins(ax: Axes, tables: Tables, rows: pd.DataFrame, arm: str, named: bool) -> None:
    for plural, single, line in (("leaves", "leaf", style.DASHED), ("rollouts", "rollout", "-")):
        if plural not in rows or not rows[plural].fillna(0).any():
            continue
        sums = rows[[plural, f"{single}_wins"]].fillna(0).astype(float).groupby(rows["part"]).sum()
        share = (100 * sums[f"{single}_wins"] / sums[plural].where(sums[plural] >= FEW)).dropna()
        _along(ax, share, LOOKS["literal"].colour, line, f"won: {plural}")
    curve = progress.success(progress.only(tables, arm))
    for seed, run in bundle(curve, arm, "generations", 100).items():
        label = "held out" if seed == 0 else f"held out, seed {seed}"
        ax.plot(run.x / max(run.x.max(), 1), run.y, color=style.INK, lw=0.7, alpha=0.6, label=label)
    if named or any(line.get_label() == "won: rollouts" for line in ax.lines):
        handles = [line for line in ax.lines if "seed" not in str(line.get_label())]
        ax.legend(handles=handles, fontsize=6, frameon=False, loc="best", handlelength=1.6, borderaxespad=0.1)


@style.styled
def steps(tables: Tables, study: Study) -> Figure:
    """How training is cut into optimiser steps: how many, of how many turns, and how many groups have any spread."""
    arms = present(tables, ("grpo", "gigpo", "literal", "literal-per_sample", "literal-post_trajectory", "table",
                            "table-update_every_step", "continuation"))  # fmt: skip
    panels = {
        "steps per 1,000 generations": _steps_per_thousand,
        "generations a step": _generations_a_step,
        "groups with spread, %": _with_spread,
        "entropy at the end, nats/token": _entropy,
    }
    figure, axes = style.panels(1, len(panels), 0.2 * max(len(arms), 4) + 1.2, sharey=True)
    for ax, (words, measure) in zip(axes[0], panels.items(), strict=True):
        for at, arm in enumerate(arms):
            values = measure(progress.only(tables, arm), arm)
            if values:
                draw_estimate(ax, values, at, look(arm), f"{arm} {words}", horizontal=True, beside=0.25, width=0.22,
                              size=3.6)  # fmt: skip
            ax.axhline(at, color="#ececec", lw=0.5, zorder=0)
        ax.set_title(words, weight="bold", size=7)
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
        ax.locator_params(axis="x", nbins=4)
        if not arms:
            style.empty(ax, "no runs yet")
    for ax in axes[0, : 2 if arms else 0]:
        logarithmic(ax)
    axes[0, 0].set_yticks(range(len(arms)), [_short(arm) for arm in arms])
    axes[0, 0].set_ylim(max(len(arms), 1) - 0.4, -0.6)
    caption = (
        f"{style.seeds_text(tables.runs, arms)}. Every run a point, mean with its 95 % t interval. A group is what "
        "advantages compare: the episodes of a task, or the branches of a state; without spread it has no gradient. "
        "A step has the learning rate that was tuned for the arm; in table, continuation and the arm that says so, "
        "times its size if small."
    )
    return style.finish(figure, "What an optimiser step is made of", caption, tables.runs)


def _short(arm: str) -> str:
    known = {"literal-per_sample": "literal, step by size", "literal-post_trajectory": "literal, one an epoch",
             "table-update_every_step": "table, every step"}  # fmt: skip
    return known.get(arm) or SHORT[arm]


def _by_seed(values: pd.Series) -> dict[int, float]:
    return {int(seed): float(value) for seed, value in values.dropna().items()}


def _steps_per_thousand(tables: Tables, arm: str) -> dict[int, float]:
    runs = tables.runs.set_index("seed")
    return _by_seed((1000 * runs["updates"] / runs["generations"].astype(float)).where(runs["updates"] > 0))


def _generations_a_step(tables: Tables, arm: str) -> dict[int, float]:
    runs = tables.runs.set_index("seed")
    return _by_seed(runs["generations"].astype(float) / runs["updates"].where(runs["updates"] > 0))


def _with_spread(tables: Tables, arm: str) -> dict[int, float]:
    epochs = tables.epochs
    if len(epochs) and {"groups", "flat"} <= set(epochs):
        sums = epochs[["seed", "groups", "flat"]].fillna(0).astype(float).groupby("seed").sum()
        return _by_seed(100 * (1 - sums["flat"] / sums["groups"].where(sums["groups"] > 0)))
    return _by_seed(100 * tables.curves.groupby("seed")["mixed"].mean()) if "mixed" in tables.curves else {}


def _entropy(tables: Tables, arm: str) -> dict[int, float]:
    if "entropy" not in tables.curves:
        return {}
    last = tables.curves.sort_values("update").groupby("seed")["entropy"]
    return _by_seed(last.apply(lambda values: values.tail(max(1, len(values) // 10)).mean()))
