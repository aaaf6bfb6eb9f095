"""The theory of 3SPO, drawn: what it says as dashed lines, what its own bandit does as solid ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from repro.figures import style
from repro.study import theory
from repro.study.theory_results import NAME, VISITS, WINDOW, Theory
from repro.study.theory_rules import PUBLISHED_ALPHA, by_batch

HUES = ("#0b559f", "#d55e00", "#009371")  # of the gaps, or whatever has three
RULE_LABEL = {"plain": "in proportion to S", "identified": "identification provided"}
SMALLEST_SHARE = 1e-6  # shares below are not drawn


def _banded(ax: Axes, frame: pd.DataFrame, colour: str, label: str, line: object = "-") -> None:
    """Mean over batches (columns) along the index, with its pointwise t interval."""
    values = frame.to_numpy(float)
    mean, n = values.mean(1), values.shape[1]
    half = stats.t.ppf(0.975, n - 1) * values.std(1, ddof=1) / np.sqrt(n) if n > 1 else np.zeros(len(mean))
    ax.fill_between(frame.index, mean - half, mean + half, color=colour, alpha=0.2, lw=0)
    ax.plot(frame.index, mean, color=colour, lw=1.4, ls=line, label=label)


def _grid(data: Theory, draw: Callable[[Axes, str, float, float, str], None], height: float) -> tuple[Figure, object]:
    """A row a rule, a column an alpha; `draw(ax, rule, alpha, gap, colour)` for each gap."""
    bandit = theory.TIERS[data.tier]
    figure, axes = style.panels(2, len(bandit.alphas), height, sharex=True, sharey="row")
    for row, rule in zip(axes, theory.RULES, strict=True):
        for ax, alpha in zip(row, bandit.alphas, strict=True):
            for gap, colour in zip(bandit.gaps, HUES, strict=True):
                draw(ax, rule, alpha, gap, colour)
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xlim(10, bandit.rounds)
    for ax, alpha in zip(axes[0], bandit.alphas, strict=True):
        ax.set_title(f"α = {alpha:g}" + (", published" if alpha == PUBLISHED_ALPHA else ""), weight="bold")
    for ax in axes[-1]:
        ax.set_xlabel("rollouts t")
    return figure, axes


def _gap_legend(data: Theory, ax: Axes, loc: str) -> None:
    gaps = zip(theory.TIERS[data.tier].gaps, HUES, strict=True)
    handles = [Line2D([], [], color=colour, lw=1.4, label=f"Δ = {gap:g}") for gap, colour in gaps]
    ax.legend(handles=handles, frameon=False, fontsize=6.5, handlelength=1.2, loc=loc, borderaxespad=0.1)


def _replications(data: Theory) -> str:
    bandit = theory.TIERS[data.tier]
    return f"{bandit.batches * bandit.replications} replications in {bandit.batches} batches"


def _runs(data: Theory) -> pd.DataFrame:
    return pd.DataFrame({"tier": [data.tier]})


@style.styled
def share(data: Theory) -> Figure:
    """Probability of drawing another arm than the worst, beside t^(-alpha Delta / 2)."""

    def draw(ax: Axes, rule: str, alpha: float, gap: float, colour: str) -> None:
        values = by_batch(data, rule, (alpha, gap), "share")
        _banded(ax, values.clip(lower=SMALLEST_SHARE / 100), colour, f"Δ = {gap:g}")
        t = values.index.to_numpy(float)
        ax.plot(t, t ** (-alpha * gap / 2), color=colour, lw=0.9, ls=style.DASHED, label="as stated")
        ax.set_ylim(SMALLEST_SHARE, 1.5)

    figure, axes = _grid(data, draw, 3.6)
    for ax, rule in zip(axes[:, 0], theory.RULES, strict=True):
        ax.set_ylabel(f"share of other arms\n{RULE_LABEL[rule]}")
    _gap_legend(data, axes[1, 3], "upper right")
    caption = (
        f"Solid: mean probability that the next rollout goes to another arm than the most unresolved one, "
        f"{_replications(data)}, with a pointwise 95 % t interval. Dashed: t^(-αΔ/2). Above, each rollout goes to an "
        "arm in proportion to its score, as stated. Below, arms short of 8 log(2Kt²)/Δ² rollouts come first: what the "
        "identification statement presumes is provided."
    )
    return style.finish(figure, "Does the share of other arms fall as stated?", caption, _runs(data))


@style.styled
def regret(data: Theory) -> Figure:
    """Rollouts that were not given to the worst arm."""

    def draw(ax: Axes, rule: str, alpha: float, gap: float, colour: str) -> None:
        values = by_batch(data, rule, (alpha, gap), "regret")
        _banded(ax, values.clip(lower=0.5), colour, f"Δ = {gap:g}", "-" if alpha * gap >= 2 - 1e-9 else style.DOTTED)

    figure, axes = _grid(data, draw, 3.6)
    rounds = np.array([10.0, theory.TIERS[data.tier].rounds])
    for ax in axes.flat:
        ax.plot(rounds, rounds * 0.75, color=style.FAINT, lw=0.9, zorder=0)
        ax.plot(t := np.geomspace(*rounds), 3 * np.log(t), color=style.FAINT, lw=0.9, zorder=0, ls=style.DASHED)
    for ax, rule in zip(axes[:, 0], theory.RULES, strict=True):
        ax.set_ylabel(f"allocation regret\n{RULE_LABEL[rule]}")
    _gap_legend(data, axes[1, 3], "lower right")
    caption = (
        f"Rollouts given to other arms than the most unresolved one, mean of {_replications(data)} with a pointwise "
        "95 % t interval; dotted where αΔ < 2. Grey: three quarters of all rollouts, which is no allocation at all; "
        "dashed, a multiple of log t."
    )
    return style.finish(figure, "Is the allocation regret logarithmic?", caption, _runs(data))


@style.styled
def concentration(data: Theory) -> Figure:
    """How often estimates are off, and whether the identification's premise is ever met."""
    bandit = theory.TIERS[data.tier]
    figure, (row,) = style.panels(1, 3, 2.3)
    pooled = data.bandit.groupby(["rule", "t", "batch"])["outside_now"].mean().unstack()
    for rule, colour in zip(theory.RULES, HUES, strict=False):
        _banded(row[0], pooled.loc[rule], colour, RULE_LABEL[rule])
    t = pooled.loc["plain"].index.to_numpy(float)
    row[0].plot(t, t**-2, color=style.MUTED, lw=0.9, ls=style.DASHED, label="i⁻²")
    row[0].set_yscale("symlog", linthresh=1e-4)
    row[0].set_ylim(0, 0.1)
    row[0].set_title("an estimate outside its band")
    row[0].set_ylabel("share of replications")
    for gap, colour in zip(bandit.gaps, HUES, strict=True):
        of_gap = data.bandit[(data.bandit["gap"] == gap) & (data.bandit["alpha"] * gap >= 2 - 1e-9)]
        for rule, line in zip(theory.RULES, ("-", style.DOTTED), strict=True):
            enough = of_gap[of_gap["rule"] == rule].groupby(["t", "batch"])["enough"].mean().unstack()
            _banded(row[1], enough, colour, f"Δ = {gap:g}, {RULE_LABEL[rule]}", line)
    row[1].set_title("every arm has 8 log(2Ki²)/Δ² rollouts")
    row[1].set_ylim(-0.03, 1.03)
    needed = data.exact[data.exact["quantity"] == "needed"]
    for gap, colour in zip(bandit.gaps, HUES, strict=True):
        most = needed[needed["gap"] == gap].groupby("i")[["value", "bound"]].max()
        row[2].plot(most.index, most["value"], color=colour, lw=1.2, marker="o", ms=3, label=f"Δ = {gap:g}")
        row[2].plot(most.index, most["bound"], color=colour, lw=0.9, ls=style.DASHED)
    row[2].axhspan(1, WINDOW, color=style.FAINT, alpha=0.4, lw=0)
    row[2].set_yscale("log")
    row[2].set_title("rollouts of an arm to identify it")
    for ax in row:
        ax.set_xscale("log")
        ax.set_xlabel("round i")
    row[0].legend(frameon=False, fontsize=6, handlelength=1.4, loc="upper right", borderaxespad=0)
    row[2].legend(
        frameon=False, fontsize=6, handlelength=1.2, loc="upper left", borderaxespad=0.2, ncol=3, columnspacing=1
    )
    row[2].set_ylim(1, 3e4)
    caption = (
        f"{_replications(data)}. Left: |p̂ - p*| > sqrt(log(2Ki²)/2N) for some arm, all settings; dashed, i⁻². Middle: "
        "the premise of identification where αΔ ≥ 2; solid, allocation in proportion to S, dotted, provided. Right: "
        "rollouts after which an estimate errs by less than Δ/4 but for i⁻²/K, exact (solid) and as stated (dashed); "
        f"grey, the {WINDOW} or fewer that one tree gives a state."
    )
    return style.finish(figure, "Do the estimates deserve the allocation's trust?", caption, _runs(data))


