"""Many runs at once, here or on a Ray cluster: one progress display, and no run lost or done twice.

What a run has done lives in its folder, and the lock there says who works on it. So the grid keeps no state
of its own: a lost worker's run is taken up by the next, a killed grid by the next call, and two grids share
the work. Who trains is an executor's affair (`workers`, `ray_executor`): what is admitted, tried again, given up and
shown is the same for all of them.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from repro.errors import ReproError
from repro.study import runs
from repro.study.workers import REPORT_SECONDS, Cell, Executor, LocalExecutor

TRAIN = "repro.training.loop:train"
ATTEMPTS = 2  # a run whose worker dies is tried once more: a kill is often chance, twice is a cause
BUSY_SECONDS = 1.0  # between looks at a run that another process holds
EXECUTORS = ("local", "ray")
VARIABLE = "REPRO_EXECUTOR"  # where runs are trained is no part of them: notebooks need not know it
NAMED = 8  # runs that the display names at once


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
    executor: str | None = None,
) -> GridReport:
    """Train every cell (a RunConfig) that is not finished under `root`, with `jobs` workers of `threads` threads.

    `executor` is "local" (worker processes of this machine) or "ray" (see `ray_executor`); None takes $REPRO_EXECUTOR,
    else "local". `train` names, as "module:function", what a worker calls: `train(config, folder, progress=callable)`.
    `progress({"update": t, "updates": total})`, or `progress({"phase": words, "step": n})` before the first
    update, feeds the display on stderr. Failures are reported and stop nothing. On Ctrl-C the workers end,
    KeyboardInterrupt is raised, and the same call continues where they were. Raises ReproError for an unknown executor
    or one that cannot start.
    """
    if jobs < 1:
        raise ReproError(f"jobs={jobs}: give at least one worker")
    start = time.monotonic()
    grid = _Grid()
    for folder, config in {runs.run_folder(config, root): config for config in cells}.items():
        grid.admit(Cell(config, folder))
    name = chosen_executor(executor)
    with _display(grid, quiet) as draw, _started(name, grid, jobs, train, threads, root) as workers:
        try:
            while grid.waiting or grid.active:
                grid.hand_out(workers)
                grid.listen(workers)
                draw()
        except KeyboardInterrupt:
            left = len(grid.waiting) + len(grid.active)
            workers.stop()
            print(
                f"\ninterrupted: {len(grid.finished)} runs done, {left} left; what they have done is kept, "
                "run the same command again to continue",
                file=sys.stderr,
            )
            raise
    return GridReport(tuple(grid.finished), tuple(grid.skipped), tuple(grid.failed), time.monotonic() - start)


def chosen_executor(name: str | None = None) -> str:
    """The name given, else $REPRO_EXECUTOR, else "local"; ReproError for one that is not in EXECUTORS."""
    name = name or os.environ.get(VARIABLE) or "local"
    if name not in EXECUTORS:
        raise ReproError(f"there is no executor {name!r}; there are: {', '.join(EXECUTORS)}")
    return name


@contextlib.contextmanager
def _started(name: str, grid: _Grid, jobs: int, train: str, threads: int, root: Path | None) -> Iterator[Executor]:
    """The executor of that name, stopped in the end whatever happens; where nothing is to be done none is started."""
    if name == "ray" and grid.waiting:
        from repro.study.ray_executor import RayExecutor

        workers = RayExecutor(jobs, train, threads, Path(root or runs.data_folder()))
    else:
        workers = LocalExecutor(jobs, train, threads)
    try:
        yield workers
    finally:
        workers.stop()


@dataclass
class _Grid:
    waiting: collections.deque[Cell] = field(default_factory=collections.deque)
    active: list[Cell] = field(default_factory=list)
    finished: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def admit(self, cell: Cell) -> None:
        """Queue a cell, unless it is over or damaged: that needs no worker to be found out."""
        try:
            over = runs.finished_result(cell.folder, cell.config) is not None
        except ReproError as error:
            self.fail(cell, str(error))
            return
        self.skipped.append(cell.config) if over else self.waiting.append(cell)

    def hand_out(self, workers: Executor) -> None:
        """Give the executor cells, in order, as long as it takes any; those that were found busy wait their time."""
        for _ in range(len(self.waiting)):
            cell = self.waiting.popleft()
            if workers.full or cell.not_before > time.monotonic():
                self.waiting.append(cell)
                continue
            cell.share, cell.status = 0.0, "starting"
            self.active.append(cell)
            workers.submit(cell)

    def listen(self, workers: Executor) -> None:
        """Take in what workers have to say, losses of them included; waits REPORT_SECONDS at most."""
        for cell, kind, content in workers.listen(REPORT_SECONDS):
            if kind == "progress":
                cell.share, cell.status = content
                continue
            self.active.remove(cell)
            if kind == "finished":
                self.finished.append(cell.config)
            elif kind == "skipped":
                self.skipped.append(cell.config)
            elif kind == "busy":
                cell.not_before = time.monotonic() + BUSY_SECONDS
                self.waiting.append(cell)
            elif kind == "lost":
                self.lose(cell, content)
            else:
                self.fail(cell, content)

    def lose(self, cell: Cell, how: str) -> None:
        """The worker of a cell is gone: back to the queue, unless the cell has cost a worker before."""
        cell.losses += 1
        if cell.losses < ATTEMPTS:
            self.waiting.append(cell)
        else:
            self.fail(cell, f"its worker process {how}, {ATTEMPTS} times; is there enough memory?")

    def fail(self, cell: Cell, message: str) -> None:
        self.failed.append(Failure(cell.config, cell.folder, message))


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
        bar.n = ended - already + sum(cell.share for cell in grid.active)
        held = sum(cell.not_before > 0 for cell in grid.waiting)
        notes = [f"{3600 * bar.n / max(now - start, 1.0):.0f} runs/h"]
        notes += [f"{len(grid.failed)} failed"] if grid.failed else []
        notes += [f"{held} held by another process"] if held else []
        notes += [f"{_label(cell.config)} {cell.status}" for cell in grid.active[:NAMED]]
        notes += [f"and {len(grid.active) - NAMED} more"] if len(grid.active) > NAMED else []
        bar.set_postfix_str("; ".join(notes))

    try:
        yield draw
        draw(force=True)
    finally:
        bar.close()


def _label(config: Any) -> str:
    return f"{config.arm} seed {config.seed}"
