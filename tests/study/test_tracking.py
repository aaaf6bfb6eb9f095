"""Mirrors of a run's metrics: they show what the log holds, also after a resume, and never stand in its way."""

import math
import sys
import warnings
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_train import FakeConfig, train  # noqa: E402

from repro.cli import main  # noqa: E402
from repro.config import config_hash  # noqa: E402
from repro.errors import ReproError  # noqa: E402
from repro.study import runs, tracking  # noqa: E402

CONFIG = FakeConfig(updates=8)


class Recorder:
    """A sink that keeps what it is handed, by attempt; `fails` is the call that raises."""

    attempts: list = []
    fails = ""

    def __init__(self, config, folder):
        self.fail("open")
        self.seen = []
        type(self).attempts.append((config_hash(config), folder, self.seen))

    def fail(self, call):
        if type(self).fails == call:
            raise ConnectionError("no route to host")

    def write(self, record):
        if len(self.seen) == 3:
            self.fail("write")
        self.seen.append(record)

    def close(self):
        self.seen.append("closed")
        self.fail("close")


@pytest.fixture
def recorders(monkeypatch):
    """Two sinks under the names of the real ones, asked for by the environment."""
    first, second = (type(name, (Recorder,), {"attempts": []}) for name in ("First", "Second"))
    monkeypatch.setattr(tracking, "SINKS", {"tensorboard": first, "wandb": second})
    monkeypatch.setattr(tracking, "_installed", lambda package: True)
    monkeypatch.setenv(tracking.VARIABLE, "tensorboard, wandb")
    return first, second


def same(a, b):
    """Equality of records in which NaN equals itself."""
    return repr(a) == repr(b)


def test_sinks_see_every_record_and_change_nothing(tmp_path, recorders, monkeypatch):
    train(CONFIG, tmp_path / "tracked")
    logged = runs.read_metrics(tmp_path / "tracked")
    assert len(logged) == 8 and math.isnan(logged[6]["loss"])
    for recorder in recorders:
        ((identity, folder, seen),) = recorder.attempts
        assert identity == config_hash(CONFIG) and folder == tmp_path / "tracked"
        assert same(seen, [*logged, "closed"])
    monkeypatch.delenv(tracking.VARIABLE)
    train(CONFIG, tmp_path / "plain")
    for name in ("metrics.jsonl", "result.json"):
        assert (tmp_path / "tracked" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert [len(recorder.attempts) for recorder in recorders] == [1, 1]


def test_a_resumed_run_shows_the_whole_log_again(tmp_path, recorders):
    config = FakeConfig(updates=12, fault="raise once")  # at update 6; the last checkpoint is of update 4
    with pytest.raises(RuntimeError):
        train(config, tmp_path)
    train(config, tmp_path)
    train(config, tmp_path)  # is over: opens nothing
    (_, _, first), (_, _, second) = recorders[0].attempts
    assert [record["update"] for record in first[:-1]] == [1, 2, 3, 4, 5, 6] and first[-1] == "closed"
    assert same(second, [*runs.read_metrics(tmp_path), "closed"]) and len(second) == 13


@pytest.mark.parametrize(("call", "seen"), [("open", 0), ("write", 3), ("close", 9)])
def test_a_sink_that_fails_is_warned_of_once_and_left_alone(tmp_path, recorders, call, seen):
    broken, works = recorders
    broken.fails = call
    with pytest.warns(UserWarning, match="no route to host.*the run goes on") as told:
        result = train(CONFIG, tmp_path)
    assert result["status"] == "finished" and len(told) == 1 and "tracking with tensorboard ended" in str(told[0])
    assert [len(records) for _, _, records in broken.attempts] == ([seen] if seen else [])
    assert len(works.attempts[0][2]) == 9


def test_scalars_are_named_by_kind_and_level():
    update = {"kind": "update", "update": 3, "reward": 0.5, "groups": 4, "loss": math.inf, "capped": True, "who": "x"}
    assert tracking.scalars(update) == {"update/reward": 0.5, "update/groups": 4.0, "update/loss": math.inf}
    level = {"kind": "eval", "update": 3, "level": "hard", "mean_at_k": 0.25}
    assert tracking.scalars(level) == {"eval/hard/mean_at_k": 0.25}
    assert tracking.scalars({"kind": "profile", "update": 0, "solved": [1, 2], "flops": 7}) == {"profile/flops": 7.0}


@pytest.mark.parametrize(
    ("about", "name"),
    [
        ({"kind": "eval", "level": "unseen", "temperature": 1.0}, "eval/unseen/t1/mean_at_k"),
        ({"kind": "eval", "level": "unseen", "temperature": 0.4}, "eval/unseen/t0.4/mean_at_k"),
        ({"kind": "probe", "probe": "planted_full", "format": ""}, "probe/planted_full/mean_at_k"),
        ({"kind": "probe", "probe": "planted_own"}, "probe/planted_own/mean_at_k"),
        ({"kind": "probe", "probe": "format", "format": "full"}, "probe/format/full/mean_at_k"),
    ],
)
def test_records_of_one_update_keep_apart(about, name):
    assert tracking.scalars({**about, "update": 3, "mean_at_k": 0.25}) == {name: 0.25}


def test_what_is_asked_for_must_exist_and_be_installed(tmp_path, monkeypatch):
    assert tracking.chosen("") == () and tracking.mirror(CONFIG, tmp_path).names == ()
    with pytest.raises(ReproError, match="no tracking with 'mlflow'; there are: tensorboard, wandb"):
        tracking.chosen("mlflow")
    monkeypatch.setattr(tracking, "_installed", lambda package: False)
    with pytest.raises(ReproError, match=r"needs the package 'wandb': pip install '\.\[track\]'"):
        tracking.chosen("wandb,wandb")
    monkeypatch.setenv(tracking.VARIABLE, "wandb")
    with pytest.raises(ReproError, match="needs the package 'wandb'"):
        train(CONFIG, tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "no_such_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert tracking._installed("pytest") and not tracking._installed("no_such_package")


def test_the_command_refuses_before_anything_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    monkeypatch.setenv(tracking.VARIABLE, "")
    arguments = ["run", "asympo_async", "--arm", "naive@lag0", "--track", "tensorboard", "--track", "paper"]
    monkeypatch.setattr(tracking, "_installed", lambda package: True)
    assert main(arguments) == 2
    assert "there is no tracking with 'paper'" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.oracle
def test_tensorboard_reads_back_what_was_logged(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv(tracking.VARIABLE, "tensorboard")
    config = FakeConfig(updates=12, fault="raise once")
    with pytest.raises(RuntimeError):
        train(config, tmp_path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*tracking with")
        train(config, tmp_path)
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(shown.Tags()["scalars"]) == ["update/loss", "update/reward"]
    points = [(event.step, event.value) for event in shown.Scalars("update/reward")]
    assert points == [(r["update"], pytest.approx(r["reward"], rel=1e-6)) for r in runs.read_metrics(tmp_path)]


@pytest.mark.oracle
def test_wandb_keeps_a_run_under_the_hash(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv(tracking.VARIABLE, "wandb")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*tracking with")
        train(CONFIG, tmp_path)
    wandb.teardown()  # waits for the process that writes the file
    (stored,) = tmp_path.glob(f"wandb/offline-run-*/run-{config_hash(CONFIG)}.wandb")
    content = stored.read_bytes()
    assert b"update/reward" in content and b"naive@lag0 seed 0" in content
