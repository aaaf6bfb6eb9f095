"""Shows that a grid on a Ray cluster survives a lost worker: `python -m repro.study.ray_demo` writes data/ray.json.

Smoke runs of a study are trained twice in throw-away folders: undisturbed, by worker processes of this machine; and on
a Ray cluster (that of RAY_ADDRESS, else a local one), where the worker of one run is killed half-way. The same must
come out of both: every run done once, every update there once, every number equal but for times of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.machine import machine, version
from repro.study import runs, study_named
from repro.study.grid import GridReport, run_grid

STUDY, SEEDS, JOBS = "asympo_async", 2, 2
ARMS = ("naive@ref", "asympo@ref")
ATTEMPTS, DOOMED = "attempts.txt", "doomed.txt"  # in a run's folder: who began it; that its worker is to die once


def train(config: Any, folder: Path, progress: Callable[[dict], None]) -> dict[str, Any]:
    """Train a run, and die by SIGKILL in the middle of it where the folder says so, once."""
    from repro.training import loop

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ATTEMPTS, "a") as attempts:
        attempts.write(f"{os.getpid()}\n")

    def watched(state: dict) -> None:
        progress(state)
        if 2 * state.get("update", 0) > config.training.updates and (folder / DOOMED).exists():
            (folder / DOOMED).unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    return loop.train(config, folder, watched)


def demonstrate(root: Path, quiet: bool = False) -> dict[str, Any]:
    """Train the grid both ways below `root`; what was done and observed, as plain values.

    On a cluster of several nodes `root` must be shared by them. Raises ReproError if anything is not as it must be.
    """
    cells = study_named(STUDY).cells("smoke", list(ARMS), SEEDS)
    doomed = cells[0]
    calm, disturbed = root / "undisturbed", root / "ray"
    folder = runs.run_folder(doomed, disturbed)
    folder.mkdir(parents=True)
    (folder / DOOMED).touch()
    reports = {
        executor: _grid(cells, place, executor, quiet) for executor, place in (("local", calm), ("ray", disturbed))
    }
    rows = [_row(cell, calm, disturbed) for cell in cells]
    for row in rows:
        wanted = 2 if (row["arm"], row["seed"]) == (doomed.arm, doomed.seed) else 1
        if not (row["status"] == "finished" and row["every_update_once"] and row["equal_to_undisturbed"]):
            raise ReproError(f"the demonstration failed: {row}")
        if row["attempts"] != wanted:
            raise ReproError(f"the demonstration failed: {row} should have been begun {wanted} times")
    return {
        "what": "a grid of runs on a Ray cluster, one worker killed half-way, beside the same grid undisturbed",
        "command": "python -m repro.study.ray_demo",
        "cluster": os.environ.get("RAY_ADDRESS") or "local",
        "jobs": JOBS,
        "killed": f"the worker of {doomed.arm}, seed {doomed.seed}, by SIGKILL after half of its updates",
        "reports": {executor: report.summary() for executor, report in reports.items()},
        "runs": rows,
        "machine": machine() | {"ray": version("ray")},
        "commit": runs.provenance()["commit"],
        "dirty": runs.provenance()["dirty"],
    }


def _grid(cells: list[Any], root: Path, executor: str, quiet: bool) -> GridReport:
    os.environ["REPRO_DATA"] = str(root)  # where warm starts are kept
    report = run_grid(cells, root, JOBS, "repro.study.ray_demo:train", quiet=quiet, executor=executor)
    if not report.ok or len(report.finished) != len(cells):
        raise ReproError(f"the demonstration failed on {executor}: {report.summary()}")
    return report


def _row(cell: Any, calm: Path, disturbed: Path) -> dict[str, Any]:
    folder = runs.run_folder(cell, disturbed)
    records = runs.read_metrics(folder)
    updates = [record["update"] for record in records if record["kind"] == "update"]
    undisturbed = runs.read_metrics(runs.run_folder(cell, calm))
    return {
        "arm": cell.arm,
        "seed": cell.seed,
        "status": runs.read_result(folder)["status"],
        "attempts": len((folder / ATTEMPTS).read_text().splitlines()),
        "updates": len(updates),
        "every_update_once": updates == list(range(1, cell.training.updates + 1)),
        "equal_to_undisturbed": [*map(_without_times, records)] == [*map(_without_times, undisturbed)],
    }


def _without_times(record: dict) -> str:
    return json.dumps({key: value for key, value in record.items() if not key.startswith("seconds")}, sort_keys=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m repro.study.ray_demo", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--root", type=Path, help="folder that all nodes share (default: a temporary one, for one node)"
    )
    parser.add_argument("--out", type=Path, default=runs.data_folder() / "ray.json")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(dir=options.root, prefix="ray-demo-") as root:
            found = demonstrate(Path(root))
    except ReproError as error:
        print(f"repro: {error}", file=sys.stderr)
        return 1
    runs.atomic_write(options.out, json.dumps(found | {"seconds": round(time.monotonic() - start)}, indent=1) + "\n")
    print(f"{found['killed']}\n{found['reports']['ray']}\nevery run done once, as undisturbed: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
