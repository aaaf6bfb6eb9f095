"""Runs of a grid on a Ray cluster: `repro reproduce --executor ray`, or REPRO_EXECUTOR=ray for any notebook.

The cluster is the one that RAY_ADDRESS names, else one of this machine's that lives as long as the grid. A run is one
Ray task, which reserves its threads in cores and, where the run's device is a GPU, one GPU. Ray tries nothing again by
itself: a lost worker's run goes back to the grid's queue, and the next worker resumes it from its checkpoint.

Every node needs this package in the same version, and the data folder (REPRO_DATA) under the same path on a file
system that all nodes share, with locks that hold between them (NFS 4; Lustre mounted with flock). A node where that is
not so would train runs that nobody sees, or that another trains as well: it is found out before it trains any, and the
grid stops.

The one module that imports ray.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.machine import cores
from repro.study import runs
from repro.study.workers import STOP_SECONDS, Cell, attempt, environment

try:
    import ray
except ModuleNotFoundError as error:
    raise ReproError(
        "the executor 'ray' needs the package 'ray': pip install '.[ray]'. Without it, `--executor local` trains in "
        "worker processes of this machine"
    ) from error

ANSWER_SECONDS = 10.0  # for an address to take a connection
PASSED_ON = ("REPRO_TRACK", "ALFWORLD_DATA", "WEBSHOP_DATA")  # from this process's environment to the workers'


class RayExecutor:
    """At most `jobs` tasks in flight, of `threads` cores each; how many of them run at once the cluster decides.

    `root` is the data folder. A cluster that this process is connected to already is used and left connected. Raises
    ReproError where RAY_ADDRESS does not answer, a local cluster does not start, or a node does not share the folder.
    """

    def __init__(self, jobs: int, train: str, threads: int, root: Path):
        self.jobs, self.train, self.threads, self.root = jobs, train, threads, root.absolute()
        self.cells: dict[ray.ObjectRef, Cell] = {}  # by the reference to what comes of them
        with contextlib.ExitStack() as opening:
            opening.enter_context(connected(jobs * threads))
            self.mark = opening.enter_context(_mark(self.root))
            # Without limits to restarts: it holds what the display shows and nothing else, so a loss costs nothing.
            self.board = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Board).remote()
            self.open = opening.pop_all()

    @property
    def full(self) -> bool:
        return len(self.cells) >= self.jobs

    def submit(self, cell: Cell) -> None:
        gpus = 0 if getattr(cell.config, "device", "cpu") == "cpu" else 1
        cell.status = "waits for free cores" + (" and a GPU" if gpus else "")
        variables = environment(self.threads) | {"REPRO_DATA": str(self.root)}
        variables |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        options = {"num_cpus": self.threads, "num_gpus": gpus, "max_retries": 0, "runtime_env": {"env_vars": variables}}
        task = ray.remote(_task).options(**options)
        self.cells[task.remote(cell.config, cell.folder.absolute(), self.train, self.mark, self.board)] = cell

    def listen(self, seconds: float) -> list[tuple[Cell, str, Any]]:
        if not self.cells:
            time.sleep(seconds)
            return []
        ended, _ = ray.wait(list(self.cells), num_returns=1, timeout=seconds)
        news = ray.get(self.board.take.remote())
        heard = [(cell, "progress", news[str(cell.folder)]) for cell in self.cells.values() if str(cell.folder) in news]
        return heard + [(self.cells.pop(reference), *_outcome(reference)) for reference in ended]

    def stop(self) -> None:
        """End all tasks, running ones through KeyboardInterrupt, stubborn ones by force; then let the cluster go."""
        try:
            for reference in self.cells:
                ray.cancel(reference)
            if self.cells:
                _, stubborn = ray.wait(list(self.cells), num_returns=len(self.cells), timeout=STOP_SECONDS)
                for reference in stubborn:
                    ray.cancel(reference, force=True)
            self.cells.clear()
        finally:
            self.open.close()


@contextlib.contextmanager
def connected(wanted_cores: int) -> Iterator[None]:
    """Be connected to the cluster of RAY_ADDRESS, or to a local one of that many cores, which ends with the context."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    _must_answer(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody unless it was asked for
    os.environ.setdefault("RAY_worker_niceness", "0")  # a cluster of this machine works as hard as its own workers do
    size = {"num_cpus": wanted_cores, "include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False, **size)
    except Exception as error:  # ray raises a bare Exception where a local cluster does not come up in time
        first = str(error).strip().splitlines()[0].rstrip(".")
        what = "a local Ray cluster did not start" if address == "local" else f"RAY_ADDRESS={address} did not let us in"
        raise ReproError(f"{what}: {first}. See /tmp/ray/session_latest/logs, or use --executor local") from error
    try:
        yield
    finally:
        ray.shutdown()


def capacity() -> int:
    """How many runs of one core fit at once: the cores of the cluster that RAY_ADDRESS names, else of this machine.

    Raises ReproError if that cluster does not answer.
    """
    if not ray.is_initialized() and os.environ.get("RAY_ADDRESS", "local") == "local":
        return cores()
    with connected(0):
        return max(int(ray.cluster_resources().get("CPU", 0)), 1)


def _must_answer(address: str) -> None:
    """ReproError for an address [ray://]host:port where nobody listens: ray itself would go on trying."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:  # "local" and "auto" are ray's to find
        return
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ReproError(
            f"RAY_ADDRESS={address}: nobody answers there ({error}). Start the cluster (`ray start --head` on its "
            "first machine prints the address), or unset RAY_ADDRESS to use this machine alone"
        ) from error


@contextlib.contextmanager
def _mark(root: Path) -> Iterator[Path]:
    """A folder in the data folder, and its lock held: what a node must see and must not get."""
    mark = root / f".ray-{uuid.uuid4().hex}"
    try:
        with runs.locked(mark):
            yield mark
    finally:
        shutil.rmtree(mark, ignore_errors=True)


class _Board:
    """What runs last said of their progress, until the grid looks."""

    def __init__(self) -> None:
        self.latest: dict[str, tuple[float, str]] = {}

    def post(self, key: str, state: tuple[float, str]) -> None:
        self.latest[key] = state

    def take(self) -> dict[str, tuple[float, str]]:
        taken, self.latest = self.latest, {}
        return taken


def _task(config: Any, folder: Path, train: str, mark: Path, board: Any) -> tuple[str, Any]:
    """One run on some node; (kind, content), or ("unshared", reason) where the folder is not what the grid sees."""
    if not mark.is_dir():
        return "unshared", f"does not see {mark.parent}"
    with contextlib.suppress(runs.RunBusy), runs.locked(mark):
        return "unshared", f"is not kept out by a lock in {mark.parent}"
    post = board.post.remote
    post(str(folder), (0.0, f"starting on {socket.gethostname()}"))
    return attempt(config, folder, train, lambda state: post(str(folder), state))


def _outcome(reference: ray.ObjectRef) -> tuple[str, Any]:
    """What came of a task, as (kind, content). ReproError if its node does not share the folder."""
    try:
        kind, content = ray.get(reference)
    except ray.exceptions.OutOfMemoryError:
        return "lost", "was ended because its node ran out of memory"
    except (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError) as error:
        # Not of the run: of the node, such as a package that is not installed there. Trying again would not help.
        return "failed", f"its node could not begin it: {str(error).strip().splitlines()[-1]}"
    except ray.exceptions.RayError as error:
        return "lost", f"was lost ({type(error).__name__})"
    if kind == "unshared":
        raise ReproError(
            f"a node of the Ray cluster {content}. Set REPRO_DATA to a folder that all nodes share under the same "
            "path, with locks that hold between them, or give the cluster one node"
        )
    return kind, content
