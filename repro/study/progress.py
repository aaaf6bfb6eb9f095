"""How far a run of a world of several turns had come, by what it had spent: success, states, time to a threshold.

All costs are those of training; evaluation and the warm start are nobody's. What was sampled for an update, and since
the one before, is on that update's bill, whether it was trained on or not.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from repro.study.survival import crossings
from repro.study.tables import Tables, full_evaluations

AXES = {  # what a run has spent: words
    "generations": "generations",
    "epochs": "epochs",
    "generated_tokens": "generated tokens",
    "flops_needed": "FLOPs, itemised",
    "seconds": "seconds",
    "updates": "optimiser steps",
}
KEYS = ["arm", "seed", "update"]


def only(tables: Tables, *arms: str) -> Tables:
    """The tables of these arms."""
    frames = (getattr(tables, name) for name in ("runs", "curves", "evals", "epochs"))
    runs, curves, evals, epochs = (frame[frame["arm"].isin(arms)] for frame in frames)
    return Tables(runs, curves, evals, epochs=epochs)


def ended_early(tables: Tables, arm: str) -> str:
    """In words: how many of an arm's runs found nothing more to sample, and after how many generations; or nothing."""
    runs = tables.runs[tables.runs["arm"] == arm]
    early = runs[runs["exhausted"].fillna(False).astype(bool)] if "exhausted" in runs else runs[:0]
    if early.empty:
        return ""
    return f"{len(early)} of {len(runs)} runs, after {early['generations'].mean():,.0f} generations"


def which_ended_early(tables: Tables, labels: Mapping[str, str]) -> str:
    """The same of several arms, each under its label: those that have such runs."""
    words = {label: ended_early(tables, arm) for arm, label in labels.items()}
    return "; ".join(f"{label}: {found}" for label, found in words.items() if found)


def success(tables: Tables, level: str | None = None, metric: str = "won") -> pd.DataFrame:
    """`y` (0..1) and `generations` at each evaluation at the training's temperature, indexed by arm, seed and update.

    Of one held-out list, or the mean over all.
    """
    rows = full_evaluations(tables.evals)
    if level is not None:
        rows = rows[rows["level"] == level]
    mean = rows.groupby(KEYS)[[metric, "generations"]].mean()
    return mean.rename(columns={metric: "y"}).astype(float).sort_index()


def at_generations(tables: Tables, arm: str, generations: float, level: str | None = None, metric: str = "won"):
    """Success of each seed's run (0..1) when it had sampled so much, by seed.

    Interpolated linearly between evaluations; before the first that counts, after the last the last.
    """
    curve = success(only(tables, arm), level, metric)
    return _interpolated(curve.rename(columns={"generations": "x"}), arm, generations)


def states(tables: Tables, kind: str = "states_observation") -> pd.DataFrame:
    """`y`, distinct states met since training began, over `x`, generations: a row an update, indexed like `success`."""
    curve = tables.curves.set_index(KEYS)[["generations", kind]].astype(float).dropna().sort_index()
    return curve.rename(columns={"generations": "x", kind: "y"})


def states_at(tables: Tables, arm: str, generations: float, kind: str = "states_observation") -> pd.Series:
    """Distinct states of each seed's run when it had sampled so much; from none at the start, by seed."""
    return _interpolated(states(only(tables, arm), kind), arm, generations, origin=True)


def states_along(tables: Tables, arm: str, axis: str, at: float, kind: str = "states_observation") -> pd.Series:
    """The same when it had spent `at` of another axis."""
    tables = only(tables, arm)
    met = states(tables, kind)["y"]
    return _interpolated(pd.concat([spent(tables, axis).rename("x"), met], axis=1).dropna(), arm, at, origin=True)


def spent(tables: Tables, axis: str) -> pd.Series:
    """What each run had spent after each update, update 0 included, indexed like `success`; a unit of AXES.

    An epoch is `tasks` tasks: one update of an arm that plays whole episodes, one epoch of exploration otherwise, of
    which a part counts by its generations.
    """
    curves = tables.curves.sort_values(KEYS).set_index(KEYS)
    if axis == "updates":
        total = pd.Series(curves.index.get_level_values("update").astype(float), index=curves.index)
    elif axis == "generations":
        total = curves["generations"].astype(float)
    elif axis == "epochs":
        total = pd.concat([_epochs(tables, key, run) for key, run in curves.groupby(level=["arm", "seed"])] or [None])
    else:
        columns = ["seconds_generate", "seconds_update"] if axis == "seconds" else [axis]
        total = curves[columns].astype(float).sum(axis=1).groupby(level=["arm", "seed"]).cumsum()
    start = pd.Series(0.0, index=tables.runs.assign(update=0).set_index(KEYS).index)
    return pd.concat([start, total]).sort_index()


def cost_to_reach(tables: Tables, axis: str, threshold: float, level: str | None = None) -> pd.DataFrame:
    """`reached` (NaN: never, the run is censored) and `end` of what was spent, by arm and seed.

    Success crosses the threshold where the line between the last evaluation below and the first at or above it does.
    """
    return crossings(spent(tables, axis), success(tables, level)["y"], threshold)


def _epochs(tables: Tables, key: tuple[str, int], run: pd.DataFrame) -> pd.Series:
    rows = tables.epochs[(tables.epochs["arm"] == key[0]) & (tables.epochs["seed"] == key[1])].sort_values("epoch")
    if rows.empty:
        return pd.Series(np.arange(1.0, len(run) + 1), index=run.index)
    ends, numbers = ([0.0, *rows[name]] for name in ("generations", "epoch"))
    return pd.Series(np.interp(run["generations"].astype(float), ends, numbers), index=run.index)


def _interpolated(curve: pd.DataFrame, arm: str, at: float, origin: bool = False) -> pd.Series:
    rows = curve[curve.index.get_level_values("arm") == arm]
    values = {}
    for seed, run in rows.groupby(level="seed"):
        x, y = run["x"].to_numpy(), run["y"].to_numpy()
        values[seed] = float(np.interp(at, np.r_[0.0, x], np.r_[0.0, y]) if origin else np.interp(at, x, y))
    return pd.Series(values, dtype=float).rename_axis("seed")
