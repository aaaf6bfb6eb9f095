"""From run folders to the small tables that are committed, and that figures and claims read.

Every column is described, with its unit, in `data/README.md`. Building needs neither torch nor a policy.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from repro.config import config_hash
from repro.errors import ReproError
from repro.study import runs
from repro.study.statistics import collapse_update, running_mean

ENDS = 20  # updates that `reward_first` and `reward_last` average over
PEAK_WINDOW = 10  # updates in the running mean whose maximum is `reward_max`

RUNS = {
    **dict.fromkeys("study tier arm algorithm condition".split(), "str"),
    **{"core": "boolean", "seed": "int64", "run_id": "str", "status": "str", "updates": "int64"},
    **dict.fromkeys("reward_first reward_last reward_max".split(), "float64"),
    **{"collapsed": "bool", "collapse_update": "Int64"},
    **dict.fromkeys("mean_at_k pass_at_k start_mean_at_k peak_mean_at_k".split(), "float64"),
    **dict.fromkeys("eval_update eval_samples".split(), "Int64"),
    **dict.fromkeys("groups rollouts prompt_tokens generated_tokens".split(), "Int64"),
    **dict.fromkeys("informative_tokens trained_tokens".split(), "Int64"),
    **dict.fromkeys("flops flops_needed flops_2p6p seconds seconds_generate seconds_update".split(), "float64"),
    **dict.fromkeys("seconds_eval lag_mean".split(), "float64"),
    **dict.fromkeys("profile_rollouts profile_prompt_tokens profile_generated_tokens".split(), "Int64"),
    **dict.fromkeys("profile_flops profile_flops_2p6p profile_seconds".split(), "float64"),
    "parameters": "Int64",
    **{"commit": "str", "dirty": "boolean", "device": "str", "torch": "str"},
}
SUMS = "groups rollouts prompt_tokens generated_tokens informative_tokens trained_tokens".split()
SUMS += "flops flops_needed flops_2p6p seconds_generate seconds_update".split()
PROFILE_SUMS = "rollouts prompt_tokens generated_tokens flops flops_2p6p seconds".split()
CURVES = {"arm": "str", "seed": "int32", "update": "int32"}
EVALS = {
    **{
        "arm": "str",
        "seed": "int32",
        "update": "int32",
        "level": "str",
        "queries": "int32",
        "samples": "int32",
    },
    **{"mean_at_k": "float64", "pass_at_k": "float64", "seconds": "float64"},
}
PROFILES = dict.fromkeys("seed update samples solved queries".split(), "int32") | {"arm": "str", "charged": "bool"}
EPOCHS = {"arm": "str", "seed": "int32", "epoch": "int32", "update": "int32", "generations": "int64"}
PROBES = dict.fromkeys("arm probe format".split(), "str") | {
    **dict.fromkeys("seed update queries samples".split(), "int32"),
    **dict.fromkeys("mean_at_k pass_at_k seconds".split(), "float64"),
}
SOME = {"epochs": EPOCHS, "probes": PROBES}  # a study has those that were measured
# In worlds of several turns, and where generations are the budget; a table has those that were measured.
STATES = ("states_observation", "states_goal_observation", "states_state")
MEASURED_RUNS = dict.fromkeys(("generations", "epochs", *STATES), "Int64") | {"exhausted": "boolean"}
MEASURED_EVALS = {"generations": "Int64", "won": "float64", "score": "float64", "turns": "float64"}
MEASURED_EVALS["temperature"] = "float64"


@dataclass(frozen=True, eq=False)
class Tables:
    """A row a run; a run and update; a run, evaluation and level; a run, profile and number of successes; a run and
    epoch of exploration; a run, update and probe."""

    runs: pd.DataFrame
    curves: pd.DataFrame
    evals: pd.DataFrame
    profiles: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(PROFILES)).astype(PROFILES))
    epochs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(EPOCHS)).astype(EPOCHS))
    probes: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(PROBES)).astype(PROBES))


def results_folder(study: str, tier: str, root: Path | None = None) -> Path:
    """Where the committed tables lie: `<root>/results/<study>/<tier>`."""
    return Path(root or runs.data_folder()) / "results" / study / tier


def build(study: Any, tier: str, root: Path | None = None, fraction: float = 0.5, **rule: int) -> list[str]:
    """Rebuild a study's tables from the finished local runs and the tables that are there; returns remarks.

    A local run of the study's present definition replaces the row of its arm and seed; rows without a local
    run stay. `fraction`, `window` and `stretch` are those of `statistics.collapse_update`. Raises ReproError
    for a damaged run or table, or if there is nothing to build from.
    """
    root = Path(root or runs.data_folder())
    folders, remarks = _present_runs(study, tier, root)
    new, folder = of_folders(folders, study.arms, fraction, **rule), results_folder(study.name, tier, root)
    if (folder / "runs.parquet").exists():
        new = _merge(load(study.name, tier, root), new, remarks)
    if new.runs.empty:
        where = root / "runs" / study.name / tier
        raise ReproError(f"there is no finished run in {where}. {_remedy(folder, study.name, tier)}")
    for arm, group in new.runs.groupby("arm", sort=False):
        known = arm in study.arms
        old = [row.seed for row in group.itertuples() if not known or row.run_id != _identity(study, row, tier)]
        remarks += [f"{arm}: seeds {_listed(old)} are of an older definition, and kept"] if old else []
    _write(new, list(study.arms), folder)
    return remarks


def of_folders(
    folders: Iterable[Path], arms: dict[str, Any] | None = None, fraction: float = 0.5, **rule: int
) -> Tables:
    """The tables of any finished runs, without writing them; `arms` gives algorithm, condition and core."""
    rows, curves, evals, profiles, epochs, probes = [], [], [], [], [], []
    for folder in folders:
        result, stored = runs.read_result(folder), runs.read_config(folder)
        if result is None:
            raise ReproError(f"{folder} is not finished; run it to its end first")
        config, metrics = stored["config"], runs.read_metrics(folder)
        key = {"arm": config["arm"], "seed": config["seed"]}
        updates, explored, rest = (_records(metrics, kind) for kind in ("update", "epoch", "rest"))
        tests = [record for record in metrics if record["kind"] == "eval"]
        profiled = [record for record in metrics if record["kind"] == "profile"]
        probed = [{"format": "", **record} for record in metrics if record["kind"] == "probe"]
        arm = (arms or {}).get(config["arm"])
        row = {"study": config["study"], "tier": config["tier"], **key}
        row |= {name: getattr(arm, name, None) for name in ("algorithm", "condition", "core")}
        row |= {"run_id": stored["hash"], "status": result["status"], "updates": result["updates"]}
        temperature = config.get("training", {}).get("temperature", 1.0)
        row |= _learning(metrics, bool(explored), fraction, **rule) | _evaluation(tests, temperature)
        row |= _cost(updates + rest, tests, result) | _profiling(profiled) | {"parameters": result.get("parameters")}
        rows.append(row | _explored(updates + rest, explored, result) | _asked(probed) | _origin(stored))
        curves += [key | record for record in updates]
        evals += [key | test for test in tests]
        epochs += [key | record for record in explored]
        probes += [key | {name: value for name, value in test.items() if name != "kind"} for test in probed]
        profiles += [
            key | {name: record[name] for name in ("update", "samples", "charged")} | {"solved": k, "queries": n}
            for record in profiled
            for k, n in enumerate(np.bincount(record["solved"], minlength=record["samples"] + 1).tolist())
        ]
    return _typed(*(pd.DataFrame(table) for table in (rows, curves, evals, profiles, epochs, probes)))


def missing(study: str, tier: str, cells: list[Any], root: Path | None = None) -> list[Any]:
    """The configs whose run is not in the study's tables: what is left to do where the run folders are not at hand."""
    if not (results_folder(study, tier, root) / "runs.parquet").exists():
        return cells
    known = set(load(study, tier, root).runs["run_id"])
    return [config for config in cells if config_hash(config) not in known]


