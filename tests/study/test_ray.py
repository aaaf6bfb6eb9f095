"""Grids on a real local Ray cluster: as on local workers, nothing lost and nothing done twice."""

import contextlib
import io
import os
import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
from fake_train import FakeConfig  # noqa: E402
from test_grid import TRAIN, assert_as_undisturbed, attempts, grid_of  # noqa: E402

from repro.errors import ReproError  # noqa: E402
from repro.study import runs  # noqa: E402
from repro.study.grid import run_grid  # noqa: E402

ray = pytest.importorskip("ray", reason="needs the extra `ray`: pip install -e '.[ray]'")
pytestmark = pytest.mark.slow  # starting a cluster takes ten seconds on two free cores, minutes on busy ones
from repro.study import ray_executor  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One cluster for all tests: each executor finds it and leaves it."""
    given = {"RAY_AUTH_MODE": "disabled", "RAY_raylet_start_wait_time_s": "300", "RAY_ADDRESS": "local"}
    given["PYTHONPATH"] = f"{runs.REPOSITORY}{os.pathsep}{HERE}"  # workers take it over
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        with ray_executor.connected(2):
            yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """One data folder for all tests, so that workers, whose environment names it, serve them all."""
    return tmp_path_factory.mktemp("data")


def test_a_killed_worker_is_replaced_and_every_run_ends_done_exactly_once(root, tmp_path):
    cells = [FakeConfig(seed=0, fault="kill once"), *grid_of(4)[1:]]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        report = run_grid(cells, root, jobs=2, train=TRAIN, executor="ray")
    assert report.ok and set(report.finished) == set(cells) and len(report.finished) == 4
    assert "100% of 4 runs" in errors.getvalue()  # the display of the local grid
    assert [line.split()[2] for line in attempts(cells[0], root)] == ["0", "12"]  # resumed from its checkpoint
    assert [len(attempts(cell, root)) for cell in cells[1:]] == [1, 1, 1]
    assert all(line.endswith("threads 1") for cell in cells for line in attempts(cell, root))
    assert_as_undisturbed(cells, root, tmp_path)
    assert not list(root.glob(".ray-*"))

    again = run_grid(cells, root, jobs=2, train=TRAIN, quiet=True, executor="ray")
    assert set(again.skipped) == set(cells) and not again.finished


def test_failures_and_lost_causes_are_reported_and_stop_nothing(root, monkeypatch):
    monkeypatch.setenv("REPRO_EXECUTOR", "ray")
    raising, killing = FakeConfig(arm="bad@lag0", fault="raise"), FakeConfig(arm="worse@lag0", fault="kill")
    sound = FakeConfig(arm="sound@lag0")
    report = run_grid([raising, killing, sound], root, jobs=2, train=TRAIN, quiet=True)
    assert report.finished == (sound,)
    messages = {failure.config: failure.message for failure in report.failed}
    assert "RuntimeError: the learner tripped" in messages[raising] and "error.txt" in messages[raising]
    assert "was lost (WorkerCrashedError), 2 times" in messages[killing]
    assert len(attempts(killing, root)) == 2


def test_a_run_that_is_held_is_waited_for(root):
    cell = FakeConfig(arm="held@lag0")
    heard = []
    executor = ray_executor.RayExecutor(1, TRAIN, 1, root)
    try:
        folder = runs.run_folder(cell, root)
        with runs.locked(folder):
            executor.submit(ray_executor.Cell(cell, folder))
            assert executor.full
            while executor.cells:
                heard += executor.listen(0.1)
    finally:
        executor.stop()
    assert heard[-1][1:] == ("busy", None)


def test_stopping_interrupts_runs_in_order(root):
    cell = FakeConfig(arm="long@lag0", updates=10_000)
    executor = ray_executor.RayExecutor(1, TRAIN, 1, root)
    folder = runs.run_folder(cell, root)
    executor.submit(ray_executor.Cell(cell, folder))
    while not (folder / "checkpoint.json").exists():
        assert not [kind for _, kind, _ in executor.listen(0.05) if kind != "progress"]
    executor.stop()
    assert (folder / "interrupted.txt").exists() and runs.read_result(folder) is None
    assert not executor.cells and not list(root.glob(".ray-*"))


def test_a_folder_that_is_not_shared_stops_the_grid(root, tmp_path):
    cell = FakeConfig(arm="unshared@lag0")
    executor = ray_executor.RayExecutor(1, TRAIN, 1, root)
    try:
        executor.mark.rename(tmp_path / "elsewhere")  # what another machine's disk would look like
        executor.submit(ray_executor.Cell(cell, runs.run_folder(cell, root)))
        with pytest.raises(ReproError, match="does not see .* Set REPRO_DATA to a folder that all nodes share"):
            while True:
                executor.listen(0.1)
    finally:
        executor.stop()
    assert not runs.run_folder(cell, root).exists()


def test_a_file_system_whose_locks_do_not_hold_between_nodes_stops_the_grid(tmp_path):
    (cell,) = grid_of(1)
    mark = tmp_path / ".ray-unlocked"
    mark.mkdir()
    assert ray_executor._task(cell, tmp_path / "run", TRAIN, mark, None) == (
        "unshared",
        f"is not kept out by a lock in {tmp_path}",
    )


def test_a_node_without_the_package_is_said():
    @ray.remote(max_retries=0)
    def broken():
        raise ModuleNotFoundError("No module named 'repro'")

    kind, message = ray_executor._outcome(broken.remote())
    assert kind == "failed" and "could not begin it" in message and "No module named 'repro'" in message


def test_capacity_is_the_clusters():
    assert ray_executor.capacity() == 2


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:port"])
def test_an_address_where_nobody_answers_is_said_at_once(address):
    with pytest.raises(ReproError, match=f"RAY_ADDRESS={address}: nobody answers there"):
        ray_executor._must_answer(address)
