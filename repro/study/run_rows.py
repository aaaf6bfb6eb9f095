"""A run as a row of the table of runs: what it learned, how it was evaluated, what it met and what it cost.

Every column is described, with its unit, in `data/README.md`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from repro.study.statistics import collapse_update, running_mean

ENDS = 20  # updates that `reward_first` and `reward_last` average over
PEAK_WINDOW = 10  # updates in the running mean whose maximum is `reward_max`
SUMS = "groups rollouts prompt_tokens generated_tokens informative_tokens trained_tokens".split()
SUMS += "flops flops_needed flops_2p6p seconds_generate seconds_update".split()
PROFILE_SUMS = "rollouts prompt_tokens generated_tokens flops flops_2p6p seconds".split()
STATES = ("states_observation", "states_goal_observation", "states_state")


def run_row(
    stored: dict[str, Any], result: dict[str, Any], metrics: list[dict], arm: Any, fraction: float, **rule: int
) -> dict[str, Any]:
    """The row of a run from its config as stored, its result and its log; `arm` (or None) says what it was part of."""
    config = stored["config"]
    updates, explored, rest = (records(metrics, kind) for kind in ("update", "epoch", "rest"))
    tests = [record for record in metrics if record["kind"] == "eval"]
    profiled = [record for record in metrics if record["kind"] == "profile"]
    probed = [{"format": "", **record} for record in metrics if record["kind"] == "probe"]
    temperature = config.get("training", {}).get("temperature", 1.0)
    row = {name: config[name] for name in ("study", "tier", "arm", "seed")}
    row |= {name: getattr(arm, name, None) for name in ("algorithm", "condition", "core")}
    row |= {"run_id": stored["hash"], "status": result["status"], "updates": result["updates"]}
    row |= learning(metrics, bool(explored), fraction, **rule) | evaluation(tests, temperature)
    row |= cost(updates + rest, tests, result) | profiling(profiled) | {"parameters": result.get("parameters")}
    return row | in_all(updates + rest, explored, result) | asked(probed) | origin(stored)


def full_evaluations(evals: pd.DataFrame, temperature: float | None = 1.0) -> pd.DataFrame:
    """One row a run, update and level: where a small and a full evaluation fall on one update, the full one counts.

    Rows that say another sampling temperature are left out; without `temperature` there is a row for each.
    """
    if "temperature" in evals and temperature is not None:
        evals = evals[evals["temperature"].fillna(temperature) == temperature]
    keys = [name for name in ("arm", "seed", "update", "level", "temperature") if name in evals]
    order = evals.assign(effort=evals["queries"] * evals["samples"]).sort_values("effort", kind="stable")
    return order.drop_duplicates(keys, keep="last").drop(columns="effort")


def learning(metrics: list[dict], explored: bool, fraction: float, **rule: int) -> dict:
    """How the training reward went, and whether it collapsed (see `statistics.collapse_update`)."""
    updates = records(metrics, "update")
    scored = [u for u in updates if math.isfinite(u.get("reward", math.nan))]
    reward = np.array([u["reward"] for u in scored])
    # A non-finite loss is a collapse whatever the reward was; an update it prevented is logged as "diverged".
    falls = [u["update"] for u in updates if not math.isfinite(u.get("loss", 0.0))][:1]
    falls += [record["update"] for record in metrics if record["kind"] == "diverged"]
    if len(reward) and not explored:  # rewards of steps can be negative, and compare states
        index = collapse_update(reward, fraction, **rule)
        falls += [] if index is None else [scored[index]["update"]]
    peak = running_mean(reward, PEAK_WINDOW)[PEAK_WINDOW - 1 :]
    return {
        "reward_first": _mean(reward[:ENDS]),
        "reward_last": _mean(reward[-ENDS:]),
        "reward_max": float(peak.max()) if len(peak) else None,
        "collapsed": bool(falls),
        "collapse_update": min(falls, default=None),
    }


def evaluation(tests: list[dict], trained_at: float) -> dict:
    """Held-out success at both ends and at its best, levels weighted equally; at temperatures other than training's
    at both ends alone, in columns of their own."""
    if not tests:
        return {}
    frame = full_evaluations(pd.DataFrame(tests), None)
    temperature = frame.get("temperature", pd.Series(index=frame.index, dtype=float)).fillna(trained_at)
    own = frame[temperature == trained_at]
    mean = own.groupby("update")["mean_at_k"].mean()
    final = own[own["update"] == own["update"].max()].set_index("level")
    row = {
        "mean_at_k": float(final["mean_at_k"].mean()),
        "pass_at_k": float(final["pass_at_k"].mean()),
        "start_mean_at_k": float(mean.loc[0]) if 0 in mean.index else None,
        "peak_mean_at_k": float(mean.max()),
        "eval_update": int(mean.index.max()),
        "eval_samples": int(final["samples"].min()),
    }
    for level, test in final.iterrows():
        row |= {f"mean_at_k_{level}": test["mean_at_k"], f"pass_at_k_{level}": test["pass_at_k"]}
    if "won" not in frame:
        return row
    for at, tried in frame.groupby(temperature):
        suffix = "" if at == trained_at else f"_t{at:g}"
        for prefix, update in (("", own["update"].max()), ("start_", 0)):
            ends = tried[tried["update"] == update].set_index("level")
            measured = [
                "won",
                "turns",
                *(["mean_at_k"] if at != trained_at else []),
                *ends.columns.intersection(["score"]),
            ]
            for name in measured if len(ends) else ():
                row |= {f"{prefix}{name}{suffix}": float(ends[name].mean())}
                row |= {f"{prefix}{name}_{level}{suffix}": value for level, value in ends[name].items()}
    return row


def in_all(updates: list[dict], epochs: list[dict], result: dict) -> dict:
    """What was sampled and met in all, where it was counted; the last of `updates` may be of what none followed."""
    counts = {name: [u[name] for u in updates if name in u][-1:] for name in ("generations", *STATES)}
    row = {name: last[0] for name, last in counts.items() if last}
    if epochs:
        sampled = max(row.get("generations", 0), epochs[-1]["generations"])  # an epoch may end without an update
        row |= {"epochs": epochs[-1]["epoch"], "generations": sampled}
    return row | ({"exhausted": result["exhausted"]} if "exhausted" in result else {})


def asked(probed: list[dict]) -> dict:
    """What the probes with hints say at both ends: guided success, and shares of planted and of right answers."""
    probed = [record for record in probed if record["probe"] != "format"]
    row, last = {}, max((record["update"] for record in probed), default=0)
    for record in probed:
        for prefix in ["start_"] * (record["update"] == 0) + [""] * (record["update"] == last):
            kind, _, hint = record["probe"].partition("_")
            if kind == "planted":
                row |= {f"{prefix}copied_{hint}": record["copied"], f"{prefix}solved_{hint}": record["mean_at_k"]}
            else:
                row[f"{prefix}{kind}"] = record["mean_at_k"]
    return row


def cost(updates: list[dict], tests: list[dict], result: dict) -> dict:
    row = {name: _sum(updates, name) for name in SUMS}
    row["seconds_eval"] = _sum(tests, "seconds")
    phases = [row[name] for name in ("seconds_generate", "seconds_update", "seconds_eval")]
    row["seconds"] = result.get("seconds", sum(phase or 0.0 for phase in phases))  # wall-clock where known
    row["lag_mean"] = _mean([u["lag"] for u in updates if u.get("lag") is not None])
    return row


def profiling(profiled: list[dict]) -> dict:
    """What profiling cost, as far as it is on the run's bill."""
    charged = [record | {"rollouts": record["samples"] * len(record["solved"])} for record in profiled]
    charged = [record for record in charged if record["charged"]]
    return {f"profile_{name}": _sum(charged, name) or 0 for name in PROFILE_SUMS}


def origin(stored: dict) -> dict:
    """Commit, device and torch of the first attempt; dirty too if a later one ran other code."""
    later = stored.get("resumed", [])
    mixed = any(part["dirty"] or part["commit"] != stored["commit"] for part in later)
    return {
        "commit": stored["commit"],
        "dirty": True if mixed else stored["dirty"],
        "device": stored["device"],
        "torch": stored["versions"].get("torch"),
    }


def records(metrics: list[dict], kind: str) -> list[dict]:
    """The numeric entries of every record of a kind; null and absent are the same."""
    rows = [record for record in metrics if record["kind"] == kind]
    return [{name: value for name, value in row.items() if isinstance(value, int | float)} for row in rows]


def _sum(records: list[dict], name: str) -> float | None:
    values = [record[name] for record in records if record.get(name) is not None]
    return sum(values) if values else None


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return float(np.mean(values)) if values else None
