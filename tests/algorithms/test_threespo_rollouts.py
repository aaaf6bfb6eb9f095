"""3SPO along plain rollouts: the table and the continuation reading, by hand on small graphs."""

import copy
import itertools
import math
from dataclasses import replace

import pytest

from repro.algorithms.threespo import READINGS, StateTable, reading
from tests.algorithms.toy_world import BINARY, WALK, cycling, rewards, run, scripted, task


def test_the_table_reading_by_hand():
    """One rollout (l: s2, then r: s5), recorded; both its states branched, the rollout's own action one of the two."""
    config = replace(READINGS["table"], g_max=2, turns=2, rollouts=1, nodes=2, key="state", turn_bucket=0)
    table = StateTable(counts={"s3": [4, 4], "s4": [2, 2]})
    policy = scripted({"s1": ("l", "r"), "s2": ("r", "l")})
    epoch, updates, events = run(config, [task(WALK, wins={"s4"})], policy, table)
    assert len(updates) == 1 and [g.node.world for g in updates[0]] == ["s1", "s2"]
    assert [[b.proposal.command for b in g.branches] for g in updates[0]] == [["l", "r"], ["r", "l"]]
    # The rollout failed: s1, s2, s5 have one failure, S = 1. s3 and s4 have p_hat 1, S = exp(-1).
    gain = 0.5 * (1 - math.exp(-1))
    assert rewards(events[0]) == {"l": 0.0, "r": pytest.approx(gain, abs=1e-6)}
    assert rewards(events[1]) == {"r": 0.0, "l": pytest.approx(gain + 0.5, abs=1e-6)}
    # Standardised: two rewards are 1 / sqrt 2 deviations from their mean.
    assert [b.advantage for b in updates[0][0].branches] == pytest.approx([-(0.5**0.5), 0.5**0.5], abs=1e-4)
    expected = {"s1": [1, 0], "s2": [1, 0], "s5": [1, 0], "s3": [4, 4], "s4": [2, 2]}
    assert table.counts == expected and table.trajectories == 1
    count = epoch.tally.count
    assert (count["generations"], count["rollouts"], count["rollout_wins"], count["leaves"]) == (4, 1, 0, 0)


def test_scores_before_recording_is_a_piece():
    """Without it the failing rollout is not yet known: s2 and s5 are unseen, and neutral."""
    changes = {"g_max": 2, "turns": 2, "rollouts": 1, "nodes": 2, "key": "state", "turn_bucket": 0, "min_std": None}
    before = replace(reading("table", "scores_before_recording"), **changes)
    table = StateTable(counts={"s1": [4, 2], "s2": [4, 3], "s5": [4, 1]})
    policy = scripted({"s1": ("l", "r"), "s2": ("r", "l")})
    _, _, events = run(before, [task(WALK, wins={"s4"})], policy, table)
    s = {key: math.exp(-p) for key, p in (("s1", 2 / 4.000001), ("s2", 3 / 4.000001), ("s5", 1 / 4.000001))}
    assert rewards(events[0]) == {"l": 0.5 * (s["s1"] - s["s2"]), "r": 0.0}
    assert table.counts["s5"] == [5, 1]  # recorded afterwards


def test_the_continuation_reading_by_hand():
    """Rollout l, l wins. At s1: s2 and s3 are continued; s2 by l wins, s3 by l to s8 at turn 2 does not."""
    config = replace(READINGS["continuation"], g_max=2, turns=2, nodes=1, node_choice="highest", key="state")
    policy = scripted({"s1": ("l", "r"), "s2": ("l",), "s3": ("l",)})
    epoch, updates, events = run(config, [task(WALK, wins={"s4"})], policy)
    s, won, lost = math.exp(-0.5), math.exp(-1), 1.0  # p_hat 1/2 at s1, its branches' mean
    assert rewards(events[0]) == {"l": 0.5 * (s - won), "r": 0.5 * (s - lost)}
    count = epoch.tally.count
    assert (count["continuations"], count["continuation_wins"], count["generations"]) == (2, 1, 2 + 1 + 2)
    assert [branch.p_hat for branch in updates[0][0].branches] == [1.0, 0.0]
    assert epoch.table.trajectories == 1  # the rollout; continuations would bias the table towards branched states


def test_continuations_of_equal_successors_are_shared_and_of_final_ones_not_made():
    # From s2: l wins at once, x and y change nothing and are continued together, twice.
    config = replace(READINGS["continuation"], g_max=3, turns=2, nodes=1, continuations=2, key="state")
    policy = scripted({"s2": ("l", "x", "y", "l", "r")})
    epoch, updates, _ = run(config, [task(WALK, start="s2", wins={"s4"})], policy)
    group = updates[0][0]
    assert [branch.proposal.command for branch in group.branches] == ["l", "x", "y"]
    assert [branch.p_hat for branch in group.branches] == [1.0, 0.5, 0.5]
    assert epoch.tally.count["continuations"] == 2