@style.styled
def filtering(data: Theory) -> Figure:
    """The indicator of Eq. 1: its probability at one count, and over all counts so far."""
    figure, (row,) = style.panels(1, 3, 2.4)
    exact, n = data.exact.set_index(["quantity", "p", "n"]).sort_index(), np.arange(1, VISITS + 1)
    states = (0.15, 0.2, 0.3)
    for ax, quantity, title in (
        (row[0], "pruned_at", "given up at count N"),
        (row[1], "pruned_within", "given up by count N"),
    ):
        for p, colour in zip(states, HUES, strict=True):
            ax.plot(n, exact.loc[(quantity, p), "value"], color=colour, lw=1.4, label=f"p* = {p:g}")
            ax.plot(n, exact.loc[(quantity, p), "bound"], color=colour, lw=0.9, ls=style.DASHED)
        ax.set_title(title)
        ax.set_xlabel("visits N")
        ax.set_ylim(0, 1)
    row[0].set_ylabel("probability")
    row[0].legend(frameon=False, fontsize=6.5, handlelength=1.2, loc="upper right", borderaxespad=0)
    within = exact.loc["pruned_within"].xs(WINDOW, level="n")
    row[2].plot(within.index, within["value"], color=style.INK, lw=1.2, marker="o", ms=3)
    row[2].plot(within.index, within["bound"], color=style.INK, lw=0.9, ls=style.DASHED)
    for p, value in within["value"].items():
        if p >= 0.1:
            row[2].annotate(f"{100 * value:.2g} %", (p, value), (-3, 5), textcoords="offset points", size=6.5)
    row[2].set_title(f"given up within {WINDOW} visits")
    row[2].set_xlabel("true success rate p*")
    row[2].set_ylim(0, 1.05)
    row[2].set_xlim(0, 0.56)
    caption = (
        "Exact. Solid: probability that the indicator (10 failures or more, success rate 0.1 or less) is 0; dashed: "
        "exp(-2N(p* - 0.1)²). Left: at that count, had the state been visited throughout. Middle and right: at that or "
        "any earlier count; a state that is given up is not visited, so it stays so."
    )
    return style.finish(figure, "Is filtering stable?", caption, _runs(data))


