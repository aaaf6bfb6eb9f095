"""sGPO over its training: phases, constants, and how difficult the queries were before and after."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from repro.figures import allocation, style
from repro.figures.comparisons import draw_interval, final
from repro.figures.cost import LOOKS, METHOD, PLAIN, ablation, bills, cost, fan
from repro.study.definition import Study
from repro.study.statistics import paired_t_interval
from repro.study.tables import Tables

PHASES = {2: "#eef5fb", 4: "#d5e6f4", 8: "#b3d1ea"}  # group size -> shade


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
    line = LOOKS[METHOD].colour
    rows = rows.sort_values(["seed", "update"]).assign(
        tokens=lambda f: f["generated_tokens"] / f["groups"],
        size=lambda f: np.rint(f["rollouts"] / f["groups"]).astype(int),
        mixed=lambda f: 100 * f["mixed"],
    )
    # Phases have other lengths in every run, and a run may lack one: each is drawn over the mean length of its kind.
    rows["sweep"] = rows.groupby("seed")["size"].transform(lambda size: (size < size.shift()).cumsum())
    length = rows.groupby(["sweep", "size", "seed"]).size().groupby(level=["sweep", "size"]).mean()
    start = length.cumsum() - length
    for ax, (column, name) in zip(axes[0], panels.items(), strict=True):
        for phase, a in start.items():
            b = a + length[phase]
            ax.axvspan(a, b, color=PHASES.get(phase[1], "#eeeeee"), lw=0, zorder=0)
            grid, curves = np.linspace(0, 1, 40), []
            for _, run in rows[(rows["sweep"] == phase[0]) & (rows["size"] == phase[1])].groupby("seed"):
                values = run[column].rolling(5, min_periods=1, center=True).mean().to_numpy(dtype=float)
                at = (np.arange(len(values)) + 0.5) / len(values)
                ax.plot(a + at * (b - a), values, color=line, lw=0.5, alpha=0.4, label=f"{column} seeds")
                curves.append(np.interp(grid, at, values))
            ax.plot(a + grid * (b - a), np.mean(curves, axis=0), color=line, lw=1.6, label=f"{column} mean")
            ax.text((a + b) / 2, 1.0, f"{phase[1]}", transform=ax.get_xaxis_transform(), ha="center", va="bottom",
                    size=6.5, color=style.MUTED)  # fmt: skip
        ax.text(-0.02, 1.0, "G", transform=ax.transAxes, ha="right", va="bottom", size=6.5, color=style.MUTED)
        ax.set_xlim(0, float(length.sum()))
        ax.set_ylabel(name)
        ax.set_xlabel("update")
        ax.set_ylim(bottom=0)
    caption = (
        f"{style.seeds_text(tables.runs, [METHOD])}. Two sweeps of growing groups, shaded by G. Thin: every run, "
        "running mean over 5 updates of a phase; thick: their mean. Phases differ in length from run to run; each is "
        "drawn over its mean length."
    )
    return style.finish(figure, "sGPO's phases: easy queries first", caption, tables.runs)


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
                points = {"ls": "", "marker": "o", "ms": 1.9, "mew": 0, "color": PLAIN["constants"], "alpha": 0.6}
                ax.plot(fan(at, len(gaps)) - 0.02, gaps, label=f"{arm} seeds", **points)
                interval = paired_t_interval([values[s] for s in shared], [own[s] for s in shared])
                draw_interval(ax, interval, at - 0.1, style.Look(PLAIN["constants"]), arm)
            else:
                ax.text(at, 0.5, "no runs", transform=ax.get_xaxis_transform(), ha="center", size=6, color=style.MUTED)
        ax.set_xticks(range(len(arms)), list(arms.values()))
        ax.set_xlim(-0.5, len(arms) - 0.5)
        ax.set_xlabel(name)
    if drawn:
        together = np.array([-2.0, 2.0, *drawn])
        pad = 0.2 * np.ptp(together)
        axes[0, 0].set_ylim(together.min() - pad, together.max() + pad)
    axes[0, 0].set_ylabel("minus sGPO, points")
    caption = (
        f"{style.seeds_text(tables.runs, [a for arms in sweeps.values() for a in arms if a != METHOD])}. Final "
        "held-out success minus that of sGPO with its published constants (triangle). Points: every pair; bars: 95 % t "
        "interval of the paired difference. "
        "*: 64 draws, not charged, a stand-in for the true success rates."
    )
    return style.finish(figure, "Does it matter how sGPO's constants are chosen?", caption, tables.runs)


def difficulty_shift(tables: Tables, study: Study) -> Figure:
    """The first and the last profile of the runs that take two; without such runs, sGPO's only one."""
    profiles = tables.profiles[tables.profiles["samples"] == allocation.SAMPLES]
    arm = "reprofiled" if (profiles["arm"] == "reprofiled").any() else METHOD
    before, after = [], []
    for _, run in profiles[profiles["arm"] == arm].groupby("seed"):
        taken = [np.repeat(rows["solved"], rows["queries"]).to_numpy() for _, rows in run.groupby("update")]
        before.append(taken[0])
        after += taken[1:][-1:]
    if not before:
        return _no_profiles(tables)
    title = "How difficult the queries are for the policy" + (", before and after a sweep" if after else "")
    return allocation.difficulty_histogram(
        np.array(before), np.array(after) if after else None, title, tables.runs[tables.runs["arm"] == arm]
    )


@style.styled
def _no_profiles(tables: Tables) -> Figure:
    figure, axes = style.panels(1, 1, 2.0)
    style.empty(axes[0, 0], "no profiles yet")
    return style.finish(figure, "How difficult the queries are for the policy", "No runs yet.", tables.runs)


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
