"""Tables of the SMEPO studies made by hand: few updates, round numbers, arms that can be told apart."""

import numpy as np
import pandas as pd

from repro.study import tables
from repro.study.evidence import Evidence
from repro.study.smepo_math import SMEPO_MATH
from repro.study.tables import Tables

UPDATES = (0, 20, 40, 60)  # evaluations
COLUMNS = {  # of a run that nothing else is said of
    "study": "smepo_math", "tier": "small", "status": "finished", "updates": UPDATES[-1], "collapsed": False,
    "reward_last": 0.5, "pass_at_k": 0.6,
}  # fmt: skip


def arm(
    success=(0.1, 0.2, 0.3, 0.4), seeds=10, seconds=1.0, tokens=100, reward=0.5, mixed=0.5, planted=(), formats=None,
    **columns,
):  # fmt: skip
    """Frames of an arm: `success` at UPDATES, the mean of two levels 0.2 apart, one row for all seeds or one a seed;
    an update costs `seconds` and `tokens`. Columns of `runs` are one value, or one a seed. `planted`: answers copied at
    UPDATES; `formats`: {format: (mean, pass@8, first errors)} of the warm start."""
    curve = np.broadcast_to(np.asarray(success, dtype=float), (seeds, len(UPDATES)))
    given = COLUMNS | {"mean_at_k": curve[:, -1], "start_mean_at_k": curve[:, 0]} | columns
    runs = pd.DataFrame(
        {"seed": np.arange(seeds)} | {k: np.broadcast_to(np.asarray(v), seeds) for k, v in given.items()}
    )
    runs["collapse_update"] = pd.array([None] * seeds, dtype="Int64")
    evals = [
        {"seed": seed, "update": update, "level": level, "queries": 8, "samples": 4, "mean_at_k": value + shift}
        for seed in range(seeds)
        for update, value in zip(UPDATES, curve[seed], strict=True)
        for level, shift in (("easy", 0.1), ("hard", -0.1))
    ]
    costs = [
        {"seed": seed, "update": update, "reward": reward + 0.001 * update + 0.01 * seed, "mixed": mixed,
         "seconds_generate": seconds / 2, "seconds_update": seconds / 2, "generated_tokens": tokens}
        for seed in range(seeds)
        for update in range(1, UPDATES[-1] + 1)
    ]  # fmt: skip
    asked = [
        {"seed": seed, "update": update, "probe": "planted_full", "format": "", "copied": copied + 0.01 * seed}
        for seed in range(seeds)
        for update, copied in zip(UPDATES, planted, strict=False)
    ]
    for name, (mean, passed, errors) in (formats or {}).items():
        row = {"update": 0, "probe": "format", "format": name, "mean_at_k": mean, "pass_at_k": passed}
        row |= {f"error_{kind}": share for kind, share in errors.items()}
        asked += [{"seed": seed, **row} for seed in range(seeds)]
    probes = pd.DataFrame(asked)
    return runs, pd.DataFrame(costs), pd.DataFrame(evals), probes.assign(queries=8, samples=1, seconds=0.1)


def made(arms, study=SMEPO_MATH) -> Tables:
    """Tables of {name: frames of `arm`}, with the columns of real ones."""
    runs, curves, evals, probes = (
        pd.concat([frames[k].assign(arm=name) for name, frames in arms.items()], ignore_index=True) for k in range(4)
    )
    for name in ("core", "condition", "algorithm"):
        runs[name] = [getattr(study.arms[arm], name) for arm in runs["arm"]]
    return tables._typed(runs, curves, evals, pd.DataFrame(), probes=probes)


def evidence(arms, study=SMEPO_MATH) -> Evidence:
    return Evidence(study, made(arms, study))


def spread(mean, half):
    """Ten values with that mean whose t interval is mean ± half (t_9 = 2.262157)."""
    return mean + np.tile([1, -1], 5) * half * 3 / 2.262157
