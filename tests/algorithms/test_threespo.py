"""Eqs. 1-3 of 3SPO by hand, against the published rules on random histories, and what its table is allowed to be."""

import json
import math
import random
from dataclasses import fields, replace

import pytest
import torch

from repro.algorithms.credit import GroupCredit
from repro.algorithms.threespo import (
    ABLATIONS,
    PIECES,
    READINGS,
    StateTable,
    ThreeSPO,
    annealing,
    branches,
    given_up,
    group_advantage,
    novelty_weight,
    reading,
    score,
    step_reward,
    success_rate,
    table_score,
)
from repro.errors import ReproError

LITERAL = ThreeSPO()
GENTLE = replace(LITERAL, alpha=1.0, clock="constant")


def table_of(**counts):
    return StateTable(counts={key: list(count) for key, count in counts.items()})


def test_score_by_hand():
    # lambda = 1: exp(-0.5) = 0.6065; a state without visits has S = 1; 4 of 10 at lambda log 10: 10^-0.4 = 0.3981.
    table = table_of(half=(10, 5), met=(0, 0), four=(10, 4))
    assert table_score(GENTLE, table, "half", 0) == pytest.approx(0.6065, abs=1e-4)
    assert table_score(GENTLE, table, "met", 0) == table_score(GENTLE, table, "never", 0) == 1.0
    table.trajectories = 9
    log = replace(LITERAL, alpha=1.0)
    assert table_score(log, table, "four", 0) == pytest.approx(0.3981, abs=1e-4)
    assert success_rate(LITERAL, table, "four") == 4 / (10 + 1e-6)


def test_clocks():
    table = StateTable(trajectories=99, epoch=10)
    for clock, t in (("trajectories", 100), ("epochs", 10), ("depth", 4)):
        assert annealing(replace(LITERAL, clock=clock), table, turn=3) == pytest.approx(50 * math.log(t))
    assert annealing(GENTLE, table, turn=3) == 1.0
    assert annealing(replace(LITERAL, clock="epochs"), StateTable(), turn=0) == 0.0  # before the first epoch too


@pytest.mark.parametrize(
    "total, success, pruned",
    [
        (9, 0, False),  # nine failures are fewer than xi
        (10, 0, True),
        (10, 1, False),  # nine failures
        (11, 1, True),  # ten failures, 1/11 <= 0.1
        (19, 9, False),  # ten failures, 9/19 > 0.1
        (20, 2, True),  # eighteen failures, and 2/20.000001 is not above 0.1
        (20, 3, False),
    ],
)
def test_indicator_by_hand(total, success, pruned):
    table = table_of(s=(total, success))
    assert given_up(LITERAL, table, "s") == pruned
    assert (table_score(GENTLE, table, "s", 0) == 0) == pruned
    assert (branches(LITERAL, table_score(LITERAL, table, "s", 0)) == 0) == pruned


def test_where_the_indicator_acts():
    table = table_of(s=(20, 0))
    for prune, in_reward, in_allocation in (("everywhere", 0, 0), ("allocation", 1, 0), ("nowhere", 1, 1)):
        config = replace(GENTLE, prune=prune)
        assert table_score(config, table, "s", 0) == in_reward
        assert table_score(config, table, "s", 0, allocating=True) == in_allocation
    protected = replace(GENTLE, start_visits=21)
    assert table_score(protected, table, "s", 0, start=True) == 1 and table_score(protected, table, "s", 0) == 0
    table.record(["s"], won=False)
    assert table_score(protected, table, "s", 0, start=True) == 0  # its 21 visits are over


def test_branches_by_hand():
    # The worked examples of the paper's figures: G = 8 and S = 0.2, 1, 0.3 give 2, 8, 3.
    assert [branches(LITERAL, s) for s in (0.2, 1.0, 0.3, 0.125, 0.126, 1e-9, 0.0)] == [2, 8, 3, 1, 2, 1, 0]
    assert branches(replace(LITERAL, adaptive=False), 0.01) == 8


def test_a_solved_state_is_never_truncated_by_rounding():
    # exp(-50 log(1e8)) = 1e-400 is 0 in floating point, which Eq. 3 would take for "given up".
    table = StateTable(counts={"s": [10, 10]}, trajectories=10**8)
    assert branches(LITERAL, table_score(LITERAL, table, "s", 0)) == 1
    assert score(1.0, 1e6) > 0 == score(1.0, 1e6, hopeless=True)


def test_literal_alpha_gives_eight_one_or_zero():
    # lambda = 50 log t. At t = 100 one success of nine gives S = 100^(-50/9) = 8e-12: one branch, as good as none.
    table = StateTable(counts={"open": [9, 0], "once": [9, 1], "lost": [50, 1]}, trajectories=99)
    scores = [table_score(LITERAL, table, key, 0) for key in ("open", "once", "lost")]
    assert scores == [1.0, pytest.approx(7.74e-12, rel=0.01), 0.0]
    assert [branches(LITERAL, s) for s in scores] == [8, 1, 0]


