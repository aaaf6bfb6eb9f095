"""What the explorer works on: a study's committed tables beside custom runs, and runs with a knob changed.

A custom run is an arm of the study with dotted settings replaced. It lies in `data/runs/` like any other, under an
arm name that starts with "custom-", which no study defines: `tables.build` passes it over, so it never enters the
committed tables.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repro.config import override
from repro.errors import ReproError
from repro.study import runs, tables
from repro.study.definition import Study
from repro.study.statistics import paired_t_interval, t_interval
from repro.study.tables import Tables

CUSTOM = "custom-"
IDENTITY = ("study", "arm", "tier", "seed")  # chosen by the cell, not knobs of it
LONGEST = 160  # characters of an arm's name, a folder's: file systems take 255 bytes
HELD_OUT = {"mean_at_k": "heldout_mean_at_k", "pass_at_k": "heldout_pass_at_k"}

COSTS = ("rollouts", "generated_tokens", "trained_tokens", "flops", "seconds_generate", "seconds_update")


class Stopped(Exception):
    """Raised by a progress callback to end a run; what it has done is kept."""


def knobs(config: Any, prefix: str = "") -> dict[str, Any]:
    """The settings of a config that can be changed, {"training.learning_rate": 0.0003, ...}, in their order."""
    found = {}
    for field in fields(config):
        name, value = prefix + field.name, getattr(config, field.name)
        if is_dataclass(value):
            found |= knobs(value, f"{name}.")
        elif name not in IDENTITY:
            found[name] = value
    return found


def _kinds(config: Any, prefix: str = "") -> dict[str, str]:
    """The choices of a config by name, {"recipe.objective": "SPO", ...}."""
    found = {}
    for field in fields(config):
        if is_dataclass(value := getattr(config, field.name)):
            found |= {prefix + field.name: type(value).__name__} | _kinds(value, f"{prefix}{field.name}.")
    return found


def custom(study: Study, arm: str, seed: int, tier: str, changes: Sequence[str]) -> Any:
    """The config of an arm with settings replaced, such as "training.learning_rate=0.001", under a name of its own.

    Raises ReproError for an unknown arm, tier or setting, a value that does not fit, or changes that change nothing.
    """
    base = study.config(arm, seed, tier)
    for change in changes:
        if change.partition("=")[0].strip() in IDENTITY:
            raise ReproError(f"{change!r}: study, arm, tier and seed are chosen, not changed")
    changed = override(base, list(changes))
    before, after, kinds = knobs(base), knobs(changed), _kinds(base)
    different = {name: kind for name, kind in _kinds(changed).items() if kinds.get(name, kind) != kind}
    different |= {name: value for name, value in after.items() if name not in before or before[name] != value}
    if changed == base:
        raise ReproError(f"nothing is changed: {arm} has these values already. Write for example training.updates=100")
    algorithm, at, condition = arm.partition("@")
    leaves = [name.rpartition(".")[2] for name in after]  # a figure has room for the last part, where that says which
    values = ",".join(
        f"{leaf if leaves.count(leaf := name.rpartition('.')[2]) == 1 else name}={json.dumps(value, default=str)}"
        for name, value in different.items()
    )
    name = f"{CUSTOM}{algorithm}-{values}".replace('"', "")
    safe = re.sub(r"[^A-Za-z0-9._=,-]", "_", name)
    if safe != name or len(safe) > LONGEST:  # two such names must not become one arm
        safe = f"{safe[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return replace(changed, arm=f"{safe}{at}{condition}")


def run(config: Any, root: Path | None = None, progress: Callable[[dict], None] | None = None) -> Path:
    """Train a config in this process, or resume it, and return its folder; see `repro.training.loop.train` for errors.

    A `progress` that raises Stopped ends the run early; the same call goes on from its last checkpoint.
    """
    from repro.training.loop import train  # torch, which looking at results does not need

    folder = runs.run_folder(config, root)
    train(config, folder, progress)
    return folder


def gather(study: Study, tier: str, root: Path | None = None) -> Tables:
    """The committed tables and this machine's finished custom runs, of an arm and seed the last; ReproError if there
    are neither.

    The held-out evaluations, averaged over levels, are added to `curves` as `heldout_mean_at_k` and
    `heldout_pass_at_k`.
    """
    root = Path(root or runs.data_folder())
    folders = sorted((root / "runs" / study.name / tier).glob(f"{CUSTOM}*/seed*"))
    folders = [folder for folder in folders if (folder / "result.json").exists()]
    # A name holds what was changed, not what it was changed from: where a study's definition moved on, the last counts.
    folders.sort(key=lambda folder: (folder / "result.json").stat().st_mtime)
    folders = list({(folder.parent.name, folder.name.partition("-")[0]): folder for folder in folders}.values())
    parts = []
    if tables.results_folder(study.name, tier, root).exists() or not folders:
        parts.append(tables.load(study.name, tier, root))
    if folders:
        parts.append(tables.of_folders(folders, study.arms))
    frames = [pd.concat([getattr(part, name) for part in parts]) for name in ("runs", "curves", "evals")]
    return Tables(frames[0], _with_held_out(frames[1], frames[2]), frames[2])


def arms(found: Tables) -> list[str]:
    """The arms that have runs: the study's in its order, then custom ones."""
    return list(dict.fromkeys(found.runs["arm"]))


