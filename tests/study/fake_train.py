"""A tiny resumable "training" loop for the tests of the study machinery: real files and locks, no policy.

FAKE_PAUSE, seconds per update, is read from the environment, so that a slow run can be resumed fast. Its
state is one number of a chaotic map, so that any lost, doubled or reordered update changes every later
metric.
"""

import json
import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from repro.study import runs


@dataclass(frozen=True)
class FakeConfig:
    arm: str = "naive@lag0"
    seed: int = 0
    study: str = "fake"
    tier: str = "smoke"
    updates: int = 30
    fault: str = ""  # half-way: "raise", "kill", "raise once" or "kill once"


def train(config: FakeConfig, folder: Path, progress=None) -> dict:
    with runs.open_run(config, folder) as run:
        if run.finished:
            return run.finished
        checkpoint = folder / "checkpoint.json"
        state = json.loads(checkpoint.read_text()) if checkpoint.exists() else None
        run.log.rewind(state["log"] if state else None)
        update, x = (state["update"], state["x"]) if state else (0, 0.1 + 0.05 * config.seed)
        with open(folder / "attempts.txt", "a") as attempts:
            attempts.write(f"{os.getpid()} from {update} threads {os.environ.get('OMP_NUM_THREADS')}\n")
        try:
            while update < config.updates:
                update, x = update + 1, 3.9 * x * (1 - x)
                loss = math.nan if update == 7 else -x
                run.log.append({"kind": "update", "update": update, "reward": x, "loss": loss})
                if update == config.updates // 2:
                    _fault(config, folder)
                if update % 4 == 0:
                    state = {"update": update, "x": x, "log": run.log.mark()}
                    runs.atomic_write(checkpoint, json.dumps(state))
                if progress and update == config.updates:  # silent until then, as a long update would be
                    progress({"update": update, "updates": config.updates})
                time.sleep(float(os.environ.get("FAKE_PAUSE", "0")))
        except KeyboardInterrupt:
            (folder / "interrupted.txt").touch()
            raise
        return run.finish({"status": "finished", "updates": update, "last": x})


def _fault(config: FakeConfig, folder: Path) -> None:
    marker = folder / "fault.txt"
    if config.fault.endswith("once") and marker.exists():
        return
    if config.fault:
        marker.touch()
    if config.fault.startswith("raise"):
        raise RuntimeError("the learner tripped")
    if config.fault.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
