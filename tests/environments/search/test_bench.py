"""The bench measures what it says, and refuses an engine that finds something else."""

import pytest

from repro.environments.search import SearchConfig, bench

SMALL = bench.BenchConfig(SearchConfig(knowledge_bases=1, train_queries=4, heldout_queries=2), group=2, repeats=1)


def test_rows():
    rows = bench.run_benchmarks(SMALL)
    assert {row["name"] for row in rows} == {"search", "search_uncached", "index", "episodes"}
    for row in rows:
        assert set(row) == {"name", "ours", "peer", "peer_name", "ratio", "unit"}
        assert row["ours"] > 0 and row["ratio"] == pytest.approx(row["ours"] / row["peer"])


def test_a_wrong_engine_is_noticed(monkeypatch):
    monkeypatch.setitem(bench.ENGINES, "bm25s", lambda base: lambda query: 0)
    with pytest.raises(RuntimeError, match="does not find"):
        bench.run_benchmarks(SMALL)
