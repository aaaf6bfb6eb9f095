"""Success, states and costs along a run, by hand, and the times at which it gets somewhere."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from explored_tables import BUDGET, START, explored  # noqa: E402

from repro.study import progress  # noqa: E402
from repro.study.threespo_alfworld import THREESPO_ALFWORLD as STUDY  # noqa: E402

TABLES = explored(STUDY, {"literal": -0.1}, arms=("grpo", "literal", "literal-fixed_n"), seeds=2)


def test_success_is_read_between_evaluations_and_at_the_trainings_temperature():
    # Evaluations at 0, 250, ..., 1000 generations; 0.2 + 0.3 g / 1000 on the first list, 0.05 less on the second.
    assert progress.at_generations(TABLES, "grpo", 500, "valid_seen").tolist() == pytest.approx([0.35, 0.35])
    assert progress.at_generations(TABLES, "grpo", 400).tolist() == pytest.approx([0.295, 0.295])
    assert progress.at_generations(TABLES, "grpo", 2 * BUDGET, "valid_seen").tolist() == pytest.approx([0.5, 0.5])
    assert progress.at_generations(TABLES, "nothing", 10).empty


def test_states_start_from_none():
    # A line to 200 at 1000 generations, first known at 50.
    assert progress.states_at(TABLES, "grpo", 25).tolist() == pytest.approx([5, 5])
    assert progress.states_at(TABLES, "grpo", 510).tolist() == pytest.approx([102, 102])
    assert progress.states_at(TABLES, "literal", 1000, "states_state").tolist() == pytest.approx([900, 900])


def test_what_was_spent():
    def at(axis, arm, update):
        return progress.spent(TABLES, axis).loc[(arm, 0, update)]

    assert [at("updates", "grpo", u) for u in (0, 20)] == [0, 20]
    assert [at("generations", "grpo", u) for u in (0, 1, 20)] == [0, 50, 1000]
    assert at("generated_tokens", "grpo", 20) == 5000 and at("seconds", "literal", 10) == 15
    assert at("epochs", "grpo", 7) == 7  # an update of GRPO is an epoch
    assert [at("epochs", "literal", u) for u in (0, 5, 20)] == [0, 1, 4]  # four epochs of 250 generations
    assert at("epochs", "literal", 6) == pytest.approx(1.2)


def test_time_to_a_threshold_is_interpolated_or_censored():
    reached = progress.cost_to_reach(TABLES, "generations", 0.38, "valid_seen")
    assert reached.loc[("grpo", 1)].tolist() == pytest.approx([600, 1000])
    assert reached["reached"].isna().tolist() == [False, False, True, True, True, True]
    # The ablation has half of the budget, and so ends at 0.2 + 0.3 / 2.
    assert reached.loc[("literal-fixed_n", 0), "end"] == 500
    assert progress.cost_to_reach(TABLES, "epochs", 0.21 - 0.025).loc[("grpo", 0), "reached"] == pytest.approx(2 / 3)
    assert progress.cost_to_reach(TABLES, "flops_needed", START - 0.025).loc[("literal", 0)].tolist() == [0, 20e9]
