"""The worlds' benchmarks: named, refused and kept."""

import json
import subprocess
import sys

import pytest

from repro import bench_worlds
from repro.errors import ReproError
from repro.study.runs import REPOSITORY

ROW = {"name": "x_steps", "ours": 10.0, "peer": None, "peer_name": None, "ratio": None, "unit": "steps/s"}


def test_every_world_has_a_benchmark_that_can_be_imported_without_torch():
    code = (
        "import sys; from importlib import import_module; from repro.bench_worlds import WORLDS; "
        "[getattr(import_module(p.split(':')[0]), p.split(':')[1]) for p, _ in WORLDS.values()]; "
        "print('torch' in sys.modules)"
    )
    output = subprocess.check_output([sys.executable, "-c", code], cwd=REPOSITORY, text=True)
    assert output.strip() == "False"


def test_an_unknown_world_is_refused():
    with pytest.raises(ReproError, match="no world 'moon' to measure; there are: alfworld, webshop, search"):
        bench_worlds.run_benchmarks(["moon"])


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(bench_worlds.WORLDS, "webshop", ("repro.no_such_room:run", "webshop"))
    with pytest.raises(ReproError, match=r"webshop needs the package 'repro.no_such_room': pip install '.\[webshop\]'"):
        bench_worlds.run_benchmarks(["webshop"])


def test_saving_replaces_the_worlds_that_were_run_and_keeps_the_others(tmp_path):
    path = tmp_path / "bench_worlds.json"
    bench_worlds.save({"search": [ROW], "alfworld": [ROW]}, path)
    bench_worlds.save({"alfworld": [ROW | {"ours": 20.0}]}, path)
    stored = json.loads(path.read_text())
    assert list(stored) == ["alfworld", "search"]
    assert (stored["alfworld"]["rows"][0]["ours"], stored["search"]["rows"][0]["ours"]) == (20.0, 10.0)
    assert all(part["machine"]["python"] for part in stored.values())


def test_rows_are_rendered():
    peer = ROW | {"peer": 2.0, "peer_name": "other", "ratio": 5.0, "settings": "small"}
    text = bench_worlds.render([ROW, peer])
    assert text.splitlines()[2:] == [
        "| x_steps |  | 10 steps/s | - | - |",
        "| x_steps | small | 10 steps/s | 2.0 (other) | 5.0x |",
    ]
