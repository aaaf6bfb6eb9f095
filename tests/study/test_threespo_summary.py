"""What the README says of 3SPO in numbers, on tables of straight lines."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from explored_tables import explored  # noqa: E402

from repro.study import threespo_summary  # noqa: E402
from repro.study.evidence import Evidence  # noqa: E402
from repro.study.threespo_alfworld import THREESPO_ALFWORLD as ALFWORLD  # noqa: E402
from repro.study.threespo_webshop import THREESPO_WEBSHOP as WEBSHOP  # noqa: E402

GAINS = {"grpo": 0.5, "table": 0.1}


def learns(study, tables):
    (line,) = [line for line in threespo_summary._lines(Evidence(study, tables)) if "Does it learn?" in line]
    return line


def test_learning_is_told_at_both_temperatures():
    tables = explored(ALFWORLD, GAINS, arms=("grpo", "table"), seeds=3)
    tables.runs["won_t0.4"] -= 0.12 * (tables.runs["arm"] == "table")  # a policy that only became surer of itself
    cooler, trained = learns(ALFWORLD, tables).split(" At temperature ")[1:]
    assert cooler.startswith("0.4") and "GRPO +50 [+50, +50]; 3SPO, table -2 [-2, -2]." in cooler
    assert trained.startswith("1,") and "GRPO +50 [+50, +50]; 3SPO, table +10 [+10, +10]." in trained


def test_what_was_not_measured_is_said_and_lists_are_named():
    tables = explored(WEBSHOP, GAINS, arms=("grpo", "table"), seeds=3)
    assert "lists" in learns(ALFWORLD, explored(ALFWORLD, GAINS, arms=("table",), seeds=3))
    assert "lists" not in learns(WEBSHOP, tables)
    without = replace(tables, runs=tables.runs.drop(columns="start_won_t0.4"))
    assert "3SPO, table not measured. At temperature 1" in learns(WEBSHOP, without)


@pytest.mark.parametrize("study, named", [(ALFWORLD, "in distribution"), (WEBSHOP, "success")])
def test_the_warm_starts_column_names_its_list_and_temperature(study, named):
    head, _, row = threespo_summary.outcome(explored(study, GAINS, ("grpo",), seeds=3), study).splitlines()[:3]
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert cells[f"warm start, {named}, % at 0.4"] == "30.0"