def load(study: str, tier: str, root: Path | None = None) -> Tables:
    """A study's tables at a tier; ReproError, with the remedy, if one is missing, damaged or outdated."""
    folder = results_folder(study, tier, root)
    sums_path, remedy = folder / "SHA256SUMS", _remedy(folder, study, tier)
    sums = sums_path.read_text().splitlines() if sums_path.exists() else []
    tables = {"runs": RUNS, "curves": CURVES, "evals": EVALS, "profiles": PROFILES}
    written = {line.rpartition("  ")[2] for line in sums}
    tables |= {name: columns for name, columns in SOME.items() if f"{name}.parquet" in written}
    frames = {}
    for name, columns in tables.items():
        path = folder / f"{name}.parquet"
        if not path.exists() or not sums_path.exists():
            raise ReproError(f"{sums_path if path.exists() else path} is missing. {remedy}")
        content = path.read_bytes()
        if f"{hashlib.sha256(content).hexdigest()}  {path.name}" not in sums:
            raise ReproError(f"{path} is damaged, or of another build than {sums_path}. {remedy}")
        frames[name] = pq.read_table(io.BytesIO(content)).to_pandas()
        lacking = [column for column in columns if column not in frames[name]]
        if lacking:
            raise ReproError(f"{path} is of an older form, without {', '.join(lacking)}. {remedy}")
    return _typed(**frames)


