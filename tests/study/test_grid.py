"""Grids of runs: nothing lost, nothing done twice, whoever is killed and however many grids there are."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)  # spawned workers get it too
from fake_train import FakeConfig, train  # noqa: E402

from repro.errors import ReproError  # noqa: E402
from repro.study import runs  # noqa: E402
from repro.study.grid import run_grid  # noqa: E402

TRAIN = "fake_train:train"
PATIENCE = 300  # seconds: only what hangs takes as long, however busy the machine


def grid_of(seeds, **changes):
    return [FakeConfig(seed=seed, **changes) for seed in range(seeds)]


def attempts(config, root):
    return (runs.run_folder(config, root) / "attempts.txt").read_text().splitlines()


def assert_as_undisturbed(cells, root, tmp_path):
    """Each cell ended, with the bytes that an uninterrupted run of the same seed writes."""
    for cell in cells:
        folder = runs.run_folder(cell, root)
        assert runs.read_result(folder)["status"] == "finished"
        alone = tmp_path / "undisturbed" / str(cell.seed)
        train(replace(cell, fault=""), alone)
        assert (folder / "metrics.jsonl").read_bytes() == (alone / "metrics.jsonl").read_bytes()


def start_runner(root, cells, pause):
    """A grid in a process of its own, as the shell would start it; `pause` seconds per update."""
    code = (
        "from pathlib import Path; from fake_train import FakeConfig; from repro.study.grid import run_grid\n"
        f"print(run_grid({cells!r}, Path({str(root)!r}), 2, {TRAIN!r}).summary())"
    )
    path = f"{runs.REPOSITORY}{os.pathsep}{HERE}"
    environment = {**os.environ, "PYTHONPATH": path, "FAKE_PAUSE": str(pause)}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell starts in the background inherits "ignore Ctrl-C", and so would the runner from the tests.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition, process):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def checkpoints(root):
    return list(Path(root).glob("runs/*/*/*/*/checkpoint.json"))


def test_a_grid_runs_every_cell_once_and_skips_what_is_finished(tmp_path):
    cells = grid_of(4)
    train(cells[1], runs.run_folder(cells[1], tmp_path))
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        report = run_grid([*cells, cells[0]], tmp_path, jobs=2, train=TRAIN)
    assert report.ok and report.skipped == (cells[1],)
    assert set(report.finished) == {cells[0], cells[2], cells[3]}
    assert "3 runs done" in report.summary() and "1 were done already" in report.summary()
    assert "100% of 3 runs" in errors.getvalue()
    assert_as_undisturbed(cells, tmp_path, tmp_path)
    lines = [line for cell in report.finished for line in attempts(cell, tmp_path)]
    assert len(lines) == 3 and all(line.endswith("threads 1") for line in lines)
    assert len({line.split()[0] for line in lines}) <= 2  # two workers, kept from cell to cell

    before = os.environ.get("OMP_NUM_THREADS")
    again = run_grid(cells, tmp_path, jobs=2, train=TRAIN)
    assert set(again.skipped) == set(cells) and not again.finished
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_the_grid_imports_no_torch():
    code = "import sys, repro.study.grid; print('torch' in sys.modules, 'repro.study.runs' in sys.modules)"
    output = subprocess.check_output([sys.executable, "-c", code], cwd=runs.REPOSITORY, text=True)
    assert output.split() == ["False", "True"]


def test_an_exception_is_reported_with_its_traceback_and_stops_nothing(tmp_path):
    bad = FakeConfig(arm="bad@lag0", fault="raise once")
    report = run_grid([bad, *grid_of(2)], tmp_path, jobs=1, train=TRAIN, quiet=True)
    (failure,) = report.failed
    assert not report.ok and failure.config == bad and len(report.finished) == 2
    assert failure.message == f"RuntimeError: the learner tripped (traceback in {failure.folder / 'error.txt'})"
    assert "bad@lag0 seed 0: RuntimeError" in report.summary()
    assert 'raise RuntimeError("the learner tripped")' in (failure.folder / "error.txt").read_text()

    assert run_grid([bad], tmp_path, train=TRAIN, quiet=True).ok  # the next call takes it up where it failed
    assert not (failure.folder / "error.txt").exists()
    assert_as_undisturbed([bad], tmp_path, tmp_path)


def test_a_killed_worker_is_replaced_and_its_run_resumed(tmp_path):
    cells = [FakeConfig(seed=0, fault="kill once"), FakeConfig(seed=1), FakeConfig(seed=2, fault="kill once")]
    report = run_grid(cells, tmp_path, jobs=2, train=TRAIN, quiet=True)
    assert report.ok and set(report.finished) == set(cells)
    assert [line.split()[2] for line in attempts(cells[0], tmp_path)] == ["0", "12"]
    assert_as_undisturbed(cells, tmp_path, tmp_path)


def test_a_run_that_kills_its_worker_twice_is_given_up(tmp_path):
    cells = [FakeConfig(arm="bad@lag0", fault="kill"), *grid_of(1)]
    report = run_grid(cells, tmp_path, jobs=1, train=TRAIN, quiet=True)
    assert report.finished == (cells[1],)
    assert [f.message for f in report.failed] == [
        "its worker process was killed by SIGKILL, 2 times; is there enough memory?"
    ]
    assert len(attempts(cells[0], tmp_path)) == 2


def test_damaged_runs_and_unwritable_folders_are_reported(tmp_path):
    damaged, sound = grid_of(2)
    train(damaged, runs.run_folder(damaged, tmp_path))
    (runs.run_folder(damaged, tmp_path) / "metrics.jsonl").write_bytes(b"")
    report = run_grid([damaged, sound], tmp_path, train=TRAIN, quiet=True)
    assert report.finished == (sound,)
    assert "metrics.jsonl was truncated" in report.failed[0].message

    (tmp_path / "file").touch()
    (failure,) = run_grid([sound], tmp_path / "file", train=TRAIN, quiet=True).failed
    assert failure.message.startswith("cannot write ") and "Not a directory" in failure.message


def test_what_cannot_work_is_said(tmp_path):
    with pytest.raises(ReproError, match="jobs=0"):
        run_grid(grid_of(1), tmp_path, jobs=0, train=TRAIN)
    (failure,) = run_grid(grid_of(1), tmp_path, train="no_such_module:train", quiet=True).failed
    assert "ModuleNotFoundError" in failure.message


def test_an_executor_that_is_not_there_is_said_before_anything_starts(tmp_path, monkeypatch):
    with pytest.raises(ReproError, match="there is no executor 'slurm'; there are: local, ray"):
        run_grid(grid_of(1), tmp_path, train=TRAIN, executor="slurm")
    monkeypatch.setenv("REPRO_EXECUTOR", "ray")
    monkeypatch.delitem(sys.modules, "repro.study.ray_executor", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    with pytest.raises(ReproError, match=r"the executor 'ray' needs the package 'ray': pip install '.\[ray\]'"):
        run_grid(grid_of(1), tmp_path, train=TRAIN)
    assert not list(tmp_path.iterdir())
    assert run_grid(grid_of(1), tmp_path, train=TRAIN, quiet=True, executor="local").ok


def test_a_killed_runner_takes_its_workers_along_and_the_next_one_continues(tmp_path):
    cells = grid_of(3)
    runner = start_runner(tmp_path, cells, pause=0.1)
    wait_for(lambda: len(checkpoints(tmp_path)) >= 2, runner)
    runner.send_signal(signal.SIGKILL)
    runner.communicate()  # returns once the workers, which share its output, are gone
    updates = [len(runs.read_metrics(path.parent)) for path in checkpoints(tmp_path)]
    assert len(updates) == 2 and max(updates) < 30  # though they had nothing to report that would fail
    report = run_grid(cells, tmp_path, jobs=2, train=TRAIN, quiet=True)
    assert set(report.finished) == set(cells) and report.ok
    assert [len(attempts(cell, tmp_path)) for cell in cells] == [2, 2, 1]
    assert_as_undisturbed(cells, tmp_path, tmp_path)


def test_ctrl_c_leaves_a_resumable_state_and_says_so(tmp_path):
    cells = grid_of(3)
    runner = start_runner(tmp_path, cells, pause=0.1)
    wait_for(lambda: len(checkpoints(tmp_path)) >= 2, runner)
    os.killpg(runner.pid, signal.SIGINT)  # as a terminal does: to the runner and its workers
    _, errors = runner.communicate(timeout=PATIENCE)
    assert runner.returncode != 0 and "KeyboardInterrupt" in errors
    assert "left; what they have done is kept, run the same command again to continue" in errors
    assert not list(Path(tmp_path).glob("runs/*/*/*/*/error.txt"))
    left = list(Path(tmp_path).glob("runs/*/*/*/*/interrupted.txt"))
    assert len(left) == 2  # both runs could put their affairs in order
    assert run_grid(cells, tmp_path, jobs=2, train=TRAIN, quiet=True).ok
    assert_as_undisturbed(cells, tmp_path, tmp_path)


def test_two_runners_share_a_grid_without_loss_or_double_work(tmp_path):
    cells = grid_of(6)
    runners = [start_runner(tmp_path, cells, pause=0.005) for _ in range(2)]
    outputs = [runner.communicate(timeout=PATIENCE) for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0], outputs
    assert all(", 0 failed" in out for out, _ in outputs)
    assert [len(attempts(cell, tmp_path)) for cell in cells] == [1] * 6
    assert_as_undisturbed(cells, tmp_path, tmp_path)


def test_a_run_held_by_a_runner_that_is_killed_is_taken_over(tmp_path):
    cells = grid_of(1)
    first = start_runner(tmp_path, cells, pause=0.05)
    wait_for(lambda: checkpoints(tmp_path), first)
    second = start_runner(tmp_path, cells, pause=0.05)
    time.sleep(0.5)  # long enough, as a rule, to find the run held; the outcome is the same if not
    first.send_signal(signal.SIGKILL)
    first.communicate()
    output, errors = second.communicate(timeout=PATIENCE)
    assert "1 runs done" in output and ", 0 failed" in output, errors
    assert [line.split()[2] == "0" for line in attempts(cells[0], tmp_path)] == [True, False]
    assert_as_undisturbed(cells, tmp_path, tmp_path)
