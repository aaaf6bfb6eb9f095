"""The rows of the engine's benchmark."""

import importlib.util

from repro.environments.alfworld.bench import bench_engine, bench_game
from repro.environments.alfworld.engine import Engine


def test_rows_have_the_shape_of_the_other_benchmarks(tmp_path, monkeypatch):
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "data"))
    rows = bench_engine(shapes=((8, 4),), games=2, turns=4, repeats=2)
    names = ["steps_8x4", "steps_known_8x4", "build_8x4", "restore_8x4"]
    assert [row["name"] for row in rows] == [f"alfworld_{name}" for name in names]
    installed = bool(importlib.util.find_spec("textworld") and importlib.util.find_spec("alfworld"))
    for row, compared in zip(rows, (installed, installed, False, False), strict=True):
        assert {"ours", "peer", "peer_name", "ratio", "unit", "settings", "repeats"} <= set(row)
        assert 0 < row["low"] <= row["ours"] <= row["high"] and row["repeats"] == 2
        assert (row["peer"] is not None) == (row["ratio"] is not None) == compared
        if compared:
            assert row["ratio_low"] <= row["ratio_high"] and row["peer_low"] <= row["peer"] <= row["peer_high"]
            assert row["ratio"] == row["ours"] / row["peer"]


def test_households_have_the_size_asked_for():
    engine = Engine(bench_game(24, 30, seed=3))
    assert len(engine.receptacles) == 24 and len(engine.object_name) == 30
    assert len(set(engine.receptacle_name + engine.object_name)) == 54