def metrics(found: Tables) -> list[str]:
    """The columns of `curves` that can be drawn: success first, then the others by name."""
    first = ["reward", *HELD_OUT.values()]
    other = [c for c in found.curves if c not in (*first, *tables.CURVES) and found.curves[c].notna().any()]
    return [c for c in first if c in found.curves] + sorted(other)


def compare(
    found: Tables, chosen: Sequence[str], metric: str, seeds: Sequence[int] | None = None, last: int = tables.ENDS
) -> pd.DataFrame:
    """A row an arm: a metric over a run's last updates, mean over seeds with its t interval; and the gap to the first.

    `last` is in updates, those before a run's end (the last measurement, for a metric with none there). `difference`
    is the arm minus the first of `chosen`, over the seeds that both have, with its paired t interval.
    """
    curves = found.curves[found.curves["arm"].isin(list(chosen)) & found.curves[metric].notna()]
    if seeds is not None:
        curves = curves[curves["seed"].isin(list(seeds))]
    values = {}
    for (arm, seed), curve in curves.groupby(["arm", "seed"], observed=True):
        tail = curve[curve["update"] > curve["update"].max() - last]
        value = float(tail[metric].mean())
        if np.isfinite(value):
            values.setdefault(arm, {})[seed] = value
    rows = []
    for arm in chosen:
        if arm not in values:
            raise ReproError(
                f"no value of {metric!r} in the chosen seeds of {arm!r}: choose another metric, arm or seeds"
            )
        mean = t_interval(list(values[arm].values()))
        row = {"arm": arm, "seeds": mean.n, "mean": mean.estimate, "low": mean.low, "high": mean.high}
        both = sorted(values[arm].keys() & values[chosen[0]].keys())
        if arm != chosen[0] and both:
            gap = paired_t_interval([values[arm][s] for s in both], [values[chosen[0]][s] for s in both])
            row |= {"difference": gap.estimate, "difference_low": gap.low, "difference_high": gap.high, "pairs": gap.n}
        rows.append(row)
    return pd.DataFrame(rows)


def _with_held_out(curves: pd.DataFrame, evals: pd.DataFrame) -> pd.DataFrame:
    """`curves` with the held-out success of the updates that have one; update 0, the warm start, gets its own row."""
    keys = list(tables.CURVES)
    held_out = tables.full_evaluations(evals).groupby(keys, as_index=False)[list(HELD_OUT)].mean()
    merged = curves.merge(held_out.rename(columns=HELD_OUT), on=keys, how="outer")
    start = merged["update"] == 0
    merged.loc[start, [name for name in COSTS if name in merged]] = 0.0
    return merged
