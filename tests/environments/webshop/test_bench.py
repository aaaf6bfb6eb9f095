"""The benchmark's rows are complete; how fast they are is for the benchmark to say."""

from repro.environments.webshop.bench import ShopBenchConfig, run_benchmarks


def test_rows_have_the_published_keys():
    rows = run_benchmarks(ShopBenchConfig(sizes=(60,), goals=5, repeats=2))
    assert [row["name"] for row in rows] == ["webshop_steps", "webshop_search", "webshop_index"]
    for row in rows:
        assert {"name", "ours", "peer", "peer_name", "ratio", "unit", "settings", "repeats"} <= set(row)
        assert 0 < row["low"] <= row["ours"] <= row["high"]
        assert (row["ratio"] is None) == (row["peer"] is None)
    assert rows[1]["peer_name"].startswith("bm25s") and rows[1]["ratio"] == rows[1]["ours"] / rows[1]["peer"]
    assert rows[2]["index_mb"] > 0