def full_evaluations(evals: pd.DataFrame, temperature: float | None = 1.0) -> pd.DataFrame:
    """One row a run, update and level: where a small and a full evaluation fall on one update, the full one counts.

    Rows that say another sampling temperature are left out; without `temperature` there is a row for each.
    """
    if "temperature" in evals and temperature is not None:
        evals = evals[evals["temperature"].fillna(temperature) == temperature]
    keys = [name for name in ("arm", "seed", "update", "level", "temperature") if name in evals]
    order = evals.assign(effort=evals["queries"] * evals["samples"]).sort_values("effort", kind="stable")
    return order.drop_duplicates(keys, keep="last").drop(columns="effort")


def _present_runs(study: Any, tier: str, root: Path) -> tuple[list[Path], list[str]]:
    """Finished local runs of the study as it is defined now, and remarks on the others."""
    folders, unfinished, other = [], 0, 0
    for arm in study.arms:
        for path in sorted((root / "runs" / study.name / tier / arm).glob("seed*-*")):
            match = re.fullmatch(r"seed(\d+)-[0-9a-f]{12}", path.name)
            if not match or path != runs.run_folder(study.config(arm, int(match[1]), tier), root):
                other += 1
            elif runs.read_result(path) is None:
                unfinished += 1
            else:
                folders.append(path)
    remarks = [f"{unfinished} runs are not finished and left out"] if unfinished else []
    remarks += [f"{other} runs have settings other than the study's and are left out"] if other else []
    return folders, remarks


def _learning(metrics: list[dict], explored: bool, fraction: float, **rule: int) -> dict:
    """How the training reward went, and whether it collapsed (see `statistics.collapse_update`)."""
    updates = _records(metrics, "update")
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


def _evaluation(tests: list[dict], trained_at: float) -> dict:
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


def _explored(updates: list[dict], epochs: list[dict], result: dict) -> dict:
    """What was sampled and met in all, where it was counted; the last of `updates` may be of what none followed."""
    counts = {name: [u[name] for u in updates if name in u][-1:] for name in ("generations", *STATES)}
    row = {name: last[0] for name, last in counts.items() if last}
    if epochs:
        sampled = max(row.get("generations", 0), epochs[-1]["generations"])  # an epoch may end without an update
        row |= {"epochs": epochs[-1]["epoch"], "generations": sampled}
    return row | ({"exhausted": result["exhausted"]} if "exhausted" in result else {})


def _asked(probed: list[dict]) -> dict:
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


def _cost(updates: list[dict], tests: list[dict], result: dict) -> dict:
    row = {name: _sum(updates, name) for name in SUMS}
    row["seconds_eval"] = _sum(tests, "seconds")
    phases = [row[name] for name in ("seconds_generate", "seconds_update", "seconds_eval")]
    row["seconds"] = result.get("seconds", sum(phase or 0.0 for phase in phases))  # wall-clock where known
    row["lag_mean"] = _mean([u["lag"] for u in updates if u.get("lag") is not None])
    return row


def _profiling(profiled: list[dict]) -> dict:
    """What profiling cost, as far as it is on the run's bill."""
    charged = [record | {"rollouts": record["samples"] * len(record["solved"])} for record in profiled]
    charged = [record for record in charged if record["charged"]]
    return {f"profile_{name}": _sum(charged, name) or 0 for name in PROFILE_SUMS}


def _origin(stored: dict) -> dict:
    """Commit, device and torch of the first attempt; dirty too if a later one ran other code."""
    later = stored.get("resumed", [])
    mixed = any(part["dirty"] or part["commit"] != stored["commit"] for part in later)
    return {
        "commit": stored["commit"],
        "dirty": True if mixed else stored["dirty"],
        "device": stored["device"],
        "torch": stored["versions"].get("torch"),
    }


