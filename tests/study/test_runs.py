"""Runs on disk: resume to the same bytes after any end, refuse what is damaged or foreign, hold the lock."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_train import FakeConfig, train  # noqa: E402

from repro.config import config_hash  # noqa: E402
from repro.errors import ReproError  # noqa: E402
from repro.study import estimates, masking, readme, runs, tuning, walkthrough  # noqa: E402
from repro.study.threespo_alfworld import ALFWORLD  # noqa: E402

CONFIG = FakeConfig()


@pytest.fixture
def folder(tmp_path):
    return runs.run_folder(CONFIG, tmp_path)


def metrics(folder):
    return (folder / "metrics.jsonl").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    train(CONFIG, folder)
    return metrics(folder)


def test_the_folder_names_study_tier_arm_seed_and_hash(tmp_path, monkeypatch):
    expected = tmp_path / "runs" / "fake" / "smoke" / "naive@lag0" / f"seed0-{config_hash(CONFIG)}"
    assert runs.run_folder(CONFIG, tmp_path) == expected
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    assert runs.run_folder(CONFIG) == expected
    assert runs.run_folder(replace(CONFIG, updates=31)).name != expected.name


def test_a_finished_run_reads_back_and_is_never_recomputed(folder):
    result = train(CONFIG, folder)
    assert result["status"] == "finished" and result["hash"] == config_hash(CONFIG)
    stored = runs.read_config(folder)
    assert stored["config"]["kind"] == "FakeConfig"
    assert stored["device"] == "cpu" and stored["versions"]["python"]
    assert runs.read_result(folder) == result

    records = runs.read_metrics(folder)
    x = 0.1
    for update, record in enumerate(records, start=1):
        x = 3.9 * x * (1 - x)
        assert record["update"] == update and record["reward"] == x
    assert len(records) == CONFIG.updates and records[-1]["reward"] == result["last"]

    assert train(CONFIG, folder) == result
    assert len((folder / "attempts.txt").read_text().splitlines()) == 1


def test_every_line_is_strict_json_and_nonfinite_numbers_come_back(folder):
    with runs.open_run(CONFIG, folder) as run:
        odd = {"a": math.nan, "b": math.inf, "c": -math.inf}
        run.log.append({**odd, "d": 1.5, "e": None, "f": "nan", "g": [1, 2]})
        with pytest.raises(TypeError):
            run.log.append({"tensor": object()})
        with pytest.raises(ValueError):
            run.log.append({"nested": [math.nan]})
        result = run.finish({"status": "diverged", "loss": math.nan, "lags": {10: 1, 9: 2}})

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    (line,) = metrics(folder).splitlines()
    assert json.loads(line, parse_constant=refuse)["a"] is None
    (record,) = runs.read_metrics(folder)
    assert math.isnan(record["a"]) and (record["b"], record["c"]) == (math.inf, -math.inf)
    assert record["d"] == 1.5 and record["e"] is None and record["f"] == "nan" and "nonfinite" not in record
    json.loads((folder / "result.json").read_text(), parse_constant=refuse)
    again = runs.read_result(folder)
    assert math.isnan(result["loss"]) and math.isnan(again["loss"]) and again["lags"] == {"10": 1, "9": 2}


def test_finish_wants_a_known_status(folder):
    with runs.open_run(CONFIG, folder) as run, pytest.raises(ValueError, match="status"):
        run.finish({"status": "done"})
    assert runs.read_result(folder) is None


@pytest.mark.parametrize("tail", [b"", b'{"kind": "upd', b'{"kind": "update", "update": 99, "reward": 1}\n'])
def test_a_resume_drops_a_torn_or_extra_tail(folder, undisturbed, tail):
    faulty = replace(CONFIG, fault="raise once")
    with pytest.raises(RuntimeError, match="tripped"):
        train(faulty, folder)
    assert len(runs.read_metrics(folder)) == 15  # the checkpoint is at 12
    with open(folder / "metrics.jsonl", "ab") as file:
        file.write(tail)
    train(faulty, folder)
    assert metrics(folder) == undisturbed


def test_a_log_is_not_appended_to_before_rewind(folder):
    with runs.open_run(CONFIG, folder) as run:
        run.log.append({"update": 1})
    with runs.open_run(CONFIG, folder) as run:
        with pytest.raises(RuntimeError, match="rewind"):
            run.log.append({"update": 2})
        run.log.rewind(None)
        run.log.append({"update": 1})
    assert runs.read_metrics(folder) == [{"update": 1}]


@pytest.mark.parametrize("change", [lambda b: b[:40], lambda b: b.replace(b"0.", b"9.", 1)])
def test_metrics_changed_before_the_checkpoint_are_refused(folder, change):
    with runs.open_run(CONFIG, folder) as run:
        run.log.append({"update": 1, "reward": 0.5})
        run.log.append({"update": 2, "reward": 0.25})
        mark = run.log.mark()
    path = folder / "metrics.jsonl"
    path.write_bytes(change(path.read_bytes()))
    with runs.open_run(CONFIG, folder) as run:
        with pytest.raises(ReproError, match="metrics.jsonl was truncated or edited"):
            run.log.rewind(mark)


DAMAGE = {
    "metrics truncated": ("metrics.jsonl", lambda b: b[:-30], "metrics.jsonl was truncated"),
    "metrics edited": ("metrics.jsonl", lambda b: b.replace(b"0.", b"1.", 1), "metrics.jsonl was edited"),
    "metrics lost": ("metrics.jsonl", None, "metrics.jsonl cannot be read"),
    "result torn": ("result.json", lambda b: b[:-5], "result.json is not JSON"),
    "result edited": ("result.json", lambda b: b.replace(b" 30", b" 31"), "result.json was edited"),
    "result not an object": ("result.json", lambda b: b"[]", "result.json is not a JSON object"),
    "config edited": ("config.json", lambda b: b.replace(b" 30", b" 31"), "config.json does not"),
    "config torn": ("config.json", lambda b: b[:-5], "config.json is not JSON"),
    "config lost": ("config.json", None, "no config.json beside it"),
}


@pytest.mark.parametrize("name, change, message", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_run_is_refused_by_name_with_the_remedy(folder, name, change, message):
    train(CONFIG, folder)
    path = folder / name
    if change is None:
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(change(content))
        assert path.read_bytes() != content
    with pytest.raises(ReproError, match=message) as error:
        train(CONFIG, folder)
    assert f"Delete the folder {folder}" in str(error.value)


def test_files_of_another_run_are_refused(folder, tmp_path):
    train(CONFIG, folder)
    other = replace(CONFIG, updates=8)
    with pytest.raises(ReproError, match=f"is of run {config_hash(CONFIG)}, not of run {config_hash(other)}"):
        train(other, folder)
    other_folder = runs.run_folder(other, tmp_path)
    train(other, other_folder)
    for name in ("result.json", "metrics.jsonl"):
        (other_folder / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ReproError, match="result.json is of run"):
        runs.read_result(other_folder)


def test_only_one_process_runs_a_run(folder):
    with runs.open_run(CONFIG, folder) as run:
        with pytest.raises(runs.RunBusy, match="another process"), runs.open_run(CONFIG, folder):
            pass
        run.finish({"status": "finished"})
        with runs.open_run(CONFIG, folder) as reader:  # a finished run is read by anyone, locked or not
            assert reader.finished
    with runs.open_run(CONFIG, folder) as run:
        assert run.finished


def test_a_resume_by_other_code_is_noted(folder, monkeypatch):
    with runs.open_run(CONFIG, folder):
        pass
    first = runs.read_config(folder)
    assert "resumed" not in first
    changed = {**runs.provenance(), "commit": "f" * 40, "dirty": True}
    monkeypatch.setattr(runs, "provenance", lambda: changed)
    for _ in range(2):
        with runs.open_run(CONFIG, folder, device="cuda"):
            pass
    assert runs.read_config(folder) == {**first, "resumed": [{**changed, "device": "cuda"}]}


def test_a_run_killed_mid_way_resumes_to_the_same_bytes(folder, undisturbed):
    code = "import sys, fake_train, pathlib; fake_train.train(fake_train.FakeConfig(), pathlib.Path(sys.argv[1]))"
    path = os.pathsep.join([str(runs.REPOSITORY), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": path, "FAKE_PAUSE": "0.02"}
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment) as process:
        while not (folder / "checkpoint.json").exists():
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(0.03)
        with pytest.raises(runs.RunBusy):
            train(CONFIG, folder)
        process.send_signal(signal.SIGKILL)
    assert runs.read_result(folder) is None
    train(CONFIG, folder)
    assert metrics(folder) == undisturbed
    first, second = (folder / "attempts.txt").read_text().splitlines()
    assert " from 0 " in first and " from 0 " not in second


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    folder = runs.run_folder(CONFIG, tmp_path / "file")
    with pytest.raises(ReproError, match="cannot write .*file/runs/.*Not a directory.*REPRO_DATA"):
        train(CONFIG, folder)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, the always-full disk of Linux")
def test_a_full_disk_is_named(folder):
    with runs.open_run(CONFIG, folder):
        pass
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(ReproError, match="cannot write .*metrics.jsonl: No space left"):
        train(CONFIG, folder)


def test_atomic_write_keeps_the_old_content_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "table"
    runs.atomic_write(path, "old")

    def no_space(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(ReproError, match="cannot write .*table: No space left"):
            runs.atomic_write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    runs.atomic_write(path, b"new")
    assert path.read_text() == "new"


READERS = {
    "bench.json": lambda root: readme.bench(root),
    "bench_worlds.json": lambda root: readme.worlds(root),
    "timings.json": lambda root: readme.timings(root),
    "rate": lambda root: estimates.rate("training", 10**9),
    "masks.json": lambda root: masking.load("smepo_math", root),
    "surveys": lambda root: masking.load_surveys("smepo_math", root),
    "tuning/threespo_alfworld.json": lambda root: tuning.recorded(ALFWORLD, root),
    "walkthrough/a/small.json": lambda root: walkthrough.load("a", "small", root),
}
FILES = {"rate": "bench.json", "surveys": "masks.json"}  # else the reader's own name
BROKEN = {"cut off": b'{"rows": [', "no text": b"\xff\xfe\xfa", "empty": b"", "a list": b"[]", "a folder": None}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", READERS)
def test_damaged_committed_json_is_refused_by_name_with_the_remedy(tmp_path, monkeypatch, name, content):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    path = tmp_path / FILES.get(name, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ReproError, match=f"{path} is damaged .*: restore it with git checkout -- {path}"):
        READERS[name](tmp_path)
