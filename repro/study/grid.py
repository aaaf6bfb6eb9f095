"""Many runs at once: spawned workers, one progress display, and no run lost or done twice.

What a run has done lives in its folder, and the lock there says who works on it. So the grid keeps no state
of its own: a killed worker's run is taken up by the next, a killed grid by the next call, and two grids share
the work.
"""

from __future__ import annotations

import collections
import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from repro.errors import ReproError
from repro.study import runs

TRAIN = "repro.training.loop:train"
ATTEMPTS = 2  # a run whose worker dies is tried once more: a kill is often chance, twice is a cause
BUSY_SECONDS = 1.0  # between looks at a run that another process holds
REPORT_SECONDS = 0.2  # between progress messages of one worker
STOP_SECONDS = 10.0  # what a worker gets to leave its run in order before it is killed


@dataclass(frozen=True)
class Failure:
    """A run that did not end: its config, its folder (with the traceback in error.txt), the reason."""

    config: Any
    folder: Path
    message: str


@dataclass(frozen=True)
class GridReport:
    """What became of each cell: finished now, skipped as finished before or by another process, or failed."""

    finished: tuple[Any, ...]
    skipped: tuple[Any, ...]
    failed: tuple[Failure, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        return not self.failed

    def summary(self) -> str:
        """A line of counts, then one per failure."""
        counts = f"{len(self.finished)} runs done in {self.seconds:.0f} s, {len(self.skipped)} were done already"
        lines = [f"{counts}, {len(self.failed)} failed"]
        lines += [f"  {_label(f.config)}: {f.message}" for f in self.failed]
        return "\n".join(lines)


def run_grid(
    cells: Sequence[Any],
    root: Path | None = None,
    jobs: int = 1,
    train: str = TRAIN,
    threads: int = 1,
    quiet: bool = False,
) -> GridReport:
    """Train every cell (a RunConfig) that is not finished under `root`, with `jobs` workers of `threads` threads.

    `train` names, as "module:function", what a worker calls: `train(config, folder, progress=callable)`.
    `progress({"update": t, "updates": total})`, or `progress({"phase": words, "step": n})` before the first
    update, feeds the display on stderr. Failures are reported and stop nothing. On Ctrl-C the workers end,
    KeyboardInterrupt is raised, and the same call continues where they were.
    """
    if jobs < 1:
        raise ReproError(f"jobs={jobs}: give at least one worker")
    start = time.monotonic()
    grid = _Grid(jobs, train, threads)
    for folder, config in {runs.run_folder(config, root): config for config in cells}.items():
        grid.admit(_Cell(config, folder))
    with _display(grid, quiet) as draw:
        try:
            while grid.waiting or grid.active():
                grid.hand_out()
                grid.listen()
                draw()
        except KeyboardInterrupt:
            left = len(grid.waiting) + len(grid.active())
            grid.stop()
            print(
                f"\ninterrupted: {len(grid.finished)} runs done, {left} left; what they have done is kept, "
                "run the same command again to continue",
                file=sys.stderr,
            )
            raise
        finally:
            grid.stop()
    return GridReport(tuple(grid.finished), tuple(grid.skipped), tuple(grid.failed), time.monotonic() - start)


@dataclass(eq=False)
class _Cell:
    config: Any
    folder: Path
    deaths: int = 0
    not_before: float = 0.0
    share: float = 0.0  # of its updates that are done, for the display
    status: str = ""


@dataclass(eq=False)
class _Worker:
    process: multiprocessing.Process
    pipe: multiprocessing.connection.Connection
    cell: _Cell | None = None


@dataclass
class _Grid:
    jobs: int
    train: str
    threads: int
    waiting: collections.deque = field(default_factory=collections.deque)
    workers: list[_Worker] = field(default_factory=list)
    finished: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def active(self) -> list[_Cell]:
        """The cells in the hands of workers."""
        return [worker.cell for worker in self.workers if worker.cell]

    def admit(self, cell: _Cell) -> None:
        """Queue a cell, unless it is over or damaged: that needs no worker to be found out."""
        try:
            over = runs.finished_result(cell.folder, cell.config) is not None
        except ReproError as error:
            self.fail(cell, str(error))
            return
        self.skipped.append(cell.config) if over else self.waiting.append(cell)

    def hand_out(self) -> None:
        """Give each idle worker a cell, starting workers up to `jobs` while cells wait for one."""
        for _ in range(len(self.waiting)):
            cell = self.waiting.popleft()
            worker = next((w for w in self.workers if w.cell is None), None)
            if cell.not_before > time.monotonic() or (worker is None and len(self.workers) >= self.jobs):
                self.waiting.append(cell)
                continue
            if worker is None:
                worker = _start_worker(self.train, self.threads)
                self.workers.append(worker)
            worker.cell, cell.share, cell.status = cell, 0.0, "starting"
            with contextlib.suppress(BrokenPipeError):  # a worker that died idle: `listen` sees it next
                worker.pipe.send((cell.config, cell.folder))

    def listen(self) -> None:
        """Take in what workers have to say, deaths included; waits REPORT_SECONDS at most."""
        pipes = {worker.pipe: worker for worker in self.workers}
        if not pipes:  # every cell is held by another process and no worker was needed so far
            time.sleep(REPORT_SECONDS)
        for pipe in multiprocessing.connection.wait(list(pipes), timeout=REPORT_SECONDS) if pipes else ():
            worker = pipes[pipe]
            try:
                kind, content = pipe.recv()
            except (EOFError, ConnectionResetError):
                self.bury(worker)
                continue
            cell = worker.cell
            if kind == "progress":
                cell.share, cell.status = content
                continue
            worker.cell = None
            if kind == "finished":
                self.finished.append(cell.config)
            elif kind == "skipped":
                self.skipped.append(cell.config)
            elif kind == "busy":
                cell.not_before = time.monotonic() + BUSY_SECONDS
                self.waiting.append(cell)
            else:
                self.fail(cell, content)

    def bury(self, worker: _Worker) -> None:
        """Drop a dead worker; its cell goes back to the queue, or fails if it has cost a worker before."""
        worker.process.join()
        self.workers.remove(worker)
        worker.pipe.close()
        if worker.cell is None:
            return
        worker.cell.deaths += 1
        if worker.cell.deaths < ATTEMPTS:
            self.waiting.append(worker.cell)
            return
        code = worker.process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        self.fail(worker.cell, f"its worker process {how}, {ATTEMPTS} times; is there enough memory?")

    def fail(self, cell: _Cell, message: str) -> None:
        self.failed.append(Failure(cell.config, cell.folder, message))

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
    """A fresh interpreter whose thread count is set before any numerical library can read it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, train))
    wanted = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # there is one display, and it is the grid's
    }
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
    with contextlib.suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        while True:
            config, folder = pipe.recv()
            pipe.send(_attempt(config, folder, train, pipe))


def _attempt(config: Any, folder: Path, train: str, pipe: multiprocessing.connection.Connection) -> tuple[str, Any]:
    last = 0.0

    def progress(state: dict) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            try:
                pipe.send(("progress", _described(state)))
            except BrokenPipeError:
                raise KeyboardInterrupt from None  # the grid is gone: leave as if it had said so

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


@contextlib.contextmanager
def _display(grid: _Grid, quiet: bool) -> Iterator[Callable[[], None]]:
    """One bar for the batch, in runs: share done, rate, time left, failures, and where each worker is."""
    total = len(grid.waiting)
    if quiet or total == 0:
        yield lambda: None
        return
    interval = 0.5 if sys.stderr.isatty() else 30.0
    layout = "{percentage:3.0f}% of {total} runs |{bar:20}| {elapsed}<{remaining}{postfix}"
    bar = tqdm(total=total, bar_format=layout, smoothing=0.0, file=sys.stderr)
    already, start, next_draw = len(grid.skipped) + len(grid.failed), time.monotonic(), 0.0

    def draw(force: bool = False) -> None:
        nonlocal next_draw
        now = time.monotonic()
        if now < next_draw and not force:
            return
        next_draw = now + interval
        ended = len(grid.finished) + len(grid.skipped) + len(grid.failed)
        bar.n = ended - already + sum(cell.share for cell in grid.active())
        held = sum(cell.not_before > 0 for cell in grid.waiting)
        notes = [f"{3600 * bar.n / max(now - start, 1.0):.0f} runs/h"]
        notes += [f"{len(grid.failed)} failed"] if grid.failed else []
        notes += [f"{held} held by another process"] if held else []
        notes += [f"{_label(cell.config)} {cell.status}" for cell in grid.active()]
        bar.set_postfix_str("; ".join(notes))

    try:
        yield draw
        draw(force=True)
    finally:
        bar.close()


def _label(config: Any) -> str:
    return f"{config.arm} seed {config.seed}"
