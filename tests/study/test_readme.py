"""The generated parts of the README: written between their markers, and current."""

import sys
from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.study import tables
from repro.study.readme import SECTIONS, finding, refresh

sys.path.insert(0, str(Path(__file__).parents[1] / "figures"))
from synthetic import synthetic  # noqa: E402

ROOT = Path(__file__).parents[2]


def test_the_committed_readme_is_current():
    assert refresh(ROOT / "README.md", write=False, root=ROOT / "data") == [], "run `repro readme`"


def test_the_readme_shows_every_section():
    text = (ROOT / "README.md").read_text()
    assert all(f"<!-- generated: {name} -->" in text for name in SECTIONS)


def test_a_stale_section_is_named_and_rewritten_and_the_rest_is_left_alone(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- generated: bench -->\nold\n<!-- end -->\nafter\n")
    assert refresh(path, write=False, root=tmp_path) == ["bench"]
    assert "old" in path.read_text()
    assert refresh(path, root=tmp_path) == ["bench"]
    assert path.read_text() == (
        "before\n<!-- generated: bench -->\nNo benchmark is committed yet.\n<!-- end -->\nafter\n"
    )
    assert refresh(path, root=tmp_path) == []


def test_an_unknown_section_or_a_missing_file_is_refused(tmp_path):
    path = tmp_path / "README.md"
    with pytest.raises(ReproError, match="README.md is not there"):
        refresh(path, root=tmp_path)
    path.write_text("<!-- generated: weather -->\n<!-- end -->\n")
    with pytest.raises(ReproError, match="no generated section 'weather'; there are: finding"):
        refresh(path, root=tmp_path)


def test_the_finding_says_what_longer_runs_bring_where_there_are_any(tmp_path):
    for arms, said in ((["naive@ref"], False), (["naive-long@ref", "asympo-long@ref"], True)):
        made = synthetic(arms)
        made.runs.loc[(made.runs["arm"] == "naive-long@ref") & (made.runs["seed"] > 0), "collapsed"] = True
        typed = tables._typed(made.runs, made.curves, made.evals, made.profiles)
        tables._write(typed, arms, tables.results_folder("asympo_async", "small", tmp_path))
        text = finding(tmp_path)
        assert (
            "in three times as many updates? Collapsed: naive 2 of 3, ASymPO 0 of 3" in text.replace("**", "")
        ) == said
