"""What a hint leaves to find, against what is learned: the policy practises what the prompt does not give away."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from repro.figures import style
from repro.figures.comparisons import draw_interval, final
from repro.figures.guidance import HEADS, METHODS, PAPER, REFERENCE, hint, look, short, untrained
from repro.study.definition import Study
from repro.study.smepo_arms import START, Profile, profiles
from repro.study.statistics import t_interval
from repro.study.tables import Tables

LOST = ("route", "plan")  # losing the way, as the worlds name a response's first error
FEW = 3  # arms below which a rank correlation says nothing


def lost(profile: Profile, shown: str) -> float | None:
    """Of a warm start's responses to questions with a hint of that format ("": none), the share that lose the way."""
    row = profile.get(shown, {})
    return next((row[kind] for kind in LOST if kind in row), None)


def places(tables: Tables, study: Study, condition: str) -> dict[str, dict[int, tuple[float, float]]]:
    """Arm -> seed -> (responses that lose the way under its hint before training, final held-out success), percent.

    Of the arms of a condition that show one hint, or none, in every prompt.
    """
    known, found = profiles(tables, f"{REFERENCE}@{condition}"), {}
    for name, arm in study.arms.items():
        if arm.condition != condition or hint(name) in (*METHODS, START):
            continue
        shown = dict(arm.settings)["guidance"]
        ends = final(tables.runs, name, "mean_at_k")
        asked = {seed: lost(profile, shown) for seed, profile in known.items() if seed in ends}
        found[name] = {seed: (100 * share, ends[seed]) for seed, share in asked.items() if share is not None}
    return {name: points for name, points in found.items() if points}


def rank_correlations(points: dict[str, dict[int, tuple[float, float]]]) -> list[float]:
    """Spearman's, over arms, one a seed that has at least FEW of them and in which both vary."""
    values = []
    for seed in sorted({seed for of_arm in points.values() for seed in of_arm}):
        pairs = np.array([of_arm[seed] for of_arm in points.values() if seed in of_arm])
        if len(pairs) >= FEW and np.ptp(pairs, axis=0).all():
            values.append(float(spearmanr(*pairs.T).statistic))
    return values


@style.styled
def practice(tables: Tables, study: Study) -> Figure:
    """How often the way is lost under an arm's hint before training, against success without a hint after it."""
    titles = {PAPER: "the study's own questions"} | {name: HEADS[name] for name in ("sparse", "trusting", "doubting")}
    titles = {name: title for name, title in titles.items() if f"{REFERENCE}@{name}" in study.arms}
    columns = min(2, len(titles))
    figure, axes = style.panels(len(titles) // columns, columns, 3.1 * (len(titles) // columns), sharey=True)
    axes[0, 0].set_ylim(0, 100)
    for ax in axes[:, 0]:
        ax.set_ylabel("final held-out success, %")
    drawn, correlations = [], []
    for ax, (condition, title) in zip(axes.flat, titles.items(), strict=True):
        points = places(tables, study, condition)
        _panel(ax, points, study)
        untrained(ax.axhline, tables.runs, condition)
        ax.set_title(title, weight="bold")
        ax.set_xlabel("responses that lose the way under the\narm's hint, before training, %")
        drawn += points
        hinted = {name: of_arm for name, of_arm in points.items() if hint(name) != REFERENCE}
        if ranks := _spread(points):
            correlations.append(f"{title} {ranks} (without GRPO {_spread(hinted) or 'too few arms'})")
    ranks = f" Spearman's rank correlation over arms, from seed to seed: {'; '.join(correlations)}."
    caption = (
        f"{style.seeds_text(tables.runs, drawn)}. Across: the warm start's responses to training questions with the "
        "arm's hint (GRPO: none). Upwards: the same seed's run at its end; dotted: the warm start's success. Points: "
        f"every run; markers: means, with the 95 % t interval of success.{ranks if correlations else ''}"
    )
    return style.finish(figure, "What a hint leaves to find, and what is learned", caption, tables.runs)


def _spread(points: dict[str, dict[int, tuple[float, float]]]) -> str:
    """The least and the greatest of the rank correlations, in words; empty without any."""
    values = rank_correlations(points)
    return " to ".join(dict.fromkeys(f"{value:.2f}" for value in (min(values), max(values)))) if values else ""


def _panel(ax: Axes, points: dict[str, dict[int, tuple[float, float]]], study: Study) -> None:
    """Every run and every arm's mean, with the arms' names at the right; the panel's height must be final."""
    ax.set_xlim(0, 100)
    if not points:
        style.empty(ax, "not measured yet")
    names = []
    for name, of_arm in points.items():
        x, y = zip(*of_arm.values(), strict=True)
        ax.plot(x, y, ls="", marker="o", ms=1.9, mew=0, color=look(name).colour, alpha=0.6, label=f"{name} seeds")
        draw_interval(ax, t_interval(y), float(np.mean(x)), look(name), name, size=4.5)
        names.append((float(np.mean(y)), short(name, study), look(name).colour))
    style.label_ends(ax, names)