def test_novelty_weight_by_hand():
    # 0.5 exp(-0.1 N)
    weights = {0: 0.5, 1: 0.4524, 5: 0.3033, 7: 0.2483, 10: 0.1839, 20: 0.0677, 50: 0.0034}
    for visits, weight in weights.items():
        assert novelty_weight(LITERAL, visits) == pytest.approx(weight, abs=1e-4)
    fixed = reading("literal", "fixed_omega")
    assert novelty_weight(fixed, 0) == novelty_weight(fixed, 50) == 0.25


def test_step_reward_by_hand():
    # N = 10: omega 0.18394. Novel, from S = 0.8 to 0.3, not won: 0.18394 + 0.31606 * 0.5 = 0.34197.
    assert step_reward(LITERAL, 10, True, 0.8, 0.3, False) == pytest.approx(0.34197, abs=1e-5)
    # Won, known, from 0.8 to 0.3: 0.31606 * 0.5 + 0.5 = 0.65803.
    assert step_reward(LITERAL, 10, False, 0.8, 0.3, True) == pytest.approx(0.65803, abs=1e-5)
    # The extremes: 0.5 + 0.5 at a first visit; -0.5 from a given-up state to an unseen one after many visits.
    assert step_reward(LITERAL, 0, True, 1.0, 1.0, True) == 1.0
    assert step_reward(LITERAL, 10**6, False, 0.0, 1.0, False) == -0.5
    assert step_reward(reading("literal", "no_score_difference"), 10, False, 0.8, 0.3, True) == 0.5
    assert step_reward(replace(LITERAL, invalid_penalty=0.1), 0, False, 1, 1, False, valid=False) == -0.1
    assert step_reward(READINGS["table"], 0, True, 0.8, 0.3, False) == 0.25  # no novelty: 0.5 * 0.5


def test_group_advantage_by_hand():
    # Rewards 1, 0.5, 0, 0.5: mean 0.5, variance (0.25 + 0.25) / 3, deviation 0.40825.
    advantages, deviation = group_advantage(LITERAL, [1.0, 0.5, 0.0, 0.5])
    assert advantages == [0.5, 0.0, -0.5, 0.0] and deviation == pytest.approx(math.sqrt(0.5 / 3))
    scaled, _ = group_advantage(replace(LITERAL, scale="std", std_eps=0.0), [1.0, 0.5, 0.0, 0.5])
    assert scaled == pytest.approx([1.2247, 0.0, -1.2247, 0.0], abs=1e-4)
    assert group_advantage(LITERAL, [0.7]) == ([0.0], 0.0)
    assert group_advantage(LITERAL, [0.1, 0.1, 0.1]) == ([0.0] * 3, 0.0)  # their mean is not 0.1 in floating point


@pytest.mark.parametrize("scale", ["none", "std"])
def test_group_advantage_is_the_group_credit_of_the_other_algorithms(scale):
    rng = random.Random(f"advantage:{scale}")
    for n in (1, 2, 5, 8):
        rewards = [rng.choice([0.0, 0.1, rng.random()]) for _ in range(n)]
        expected = GroupCredit(scale).advantage_B(torch.tensor(rewards, dtype=torch.float64), torch.zeros(n))
        assert group_advantage(replace(LITERAL, scale=scale), rewards)[0] == pytest.approx(expected.tolist(), abs=1e-12)


# The published rules, written out again: a history is a list of finished trajectories (states, won).


def published_score(history, state, alpha, xi=10, zeta=0.1):
    through = [won for states, won in history if state in states]
    if not through:
        return 1.0
    p = sum(through) / (len(through) + 1e-6)
    if len(through) - sum(through) >= xi and p <= zeta:
        return 0.0
    return (len(history) + 1) ** (-alpha * p)


def published_reward(history, seen, state, successor, won, alpha):
    omega = 0.5 * math.exp(-0.1 * sum(state in states for states, _ in history))
    novel = successor not in seen and successor != state
    gain = published_score(history, state, alpha) - published_score(history, successor, alpha)
    return omega * novel + (0.5 - omega) * gain + 0.5 * won