def _merge(old: Tables, new: Tables, remarks: list[str]) -> Tables:
    """The new rows, and the old rows of every arm and seed that has no new one."""
    both = old.runs.merge(new.runs, on=["arm", "seed"], suffixes=("_old", "_new"))
    for arm, group in both[both["run_id_old"] != both["run_id_new"]].groupby("arm", sort=False):
        remarks.append(f"{arm}: local runs replace the table's other runs of seeds {_listed(group['seed'])}")
    fresh = _keys(new.runs)
    names = [field.name for field in fields(Tables)]
    pairs = [(getattr(old, name), getattr(new, name)) for name in names]
    return _typed(*(pd.concat([before[~_keys(before).isin(fresh)], after]) for before, after in pairs))


def _write(tables: Tables, arms: list[str], folder: Path) -> None:
    """The same content gives the same bytes, so that git shows a change only where numbers changed."""
    sums = []
    rank = {arm: position for position, arm in enumerate(arms)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReproError(f"cannot make {folder}: {error.strerror}. Set REPRO_DATA to another folder") from error
    orders = {"runs": [], "curves": ["update"], "evals": ["update"], "profiles": ["update", "solved"]}
    some = {"epochs": ["epoch"], "probes": ["update"]}
    orders |= {name: order for name, order in some.items() if len(getattr(tables, name))}
    for name, order in orders.items():
        frame = getattr(tables, name)
        place = frame["arm"].map(lambda arm: rank.get(arm, len(rank)))
        frame = frame.assign(_place=place).sort_values(["_place", "arm", "seed", *order], kind="stable")
        table = pa.Table.from_pandas(frame.drop(columns="_place"), preserve_index=False)
        table = table.replace_schema_metadata(None)  # it would name the pandas version
        floats = [f.name for f in table.schema if pa.types.is_floating(f.type)]
        buffer = io.BytesIO()
        pq.write_table(
            table,
            buffer,
            compression="zstd",
            use_dictionary=[f.name for f in table.schema if f.name not in floats],
            use_byte_stream_split=floats,  # like bytes of neighbouring floats side by side: a fifth smaller
        )
        runs.atomic_write(folder / f"{name}.parquet", buffer.getvalue())
        sums.append(f"{hashlib.sha256(buffer.getvalue()).hexdigest()}  {name}.parquet\n")
    runs.atomic_write(folder / "SHA256SUMS", "".join(sums))  # as of sha256sum: `sha256sum -c SHA256SUMS` checks it


def _typed(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    evals: pd.DataFrame,
    profiles: pd.DataFrame,
    epochs: pd.DataFrame | None = None,
    probes: pd.DataFrame | None = None,
) -> Tables:
    """Fixed columns, then measured ones: in runs of levels (float64), elsewhere float32 and sorted."""
    epochs, probes = (pd.DataFrame() if frame is None else frame for frame in (epochs, probes))
    more = {name: MEASURED_RUNS.get(name, "float64") for name in runs.columns if name not in RUNS}
    tested = {name: kind for name, kind in MEASURED_EVALS.items() if name in evals.columns}
    measured, counted, asked = (
        dict.fromkeys(sorted(set(frame.columns) - set(fixed)), "float32")
        for frame, fixed in ((curves, CURVES), (epochs, EPOCHS), (probes, PROBES))
    )
    return Tables(
        *(
            frame.reindex(columns=list(columns)).astype(columns)
            for frame, columns in (
                (runs, RUNS | more),
                (curves, CURVES | measured),
                (evals, EVALS | tested),
                (profiles, PROFILES),
                (epochs, EPOCHS | counted),
                (probes, PROBES | asked),
            )
        )
    )


def _keys(frame: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(frame[["arm", "seed"]])


def _identity(study: Any, row: Any, tier: str) -> str:
    return config_hash(study.config(row.arm, int(row.seed), tier))


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(str(seed) for seed in sorted(seeds))


def _records(metrics: list[dict], kind: str) -> list[dict]:
    """The numeric entries of every record of a kind; null and absent are the same."""
    rows = [record for record in metrics if record["kind"] == kind]
    return [{name: value for name, value in row.items() if isinstance(value, int | float)} for row in rows]


def _sum(records: list[dict], name: str) -> float | None:
    values = [record[name] for record in records if record.get(name) is not None]
    return sum(values) if values else None


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return float(np.mean(values)) if values else None


def _remedy(folder: Path, study: str, tier: str) -> str:
    command = f"make reproduce TIER={tier} ONLY={study}"
    if not folder.exists():
        return f"Make it with: {command}"
    return f"Restore it with git checkout -- {folder}, or delete that folder and run: {command}"
