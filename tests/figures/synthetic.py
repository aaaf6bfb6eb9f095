"""Small tables with the columns of real ones: shapes that can be told apart, no claim to look like training."""

import numpy as np
import pandas as pd

from repro.study.asympo_async import ASYMPO_ASYNC
from repro.study.tables import Tables

SEEDS = 3
UPDATES = 60
LAGS = {"ref": 15, "queue": 12}
LEVELS = ("hard", "easy", "medium")  # out of order on purpose
COLLAPSED = ("naive@ref", 1, 31)  # arm, seed, update
DIVERGED = ("gpg@ref", 2, 25)


def synthetic(arms=None, tier="small", updates=UPDATES, seeds=SEEDS):
    """Tables of the given arms (all by default). A run's reward is 0.3 + 0.01 seed + 0.004 update, but for the run
    that collapses, which drops to 0.05, and the one that diverges and ends."""
    runs, curves, evals = [], [], []
    for name in arms or ASYMPO_ASYNC.arms:
        arm = ASYMPO_ASYNC.arms[name]
        for seed in range(seeds):
            end = min(updates, DIVERGED[2]) if (name, seed) == DIVERGED[:2] else updates
            update = np.arange(1, end + 1)
            fall = COLLAPSED[2] if (name, seed) == COLLAPSED[:2] else None
            reward = 0.3 + 0.01 * seed + 0.004 * update
            if fall:
                reward = np.where(update >= fall, 0.05, reward)
            event = fall or (DIVERGED[2] if (name, seed) == DIVERGED[:2] else None)
            lag = np.full(end, LAGS.get(arm.condition) or int(arm.condition.removeprefix("lag")), dtype=float)
            if arm.condition == "ref":
                lag = 8.0 + (update + seed) % 16
            run = pd.DataFrame({"arm": name, "seed": seed, "update": update, "reward": reward, "lag": lag})
            for k, column in enumerate(
                ("nll_pos", "nll_neg", "nll_ratio", "entropy", "kl_k3", "coef_mean", "coef_max")
            ):
                run[column] = (0.1 + 0.05 * k) * (1 + 0.1 * seed) * np.exp(0.01 * update)
            for column in ("frac_below_low", "frac_above_high", "queue_depth", "idle_generator", "idle_learner"):
                run[column] = 0.1 * (seed + 1)
            run["kl_k3"] *= lag > 0  # exactly zero at lag 0
            run["imbalance"], run["drift_pos"], run["drift_neg"] = -0.02 * run["nll_neg"], -0.001 * lag, 0.002 * lag
            for column in ("grad_norm_pos", "grad_norm_neg", "grad_cosine"):
                run[column] = np.where(update % 10 == 0, 0.1 * (seed + 1), np.nan)
            run["rollouts"], run["generated_tokens"], run["flops"] = 64, 1000 + 100 * seed, 1e9
            curves.append(run)
            for at in (0, updates // 2, updates):
                for k, level in enumerate(LEVELS):
                    value = 0.2 + 0.1 * k + 0.01 * seed + (0.3 if at else 0.0)
                    row = {"arm": name, "seed": seed, "update": at, "level": level, "queries": 32, "samples": 8}
                    evals.append(row | {"mean_at_k": value, "pass_at_k": value + 0.1, "seconds": 1.0})
            runs.append(
                {"study": "asympo_async", "tier": tier, "arm": name, "algorithm": arm.algorithm, "core": arm.core}
                | {"condition": arm.condition, "seed": seed, "updates": end, "collapsed": event is not None}
                | {"collapse_update": event, "mean_at_k": 0.1 if fall else 0.6 + 0.01 * seed, "pass_at_k": 0.8}
                | {"start_mean_at_k": 0.3 + 0.01 * seed, "status": "diverged" if end < updates else "finished"}
            )
    table = pd.DataFrame(runs).astype({"collapse_update": "Int64"})
    return Tables(table, pd.concat(curves, ignore_index=True), pd.DataFrame(evals))
