"""Who trains the runs of a grid: worker processes of this machine, and what any worker does with one run.

An executor knows nothing of queues and attempts: those are the grid's.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from repro.errors import ReproError
from repro.study import runs

REPORT_SECONDS = 0.2  # between progress messages of one worker
STOP_SECONDS = 10.0  # what a worker gets to leave its run in order before it is killed


@dataclass(eq=False)
class Cell:
    """A run that a grid has to see done."""

    config: Any
    folder: Path
    losses: int = 0  # of workers that had it
    not_before: float = 0.0
    share: float = 0.0  # of its updates that are done, for the display
    status: str = ""


class Executor(Protocol):
    """Where the runs of a grid are trained."""

    @property
    def full(self) -> bool:
        """Whether it takes no further cell at this moment."""

    def submit(self, cell: Cell) -> None:
        """Have a cell trained."""

    def listen(self, seconds: float) -> list[tuple[Cell, str, Any]]:
        """What was heard of the cells it has, as (cell, kind, content); waits that long at most.

        Kinds, all but the first of which end its having the cell: "progress" (share of the updates, words), "finished",
        "skipped", "busy" (another process holds the run), "failed" (message), "lost" (how its worker ended).
        """

    def stop(self) -> None:
        """End all work, each run in order if it can, and let go of what was taken; may be called again."""


def environment(threads: int) -> dict[str, str]:
    """What a worker's environment must hold before any numerical library can read it."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # there is one display, and it is the grid's
    }


@dataclass(eq=False)
class _Worker:
    process: multiprocessing.Process
    pipe: multiprocessing.connection.Connection
    cell: Cell | None = None


@dataclass
class LocalExecutor:
    """Up to `jobs` spawned processes of `threads` threads each, kept from run to run."""

    jobs: int
    train: str
    threads: int
    workers: list[_Worker] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.workers) >= self.jobs and all(worker.cell for worker in self.workers)

    def submit(self, cell: Cell) -> None:
        worker = next((w for w in self.workers if w.cell is None), None)
        if worker is None:
            worker = _start_worker(self.train, self.threads)
            self.workers.append(worker)
        worker.cell = cell
        with contextlib.suppress(BrokenPipeError):  # a worker that died idle: `listen` sees it next
            worker.pipe.send((cell.config, cell.folder))

    def listen(self, seconds: float) -> list[tuple[Cell, str, Any]]:
        pipes = {worker.pipe: worker for worker in self.workers}
        if not pipes:
            time.sleep(seconds)
        heard = []
        for pipe in multiprocessing.connection.wait(list(pipes), timeout=seconds) if pipes else ():
            worker = pipes[pipe]
            cell = worker.cell
            try:
                kind, content = pipe.recv()
            except (EOFError, ConnectionResetError):
                kind, content = "lost", self._bury(worker)
            if kind not in ("progress", "lost"):
                worker.cell = None
            if cell:
                heard.append((cell, kind, content))
        return heard

    def _bury(self, worker: _Worker) -> str:
        worker.process.join()
        self.workers.remove(worker)
        worker.pipe.close()
        code = worker.process.exitcode
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def stop(self) -> None:
        """End all workers: idle ones at once, busy ones through KeyboardInterrupt, stubborn ones by force."""
        for worker in self.workers:
            worker.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        try:
            for worker in self.workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:  # a second Ctrl-C ends the patience
            for worker in self.workers:
                worker.process.kill()
                worker.process.join()
                worker.pipe.close()
            self.workers.clear()


def _start_worker(train: str, threads: int) -> _Worker:
    """A fresh interpreter with the right environment from its start."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, train))
    wanted = environment(threads)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        process.start()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    there.close()  # else the pipe would not end with the worker
    return _Worker(process, here)


def _work(pipe: multiprocessing.connection.Connection, train: str) -> None:
    """A worker's life: take cells until told to end. Its parent alone answers Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_die_with_parent, daemon=True).start()

    def report(state: tuple[float, str]) -> None:
        try:
            pipe.send(("progress", state))
        except BrokenPipeError:
            raise KeyboardInterrupt from None  # the grid is gone: leave as if it had said so

    with contextlib.suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        while True:
            config, folder = pipe.recv()
            pipe.send(attempt(config, folder, train, report))


def attempt(config: Any, folder: Path, train: str, report: Callable[[tuple[float, str]], None]) -> tuple[str, Any]:
    """Train one run by `train` ("module:function") and say what came of it, as (kind, content)."""
    last = 0.0

    def progress(state: dict) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            report(_described(state))

    try:
        if runs.finished_result(folder, config) is not None:
            return "skipped", None
        module, _, function = train.partition(":")
        getattr(importlib.import_module(module), function)(config, folder, progress=progress)
        return "finished", None
    except runs.RunBusy:
        return "busy", None
    except ReproError as error:  # already says what, where and what to do
        _keep_traceback(folder)
        return "failed", str(error)
    except Exception as error:
        kept = _keep_traceback(folder)
        return "failed", f"{type(error).__name__}: {error}" + (f" (traceback in {kept})" if kept else "")


def _described(state: dict) -> tuple[float, str]:
    """Share of the updates done, and words for it; what comes before the first update has a phase and a step."""
    if "updates" not in state:
        return 0.0, f"{state['phase']} {state['step']}"
    return state["update"] / max(state["updates"], 1), f"{state['update']}/{state['updates']}"


def _keep_traceback(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(traceback.format_exc())
    except OSError:  # the folder may be the very reason; the message is reported all the same
        return None
    return folder / "error.txt"


def _die_with_parent() -> None:
    """A killed grid takes its workers with it: runs can be resumed, orphans would go on unseen."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
