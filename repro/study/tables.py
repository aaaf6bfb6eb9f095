"""From run folders to the small tables that are committed, and that figures and claims read.

Every column is described, with its unit, in `data/README.md`. Building needs neither torch nor a policy.
"""

from __future__ import annotations

import hashlib
import io
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
from repro.study.run_rows import ENDS as ENDS
from repro.study.run_rows import STATES, records, run_row
from repro.study.run_rows import full_evaluations as full_evaluations

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
        updates, explored = records(metrics, "update"), records(metrics, "epoch")
        tests = [record for record in metrics if record["kind"] == "eval"]
        profiled = [record for record in metrics if record["kind"] == "profile"]
        probed = [{"format": "", **record} for record in metrics if record["kind"] == "probe"]
        rows.append(run_row(stored, result, metrics, (arms or {}).get(config["arm"]), fraction, **rule))
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
    sums = sums_path.read_text(errors="replace").splitlines() if sums_path.is_file() else []
    tables = {"runs": RUNS, "curves": CURVES, "evals": EVALS, "profiles": PROFILES}
    written = {line.rpartition("  ")[2] for line in sums}
    tables |= {name: columns for name, columns in SOME.items() if f"{name}.parquet" in written}
    frames = {}
    for name, columns in tables.items():
        path = folder / f"{name}.parquet"
        if not path.is_file() or not sums_path.is_file():
            raise ReproError(f"{sums_path if path.is_file() else path} is missing. {remedy}")
        content = path.read_bytes()
        if f"{hashlib.sha256(content).hexdigest()}  {path.name}" not in sums:
            raise ReproError(f"{path} is damaged, or of another build than {sums_path}. {remedy}")
        frames[name] = pq.read_table(io.BytesIO(content)).to_pandas()
        lacking = [column for column in columns if column not in frames[name]]
        if lacking:
            raise ReproError(f"{path} is of an older form, without {', '.join(lacking)}. {remedy}")
    return _typed(**frames)


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


def _remedy(folder: Path, study: str, tier: str) -> str:
    command = f"make reproduce TIER={tier} ONLY={study}"
    if not folder.exists():
        return f"Make it with: {command}"
    return f"Restore it with git checkout -- {folder}, or delete that folder and run: {command}"