@style.styled
def eq3(data: Theory) -> Figure:
    """What the theory's bandit does under the algorithm's own rule of allocation."""
    bandit, frame = theory.TIERS[data.tier], data.eq3
    figure, (row,) = style.panels(1, 3, 2.3, sharex=True)
    shades = ("#9ecae1", "#6baed6", "#2171b5", "#08306b")
    for ax, column, pruning, title in (
        (row[0], "share", False, "share of other arms, no indicator"),
        (row[1], "share", True, "share of other arms, indicator on"),
        (row[2], "given_up", True, "a_w given up, indicator on"),
    ):
        chosen = frame[frame["pruning"] == pruning]
        for alpha, colour in zip(bandit.alphas, shades, strict=True):
            of_alpha = chosen[chosen["alpha"] == alpha].groupby(["round", "batch"])[column].mean().unstack()
            _banded(ax, of_alpha, colour, f"α = {alpha:g}")
        ax.set_title(title.replace("a_w", "$a_w$"))
        ax.set_xscale("log")
        ax.set_xlabel("round")
        ax.set_ylim(0, 1.03)
    for ax in row[:2]:
        ax.axhline(1 - 1 / bandit.arms, color=style.FAINT, lw=0.9, zorder=0)
    row[0].legend(frameon=False, fontsize=6.5, handlelength=1.2, loc="lower left", borderaxespad=0.2)
    caption = (
        f"Every round each of {bandit.arms} arms gets ceil({bandit.g_max} S) rollouts. {_replications(data)}, mean "
        f"over gaps, p*(a_w) = {bandit.worst:g}. Grey: what other arms would get if all got the same. A positive score "
        "is at least one rollout; with the indicator an arm can be given up for good."
    )
    return style.finish(figure, "Does Eq. 3 allocate as the theory says?", caption, _runs(data))


@style.styled
def scores(data: Theory) -> Figure:
    """Score and branches against the success rate, for the published alpha and for 1."""
    figure, (row,) = style.panels(1, 2, 2.3, sharey=True)
    p = np.linspace(0, 1, 1001)
    for ax, alpha in zip(row, (PUBLISHED_ALPHA, 1.0), strict=True):
        for t, colour in zip((2, 10, 100, 1000), ("#9ecae1", "#6baed6", "#2171b5", "#08306b"), strict=True):
            ax.plot(p, t ** (-alpha * p), color=colour, lw=1.4, label=f"t = {t}")
        for branches in range(1, 9):
            ax.axhline(branches / 8, color=style.FAINT, lw=0.4, zorder=0)
        ax.set_title(f"α = {alpha:g}" + (", published" if alpha == PUBLISHED_ALPHA else ", as the figures need"))
        ax.set_xlabel("success rate p̂ of a state")
        ax.set_ylim(0, 1.01)
        ax.set_xlim(0, 1)
    row[0].set_ylabel("score S")
    row[0].legend(frameon=False, fontsize=6.5, handlelength=1.2, loc="center right", borderaxespad=0)
    caption = (
        "S = t^(-α p̂), from the equation. Grey lines part n = ceil(8 S) = 1 (lowest) to 8. With the published α a "
        "state is worth 8 branches until its first success and about one ever after, and two states that were solved "
        "differ by next to nothing that Eq. 2 could pay."
    )
    return style.finish(figure, "What can a score tell?", caption, _runs(data))


THEORY_FIGURES: dict[str, Callable[[Theory], Figure]] = {  # file name -> function of the tables
    "share": share,
    "regret": regret,
    "concentration": concentration,
    "filtering": filtering,
    "eq3": eq3,
    "scores": scores,
}


def regenerate(data: Theory, out: Path) -> list[Path]:
    """Draw them all into `out/threespo_theory/<name>.{png,svg}`; returns the files. The same tables, the same bytes."""
    return [path for stem, draw in THEORY_FIGURES.items() for path in style.save(draw(data), Path(out) / NAME, stem)]
