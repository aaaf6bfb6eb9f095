"""What accuracy cost: one bill in three conventions, profiling on it from the start.

| convention | meaning |
|---|---|
| paper | 2P a profiled token, 12P a token generated in training, trained on or not (sGPO, Appendix G.4) |
| itemised | FLOPs as counted by `training.accounting`, scoring and backward passes only where there is a gradient |
| seconds | wall-clock of sampling, profiling and updates; evaluation and the warm start are nobody's |
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from repro.study.survival import crossings
from repro.study.tables import Tables, full_evaluations

CONVENTIONS = {
    "paper": "FLOPs, 2P / 12P",
    "itemised": "FLOPs, itemised",
    "seconds": "s",
}


def total(runs: pd.DataFrame, convention: str) -> pd.Series:
    """The whole bill of each run, in FLOPs or seconds."""
    return upfront(runs, convention) + _training(runs, convention, runs["parameters"])


def upfront(runs: pd.DataFrame, convention: str) -> pd.Series:
    """What profiling cost each run; a profile that is not charged is free."""
    profiled = {
        "paper": 2.0 * runs["parameters"] * runs["profile_generated_tokens"],
        "itemised": runs["profile_flops"],
        "seconds": runs["profile_seconds"],
    }
    return profiled[convention].astype(float)


def cumulative(tables: Tables, convention: str) -> pd.Series:
    """The bill after each update, indexed by arm, seed and update; update 0 has all that was spent on profiles."""
    runs = tables.runs.set_index(["arm", "seed"])
    curves = tables.curves.set_index(["arm", "seed"])
    parameters = runs["parameters"].reindex(curves.index)
    spent = _training(curves, convention, parameters.to_numpy())
    spent.index = pd.MultiIndex.from_arrays(
        [*(curves.index.get_level_values(name) for name in ("arm", "seed")), curves["update"]],
        names=["arm", "seed", "update"],
    )
    spent = spent.sort_index().groupby(level=["arm", "seed"]).cumsum()
    start = upfront(runs, convention)
    first = pd.concat({0: start * 0.0}, names=["update"]).reorder_levels(["arm", "seed", "update"])
    both = pd.concat([first, spent]).sort_index()
    keys = pd.MultiIndex.from_arrays([both.index.get_level_values(name) for name in ("arm", "seed")])
    return both + start.reindex(keys).to_numpy()


def accuracy(tables: Tables) -> pd.Series:
    """Held-out success (0..1, levels weighted equally) at each evaluation, indexed by arm, seed and update."""
    return full_evaluations(tables.evals).groupby(["arm", "seed", "update"])["mean_at_k"].mean()


def cost_to_reach(tables: Tables, convention: str, threshold: float) -> pd.DataFrame:
    """`reached` (NaN: never, the run is censored) and `end` of the bill by arm and seed.

    Between the last evaluation below `threshold` and the first at or above it, the bill is interpolated linearly.
    """
    points = pd.concat([accuracy(tables).rename("success"), cumulative(tables, convention).rename("bill")], axis=1)
    return crossings(points["bill"], points["success"], threshold)


def above_curve(tables: Tables, arm: str, reference: str, convention: str) -> pd.Series:
    """Final success of `arm` minus that of `reference` at the same bill, in points, by seed.

    The reference's success is interpolated linearly between the evaluations of the same seed's run; beyond its last
    one that counts. A seed without either run is left out.
    """
    success, spent = accuracy(tables), cumulative(tables, convention)
    points = pd.concat([success.rename("success"), spent.rename("bill")], axis=1).dropna().sort_index()
    gaps = {}
    for seed, run in points.xs(arm, level="arm").groupby(level="seed") if arm in points.index else ():
        if (reference, seed) in points.index:
            curve, last = points.loc[(reference, seed)], run.iloc[-1]
            gaps[seed] = 100 * (last["success"] - np.interp(last["bill"], curve["bill"], curve["success"]))
    return pd.Series(gaps, dtype=float).rename_axis("seed")


def _training(rows: pd.DataFrame, convention: str, parameters: pd.Series) -> pd.Series:
    """Cost of the rows of `runs` or of `curves`, without profiling."""
    trained = {
        "paper": lambda: 12.0 * parameters * rows["generated_tokens"],
        "itemised": lambda: rows["flops_needed"],
        "seconds": lambda: rows["seconds_generate"] + rows["seconds_update"],
    }
    return trained[convention]().astype(float)
