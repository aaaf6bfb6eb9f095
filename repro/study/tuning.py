"""The tuning of the 3SPO studies' learning rates: the same few short runs for every core arm, on a seed of their own.

cells = tuning.cells(ALFWORLD)      # RunConfigs, for run_grid
tuning.record(ALFWORLD)             # once they are finished: data/tuning/threespo_alfworld.json
tuning.chosen(rows)                 # the rule of `threespo`, applied; `Setting.rates` must say the same
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.study import runs
from repro.study.threespo import CORE, RATES, SHARE, TUNING_SEED, TUNING_SHARE, Setting, arms, build

LAST = 2  # evaluations whose mean decides


def cells(setting: Setting, tier: str = "small") -> list[Any]:
    """The RunConfigs: core arm after core arm at each rate. Their arm names are of no study, so no table takes them."""
    found = []
    for name in CORE:
        for rate in RATES:
            config = build(setting, arms()[name], TUNING_SEED, tier)
            generations = round(TUNING_SHARE / SHARE["core"] * config.training.generations)
            training = replace(config.training, learning_rate=rate, generations=generations)
            found.append(replace(config, arm=f"tuning-{name}-{rate:g}", training=training))
    return found


def results(setting: Setting, tier: str = "small", root: Path | None = None) -> list[dict[str, Any]]:
    """A row a cell: arm, rate, the success that decides, and of all held-out lists at the end.

    ReproError if a run is not finished.
    """
    rows = []
    for config in cells(setting, tier):
        folder = runs.run_folder(config, root)
        result = runs.read_result(folder)
        if result is None:
            raise ReproError(f"{folder} is not finished; run the cells of `tuning.cells` first")
        tests = [record for record in runs.read_metrics(folder) if record["kind"] == "eval"]
        tests = [t for t in tests if t.get("temperature", config.training.temperature) == config.training.temperature]
        first = [t["won"] for t in tests if t["level"] == tests[0]["level"]][-LAST:]
        last = {t["level"]: t["won"] for t in tests}
        name = config.arm.split("-", 2)[1]
        rows.append(
            {"arm": name, "learning_rate": config.training.learning_rate, "seed": TUNING_SEED}
            | {"generations": config.training.generations, "status": result["status"], "run_id": folder.name[-12:]}
            | {"success": sum(first) / len(first)} | {f"won_{level}": won for level, won in last.items()}
        )  # fmt: skip
    return rows


def chosen(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The learning rate of each arm: the highest success, the smaller rate among equals; a diverged run counts as 0."""
    best: dict[str, tuple[float, float]] = {}
    for row in rows:
        success = 0.0 if row["status"] == "diverged" else row["success"]
        entry = (success, -row["learning_rate"])
        best[row["arm"]] = max(best.get(row["arm"], entry), entry)
    return {arm: -rate for arm, (_, rate) in best.items()}


def record(setting: Setting, tier: str = "small", root: Path | None = None) -> Path:
    """Write the rows and the choice to `<root>/tuning/<study>.json`; the same runs give the same bytes."""
    rows = results(setting, tier, root)
    path = Path(root or runs.data_folder()) / "tuning" / f"{setting.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    runs.atomic_write(path, json.dumps({"chosen": chosen(rows), "rows": rows}, indent=1, allow_nan=False) + "\n")
    return path


def recorded(setting: Setting, root: Path | None = None) -> dict[str, Any] | None:
    """What `record` wrote, if it did; ReproError if that is damaged."""
    path = Path(root or runs.data_folder()) / "tuning" / f"{setting.name}.json"
    return runs.read_json(path) if path.exists() else None
