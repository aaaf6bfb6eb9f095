"""Tables of the sGPO study made by hand: every bill in them is a small whole number that a test can add up."""

import numpy as np
import pandas as pd

from repro.study import tables
from repro.study.evidence import Evidence
from repro.study.sgpo_math import SGPO_MATH
from repro.study.tables import Tables

PARAMETERS = 5
COLUMNS = {  # of a run that nothing else is said of
    "study": "sgpo_math", "tier": "small", "status": "finished", "parameters": PARAMETERS, "updates": 4,
    "mean_at_k": 0.5, "pass_at_k": 0.8, "start_mean_at_k": 0.2, "collapsed": False,
    "groups": 16, "rollouts": 128, "prompt_tokens": 160, "generated_tokens": 400, "informative_tokens": 200,
    "trained_tokens": 200, "flops": 9e3, "flops_needed": 8e3, "seconds": 9.0, "seconds_generate": 3.0,
    "seconds_update": 1.0, "seconds_eval": 5.0,
    "profile_generated_tokens": 0, "profile_flops": 0.0, "profile_seconds": 0.0,
}  # fmt: skip
PROFILED = {"profile_generated_tokens": 120, "profile_flops": 600.0, "profile_seconds": 2.0}
COUNTS = (4, 1, 1, 0, 1, 0, 0, 0, 1)  # queries solved 0, 1, ..., 8 times of 8


def arm(seeds=10, curve=None, evals=None, profiles=None, **columns):
    """Frames of an arm; a column is one value, or one a seed.

    `curve`: a row an update, the same for every seed, or a function of the seed that gives them. `evals`: seed ->
    [(update, success of each level), ...]. `profiles`: [(update, queries by times solved), ...], or such a function.
    """
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    values = {name: np.broadcast_to(np.asarray(value), len(seeds)) for name, value in (COLUMNS | columns).items()}
    runs = pd.DataFrame({"seed": seeds, **values, "collapse_update": pd.array([None] * len(seeds), dtype="Int64")})
    updates, tests, counted = [], [], []
    for seed in seeds:
        rows = curve(seed) if callable(curve) else curve or []
        updates += [{"seed": seed, "update": k, **row} for k, row in enumerate(rows, start=1)]
        for update, success in evals(seed) if evals else []:
            tests += [
                {"seed": seed, "update": update, "level": level, "queries": 8, "samples": 4, "mean_at_k": value,
                 "pass_at_k": value, "seconds": 0.5}
                for level, value in zip(("easy", "hard"), success, strict=True)
            ]  # fmt: skip
        for update, counts in profiles(seed) if callable(profiles) else profiles or []:
            counted += [
                {"seed": seed, "update": update, "samples": len(counts) - 1, "solved": k, "queries": n, "charged": True}
                for k, n in enumerate(counts)
            ]
    return runs, pd.DataFrame(updates), pd.DataFrame(tests), pd.DataFrame(counted)


def made(**arms):
    """Tables of the arms, with the columns of real ones."""
    frames = []
    for position in range(4):
        parts = [frame[position].assign(arm=name) for name, frame in arms.items() if not frame[position].empty]
        frames.append(pd.concat(parts, ignore_index=True) if parts else pd.DataFrame())
    runs = frames[0]
    for name in ("core", "condition", "algorithm"):
        runs[name] = [getattr(SGPO_MATH.arms[arm], name) for arm in runs["arm"]]
    return tables._typed(*frames)


def evidence(**arms) -> Evidence:
    return Evidence(SGPO_MATH, made(**arms))


def spread(mean, half, seeds=10):
    """Values whose mean is `mean` and whose 95 % t interval is mean ± half; for ten seeds.

    s = d sqrt(n / (n - 1)) for values mean ± d, so half = t d / sqrt(n - 1), with t_9 = 2.262157.
    """
    assert seeds == 10
    return mean + np.tile([1, -1], 5) * half * 3 / 2.262157


def update(size=8, groups=2, tokens=10, reward=0.5, **columns):
    """A row of the curves: `tokens` a rollout."""
    rollouts = size * groups
    return {
        "groups": groups, "rollouts": rollouts, "generated_tokens": tokens * rollouts, "reward": reward, "mixed": 0.5,
        "informative_tokens": tokens * rollouts / 2, "flops_needed": 100.0 * rollouts, "flops": 120.0 * rollouts,
        "seconds_generate": 0.5, "seconds_update": 0.25, **columns,
    }  # fmt: skip


__all__ = ["COLUMNS", "COUNTS", "PARAMETERS", "PROFILED", "Tables", "arm", "evidence", "made", "spread", "update"]