@pytest.mark.parametrize("alpha", [0.05, 1.0, 50.0])
def test_against_the_published_rules_on_random_histories(alpha):
    config, rng, table, history = replace(LITERAL, alpha=alpha), random.Random(f"history:{alpha}"), StateTable(), []
    kinds = set()
    for _ in range(60):
        # States of unequal promise, revisited within a path; 0 leads nowhere.
        states = [f"s{rng.choice([0, 1, 1, 2, 3, rng.randrange(40)])}" for _ in range(rng.randrange(1, 7))]
        won = rng.random() < (0.02 if "s0" in states else 0.7)
        seen = {state for path, _ in history for state in path}
        for state, successor in zip(states, states[1:], strict=False):
            s, after = (table_score(config, table, key, 0) for key in (state, successor))
            assert s == pytest.approx(published_score(history, state, alpha), abs=1e-12)
            assert branches(config, s) == math.ceil(8 * s)
            novel = successor not in table.counts and successor != state
            reward = step_reward(config, table.visits(state), novel, s, after, won)
            expected = published_reward(history, seen, state, successor, won, alpha)
            assert reward == pytest.approx(expected, abs=1e-12)
            kinds.add(branches(config, s))
        table.record(states, won)
        history.append((states, won))
    assert {0, 8} <= kinds and len(kinds) >= 3  # the histories reach what they are meant to test


# The table ------------------------------------------------------------------------------------------------------------


def test_a_path_counts_once_for_each_distinct_state():
    table = StateTable()
    table.record(["a", "b", "a", "c"], won=True)
    table.record(["a", "c"], won=False)
    table.met(["a", "d"])
    assert table.counts == {"a": [2, 1], "b": [1, 1], "c": [2, 1], "d": [0, 0]} and table.trajectories == 2


def test_table_goes_to_json_and_back():
    table = StateTable("run 1", generations=7)
    table.record(["a", "\u00e9 \n b"], won=True)
    table.begin_epoch()
    again = StateTable.from_dict(json.loads(json.dumps(table.to_dict())), "run 1")
    assert again == table and again.counts["a"] is not table.counts["a"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"identity": "run 2"}, "is of 'run 2', not of 'run 1'"),
        ({"counts": {"a": [1, 2]}}, "'a' has the counts \\[1, 2\\]"),
        ({"counts": {"a": [1]}}, "damaged"),
        ({"counts": []}, "not a state table"),
        ({"more": 1}, "not a state table"),
    ],
)
def test_foreign_and_damaged_tables_are_refused(change, message):
    with pytest.raises(ReproError, match=message):
        StateTable.from_dict(StateTable("run 1").to_dict() | change, "run 1")
    with pytest.raises(ReproError, match="not a state table"):
        StateTable.from_dict([], "run 1")


def test_forgetting_by_hand():
    # A half-life of two epochs: after two of them eight visits count four, and the success rate stays.
    table = table_of(s=(8, 2))
    for _ in range(2):
        table.begin_epoch(half_life=2.0)
    assert table.counts["s"] == pytest.approx([4, 1])
    table.begin_epoch()
    assert table.counts["s"] == pytest.approx([4, 1]) and table.epoch == 3


# Configurations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"clock": "rounds"},
            "clock is 'rounds'; choose one of 'trajectories', 'epochs', 'depth', 'constant'",
        ),
        ({"key": "image"}, "ThreeSPO.key is 'image'"),
        ({"g_max": 0}, "g_max is 0; give 1 or more"),
        ({"leaves": 0}, "leaves is 0; give a positive number, or None"),
        ({"branching": "rollouts"}, "give 1 or more rollouts, and nodes of each"),
        ({"omega_max": 0.6}, "need 0 to 0.5"),
    ],
)
def test_what_is_not_offered_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(LITERAL, **change)


def test_the_literal_reading_is_the_published_one():
    assert READINGS["literal"] == ThreeSPO()
    published = {"alpha": 50, "xi": 10, "zeta": 0.1, "eps": 1e-6, "omega_max": 0.5, "omega_k": 0.1, "g_max": 8}
    published |= {"tasks": 16, "turns": 50, "update_every": 1, "key": "observation", "adaptive": True}
    assert {name: getattr(LITERAL, name) for name in published} == published


@pytest.mark.parametrize("name", ["table", "continuation"])
def test_every_piece_changes_a_reading_and_nothing_else(name):
    for piece, changes in PIECES.items():
        if (name, piece) == ("table", "table_estimate"):  # what that reading has already
            continue
        base, put_back = READINGS[name], reading(name, piece)
        changed = {f.name for f in fields(base) if getattr(base, f.name) != getattr(put_back, f.name)}
        assert changed and changed <= set(changes), piece


def test_all_pieces_together_give_the_literal_exploration_and_equations():
    pieces = "raw_key no_turn indicator_in_reward unseen_one novelty depth_first_recorded scores_before_recording"
    pieces += " adaptive_n alpha_50 mean all_groups update_every_step"
    both = reading("table", *pieces.split())
    assert replace(both, nodes=0) == LITERAL  # nodes are of rollouts, which it has none of


def test_ablations_change_the_literal_reading():
    assert len({reading("literal", name) for name in ABLATIONS} | {LITERAL}) == len(ABLATIONS) + 1


def test_unknown_names_are_refused():
    with pytest.raises(ReproError, match="no reading 'oracle'; there are: literal, table, continuation"):
        reading("oracle")
    with pytest.raises(ReproError, match="no piece or ablation 'luck'"):
        reading("table", "luck")