def test_groups_do_not_share_their_continuations():
    # Both states of the rollout l, l can go to x. From there the first continuation wins, the second does not.
    edges = {"s1": {"l": "s2", "r": "x"}, "s2": {"l": "s3", "r": "x"}, "x": {"l": "won", "r": "lost"}}
    config = replace(READINGS["continuation"], g_max=2, turns=3, node_choice="highest", key="state")
    policy = scripted({"s1": ("l", "r"), "s2": ("l", "r"), "s3": ("l",), "x": ("l", "r")})
    _, updates, _ = run(config, [task(edges, wins={"won"})], policy)
    (group,) = updates[0]  # the other, with p_hat 0 and 0, has no spread
    assert [(branch.child.world, branch.p_hat) for branch in group.branches] == [("s2", 0.0), ("x", 1.0)]


@pytest.mark.parametrize("name", READINGS)
@pytest.mark.parametrize("bound", [1, 5, 11, 23, 40, 61])
def test_every_reading_keeps_a_budget(name, bound):
    config = replace(READINGS[name], turns=5, g_max=3)
    tasks = [task(BINARY, "n1", wins={"n9", "n25", "n50"}, id=id) for id in "ab"]
    epoch, updates, _ = run(config, tasks, cycling("l", "r", "r"), budget=bound)
    count = epoch.tally.count
    assert count["generations"] == epoch.table.generations <= bound
    if name == "continuation":
        assert all(branch.p_hat is not None for groups in updates for g in groups for branch in g.branches)
    assert sum(n for _, n in epoch.table.counts.values()) >= 0


@pytest.mark.parametrize("choice", ["random", "highest", "lowest"])
def test_which_states_of_a_rollout_are_branched(choice):
    # Success rates 0.2, 0.9, 0.5 along the rollout: scores fall with them.
    table = StateTable(counts={"n1": [10, 2], "n2": [10, 9], "n4": [10, 5]})
    config = replace(READINGS["table"], turns=3, rollouts=1, nodes=2, key="state", turn_bucket=0, g_max=2)
    config = replace(config, node_choice=choice, min_std=None)
    seen = set()
    for seed in range(20):
        _, updates, _ = run(config, [task(BINARY, "n1")], cycling("l", "r"), copy.deepcopy(table), seed=seed)
        seen.add(tuple(group.node.world for group in updates[0]))
    pairs = set(itertools.combinations(("n1", "n2", "n4"), 2))
    assert seen == {"random": pairs, "highest": {("n1", "n4")}, "lowest": {("n2", "n4")}}[choice]


def test_updates_after_every_node_of_the_rollouts():
    config = replace(READINGS["table"], turns=4, rollouts=2, nodes=3, g_max=2, key="state", min_std=None)
    for every, sizes in ((1, [2, 2, 2]), (2, [4, 2]), (None, [6])):
        _, updates, _ = run(replace(config, update_every=every), [task(BINARY, "n1")], cycling("l", "r"))
        assert [len(groups) for groups in updates] == sizes


def test_adaptive_n_along_rollouts():
    # n1 given up: no branches; n2 solved, exp(-4) of two: the rollout's action alone; n4 unseen before: both.
    table = StateTable(counts={"n1": [20, 0], "n2": [20, 20]})
    config = replace(reading("table", "adaptive_n"), alpha=4.0, turns=3, rollouts=1, nodes=3, g_max=2)
    config = replace(config, key="state", turn_bucket=0, min_std=None, record="leaves")
    epoch, updates, _ = run(config, [task(BINARY, "n1")], cycling("l", "r"), table)
    assert [[group.node.world for group in groups] for groups in updates] == [["n4"]]
    count = epoch.tally.count
    assert (count["pruned_starts"], count["truncated"], count["singletons"], count["groups"]) == (1, 1, 1, 1)


def test_a_tree_with_recorded_rollouts():
    """The piece "depth_first": visits still come from the plain rollouts, not from the tree's leaves."""
    config = replace(reading("table", "depth_first"), turns=3, rollouts=1, g_max=2, key="state", turn_bucket=0)
    epoch, _, _ = run(config, [task(BINARY, "n1")], cycling("l", "r"))
    assert epoch.tally.count["leaves"] == 8 and epoch.table.trajectories == 1
    assert {key for key, (total, _) in epoch.table.counts.items() if total} == {"n1", "n2", "n4", "n8"}
